"""Random messages of STUN."""

from __future__ import annotations

import random

TYPES = (0x0001, 0x0101, 0x0111, 0x0011, 0x0003, 0x0113, 0x0016, 0x0017, 0x0200, 0x3FFF, 0x3EEF, 0x0110)
ATTRIBUTES = (0x0006, 0x0006, 0x8022, 0x8022, 0x0020, 0x0024, 0x8028, 0x0013, 0xFFFF)
VALUES = (b"", b"a", b"alice", b"VUAk6Ay7:tyGu", b"Coturn-4.5.0.5 'dan Eider'", b"\x00\x01\x02\x03", b"\xff" * 8, bytes(20))
IDS = (b"abcdefghijkl", bytes(12), b"\xff" * 12)


def stun(rng: random.Random) -> bytes:
    count = rng.choice((0, 1, 2, 3, 3, 5, 17, 63, 64, 65))
    attributes = b"".join(_attribute(rng) for _ in range(count))
    length = len(attributes) + rng.choice((*[0] * 20, 1, -1, 4, -4, rng.randint(-30, 60000)))
    kind = rng.choice((*TYPES, rng.randrange(1 << 14), rng.choice((0x4000, 0x8001, 0xC001))))
    cookie = rng.choice((b"\x21\x12\xa4\x42",) * 12 + (b"\x21\x12\xa4\x43", bytes(4), b"\x21\x12\x21\x12"))
    message = kind.to_bytes(2, "big") + (length & 0xFFFF).to_bytes(2, "big") + cookie + rng.choice(IDS) + attributes
    frame = rng.choice((*[b""] * 6, len(message).to_bytes(2, "big"), b"\x21\x12", b"\x00"))
    whole = frame + message + rng.choice((*[b""] * 8, b"\x00", rng.randbytes(30), message[:60]))
    return whole[: rng.choice((*[len(whole)] * 7, rng.randint(0, len(whole)), rng.randint(0, 40)))][:2900]


def _attribute(rng: random.Random) -> bytes:
    value = rng.choice(VALUES)
    length = len(value) + rng.choice((0,) * 30 + (1, -1, 3, 4, 0xFFFF, rng.randrange(300)))
    padding = bytes(-len(value) % 4) if rng.random() < 0.97 else b""
    return rng.choice(ATTRIBUTES).to_bytes(2, "big") + (length & 0xFFFF).to_bytes(2, "big") + value + padding
