"""SSDP (UPnP Device Architecture 2.0 section 1): messages of HTTP's form in datagrams."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.header_lines import read_header_block
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_REQUEST = re.compile(rb"(M-SEARCH|NOTIFY) .+ HTTP/1\.[0-9][ \t]*", re.DOTALL)
_RESPONSE = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?:[ \t].*)?", re.DOTALL)

_LINES = ("st", "man", "mx", "nt", "nts", "usn", "host", "location", "server", "user-agent")


def dissect_ssdp(packet: Packet) -> Mapping[str, Value] | None:
    block = read_header_block(packet.udp_payload or b"")
    if block.start_line is None:
        return None
    request, response = _REQUEST.fullmatch(block.start_line), _RESPONSE.fullmatch(block.start_line)
    values: dict[str, Value] = {f"ssdp.{name.replace('-', '_')}": block.first(name.encode()) for name in _LINES}
    if request:
        values |= {"ssdp.response": False, "ssdp.method": request[1]}
    elif response:
        values |= {"ssdp.response": True, "ssdp.code": int(response[1])}
    else:
        return None
    values["ssdp"] = True
    return {name: value for name, value in values.items() if value is not None}
