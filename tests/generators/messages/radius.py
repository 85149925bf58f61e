"""Random messages of RADIUS."""

from __future__ import annotations

import random

CODES = (*(1, 2, 3, 4, 5, 11, 40, 43) * 8, *(12, 13, 21, 27, 29, 34, 45, 50, 52), *(0, 14, 20, 28, 35, 39, 46, 49, 53, 63, 64, 65, 255))
NAMES = (b"", b"a", b"alice", b"alice@example.com", b"\x00", b"\xff" * 8, b"x" * 253)
ADDRESSES = (bytes((10, 0, 0, 1)), bytes((192, 0, 2, 1)), bytes((192, 0, 2, 128)), bytes(4), b"", b"\x0a\x00\x00", b"\x0a\x00\x00\x01\x00")
IDS = (0, 1, 7, 127, 128, 255)


def radius(rng: random.Random) -> bytes:
    count = rng.choice((0, 0, 1, 2, 3, 3, 5, 8, 12))
    attributes = b"".join(_attribute(rng) for _ in range(count))
    if rng.random() < 0.03:
        attributes = b"\x2c\x02" * rng.randint(100, 1400)
    attributes = attributes[:2800]
    length = 20 + len(attributes) + rng.choice((0,) * 40 + (1, -1, 2, -2, rng.randint(-30, 5000)))
    length = rng.choice((length,) * 50 + (0, 19, 20, 4096, 4097, 65535))
    message = bytes([rng.choice(CODES), rng.choice(IDS)]) + (length & 0xFFFF).to_bytes(2, "big") + rng.randbytes(16) + attributes
    whole = message + rng.choice((*[b""] * 10, b"\x00", rng.randbytes(20)))
    return whole[: rng.choice((*[len(whole)] * 12, rng.randint(0, len(whole)), rng.randint(0, 24)))]


def _attribute(rng: random.Random) -> bytes:
    kind = rng.choice((1, 1, 4, 4, 2, 5, 26, 80, 0, 255))
    value = rng.choice(NAMES) if kind == 1 else rng.choice(ADDRESSES)
    length = 2 + len(value) + rng.choice((0,) * 40 + (1, -1, -2, 10))
    return bytes([kind, min(max(length, 0), 255)]) + value
