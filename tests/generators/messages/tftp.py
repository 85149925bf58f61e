"""Random messages of TFTP."""

from __future__ import annotations

import random
import struct

_FILES = (b"", b"a", b"rfc1350.txt", b"running-config", b"../../etc/passwd", b"boot/pxelinux.0", b"\xc3\xbc", b"x" * 300)
_MODES = (b"octet", b"octet", b"OCTET", b"netascii", b"NetASCII", b"mail", b"octets", b"octe", b"", b"binary")
_NAMES = (b"blksize", b"tsize", b"timeout", b"windowsize", b"", b"with space", b"~", b"\x7f")


def tftp(rng: random.Random) -> bytes:
    opcode = rng.choice((1, 1, 2, 2, 3, 4, 5, 6, 6, rng.choice((0, 7, 0x101, 0x300, 0xFFFF))))
    match opcode:
        case 1 | 2:
            body = rng.choice(_FILES) + b"\0" + rng.choice(_MODES[:6] if rng.random() < 0.8 else _MODES) + b"\0"
            body += _options(rng) if rng.random() < 0.3 else b""
        case 3:
            body = struct.pack("!H", rng.choice((0, 1, 2, 0xFFFF))) + rng.randbytes(rng.choice((512, 512, 512, 511, 513, 0, 1)))
        case 4:
            body = struct.pack("!H", rng.choice((0, 1, 2, 0xFFFF))) + rng.choice((b"", b"", b"", b"\0", b"\0octet\0"))
        case 5:
            text = rng.choice((b"", b"File not found", b"\xff\x01", b"a\0b", b"a" * 200))
            body = struct.pack("!H", rng.choice((0, 1, 2, 7, 8, 9, 0x100))) + text + rng.choice((b"\0", b"\0", b"\0", b"", b"\0\0"))
        case _:
            body = _options(rng)
    message = struct.pack("!H", opcode) + body
    return message if rng.random() < 0.88 else message[: rng.randint(0, len(message))]


def _options(rng: random.Random) -> bytes:
    options = b""
    for _ in range(rng.choice((1, 1, 2, 3, 0, 60))):
        name = rng.choice(_NAMES[:4] if rng.random() < 0.95 else _NAMES)
        options += name + b"\0" + rng.choice((b"1468", b"0", b"", b"a b", b"\x1f" if rng.random() < 0.2 else b"8")) + b"\0"
    return options + rng.choice((b"", b"", b"", b"", b"\0", b"x", b"x\0"))
