"""Random messages of HTTP/1; header blocks for other protocols of that form."""

from __future__ import annotations

import random

ENDS = (b"\r\n",) * 12 + (b"\n", b"\n", b"\r", b"\r\r\n", b"", b" \r\n")

_METHODS = (
    b"GET", b"GET", b"POST", b"HEAD", b"CONNECT", b"OPTIONS", b"PROPFIND", b"BASELINE-CONTROL", b"NOTIFY", b"get", b"X" * 32, b"X" * 33,
    b"G(T", b"", b"!#$%&'*+-.^_`|~0", b"HTTP", b"HTTP/1.1", b"M-SEARCH",
)  # fmt: skip
_TARGETS = (
    b"/", b"/", b"/index.html", b"*", b"http://example.com/a?b=c", b"HTTPS://a", b"example.com:443", b"[2001:db8::1]:443", b"",
    b" ", b"/a b",
    b" /", b"/ ", b"/%00", b"/a\x00b", b"/\x7f", b"/\xff\xc3", b"/ HTTP/1.1", b"/" + b"a" * 300, b"ftp://a", b"/a\rb",
)  # fmt: skip
_VERSIONS = (b"HTTP/1.1",) * 8 + (
    b"HTTP/1.0",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"HTTP/1.",
    b"HTTP/1.10",
    b"http/1.1",
    b"",
    b"HTTP/1.1 ",
    b"HTTP/1.1\t ",
)
_CODES = (b"200", b"200", b"404", b"301", b"000", b"999", b"99", b"1000", b"2x0", b"")
_PHRASES = (b" OK", b" Not Found", b" ", b"", b"\tOK", b"  ", b" OK ", b"x", b" \xc3\xa4", b" HTTP/1.1", b"\rOK")
_NAMES = (
    b"Host", b"Host", b"host", b"User-Agent", b"Referer", b"Cookie", b"Content-Type", b"Content-Length", b"Content-Length",
    b"CONTENT-LENGTH",
    b"Server", b"Location", b"Authorization", b"X-Forwarded-For", b"X-Forwarded-For", b"x-forwarded-for", b"X-Api", b"X-Api",
    b"X_Api", b"Hos",
    b"Hostt", b"", b" Host", b"Ho st", b"H\xf6st", b"!", b"Host:", b"X", b"\rHost", b"\tX-Api",
)  # fmt: skip
_VALUES = (
    b"example.com", b"example.com", b"a", b"", b"curl/8.0", b"text/html; charset=utf-8", b"http://example.com/",
    b"10.0.0.1, 10.0.0.2", b"a  b",
    b"\x00\xff", b"a\rb", b"\r", b":", b"Basic YTpi", b"sid=1; Host: b", b"a\t ", b"a\r ", b"x" * 40,
)  # fmt: skip
_LENGTHS = (
    b"0", b"5", b"42", b"00042", b"4294967295", b"4294967296", b"9999999999", b"10000000000", b"0" * 40 + b"7", b"9" * 30, b"-1",
    b"+5", b"5, 5",
    b"0x10", b"5 5", b"",
)  # fmt: skip
_BLANKS = (b" ", b" ", b" ", b"", b"  ", b"\t ", b" " * 20)


def http(rng: random.Random) -> bytes:
    start = rng.choice((b"",) * 12 + (b"\r\n", b"\n\r\n\n", b"\r", b"\r\n\r", b" "))
    if rng.random() < 0.6:
        start += _spaced(rng, _METHODS, _TARGETS, _VERSIONS)
    else:
        start += rng.choice(_VERSIONS) + rng.choice((b" ",) * 9 + (b"  ",)) + rng.choice(_CODES) + rng.choice(_PHRASES)
    message = start + rng.choice(ENDS) + header_block(rng, _NAMES, _VALUES)
    if rng.random() < 0.1:
        message = start
    message += rng.choice((b"", b"", b"Host: body\r\n\r\n", message, rng.randbytes(30)))
    return cut(rng, message)


def _spaced(rng: random.Random, *words: tuple[bytes, ...]) -> bytes:
    """Words with a space between each two, now and then another number of spaces."""
    return rng.choice((b" ",) * 12 + (b"  ", b"", b"\t")).join(
        rng.choice(choices[:4]) if rng.random() < 0.5 else rng.choice(choices) for choices in words
    )


def header_block(rng: random.Random, names: tuple[bytes, ...], values: tuple[bytes, ...]) -> bytes:
    """Header lines of those names and values, and mostly the empty line at the end."""
    count = rng.choice((0, 1, 2, 3, 4, 6, 8, 20, rng.choice((0, 45, 150))))
    lines = [_header_line(rng, names, values) for _ in range(count)]
    if rng.random() < 0.05:
        lines.append(rng.choice((b"a", b"a: b", rng.choice(names) + b": ")) * 500)
    return b"".join(lines)[:2_500] + rng.choice((b"\r\n",) * 8 + (b"\n", b"", b"\r", b"\r\r\n"))


def _header_line(rng: random.Random, names: tuple[bytes, ...], values: tuple[bytes, ...]) -> bytes:
    if rng.random() < 0.05:
        return rng.choice((b"no header line", b" folded: line", b"\tHost: b", b":", b"\r", b"Host", rng.randbytes(5))) + rng.choice(ENDS)
    name = rng.choice(names)
    value = rng.choice(_LENGTHS) if name.lower() == b"content-length" and rng.random() < 0.9 else rng.choice(values)
    colon = rng.choice((b":",) * 20 + (b" :", b"\t:", b"", b"::", b"\r:"))
    return name + colon + rng.choice(_BLANKS) + value + rng.choice((b"", b"", b"", *_BLANKS)) + rng.choice(ENDS)


def cut(rng: random.Random, message: bytes) -> bytes:
    """The message, or its beginning: cut anywhere, near the start, or at the end of a line."""
    message = message[:2_900]
    match rng.randrange(10):
        case 0:
            return message[: rng.randint(0, len(message))]
        case 1:
            return message[: rng.randint(0, 30)]
        case 2:
            places = [place for place, byte in enumerate(message) if byte in b"\r\n: "]
            return message[: rng.choice(places) + rng.randint(0, 1)] if places else message
        case _:
            return message
