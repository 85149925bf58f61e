"""The identification string of SSH (RFC 4253 section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet


def dissect_ssh(packet: Packet) -> Mapping[str, Value] | None:
    begin = re.match(rb"SSH-[0-9]+\.[0-9]+-", packet.tcp_payload or b"")
    if begin is None:
        return None
    assert packet.tcp_payload is not None
    values: dict[str, Value] = {"ssh": True}
    line, newline, _ = packet.tcp_payload.partition(b"\n")
    if newline:
        line = line.removesuffix(b"\r")
        values["ssh.protocol"] = line
        values["ssh.software"] = line[begin.end() :].partition(b" ")[0]
    return values
