"""Literals: from the spelling of a string, number, address or run of bytes to its value, or to the reason why it has none."""

from __future__ import annotations

import re
import socket

_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([0-7]{3})|(.))", re.DOTALL)
_SIMPLE = {'"': b'"', "\\": b"\\", "n": b"\n", "r": b"\r", "t": b"\t"}
_RAW = re.compile(r'r(#*)"(.*)"\1', re.DOTALL)
_DECIMAL = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_HEX = re.compile(r"0[xX][0-9A-Fa-f]+")
_BYTES = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})+")
ONE_BYTE = re.compile(r"(?:0x)?[0-9A-Fa-f]{2}")
"""What may be meant for a byte, where bytes are wanted."""

MAX_DIGITS = 40
"""Of a number; 2**128 has 39. (Python refuses to convert a decimal number of more than 4,300 digits.)"""


class LiteralError(Exception):
    """A literal has no value. `start` and `end` are offsets within its spelling."""

    def __init__(self, code: str, message: str, start: int, end: int, help: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.start = start
        self.end = end
        self.help = help


# -- strings -----------------------------------------------------------------------------------------------------------


def string_value(spelling: str) -> bytes:
    """The bytes of a string literal, given with its quotes. Text beyond ASCII stands for its UTF-8 bytes. Raises LiteralError."""
    if spelling[0] == "r":
        raw = _RAW.fullmatch(spelling)
        assert raw is not None
        return raw[2].encode()
    inner = spelling[1:-1]
    if "\\" not in inner:
        return inner.encode()
    parts = []
    at = 0
    for escape in _ESCAPE.finditer(inner):
        parts.append(inner[at : escape.start()].encode())
        parts.append(_escaped(escape))
        at = escape.end()
    parts.append(inner[at:].encode())
    return b"".join(parts)


def _escaped(escape: re.Match[str]) -> bytes:
    start, end = escape.start() + 1, escape.end() + 1
    if escape[1] is not None:
        return bytes([int(escape[1], 16)])
    if escape[2] is not None:
        value = int(escape[2], 8)
        if value > 0xFF:
            raise LiteralError("E0301", f"`{escape[0]}` is {value}, and a byte ends at 255", start, end, r"octal escapes go up to \377")
        return bytes([value])
    simple = _SIMPLE.get(escape[3])
    if simple is None:
        help = r"write \\ for a backslash, or a raw string: r" + '"..."; ' + r"escapes are \" \\ \n \r \t \xHH \OOO"
        raise LiteralError("E0301", f"`{escape[0]}` is no escape", start, end, help)
    return simple


def quoted(value: bytes) -> str:
    """`value` as a string literal."""
    parts = []
    for byte in value:
        char = chr(byte)
        if char in '"\\':
            parts.append("\\" + char)
        elif 0x20 <= byte < 0x7F:
            parts.append(char)
        else:
            parts.append(f"\\x{byte:02x}")
    return '"' + "".join(parts) + '"'


def bytes_value(spelling: str) -> bytes:
    """The bytes of a literal such as `01:2e:f3`. Raises LiteralError."""
    if _BYTES.fullmatch(spelling):
        return bytes.fromhex(spelling.replace(":", ""))
    help = "bytes are written as two hexadecimal digits each, with colons between: 01:2e:f3"
    raise LiteralError("E0302", f"`{spelling}` is no run of bytes", 0, len(spelling), help)


# -- numbers -----------------------------------------------------------------------------------------------------------


def split_range(spelling: str) -> tuple[str, str, int] | None:
    """The two ends of `a..b` and the offset of the second, or None where there is no `..`."""
    at = spelling.find("..")
    if at < 0:
        return None
    right = spelling[at + 2 :].lstrip(" \t")
    return spelling[:at].rstrip(" \t"), right, len(spelling) - len(right)


def number(spelling: str) -> int:
    """A number in decimal or hexadecimal. Raises LiteralError."""
    if _DECIMAL.fullmatch(spelling) and len(spelling) <= MAX_DIGITS:
        return int(spelling)
    if _HEX.fullmatch(spelling) and len(spelling) <= MAX_DIGITS:
        return int(spelling, 16)
    help = "numbers are decimal or hexadecimal: 80, 0x50"
    if len(spelling) > MAX_DIGITS:
        raise LiteralError("E0302", f"`{spelling[:12]}...` is too long for a number", 0, len(spelling))
    if re.fullmatch(r"-[0-9]+|-0[xX][0-9a-fA-F]+", spelling):
        raise LiteralError("E0305", f"`{spelling}` is below zero, and no value in a packet is", 0, len(spelling))
    if re.fullmatch(r"0[0-9]+", spelling):
        plain = spelling.lstrip("0") or "0"
        help = f"write {plain}" + (f", or 0x{int(spelling, 8):x} if octal was meant" if re.fullmatch("[0-7]+", spelling) else "")
        raise LiteralError("E0302", f"`{spelling}` starts with a zero: decimal or octal?", 0, len(spelling), help)
    raise LiteralError("E0302", f"`{spelling}` is no number", 0, len(spelling), help)


def number_range(spelling: str) -> tuple[int, int]:
    """Inclusive (low, high) of a number or of `a..b`. Raises LiteralError."""
    ends = split_range(spelling)
    if ends is None:
        value = number(spelling)
        return value, value
    left, right, offset = ends
    if not right:
        raise LiteralError("E0302", f"the range `{spelling}` has no end", 0, len(spelling), "a range names both ends, inclusive: 1..1024")
    low = number(left)
    try:
        high = number(right)
    except LiteralError as error:
        raise LiteralError(error.code, error.message, error.start + offset, error.end + offset, error.help) from None
    if low > high:
        help = f"write {right}..{left}"
        raise LiteralError("E0304", f"the range `{spelling}` runs backwards: {left} is more than {right}", 0, len(spelling), help)
    return low, high


# -- addresses ---------------------------------------------------------------------------------------------------------

BITS = {4: 32, 6: 128}
"""Address bits by IP version."""


def _packed(spelling: str) -> tuple[int, int] | None:
    try:
        if ":" in spelling:
            return 6, int.from_bytes(socket.inet_pton(socket.AF_INET6, spelling), "big")
        return 4, int.from_bytes(socket.inet_pton(socket.AF_INET, spelling), "big")
    except (OSError, ValueError):
        return None


def address_text(version: int, value: int) -> str:
    """An address in its usual spelling (RFC 5952 for IPv6)."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return socket.inet_ntop(family, value.to_bytes(BITS[version] // 8, "big"))


def address(spelling: str) -> tuple[int, int]:
    """(version, value) of an IPv4 or IPv6 address. Raises LiteralError."""
    found = _packed(spelling)
    if found is None:
        raise LiteralError("E0302", f"`{spelling}` is no address", 0, len(spelling), "an address looks like 192.0.2.7 or 2001:db8::7")
    return found


def address_range(spelling: str) -> tuple[int, int, int]:
    """(version, low, high), inclusive, of an address, a CIDR or `a..b`. Raises LiteralError."""
    base, slash, length = spelling.partition("/")
    if ".." in spelling:
        return _spelled_range(spelling)
    if not slash:
        version, value = address(spelling)
        return version, value, value
    found = _packed(base)
    if found is None:
        raise LiteralError("E0302", f"`{base}` is no address", 0, len(base), "a network looks like 192.0.2.0/24 or 2001:db8::/32")
    version, value = found
    bits = BITS[version]
    if not length.isascii() or not length.isdigit() or len(length) > 3 or int(length) > bits:
        raise LiteralError(
            "E0302", f"`/{length}` is no prefix length for IPv{version}", len(base), len(spelling), _mask_help(base, length, bits)
        )
    host = (1 << (bits - int(length))) - 1
    if value & host:
        network = f"{address_text(version, value & ~host)}/{int(length)}"
        help = f"write {network} for the network, or {base} for the one address"
        raise LiteralError("E0303", f"`{spelling}` has host bits set: the network is {network}", 0, len(spelling), help)
    return version, value, value | host


def _mask_help(base: str, length: str, bits: int) -> str:
    mask = _packed(length)
    if mask and mask[0] == 4 and bits == 32:
        ones = f"{mask[1]:032b}"
        if "01" not in ones:
            return f"write the netmask as a prefix length: {base}/{ones.count('1')}"
    return f"a prefix length is a number from 0 to {bits}"


def _spelled_range(spelling: str) -> tuple[int, int, int]:
    ends = split_range(spelling)
    assert ends is not None
    left, right, offset = ends
    if not right:
        help = "a range names both ends, inclusive: 192.0.2.1..192.0.2.9"
        raise LiteralError("E0302", f"the range `{spelling}` has no end", 0, len(spelling), help)
    version, low = address(left)
    found = _packed(right)
    if found is None:
        raise LiteralError("E0302", f"`{right}` is no address", offset, len(spelling), "an address looks like 192.0.2.7 or 2001:db8::7")
    if found[0] != version:
        raise LiteralError("E0306", f"the range `{spelling}` goes from IPv{version} to IPv{found[0]}", 0, len(spelling))
    if low > found[1]:
        raise LiteralError("E0304", f"the range `{spelling}` runs backwards", 0, len(spelling), f"write {right}..{left}")
    return version, low, found[1]


# -- patterns ----------------------------------------------------------------------------------------------------------


def wildcard_segments(pattern: bytes) -> tuple[bytes, ...]:
    """What stands between the `*` of a wildcard pattern; `\\*` and `\\\\` are the plain characters. Raises LiteralError."""
    segments = [bytearray()]
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        if byte == b"*":
            if pattern[at + 1 : at + 2] == b"*":
                raise LiteralError("E0307", "`**` says no more than `*`", at, at + 2, r"write one *, or \* for a plain asterisk")
            segments.append(bytearray())
        elif byte == b"\\":
            at += 1
            escaped = pattern[at : at + 1]
            if escaped not in (b"*", b"\\"):
                help = r'in a wildcard, \* is a plain asterisk and \\ a backslash (each backslash doubled again within "...")'
                raise LiteralError("E0307", "a backslash in a wildcard stands before `*` or `\\`", at - 1, at + 1, help)
            segments[-1] += escaped
        else:
            segments[-1] += byte
        at += 1
    return tuple(bytes(segment) for segment in segments)
