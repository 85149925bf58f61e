"""The catalogue's fields of GENEVE."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

GENEVE: Final = Protocol(
    "geneve",
    "Generic Network Virtualization Encapsulation (RFC 8926)",
    (Header.UDP,),
    "UDP's payload has the 8 bytes of the header, with version 0, and the options, whose length the header states. To any port but 6081 "
    "the reserved bits are 0, the protocol is 0x0800 (IPv4), 0x86dd (IPv6) or 0x6558 (Ethernet), and behind the options stands a packet of "
    "that kind: with such an IP header as `inner` asks for, or an Ethernet frame, with up to two VLAN tags, of IPv4, IPv6 or ARP "
    "(its first four bytes 00:01:08:00).",
    (
        flag("geneve", "A GENEVE header.", wireshark="geneve"),
        number("geneve.vni", 24, "The virtual network identifier.", wireshark="geneve.vni"),
    ),
)  # fmt: skip
