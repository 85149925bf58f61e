"""Random messages of GENEVE."""

from __future__ import annotations

import random

from generators.messages.vxlan import IDENTIFIERS
from generators.messages.within import datagram, ether_type_of, ethernet, inner_packet


def geneve(rng: random.Random) -> tuple[int, bytes]:
    """UDP's protocol number and the datagram."""
    options = rng.randbytes(4 * rng.choice((0, 0, 1, 2, 5, 63)))
    length = len(options) // 4 if rng.random() < 0.9 else rng.choice((0, 1, 2, 3, 63))
    if rng.random() < 0.5:
        content = inner_packet(rng)
        protocol = ether_type_of(rng, content)
    else:
        content, protocol = ethernet(rng), b"\x65\x58"
    version = 0 if rng.random() < 0.93 else rng.choice((1, 2, 3))
    flags = rng.choice((0, 0, 0x40, 0x80, 0xC0)) if rng.random() < 0.93 else rng.choice((1, 0x20, 0x3F))
    last = b"\x00" if rng.random() < 0.93 else b"\x01"
    message = bytes([version << 6 | length, flags]) + protocol + rng.choice(IDENTIFIERS) + last + options + content
    return datagram(rng, message if rng.random() < 0.95 else message[: rng.randint(0, 40)], 6081)
