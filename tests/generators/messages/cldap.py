"""Random messages of CLDAP."""

from __future__ import annotations

import random


def cldap(rng: random.Random) -> bytes:
    count = rng.choice((1, 1, 1, 2, 2, 3, rng.choice((0, 20))))
    message = bytearray(b"".join(_message(rng) for _ in range(count)))
    if message and rng.random() < 0.12:
        message[rng.randrange(min(len(message), 16))] = rng.choice((0, 1, 2, 4, 5, 0x30, 0x64, 0x80, 0x81, 0x84, 0x85, 0xFF))
    if rng.random() < 0.15:
        del message[rng.randrange(len(message) + 1) :]
    return bytes(message) + rng.choice((b"", b"", b"", b"", b"\x30", b"\x30\x84", rng.randbytes(8)))


def _message(rng: random.Random) -> bytes:
    identifier = rng.choice(
        (b"\1", b"\1", b"\2", b"\0\xff", b"\x7f\xff\xff\xff", b"\0\0\1", b"", b"\0\0\0\0\1") if rng.random() < 0.3 else (b"\1", b"\2")
    )
    tag = rng.choice((0x63, 0x63, 0x63, 0x64, 0x64, 0x65, 0x65, 0x73, 0x50) if rng.random() < 0.95 else (0x60, 0x61, 0x77, 0x04))
    body = rng.choice(
        (b"", b"\x0a\1\0\4\0\4\0", b"\4\0\x0a\1\0\x0a\1\0\2\1\0\2\1\0\1\1\0\x87\x0bobjectclass0\0", rng.randbytes(130), rng.randbytes(40))
    )
    operation = _element(rng, tag, body)
    return _element(rng, 0x30, _element(rng, 2, identifier, plain=rng.random() < 0.98) + operation + rng.choice((b"", b"", b"\xa0\0")))


def _element(rng: random.Random, tag: int, body: bytes, *, plain: bool = False) -> bytes:
    length = len(body) + (0 if rng.random() < 0.97 else rng.choice((-1, 1, 2, 20)))
    length = max(length, 0)
    forms = [b"\x84" + length.to_bytes(4), b"\x82" + length.to_bytes(2), b"\x83" + length.to_bytes(3)]
    if length < 0x100:
        forms.append(b"\x81" + length.to_bytes(1))
    if length < 0x80:
        forms = [length.to_bytes(1)] * (1 if plain else 4) + ([] if plain else forms)
    if rng.random() < 0.01:
        forms = [b"\x80", b"\x85\0" + length.to_bytes(4), b"\x84\xff\xff\xff\xff"]
    return bytes([tag]) + rng.choice(forms) + body
