"""A packet within a packet: its headers are found and its fields are read as an outermost packet's are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules_dsl.fields import FIELDS, Header
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

IPV4, IPV6, ARP, TRANSPARENT_ETHERNET = 0x0800, 0x86DD, 0x0806, 0x6558
"""EtherTypes."""
_VLAN_TAGS = (0x8100, 0x88A8)

_WITH_PORTS = (Header.TCP, Header.UDP, Header.SCTP)


def packet_within(data: bytes, ether_type: int, outer: Packet) -> Packet | None:
    """The IP packet that `data` begins with, of the version that the EtherType says, cut to its own length; None where its header
    is not there or cannot be."""
    version = data[0] >> 4 if data else None
    if ether_type == IPV4:
        header_length = (data[0] & 15) * 4 if data else 0
        if version != 4 or len(data) < 20 or not 20 <= header_length <= int.from_bytes(data[2:4], "big"):
            return None
    elif ether_type != IPV6 or version != 6 or len(data) < 40:
        return None
    return type(outer)(data, outer.place)


def packet_in_frame(frame: bytes, outer: Packet) -> Packet | None:
    """The IP packet in an Ethernet frame."""
    ether_type, content = ethernet(frame)
    return packet_within(content, ether_type, outer)


def is_ip_or_arp(frame: bytes, outer: Packet) -> bool:
    """The Ethernet frame holds IPv4, IPv6 or ARP, and begins like it."""
    ether_type, content = ethernet(frame)
    return packet_within(content, ether_type, outer) is not None or (ether_type == ARP and content[:4] == b"\x00\x01\x08\x00")


def ethernet(frame: bytes) -> tuple[int, bytes]:
    """EtherType and content of an Ethernet frame, behind at most two VLAN tags; EtherType 0 where the frame ends before it."""
    at = 12
    for _ in range(2):
        if int.from_bytes(frame[at : at + 2], "big") in _VLAN_TAGS:
            at += 4
    return (int.from_bytes(frame[at : at + 2], "big"), frame[at + 2 :]) if at + 2 <= len(frame) else (0, b"")


def fields_within(inner: Packet, prefix: str, *names: str) -> dict[str, Value]:
    """The fields `names` and the ports of a packet within, under names that begin with `prefix`; without the absent ones."""
    values: dict[str, Value] = {f"{prefix}.{name}": inner.value(FIELDS[name]) for name in names}
    transport = inner.transport_header
    if transport in _WITH_PORTS:
        for port in ("srcport", "dstport"):
            values[f"{prefix}.{port}"] = inner.value(FIELDS[f"{transport.value}.{port}"])
    return {prefix: True, **{name: value for name, value in values.items() if value is not None}}
