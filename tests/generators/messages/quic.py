"""Random packets of QUIC with long headers."""

from __future__ import annotations

import random

_VERSIONS = (
    0x00000001, 0x00000001, 0x00000001, 0x6B3343CF, 0x6B3343CF, 0xFF00001D, 0x709A50C4, 0x1A2A3A4A, 0xFACEB002, 0x51303530, 0x54303531,
)  # fmt: skip
_UNKNOWN = (0xFF000015, 0xFF000016, 0xFF0000FF, 0xFF000100, 0x1A2A3A4B, 0x00000002, 0x51303436, 0x51303433, 0xFACEB003, 0xFFFFFFFF, 0)
_IDS = (b"", b"", b"\x83\x94\xc8\xf0\x3e\x51\x57\x08", b"\xf0\x67\xa5\x50\x2a\x42\x62\xb5", bytes(20), b"\x01" * 5)


def quic(rng: random.Random) -> bytes:
    version = rng.choice(_VERSIONS) if rng.random() < 0.9 else rng.choice(_UNKNOWN)
    dcid, scid = rng.choice(_IDS), rng.choice(_IDS)
    if rng.random() < 0.06:
        dcid, scid = rng.choice(((bytes(21), scid), (dcid, bytes(21)), (bytes(255), scid), (dcid, bytes(255))))
    if rng.random() < 0.2:
        datagram = _negotiation(rng, dcid, scid)
    else:
        datagram = b""
        for _ in range(rng.choice((1, 1, 2, 3, rng.randrange(20)))):
            datagram += _packet(rng, version if rng.random() < 0.95 else rng.choice(_VERSIONS), dcid, scid)
        datagram += rng.choice((b"", b"", bytes(20), b"\x40" + rng.randbytes(30), b"\xff" * 8))
    if rng.random() < 0.05:
        datagram = rng.choice((bytes(40), b"\xff" * 40, b"\x80\x00\x00\x00\x01" + bytes(40), rng.randbytes(60)))
    if rng.random() < 0.2:
        datagram = datagram[: rng.choice((rng.randrange(9), rng.randrange(40), rng.randrange(len(datagram) + 1)))]
    if rng.random() < 0.1 and datagram:
        at = rng.randrange(min(len(datagram), rng.choice((6, 40, 3000))))
        datagram = datagram[:at] + bytes([rng.choice((0, 0x0A, 0x40, 0x80, 0xC0, 0xFF, rng.randrange(256)))]) + datagram[at + 1 :]
    return datagram[:2990]


def _head(rng: random.Random, first: int, version: int, dcid: bytes, scid: bytes) -> bytes:
    if rng.random() < 0.05:
        first ^= rng.choice((0x80, 0x40))
    return bytes([first]) + version.to_bytes(4, "big") + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid


def _packet(rng: random.Random, version: int, dcid: bytes, scid: bytes) -> bytes:
    kind = rng.choice((0, 0, 1, 2, 3))
    is_second = version in (0x6B3343CF, 0x709A50C4)
    packet = _head(rng, 0xC0 | (kind + is_second & 3) << 4 | rng.randrange(16), version, dcid, scid)
    if kind == 3:
        return packet + rng.randbytes(rng.choice((15, 16, 17, 40)))
    if kind == 0:
        token = rng.randbytes(rng.choice((0, 0, 0, 16, 70)))
        packet += _length(rng, len(token)) + token
    sealed = rng.randbytes(rng.choice((16, 17, 18, 30, 30, 60, 100)))
    return packet + _length(rng, len(sealed)) + sealed


def _length(rng: random.Random, length: int) -> bytes:
    """In one of the sizes that it fits into, and now and then a wrong one (RFC 9000 section 16)."""
    if rng.random() < 0.05:
        length = rng.choice((length + 1, max(0, length - 1), 0, 63, 64, 16383, (1 << 30) - 1, 1 << 32, (1 << 62) - 1))
    power = rng.choice([power for power in range(4) if length < 1 << (8 * (1 << power) - 2)])
    size = 1 << power
    return (length | power << (8 * size - 2)).to_bytes(size, "big")


def _negotiation(rng: random.Random, dcid: bytes, scid: bytes) -> bytes:
    count = rng.choice((0, 1, 1, 2, 3, 5, 17, 60))
    known = rng.random() < 0.8
    versions = [rng.choice(_VERSIONS if known else (*_UNKNOWN[6:], 0x01000000)) for _ in range(count)]
    if rng.random() < 0.3:
        versions.insert(0, rng.choice((0x00000100, 0x51303436, 0x0000010A)))
    offer = b"".join(version.to_bytes(4, "big") for version in versions)
    return _head(rng, 0x80 | rng.randrange(128), 0, dcid, scid) + offer + rng.choice((b"", b"", b"", b"", b"\x01", b"\x00\x00\x01"))
