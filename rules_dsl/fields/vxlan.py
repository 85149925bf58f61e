"""The catalogue's fields of VXLAN."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

VXLAN: Final = Protocol(
    "vxlan",
    "Virtual eXtensible Local Area Network (RFC 7348)",
    (Header.UDP,),
    "UDP's payload begins with the 8 bytes of the header: the flags 0x08, reserved bytes of 0 and the network identifier; and behind them "
    "stands an Ethernet frame, with up to two VLAN tags, of IPv4, IPv6 (with such an IP header as `inner` asks for) or ARP "
    "(its first four bytes 00:01:08:00). On any port: header and frame together have enough marks.",
    (
        flag("vxlan", "A VXLAN header in front of a frame of IPv4, IPv6 or ARP.", wireshark="vxlan"),
        number("vxlan.vni", 24, "The VXLAN network identifier.", wireshark="vxlan.vni"),
    ),
)  # fmt: skip
