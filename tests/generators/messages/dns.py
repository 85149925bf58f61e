"""Random messages of DNS, over UDP and over TCP."""

from __future__ import annotations

import random

_LABELS = (
    b"www", b"WWW", b"example", b"Example", b"com", b"org", b"a", b"b", b"_tcp", b"local", b"x" * 63, b"Y" * 62, b"a.b", b"\x00",
    b"\xff\xc0",
    b"A" * 32, b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ",
)  # fmt: skip
_NAMES = (b"\3www\7example\3com\0", b"\3WWW\7Example\3com\0", b"\7example\3org\0", b"\0")
_TYPES = (1, 1, 1, 1, 2, 2, 5, 5, 16, 16, 28, 28, 32, 33, 33, 41, 255, 255, 0)
_CLASSES = (*(1,) * 12, 0x8001, 0x8001, 3, 3, 255, 254, 4, 0, 2)


def dns(rng: random.Random) -> bytes:
    message = _hostile(rng) if rng.random() < 0.15 else _message(rng)
    if rng.random() < 0.12:
        message = message[: rng.choice((rng.randint(0, len(message)), len(message) - 1, 11, 12, 13, 17))]
    if rng.random() < 0.1:
        message += rng.randbytes(rng.randint(1, 12))
    if rng.random() < 0.4:
        stated = len(message) + rng.choice((*(0,) * 9, 1, -1, -4, 40, rng.randrange(1000)))
        message = max(0, stated).to_bytes(2, "big") + message
        message += rng.choice((b"", b"", b"", rng.randbytes(4)))
    return message[:2900]


def _message(rng: random.Random) -> bytes:
    is_response = rng.random() < 0.5
    opcode = rng.choice((*(0,) * 14, 4, 4, *(5,) * 4, 1, 2, 3, 15))
    flags = is_response << 15 | opcode << 11 | rng.choice((0, 0x0100, 0x0180, 0x0400, 0x0200, 0x0030, rng.randrange(0x800)))
    counts = [
        rng.choice((1, 1, 1, 1, 1, 1, 1, 0, 2, 3)),
        *((rng.choice((0, 1, 2, 3)) if is_response or rng.random() < 0.2 else 0) for _ in range(3)),
    ]
    if rng.random() < 0.05:
        counts[rng.randrange(4)] = rng.choice((15, 16, 17, 30))
    if rng.random() < 0.05:
        counts = [0, 0, 0, 0]
    message = bytes(12)
    for _ in range(counts[0]):
        message += _question(rng, len(message))
    for _ in range(sum(counts[1:])):
        message += _record(rng, len(message))
    if rng.random() < 0.3:
        counts[3] += 1
        message += b"\0" + _short(41) + _short(rng.choice((512, 1232, 4096))) + rng.choice((bytes(4), b"\0\0\x80\0", b"\1\1\0\0"))
        message += rng.choice((b"\0\0", b"\0\4\0\3\0\0"))
    if rng.random() < 0.05:
        counts[rng.randrange(4)] += rng.choice((1, 1, 2, 70, 60_000))
    return _header(rng, flags, counts) + message[12:]


def _hostile(rng: random.Random) -> bytes:
    """Pointers in circles and in long chains, names without end, messages of nothing but records."""
    match rng.randrange(6):
        case 0:  # a pointer to itself, to the other, to the header
            return (
                _header(rng, 0, [2, 0, 0, 0])
                + rng.choice(_NAMES)
                + b"\0\1\0\1"
                + rng.choice((b"\xc0\x21", b"\xc0\x0c", b"\xc0\x04", b"\xff\xff"))
                + b"\0\1\0\1"
            )
        case 1:  # a chain of 14 to 18 pointers in the data of a record
            links = rng.randint(14, 18)
            message = b"\3www\0\0\1\0\1" + b"\0\0\x10\0\1\0\0\0\1"
            start = 12 + len(message) + 2
            chain = b"\xc0\x0c" + b"".join(_pointer(start + 2 * link) for link in range(links - 1))
            message += _short(len(chain)) + chain
            return _header(rng, 0x8000, [1, 2, 0, 0]) + message + _pointer(start + 2 * (links - 1)) + b"\0\1\0\1\0\0\0\5\0\4abcd"
        case 2:  # a name of 253 to 257 bytes, at once or by a pointer
            last = rng.randint(57, 61)
            name = (b"\x3f" + b"q" * 63) * 3
            tail = bytes([last]) + b"Q" * last + b"\0"
            if rng.random() < 0.5:
                return _header(rng, 0, [1, 0, 0, 0]) + name + tail + b"\0\1\0\1"
            return _header(rng, 0, [2, 0, 0, 0]) + tail + b"\0\1\0\1" + name + b"\xc0\x0c" + b"\0\1\0\1" + rng.choice((b"", b"\0"))
        case 3:  # 120 to 128 labels of one byte
            return _header(rng, 0, [1, 0, 0, 0]) + b"\1z" * rng.randint(120, 128) + b"\0\0\1\0\1"
        case 4:  # more questions and records than are looked at
            questions, records = rng.choice((0, 1, 15, 17, 63, 64, 65)), rng.choice((1, 15, 17, 63, 64, 70))
            message = b"".join(rng.choice((b"\1a", b"\1B")) + b"\0" + _short(index + 1) + b"\0\1" for index in range(questions))
            message += b"".join(
                b"\1r\0" + _short(41 if index > 60 else index + 1) + b"\0\1" + _short(0) + _short(index) + b"\0\0"
                for index in range(records)
            )
            return _header(rng, 0x8000, [questions, records, 0, 0]) + message
        case _:
            return _header(rng, rng.randrange(1 << 16), [rng.randrange(3) for _ in range(4)]) + rng.choice(
                (bytes(60), b"\xff" * 60, rng.randbytes(80))
            )


def _header(rng: random.Random, flags: int, counts: list[int]) -> bytes:
    return _short(rng.choice((0, 1, 0x1234, rng.randrange(1 << 16)))) + _short(flags) + b"".join(map(_short, counts))


def _question(rng: random.Random, place: int) -> bytes:
    return _name(rng, place) + _short(rng.choice(_TYPES)) + _short(rng.choice(_CLASSES))


def _record(rng: random.Random, place: int) -> bytes:
    data = rng.choice((b"", b"\x7f\0\0\1", rng.choice(_NAMES), rng.randbytes(rng.randrange(40))))
    length = len(data) + rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 1, -1, 3000))
    ttl = rng.choice((0, 60, 300, 86_400, 0x8000, 1 << 31))
    return _question(rng, place) + ttl.to_bytes(4, "big") + _short(max(0, length)) + data


def _name(rng: random.Random, place: int) -> bytes:
    how = rng.choice((0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 3)) if place == 12 else rng.randrange(5)
    labels = b"".join(bytes([len(label)]) + label for label in rng.choices(_LABELS, k=rng.choice((0, 1, 2, 3))))
    match how:
        case 0:
            return rng.choice(_NAMES)
        case 1:
            return labels + b"\0"
        case 2:
            return labels + _pointer(rng.choice((12, 12, 16, rng.randrange(place + 4))))
        case 3:
            return labels + rng.choice((b"\0", b"\x40", b"\x80a", b"\xbf", b"\xc0", b"\x3f"))
        case _:
            return _pointer(12)


def _pointer(place: int) -> bytes:
    return _short(0xC000 | place & 0x3FFF)


def _short(number: int) -> bytes:
    return min(number, 0xFFFF).to_bytes(2, "big")
