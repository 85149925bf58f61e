"""The catalogue's fields of GENEVE."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

GENEVE: Final = Protocol(
    "geneve",
    "Generic Network Virtualization Encapsulation (RFC 8926)",
    (Header.UDP,),
    "UDP's payload begins with the 8 bytes of the header: version 0, reserved bits of 0, and the protocol 0x0800 (IPv4), 0x86dd (IPv6) or "
    "0x6558 (Ethernet); behind the options, whose length the header states, stands a packet of that kind, with such an IP header as "
    "`inner` asks for, or an Ethernet frame, with up to two VLAN tags, of IPv4, IPv6 or ARP (its first four bytes "
    "00:01:08:00). On any port: header and packet together have enough marks.",
    (
        flag("geneve", "A GENEVE header in front of a packet or frame of IPv4, IPv6 or ARP.", wireshark="geneve"),
        number("geneve.vni", 24, "The virtual network identifier.", wireshark="geneve.vni"),
    ),
)  # fmt: skip
