"""Random messages of NTP."""

from __future__ import annotations

import random
import struct


def ntp(rng: random.Random) -> bytes:
    mode = rng.choice((3, 3, 4, 5, 6, 6, 7, 7, rng.randrange(8)))
    version = rng.choice((1, 2, 3, 4, 4, 4, 4)) if rng.random() < 0.95 else rng.randrange(8)
    first = rng.choice((0, 0, 0, 1, 2, 3)) << 6 | version << 3 | mode
    kind = mode if rng.random() < 0.95 else rng.choice((3, 6, 7))
    body = _control(rng) if kind == 6 else _private(rng) if kind == 7 else _time(rng)
    message = bytearray(bytes([first]) + body)
    if rng.random() < 0.1:
        message[rng.randrange(min(len(message), 16))] = rng.choice((0, 1, 7, 8, 0x7F, 0x80, 0xFF))
    if rng.random() < 0.08:
        del message[rng.choice((0, 1, 3, 7, 8, 11, 12, 13, 47, 48, 49, 52)) :]
    return bytes(message)


def _time(rng: random.Random) -> bytes:
    stratum = rng.choice((0, 1, 2, 3, 15, 16, 17) if rng.random() < 0.2 else (0, 1, 2, 16))
    poll = rng.choice((0, 3, 6, 10, 24, 0xFF, 0xF8, 25, 0xF7) if rng.random() < 0.12 else (0, 3, 6, 10))
    precision = rng.choice((0, 0xE9, 0xFA, 32, 33, 0xC0, 0xBF) if rng.random() < 0.12 else (0, 0xE9, 0xFA))
    delay = rng.choice((0, 0x0000_0123, 0xFFFF_FF00, 0x00FF_FFFF, 0x0100_0000, 0xFEFF_FFFF) if rng.random() < 0.12 else (0, 0x123))
    dispersion = rng.choice((0, 0x321, 0xFF_FFFF, 0x100_0000) if rng.random() < 0.12 else (0, 0x321))
    reference = rng.choice((b"GPS\0", b"RATE", b"DENY", b"\xc0\0\2\1", bytes(4), b"INIT"))
    header = bytes([stratum, poll, precision]) + struct.pack("!II", delay, dispersion) + reference + rng.randbytes(32)
    return header + rng.choice((b"", b"", b"", rng.randbytes(rng.choice((1, 4, 20, 24, 71, 72, 73))), _extensions(rng)))


def _extensions(rng: random.Random) -> bytes:
    length = rng.choice((0, 4, 12, 16, 17, 36, 104, 200, 1000))
    stated = length + rng.choice((0, 0, 0, -4, 4, 1, 0x8000))
    return struct.pack("!HH", 0x0104, stated & 0xFFFF) + rng.randbytes(max(length - 4, 0)) + bytes(rng.choice((0, 0, 4, 72, 100)))


def _control(rng: random.Random) -> bytes:
    is_response = rng.random() < 0.4
    flags = 0x80 | rng.choice((0, 0, 0x20, 0x40)) if is_response else rng.choice((0, 0, 0, 0, 0, 0x20, 0x40))
    opcode = rng.choice((1, 2, 10, 31, 12, 13, 30) if rng.random() < 0.12 else (1, 2, 10))
    status = rng.choice((0, 0x0615)) if is_response or rng.random() < 0.1 else 0
    offset = rng.choice((0, 468, 0x3FFF, 0x4000)) if is_response or rng.random() < 0.1 else 0
    data = rng.choice((b"", b"", b"version", b'version="ntpd 4.2.8", leap=0\r\n', rng.randbytes(468)))
    count = max(len(data) + rng.choice((0, 0, 0, 0, 0, 1, -1, -27, -28, 0x100)), 0)
    padding = bytes(rng.choice((0, 0, -len(data) % 4, 27, 28)))
    return struct.pack("!BHHHHH", flags | opcode, 1, status, rng.randrange(3), offset, count) + data + padding


def _private(rng: random.Random) -> bytes:
    implementation = rng.choice((2, 3, 3, 3, 3, 1, 4, 0))
    code = rng.choice((20, 42, 42, 0, 1, 28, 41, 43))
    error = rng.choice((0, 0, 0, 0, 0, 4, 7, 8))
    items, size = rng.choice(((0, 0), (0, 0), (6, 72), (1, 500), (1, 501), (5, 100), (0xFFF, 0xFFF), (0, 0xFFF), (7, 72)))
    zero = rng.choice((0, 0, 0, 0, 0, 0, 1))
    head = struct.pack("!BBBHH", rng.choice((0, 0x80)), implementation, code, error << 12 | items, zero << 12 | size)
    return head + bytes(rng.choice((0, 0, 40, 0, min(items * size, 500))))
