"""Random packets in tunnels."""

from __future__ import annotations

import random

from generators.messages.geneve import geneve
from generators.messages.vxlan import vxlan
from generators.messages.within import ether_type_of, ethernet, inner_packet


def inner(rng: random.Random) -> tuple[int, bytes]:
    """An IP protocol number and what follows the IP header."""
    match rng.randrange(5):
        case 0:
            packet = inner_packet(rng)
            number = 4 if packet[:1] < b"\x50" else 41
            return (number if rng.random() < 0.93 else rng.choice((4, 41, 47, 98))), packet
        case 1:
            return vxlan(rng)
        case 2:
            return geneve(rng)
        case _:
            return 47, _gre(rng)


def _gre(rng: random.Random) -> bytes:
    flags = rng.choice((0, 0, 0, 0x8000, 0x2000, 0x1000, 0x3000, 0xB000)) | (
        0 if rng.random() < 0.92 else rng.choice((0x4000, 1, 2, 7, 0x0800))
    )
    erspan = b""
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            content = inner_packet(rng)
            protocol = ether_type_of(rng, content)
        case 4:
            content, protocol = ethernet(rng), b"\x65\x58"
        case 5:
            content, protocol = ethernet(rng), b"\x88\xbe"
        case 6:
            flags |= 0x1000
            content, protocol, erspan = (
                ethernet(rng),
                b"\x88\xbe",
                rng.choice((b"\x10", b"\x1f", b"\x10", b"\x20", b"\x00")) + rng.randbytes(7),
            )
        case _:
            content, protocol = ethernet(rng), b"\x22\xeb"
            has_subheader = rng.randrange(2)
            erspan = rng.choice((b"\x20", b"\x2f", b"\x10")) + rng.randbytes(10) + bytes([rng.choice((0, 2, 0xFE)) | has_subheader])
            erspan += rng.randbytes(8 * has_subheader)
    words = (flags & 0x8000 != 0) + (flags & 0x2000 != 0) + (flags & 0x1000 != 0)
    gre = flags.to_bytes(2, "big") + protocol + rng.randbytes(4 * words) + erspan + content
    return gre if rng.random() < 0.93 else gre[: rng.randint(0, 70)]
