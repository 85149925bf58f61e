"""SIP (RFC 3261 section 7)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.header_lines import read_header_block
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_END = rb"(?:\r?\n|\r?\Z)"
_REQUEST_LINE = re.compile(rb"([-.!%*_+`'~0-9A-Za-z]+) ([A-Za-z][-+.0-9A-Za-z]*:[^ \r\n\0]+) SIP/2\.0" + _END)
_STATUS_LINE = re.compile(rb"SIP/2\.0 ([0-9]{3}) [^\r\n\0]*" + _END)
_EMPTY_LINE = re.compile(rb"\n\r?\n")

_MANDATORY = ((b"to", b"t"), (b"from", b"f"), (b"cseq",), (b"call-id", b"i"), (b"via", b"v"))
"""RFC 3261 section 8.1.1, without Max-Forwards; compact forms of section 7.3.3 and 20."""

_TEXTS: Mapping[str, tuple[bytes, ...]] = {
    "sip.from": (b"from", b"f"),
    "sip.to": (b"to", b"t"),
    "sip.call_id": (b"call-id", b"i"),
    "sip.cseq": (b"cseq",),
    "sip.via": (b"via", b"v"),
    "sip.contact": (b"contact", b"m"),
    "sip.user_agent": (b"user-agent",),
    "sip.server": (b"server",),
    "sip.content_type": (b"content-type", b"c"),
}

_URI_IN_HEADER = re.compile(rb'(?:(?:[^"<]|"(?:[^"\\]|\\.)*")*<)??[ \t]*sips?:', re.IGNORECASE | re.DOTALL)
"""Up to the scheme: the URI begins at once, or behind a display name, in quotes perhaps, and `<` (RFC 3261 section 20.10)."""
_USER = re.compile(rb'([^@<>" \t]*)@')


def dissect_sip(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.udp_payload if packet.udp_payload is not None else packet.tcp_payload
    if message is None:
        return None
    request, status = _REQUEST_LINE.match(message), _STATUS_LINE.match(message)
    block = read_header_block(message, blanks_before_colon=True)
    if (request is None and status is None) or (block.whole and not all(block.values(*names) for names in _MANDATORY)):
        return None

    values: dict[str, Value] = {"sip": True, "sip.request": request is not None, "sip.response": status is not None}
    if request is not None:
        values["sip.method"], values["sip.uri"] = request.groups()
    if status is not None:
        values["sip.code"] = int(status[1])
    for field, names in _TEXTS.items():
        value = block.first(*names)
        if value is not None:
            values[field] = value
    for field in ("sip.from", "sip.to"):
        user = _user(block.first(*_TEXTS[field]))
        if user is not None:
            values[f"{field}.user"] = user
    forwards = _number(block.first(b"max-forwards"))
    if forwards is not None:
        values["sip.max_forwards"] = forwards

    empty_line = _EMPTY_LINE.search(message)
    body = len(message) - empty_line.end() if empty_line is not None else 0
    values["sip.truncated"] = empty_line is None or body < (_number(block.first(b"content-length", b"l")) or 0)
    return values


def _user(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    scheme = _URI_IN_HEADER.match(value)
    user = _USER.match(value, scheme.end()) if scheme is not None else None
    return None if user is None else user[1]


def _number(value: bytes | None) -> int | None:
    """Of one to ten digits and at most 32 bits."""
    if value is None or re.fullmatch(rb"[0-9]{1,10}", value) is None:
        return None
    number = int(value)
    return number if number < 1 << 32 else None
