"""Random messages of SNMP."""

from __future__ import annotations

import random

COMMUNITIES = (b"public", b"private", b"", b"a", b"PUBLIC", b"\x00", b"c" * 130, b"c" * 260)
USERS = (b"", b"admin", b"initial", b"u" * 32)
NUMBERS = (b"\x00", b"\x01", b"\x05", b"\x7f", b"\xff", b"\x80", b"\x01\x00", b"\xff\x00", b"\x7f\xff\xff\xff", b"\x80\x00\x00\x00",
           b"\x00\xff\xff\xff\xff", b"\x01\xff\xff\xff\xff", b"\x00\x00\x01", b"", b"\x00\x00\x00\x00\x00\x01")  # fmt: skip
BINDINGS = bytes.fromhex("300e300c06082b060102010101000500")


def snmp(rng: random.Random) -> bytes:
    version = rng.choice((0, 0, 1, 1, 1, 3, 3, 3, 2, 4))
    contents = _version_3(rng) if version == 3 else _element(rng, 0x04, rng.choice(COMMUNITIES)) + _pdu(rng)
    first = bytes([version]) if rng.random() < 0.95 else rng.choice(NUMBERS)
    whole = _element(rng, 0x30, _element(rng, 0x02, first) + contents) + rng.choice((b"", b"", b"", b"\x00", rng.randbytes(20)))
    return whole[: rng.choice((*[len(whole)] * 6, rng.randint(0, len(whole)), rng.randint(0, 40)))][:2900]


def _element(rng: random.Random, tag: int, contents: bytes) -> bytes:
    length = len(contents)
    match rng.randrange(100):
        case 0:
            length += rng.choice((1, -1, 5, 200, 1 << 20, (1 << 31) - 1, 1 << 31))
        case 1:
            tag = rng.choice((0x02, 0x04, 0x30, 0xA0, 0xA8, 0xA9, 0x9F, 0x05, 0xFF))
        case 2:
            return bytes([tag, rng.choice((0x80, 0x85, 0xFF, 0x81, 0x84))]) + contents
    length = max(length, 0)
    shortest = 0 if length < 0x80 else (length.bit_length() + 7) // 8
    size = shortest if rng.random() < 0.85 else rng.randint(max(shortest, 1), max(shortest, 4))
    if size == 0:
        return bytes([tag, length]) + contents
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + contents


def _integer(rng: random.Random) -> bytes:
    return _element(rng, 0x02, rng.choice(NUMBERS[:13] if rng.random() < 0.95 else NUMBERS))


def _pdu(rng: random.Random) -> bytes:
    tag = rng.choice((*range(0xA0, 0xA9), 0xA0, 0xA0, 0xA1, 0xA2, 0xA5))
    if tag == 0xA4:
        return _element(rng, tag, _element(rng, 0x06, b"\x2b\x06\x01") + _element(rng, 0x40, bytes(4)) + _integer(rng) + _integer(rng))
    return _element(rng, tag, _integer(rng) + _integer(rng) + _integer(rng) + BINDINGS)


def _version_3(rng: random.Random) -> bytes:
    flags = rng.choice((b"\x04", b"\x00", b"\x03", b"\x07", b"\x04\x00" if rng.random() < 0.1 else b"\x04"))
    model = _element(rng, 0x02, b"\x03") if rng.random() < 0.8 else _integer(rng)
    header = _element(rng, 0x30, _integer(rng) + _integer(rng) + _element(rng, 0x04, flags) + model)
    engine = _element(rng, 0x04, rng.choice((b"", b"\x80\x00\x1f\x88\x80")))
    user = engine + _integer(rng) + _integer(rng) + _element(rng, 0x04, rng.choice(USERS)) + _element(rng, 0x04, bytes(12)) + b"\x04\x00"
    parameters = _element(rng, 0x04, _element(rng, 0x30, user))
    if rng.random() < 0.25:
        return header + parameters + _element(rng, 0x04, rng.randbytes(40))
    return header + parameters + _element(rng, 0x30, engine + _element(rng, 0x04, b"") + _pdu(rng))
