"""Random messages of DHCP."""

from __future__ import annotations

import random

ADDRESSES = (bytes(4), bytes((10, 0, 0, 1)), bytes((192, 0, 2, 1)), bytes((192, 0, 2, 128)), b"\xff" * 4)
NAMES = (b"", b"a", b"host", b"evil\x00", b"\x00evil", b"MSFT 5.0", b"android-dhcp-14", b"a" * 63, b"\xff\xfe")
CODES = (12, 12, 60, 60, 53, 53, 50, 50, 1, 3, 6, 51, 54, 55, 61, 82, 254)


def dhcp(rng: random.Random) -> bytes:
    hardware = (rng.choice((1, 1, 1, 6, 6, 0, 7)), rng.choice((6, 6, 6, 6, 0, 5, 16, 17, 255)))
    head = bytes((rng.choice((1, 1, 2, 2, 1, 2, 0, 3, 255)), *hardware, rng.choice((0, 1, 16))))
    message = (
        head
        + rng.choice((b"\x00\x00\x00\x01", b"\xde\xad\xbe\xef", rng.randbytes(4)))
        + rng.choice((b"\x00\x00", b"\x00\x08", b"\xff\xff"))
    )
    message += rng.choice((b"\x00\x00", b"\x80\x00")) + b"".join(rng.choice(ADDRESSES) for _ in range(4))
    message += rng.choice((bytes.fromhex("020000000001"), b"\xff" * 6, rng.randbytes(6))) + bytes(10) + bytes(192)
    message += rng.choice((b"\x63\x82\x53\x63",) * 9 + (b"\x63\x82\x53\x62", bytes(4)))
    options = b"".join(_option(rng) for _ in range(rng.choice((0, 1, 2, 4, 6, 6, 12, 17, 30, 66))))
    if rng.random() < 0.05:
        options = bytes(rng.choice((2000, 2040, 2045, 2047, 2048))) + options
    whole = message + options + rng.choice((b"", b"\xff", b"\xff", b"\xff\x00\x00\x0c\x01a", bytes(20)))
    return whole[: rng.choice((len(whole), len(whole), len(whole), len(whole), rng.randint(0, len(whole)), rng.randint(230, 250)))][:2900]


def _option(rng: random.Random) -> bytes:
    code = rng.choice(CODES)
    match rng.randrange(40):
        case 0:
            return bytes(rng.choice((1, 2, 3, 60, 127, 128, 129)))  # pads
        case 1:
            return b"\xff"
        case 2:
            return bytes([code, rng.choice((0, 1, 4, 254, 255))])
    match code:
        case 53:
            value = rng.choice((b"\x01", b"\x02", b"\x03", b"\x05", b"\x08", b"\xff", b"", b"\x01\x02"))
        case 50:
            value = rng.choice((*ADDRESSES, b"", b"\x0a\x00\x00", b"\x0a\x00\x00\x01\x00"))
        case _:
            value = rng.choice(NAMES)
    return bytes([code, len(value)]) + value
