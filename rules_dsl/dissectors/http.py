"""HTTP/1 (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.header_lines import HeaderBlock, read_header_block
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_METHODS = (
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE",  # RFC 9110
    "PATCH",  # RFC 5789
    "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK",  # WebDAV (RFC 4918)
    "VERSION-CONTROL", "REPORT", "CHECKOUT", "CHECKIN", "UNCHECKOUT", "MKWORKSPACE", "UPDATE", "LABEL", "MERGE", "BASELINE-CONTROL",
    "MKACTIVITY",  # RFC 3253
    "ACL", "SEARCH", "MKCALENDAR", "BIND", "UNBIND", "REBIND",  # RFC 3744, 5323, 4791, 5842
)  # fmt: skip

_REQUEST = re.compile(rb"(?P<method>[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}) (?P<target>.+) (?P<version>HTTP/1\.[0-9])[ \t]*", re.DOTALL)
_CUT_REQUEST = re.compile(rf"(?P<method>{'|'.join(_METHODS)}) (?:/|\*|https?://)[^\x00-\x1f\x7f]*\r?".encode())
_CUT_CONNECT = re.compile(rb"(?P<method>CONNECT) [0-9A-Za-z\[][^\x00-\x1f\x7f]*\r?")
_RESPONSE = re.compile(rb"(?P<version>HTTP/1\.[0-9]) (?P<code>[0-9]{3})(?=[ \t\r]|\Z)")

_LINES = {
    "http.host": b"host",
    "http.user_agent": b"user-agent",
    "http.referer": b"referer",
    "http.cookie": b"cookie",
    "http.content_type": b"content-type",
    "http.server": b"server",
    "http.location": b"location",
    "http.authorization": b"authorization",
}
"""Header lines of which the first counts."""


def dissect_http(packet: Packet) -> Mapping[str, Value] | None:
    message = re.sub(rb"\A(?:\r?\n)+", b"", packet.tcp_payload or b"")
    block = read_header_block(message)
    values = _status_line(block, message) or _request_line(block, message)
    if values is None:
        return None
    for name, line in _LINES.items():
        values[name] = block.first(line)
    length = block.first(b"content-length")
    if length is not None and re.fullmatch(rb"[0-9]+", length):
        digits = length.lstrip(b"0")[:11] or b"0"  # eleven are too large, whatever follows
        values["http.content_length"] = min(int(digits), (1 << 32) - 1)
    values["http.x_forwarded_for"] = block.values(b"x-forwarded-for") or None
    values["http.header"] = block.lines or None
    values |= {"http": True, "http.truncated": not block.whole}
    return {name: value for name, value in values.items() if value is not None}


def _status_line(block: HeaderBlock, message: bytes) -> dict[str, Value] | None:
    line = block.start_line
    found = _RESPONSE.match(message.partition(b"\n")[0])
    if found is None:
        return None
    return {
        "http.request": False,
        "http.response": True,
        "http.version": found["version"],
        "http.response.version": found["version"],
        "http.code": int(found["code"]),
        "http.response.phrase": None if line is None else line[found.end() + 1 :],
    }


def _request_line(block: HeaderBlock, message: bytes) -> dict[str, Value] | None:
    line = block.start_line
    if line is None:
        cut = _CUT_REQUEST.fullmatch(message) or _CUT_CONNECT.fullmatch(message)
        return None if cut is None else {"http.request": True, "http.response": False, "http.method": cut["method"]}
    found = _REQUEST.fullmatch(line)
    if found is None:
        return None
    return {
        "http.request": True,
        "http.response": False,
        "http.method": found["method"],
        "http.uri": found["target"],
        "http.version": found["version"],
        "http.request.version": found["version"],
    }
