"""Random handshakes of BitTorrent."""

from __future__ import annotations

import random

_HASHES = (b"\0" * 20, b"\x0fk\x9c\xd2\xb7\xdaM\xe9\xb6\xc8F 9 \xe3\xdaI\xcd\xb7\x95", b"a" * 20)
_PEERS = (b"-qB4500-abcdefghijkl", b"-TR4050-012345678901", b"\xff" * 20)


def bittorrent(rng: random.Random) -> bytes:
    begin = b"\x13BitTorrent protocol"
    if rng.random() < 0.25:
        begin = rng.choice((b"\x13BitTorrent protoco", b"\x12BitTorrent protocol", b"\x13bittorrent protocol", b"BitTorrent protocol", b""))
    reserved = rng.choice((bytes(8), b"\0\0\0\0\0\x18\0\x05", rng.randbytes(8)))
    whole = begin + reserved + rng.choice(_HASHES) + rng.choice(_PEERS) + rng.choice((b"", b"", b"\0\0\0\x05\x14", rng.randbytes(400)))
    return whole if rng.random() < 0.6 else whole[: rng.choice((0, 1, 19, 20, 21, 27, 28, 29, 47, 48, 49, 67, 68, 69))]
