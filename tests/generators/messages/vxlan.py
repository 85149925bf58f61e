"""Random messages of VXLAN."""

from __future__ import annotations

import random

from generators.messages.within import datagram, ethernet

IDENTIFIERS = (b"\x00\x00\x00", b"\x00\x00\x2a", b"\x12\x34\x56", b"\xff\xff\xff")


def vxlan(rng: random.Random) -> tuple[int, bytes]:
    """UDP's protocol number and the datagram."""
    flags = b"\x08" if rng.random() < 0.9 else rng.choice((b"\x00", b"\x09", b"\x0c", b"\x88", b"\xff"))
    reserved = b"\x00\x00\x00" if rng.random() < 0.9 else rng.choice((b"\x00\x00\x01", b"\x01\x00\x00", b"\x00\x80\x00"))
    last = b"\x00" if rng.random() < 0.9 else b"\x01"
    message = flags + reserved + rng.choice(IDENTIFIERS) + last + ethernet(rng)
    return datagram(rng, message if rng.random() < 0.95 else message[: rng.randint(0, 30)], 4789)
