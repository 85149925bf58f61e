"""Random records and handshake messages of TLS."""

from __future__ import annotations

import random

_VERSIONS = (0x0301, 0x0303, 0x0303, 0x0304)
_SUITES = (0x1301, 0x1302, 0xC02F, 0xC030, 0x0005, 0x000A, 0x0A0A, 0x00FF)
_HOSTS = (b"www.example.com", b"example.com", b"evil.test", b"a", b"x" * 60, b"", b"EXAMPLE.com", bytes(range(128, 140)))
_PROTOCOLS = (b"h2", b"http/1.1", b"dot", b"\x0a\x0a", b"")


def tls(rng: random.Random) -> bytes:
    count = rng.choice((1, 1, 1, 2, 3, rng.randrange(24)))
    segment = b"".join(_record(rng) for _ in range(count))
    if rng.random() < 0.4:
        hello = _message(rng, rng.choice((1, 1, 1, 2)))
        segment = rng.choice((b"\x16\x03\x01", b"\x14\x03\x03\x00\x01\x01\x16\x03\x03")) + len(hello).to_bytes(2, "big") + hello + segment
    if rng.random() < 0.05:
        segment = bytes(rng.choice((0, 0xFF))) + rng.choice(
            (bytes(60), b"\xff" * 60, b"\x16\x03\x03" * 20, b"\x80\x2e\x01\x03\x01" + bytes(41))
        )
    if rng.random() < 0.3:
        segment = segment[: rng.choice((rng.randrange(12), rng.randrange(60), rng.randrange(len(segment) + 1)))]
    if rng.random() < 0.15 and segment:
        at = rng.randrange(min(len(segment), rng.choice((5, 12, 60, 3000))))
        segment = segment[:at] + bytes([rng.choice((0, 1, 2, 3, 4, 5, 16, 22, 32, 33, 0xFF, rng.randrange(256)))]) + segment[at + 1 :]
    return segment[:2990]


def _record(rng: random.Random) -> bytes:
    kind = rng.choice((20, 21, 21, 22, 22, 22, 22, 23, 23, 24, rng.randrange(18, 27)))
    match kind:
        case 20:
            content = b"\x01"
        case 21:
            content = rng.choice((bytes([rng.choice((1, 2)), rng.choice((0, 10, 40, 48, 112))]), rng.randbytes(26)))
        case 22:
            content = _messages(rng)
        case _:
            content = rng.randbytes(rng.choice((0, 1, 2, 20, 40, 100)))
    length = len(content)
    if rng.random() < 0.08:
        length = max(0, min(0xFFFF, rng.choice((length - 1, length + 1, length + 500, 0, 3, 4, 18432, 18433, 16384, 0xFFFF))))
    version = rng.choice((*_VERSIONS * 4, 0x0300, 0x0302, 0x0305, 0x0200, 0x0403, 0x0103))
    return bytes([kind]) + version.to_bytes(2, "big") + length.to_bytes(2, "big") + content


def _messages(rng: random.Random) -> bytes:
    if rng.random() < 0.1:  # encrypted, or with the nonce of GCM in front
        return rng.choice((rng.randbytes(40), bytes(8) + rng.randbytes(32), b"\x00\x00\x00\x00", rng.randbytes(rng.randrange(6))))
    if rng.random() < 0.03:
        return b"\x0e\x00\x00\x00" * rng.choice((2, 15, 16, 17, 31, 32, 33, 100)) + _message(rng, rng.choice((1, 2)))
    kinds = rng.choice(((1,), (1,), (1,), (2,), (2, 11, 14), (11, 16), (2, 11, 12, 14), (0,), (14, 0), (0, 14), (4,), (rng.randrange(30),)))
    return b"".join(_message(rng, kind) for kind in kinds)


def _message(rng: random.Random, kind: int) -> bytes:
    match kind:
        case 1 | 2:
            body = _hello(rng, is_client=kind == 1)
        case 0 | 14:
            body = b""
        case _:
            body = rng.randbytes(rng.choice((0, 4, 20, 64)))
    length = len(body)
    if rng.random() < 0.08:
        length = max(0, rng.choice((length - 1, length + 1, length + 300, 1 << 17, (1 << 17) + 1, (1 << 24) - 1, 0, 2, 38)))
    return bytes([kind]) + length.to_bytes(3, "big") + body


def _hello(rng: random.Random, *, is_client: bool) -> bytes:
    session_id = rng.choice((b"", bytes(32), bytes(32), bytes(8), rng.randbytes(32), bytes(rng.choice((33, rng.randrange(256))))))
    hello = rng.choice(_VERSIONS).to_bytes(2, "big") + rng.randbytes(32) + bytes([len(session_id)]) + session_id
    if is_client:
        suites = [rng.choice(_SUITES) for _ in range(rng.choice((0, 1, 2, 2, 5, 5, 17, rng.choice((40, 127, 128, 129, 200)))))]
        data = b"".join(suite.to_bytes(2, "big") for suite in suites) + rng.choice((b"", b"", b"", b"\x13"))
        hello += _vector(rng, data, 2) + _vector(rng, rng.choice((b"\x00", b"\x00", b"\x01\x00", b"")), 1)
    else:
        hello += rng.choice(_SUITES).to_bytes(2, "big") + b"\x00"
    if rng.random() < 0.1:
        return hello + rng.choice((b"", b"\x00", b"\x00\x00"))
    count = rng.choice((0, 2, 4, 6, 10, rng.choice((20, 63, 64, 65, 90))))
    return (
        hello
        + _vector(rng, b"".join(_extension(rng, is_client=is_client) for _ in range(count)), 2)
        + rng.choice((b"", b"", b"\x01\x02\x03"))
    )


def _extension(rng: random.Random, *, is_client: bool) -> bytes:
    kind = rng.choice((0, 0, 0, 16, 16, 43, 43, 10, 13, 51, 65037, 0x0A0A))
    match kind:
        case 0:
            data = _vector(rng, bytes([rng.choice((0, 0, 0, 0, 1))]) + _vector(rng, rng.choice(_HOSTS), 2), 2)
            data = rng.choice((data, data, data, data, b"", data[: rng.randrange(len(data))]))
        case 16:
            count = rng.choice((1, 1, 2, 3, rng.randrange(20)))
            data = _vector(rng, b"".join(_vector(rng, rng.choice(_PROTOCOLS[: rng.choice((3, 5))]), 1) for _ in range(count)), 2)
        case 43:
            versions = b"".join(rng.choice((*_VERSIONS, 0x0A0A)).to_bytes(2, "big") for _ in range(rng.choice((0, 1, 2, 3, 5, 20))))
            data = _vector(rng, versions, 1) if is_client else versions[: rng.choice((2, 2, 4))]
        case _:
            data = rng.randbytes(rng.choice((0, 0, 2, 8, 32)))
    return kind.to_bytes(2, "big") + _vector(rng, data, 2)


def _vector(rng: random.Random, data: bytes, width: int) -> bytes:
    """The data behind their length, which is now and then wrong."""
    length = len(data)
    if rng.random() < 0.03:
        length = rng.choice((length + 1, max(0, length - 1), 0, 0xFF, (1 << 8 * width) - 1))
    return min(length, (1 << 8 * width) - 1).to_bytes(width, "big") + data
