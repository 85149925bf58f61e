"""Random packets of RTCP."""

from __future__ import annotations

import random


def _packet(rng: random.Random) -> bytes:
    kind = rng.choice((200, 201, 202, 203, 204, 205, 206, 207, rng.choice((191, 192, 199, 208, 223, 224)), rng.randrange(256)))
    count = rng.choice((0, 0, 1, 2, 31))
    needed = {200: 28 + 24 * count, 201: 8 + 24 * count, 202: 4, 203: 4 + 4 * count, 207: 8}.get(kind, 12)
    length = max(4, needed + rng.choice((0, 0, 0, 4, 8, -4)))
    said = rng.choice((length // 4 - 1,) * 12 + (length // 4, max(0, length // 4 - 2), 0xFFFF))
    version = rng.choice((2,) * 14 + (0, 1, 3))
    return bytes([version << 6 | rng.randrange(2) << 5 | count, kind]) + said.to_bytes(2) + rng.randbytes(length - 4)


def rtcp(rng: random.Random) -> bytes:
    if rng.random() < 0.03:
        return (b"\x80\xca\0\0" * rng.choice((15, 16, 17, 300)) + b"\x80\xcb\0\0")[: 4 * rng.randrange(310)]  # very many
    whole = b"".join(_packet(rng) for _ in range(rng.choice((1, 1, 2, 2, 3))))
    whole += rng.choice((b"", b"", b"\x80", rng.randbytes(14)))
    return whole[: rng.choice((len(whole),) * 6 + (0, 3, 4, 7, 8, 11, 12, 27, 28, rng.randint(0, len(whole))))]
