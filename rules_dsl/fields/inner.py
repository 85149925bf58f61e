# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of the packet that a tunnel carries."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import address, flag, number
from rules_dsl.protocols import IP_PROTOCOLS

INNER: Final = Protocol(
    "inner",
    "The IP packet inside a tunnel: IP in IP (RFC 2003, RFC 2473, RFC 4213), GRE (RFC 2784), VXLAN, GENEVE",
    (Header.IPIP, Header.IPV6_IN_IP, Header.GRE, Header.UDP),
    "The packet carries an IP packet: right behind its IP header (protocol 4: IPv4, 41: IPv6); in GRE of version 0 without a routing "
    "field, as IPv4 (EtherType 0x0800), IPv6 (0x86dd), an Ethernet frame (0x6558), or an Ethernet frame in ERSPAN (0x88be without a "
    "sequence number; 0x88be with one and ERSPAN version 1; 0x22eb with ERSPAN version 2); or in a message of `vxlan` or `geneve`. An "
    "Ethernet frame may have up to two VLAN tags. The inner packet's IP header must be there, whole for IPv6, its first 20 bytes for "
    "IPv4, with the version that the tunnel names; for IPv4 with a header length of at least 20 and a total length of at least the "
    "header's. Then it is judged as an outermost packet is: cut to its own length, with its own fragments and extension headers. "
    "Only the first tunnel is looked into: what the inner packet carries in turn is not.",
    (
        flag("inner", "A tunnel carries an IP packet, whose header is there."),
        address("inner.ip.src", "The source address of the packet in the tunnel."),
        address("inner.ip.dst", "The destination address of the packet in the tunnel."),
        number("inner.ip.version", 4, "4 or 6, of the packet in the tunnel."),
        number("inner.ip.proto", 8, "The transport protocol of the packet in the tunnel, as `ip.proto` is of the outermost one.", names=IP_PROTOCOLS),
        number("inner.ip.ttl", 8, "Time to live, or IPv6's hop limit, of the packet in the tunnel."),
        number("inner.srcport", 16, "The source port of the packet in the tunnel, of TCP, UDP or SCTP; absent for other protocols and for later fragments."),
        number("inner.dstport", 16, "The destination port of the packet in the tunnel, of TCP, UDP or SCTP; absent for other protocols and for later fragments."),
    ),
)  # fmt: skip
