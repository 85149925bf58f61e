"""The packet that an ICMP error quotes (RFC 792; RFC 4443 section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.dissectors.within import IPV4, IPV6, fields_within, packet_within
from rules_dsl.fields import Header
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_ERRORS = {Header.ICMP: (3, 4, 5, 11, 12), Header.ICMPV6: (1, 2, 3, 4)}
"""Types whose message is an IP header and what follows it."""


def dissect_icmp_inner(packet: Packet) -> Mapping[str, Value] | None:
    header = packet.transport_header
    if header is None or header not in _ERRORS:
        return None
    message = packet.transport(header)
    if message is None or message[0] not in _ERRORS[header]:
        return None
    inner = packet_within(_of_any_length(message[8:]), IPV4 if header is Header.ICMP else IPV6, packet)
    return None if inner is None else fields_within(inner, "icmp.inner", "ip.src", "ip.dst", "ip.proto", "ip.ttl")


def _of_any_length(quoted: bytes) -> bytes:
    """The quoted packet, stating the greatest length: what it states is the length before the cut, or nonsense."""
    at = 2 if quoted[:1] < b"\x50" else 4
    return quoted[:at] + b"\xff\xff" + quoted[at + 2 :]
