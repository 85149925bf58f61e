# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of the packet that an ICMP error quotes."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import address, flag, number
from rules_dsl.protocols import IP_PROTOCOLS

ICMP_INNER: Final = Protocol(
    "icmp.inner",
    "The packet that an ICMP error quotes (RFC 792, RFC 4443 section 3)",
    (Header.ICMP, Header.ICMPV6),
    "ICMP of type 3, 4, 5, 11 or 12, or ICMPv6 of type 1 to 4, with an IP header behind its 8 bytes: for ICMP the first 20 bytes of an "
    "IPv4 header with version 4 and a header length of at least 20, for ICMPv6 the 40 bytes of an IPv6 header with version 6. The "
    "length that the quoted header states is not looked at: the quoted packet is cut, and hosts and routers have changed that field. Its IPv6 "
    "extension headers are walked as the outermost packet's are, as far as they are quoted.",
    (
        flag("icmp.inner", "An ICMP error quotes an IP header."),
        address("icmp.inner.ip.src", "The source address of the quoted packet: whom the error is for."),
        address("icmp.inner.ip.dst", "The destination address of the quoted packet: what it did not reach."),
        number("icmp.inner.ip.proto", 8, "The transport protocol of the quoted packet; absent where the chain of extension headers is cut.", names=IP_PROTOCOLS),
        number("icmp.inner.ip.ttl", 8, "Time to live, or IPv6's hop limit, of the quoted packet."),
        number("icmp.inner.srcport", 16, "The source port of the quoted packet, of TCP, UDP or SCTP; absent for other protocols, for later fragments and where the quotation ends before it."),
        number("icmp.inner.dstport", 16, "The destination port of the quoted packet, of TCP, UDP or SCTP; absent for other protocols, for later fragments and where the quotation ends before it."),
    ),
)  # fmt: skip
