"""Random messages of memcached, with and without UDP's frame header."""

from __future__ import annotations

import random
import struct

_KEYS = (b"a", b"key", b"user:42", b"noreply", b"7", b"\xc3\xbc", b"k" * 250)
_COMMANDS = (
    "get k", "get k k k", "gets k", "gat i k k", "gats i k", "set k n i n q", "add k n i n q", "replace k n i n", "append k n n n",
    "prepend k n n n", "cas k n i n n q", "delete k q", "delete k n q", "incr k n q", "decr k n", "touch k i q", "mg k k", "md k",
    "ma k k k", "ms k n k", "stats", "stats k", "version", "verbosity n q", "flush_all q", "flush_all i q", "VALUE k n n",
    "VALUE k n n n", "STAT k k", "VERSION k", "CLIENT_ERROR k k k", "SERVER_ERROR k", "STORED", "NOT_STORED", "EXISTS", "NOT_FOUND",
    "DELETED", "TOUCHED", "END", "RESET",
)  # fmt: skip
_WRONG = (
    "quit",
    "OK",
    "ERROR",
    "get",
    "gets ",
    "gat k",
    "set k n i",
    "cas k n i n",
    "incr k",
    "version k",
    "END k",
    "VALUE k n",
    "GET k",
    "stat",
    "ms k k",
    "",
    " ",
)


def memcached(rng: random.Random) -> bytes:
    message = _binary(rng) if rng.random() < 0.3 else _text(rng)
    if rng.random() < 0.6:
        sequence, datagrams, reserved = rng.choice(
            ((0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 700, 0), (1, 2, 0), (0, 0, 0), (0, 1, 1))
        )
        message = struct.pack("!HHHH", rng.choice((0, 1, 0xFFFF)), sequence, datagrams, reserved) + message
    return message if rng.random() < 0.93 else message[: rng.randint(0, min(len(message), 60))]


def _text(rng: random.Random) -> bytes:
    line = rng.choice(_COMMANDS if rng.random() < 0.9 else _WRONG)
    words = [_word(rng, part) for part in line.split(" ")]
    if rng.random() < 0.08:
        words.insert(
            rng.randint(0, len(words)), rng.choice((b"", b"noreply", b"7", b"x", b"\x7f", b"a\tb", b"a\0b", b"\r", b"-1", b"k" * 900))
        )
    end = rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b" \r\n") if rng.random() < 0.95 else (b"\r", b"", b"\r\r\n", b"\t\n"))
    return (
        b" ".join(word for word in words if word is not None) + end + rng.choice((b"", b"", b"hello\r\n", b"END\r\n", rng.randbytes(300)))
    )


def _word(rng: random.Random, part: str) -> bytes | None:
    match part:
        case "k":
            return rng.choice(_KEYS)
        case "n":
            return rng.choice((b"0", b"5", b"1024", b"18446744073709551615"))
        case "i":
            return rng.choice((b"0", b"-1", b"60", b"86400")) if rng.random() < 0.97 else rng.choice((b"-", b"--1", b"1.5"))
        case "q":
            return rng.choice((b"noreply", None, None))
        case _:
            return part.encode()


def _binary(rng: random.Random) -> bytes:
    magic = rng.choice((0x80, 0x80, 0x81, 0x81) if rng.random() < 0.95 else (0x82, 0x7F, 0))
    extras = rng.choice((0, 0, 4, 8, 20) if rng.random() < 0.9 else (32, 33, 255))
    key = rng.choice(_KEYS) if rng.random() < 0.7 else b""
    stated = len(key) if rng.random() < 0.93 else rng.choice((250, 251, 0, 0xFFFF))
    value = rng.choice((b"", b"World", rng.randbytes(100)))
    body = extras + stated + len(value) + (0 if rng.random() < 0.93 else rng.choice((-1, -len(value), -len(value) - 1, 1 << 20)))
    data_type = 0 if rng.random() < 0.95 else 1
    head = struct.pack("!BBHBBHIIQ", magic, rng.choice((0, 1, 10, 16, 255)), stated, extras, data_type, 0, max(body, 0), 7, 0)
    return head + bytes(extras) + key + value
