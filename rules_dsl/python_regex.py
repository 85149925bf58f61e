"""`matches` patterns in the spelling of Python's `re`, for the reference: what a pattern means by another's machine.

It works on the text of a pattern that `parse_regex` takes, and by design shares nothing with that parser. Flags go into each atom that
they concern, as Python does not let them begin in the middle of a group. Python tries one way after another, so a pattern with repeats
within repeats, such as `(a*)*b`, may take it a time that doubles with each byte; the kernel's automaton takes the same for all.
"""

from __future__ import annotations

import re
from functools import lru_cache
from types import MappingProxyType

_NAMED = MappingProxyType(
    {
        "alnum": rb"a-zA-Z0-9",
        "alpha": rb"a-zA-Z",
        "ascii": rb"\x00-\x7f",
        "blank": rb"\x20\t",
        "cntrl": rb"\x00-\x1f\x7f",
        "digit": rb"0-9",
        "graph": rb"!-~",
        "lower": rb"a-z",
        "print": rb"\x20-~",
        "punct": rb"!-/:-@\[-`{-~",
        "space": rb"\t-\r\x20",
        "upper": rb"A-Z",
        "word": rb"\w",
        "xdigit": rb"0-9A-Fa-f",
    }
)
"""As items of a class of Python's."""

_TOKEN = re.compile(
    r"""
      (?P<hex>\\x(?:[0-9A-Fa-f]{2}|\{[0-9A-Fa-f]+\}))
    | (?P<escape>\\.)
    | (?P<named>\[:\^?[a-z]+:\])
    | (?P<count>\{\d+(?:,\d*)?\})
    | (?P<flags>\(\?[imsxU]*(?:-[imsxU]+)?[:)])
    | (?P<group>\((?:\?P?<\w+>)?)
    | (?P<char>.)
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)

_BLANKS = " \t\n\v\f\r"


@lru_cache(maxsize=1024)
def python_regex(pattern: str) -> re.Pattern[bytes]:
    """The pattern, to `search` values with."""
    written = bytearray()
    flags, outer = "", []
    at = 0
    while at < len(pattern):
        token = _TOKEN.match(pattern, at)
        assert token is not None
        at = token.end()
        text = token[0]
        if "x" in flags and text in _BLANKS:
            continue
        if "x" in flags and text == "#":
            at = len(pattern) if (end := pattern.find("\n", at)) < 0 else end
            continue
        match token.lastgroup:
            case "flags":
                on, _, off = text[2:-1].partition("-")
                if text.endswith(":"):
                    outer.append(flags)
                    written += b"(?:"
                flags = "".join(set(flags + on) - set(off))
            case "group":
                outer.append(flags)
                written += b"(?:"
            case "count":
                written += text.encode()
            case "hex":
                written += _with_case(_byte(text), flags)
            case "escape":
                written += _with_case(_escape(text), flags)
            case _ if text.startswith("["):  # what looks like a named class may be the start of any
                written_class, at = _class(pattern, token.start() + 1, flags)
                written += written_class
            case _ if text == ")":
                flags = outer.pop()
                written += b")"
            case _ if text == ".":
                written += b"(?s:.)" if "s" in flags else b"[^\\n]"
            case _ if text == "^":
                written += b"(?m:^)" if "m" in flags else rb"\A"
            case _ if text == "$":
                written += b"(?m:$)" if "m" in flags else rb"\Z"
            case _ if text in "|*+?":
                written += text.encode()
            case _ if text.isascii():
                written += _with_case(re.escape(text.encode()), flags)
            case _:
                written += b"(?:" + re.escape(text.encode()) + b")"
    return re.compile(bytes(written))


def _with_case(atom: bytes, flags: str) -> bytes:
    return b"(?i:" + atom + b")" if "i" in flags else atom


def _byte(text: str) -> bytes:
    """A byte by its number, `\\xHH` or `\\x{H...}`."""
    return rb"\x%02x" % int(text[2:].strip("{}"), 16)


def _escape(text: str) -> bytes:
    match text:
        case r"\z":
            return rb"\Z"
        case r"\B":  # Python's own is false of the empty value
            return rb"(?!\b)"
        case _ if text[1].isalnum():
            return text.encode()
        case _:
            return re.escape(text[1:].encode())


def _class(pattern: str, at: int, flags: str) -> tuple[bytes, int]:
    """The class whose inside begins at `at`, and where it ends."""
    written = b"["
    if pattern[at] == "^":
        written += b"^"
        at += 1
    first = True
    while True:
        token = _TOKEN.match(pattern, at)
        assert token is not None
        at = token.end()
        text = token[0]
        if "x" in flags and text[0] in _BLANKS:
            continue
        if "x" in flags and text[0] == "#":
            at = pattern.index("\n", at)
            continue
        if text == "]" and not first:
            return _with_case(written + b"]", flags), at
        first = False
        match token.lastgroup:
            case "named":
                written += _named_class(text, flags)
            case "hex":
                written += _byte(text)
            case "escape":
                written += _escape(text)
            case _:
                at = token.start() + 1
                written += b"-" if _is_range(pattern, at, text, flags, written) else re.escape(text[0].encode())


def _is_range(pattern: str, at: int, text: str, flags: str, written: bytes) -> bool:
    """Whether a hyphen stands between two, and not at an end of the class."""
    if text != "-" or written in (b"[", b"[^"):
        return False
    if "x" in flags:
        at += len(re.match(rf"(?:[{_BLANKS}]|#[^\n]*)*", pattern[at:])[0])  # type: ignore[index]  # it matches nothing too
    return pattern[at] != "]"


def _named_class(text: str, flags: str) -> bytes:
    name = text[2:-2].removeprefix("^")
    if "i" in flags and name in ("lower", "upper"):
        name = "alpha"
    inside = _NAMED[name]
    if not text.startswith("[:^"):
        return inside
    return b"".join(rb"\x%02x" % byte for byte in range(256) if not re.fullmatch(b"[" + inside + b"]", bytes((byte,))))
