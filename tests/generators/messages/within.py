"""Random packets and frames to stand in other packets: right and nearly right ones."""

from __future__ import annotations

import random

LONGEST = 1024


def inner_packet(rng: random.Random) -> bytes:
    """An IP packet, in one of four cut or with a damaged header."""
    from generators.packets import packet  # it imports this package

    inner = bytearray(packet(rng, padding=True, longest=LONGEST))
    match rng.randrange(16):
        case 0:
            inner[0] = rng.choice((0x40, 0x44, 0x4F, 0x50, 0x60, 0x6F, 0x65, 0x00, 0xFF))
        case 1:
            at = 2 if inner[0] < 0x50 else 4
            shorter = rng.choice((0, 1, 19, 20, 21, 24, 60, 0xFFFF, max(0, len(inner) - 1), max(0, len(inner) - 41)))
            inner[at : at + 2] = shorter.to_bytes(2, "big")
        case 2 | 3:
            del inner[rng.choice((0, 1, 19, 20, 21, 22, 23, 24, 28, 39, 40, 41, 42, 43, 44, 48, rng.randint(0, len(inner)))) :]
        case _:
            pass
    return bytes(inner)


def datagram(rng: random.Random, message: bytes, port: int) -> tuple[int, bytes]:
    """UDP to that port or another: its protocol number and its bytes."""
    length = 8 + len(message) if rng.random() < 0.93 else rng.choice((0, 8, 16, 30, 50, 58, 80))
    to = port if rng.random() < 0.5 else rng.choice((53, 4789, 6081, 8472, 65535))
    return 17, rng.choice((b"\x12\xb5", b"\x17\xc1", b"\x00\x35")) + to.to_bytes(2, "big") + length.to_bytes(2, "big") + bytes(2) + message


def ether_type_of(rng: random.Random, inner: bytes) -> bytes:
    """Seldom the wrong one."""
    if rng.random() < 0.06:
        return rng.choice((b"\x08\x00", b"\x86\xdd", b"\x65\x58", b"\x08\x06", b"\x88\x47", b"\x81\x00", b"\x00\x26"))
    return b"\x08\x00" if inner[:1] < b"\x50" else b"\x86\xdd"


def ethernet(rng: random.Random) -> bytes:
    """A frame of IP or ARP, with and without VLAN tags."""
    if rng.random() < 0.1:
        ether_type, content = (
            b"\x08\x06",
            rng.choice((b"\x00\x01\x08\x00\x06\x04\x00\x01", b"\x00\x01\x08\x00", b"\x00\x06\x08\x00" + bytes(20))),
        )
        content = content[: rng.choice((3, 4, 28, 28))]
    else:
        content = inner_packet(rng)
        ether_type = ether_type_of(rng, content)
    tags = b"".join(
        rng.choice((b"\x81\x00", b"\x88\xa8", b"\x81\x00", b"\x91\x00")) + rng.randbytes(2)
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 2, 3)))
    )
    frame = rng.randbytes(12) + tags + ether_type + content
    return frame if rng.random() < 0.9 else frame[: rng.choice((0, 11, 12, 13, 14, 15, 17, 18, 19, 21, 22, 23))]
