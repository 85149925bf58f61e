"""Random ICMP errors with quoted packets."""

from __future__ import annotations

import random

from generators.messages.within import inner_packet


def icmp_inner(rng: random.Random) -> tuple[int, bytes]:
    """ICMP or ICMPv6, the number and the bytes."""
    quoted = inner_packet(rng)
    is_version_6 = quoted[:1] >= b"\x50"
    if rng.random() < 0.5:  # RFC 792: the header and 8 bytes; RFC 1812: up to 576 in all
        quoted = quoted[: rng.choice((20, 21, 22, 23, 24, 28, 28, 28, 39, 40, 41, 42, 43, 44, 48, 48, 48, 60, 64, 548))]
    if rng.random() < 0.1:  # RFC 4884: filled up, with extensions
        quoted = quoted.ljust(128, b"\x00") + b"\x20\x00\x00\x00\x00\x08\x01\x01" + rng.randbytes(4)
    if rng.random() < 0.9:
        kind = rng.choice((1, 2, 3, 4) if is_version_6 else (3, 3, 3, 4, 5, 11, 12))
    else:
        kind = rng.choice((0, 1, 2, 5, 6, 8, 10, 13, 128, 137, 255))
    message = (
        bytes([kind, rng.choice((0, 1, 3, 4))]) + rng.randbytes(2) + rng.choice((bytes(4), b"\x00\x11\x00\x00", rng.randbytes(4))) + quoted
    )
    number = 58 if is_version_6 else 1
    return (number if rng.random() < 0.95 else 59 - number), message if rng.random() < 0.95 else message[: rng.randint(0, 9)]
