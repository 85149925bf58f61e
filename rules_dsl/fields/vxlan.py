"""The catalogue's fields of VXLAN."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number

VXLAN: Final = Protocol(
    "vxlan",
    "Virtual eXtensible Local Area Network (RFC 7348)",
    (Header.UDP,),
    "UDP's payload has at least the 8 bytes of the header. To port 4789 (IANA's) or 8472 (Linux's default) the flag 0x08 is set. To any "
    "other port the header is 08:00:00:00, the network identifier and a 0, and behind it stands an Ethernet frame, with up to two "
    "VLAN tags, of IPv4, IPv6 (with such an IP header as `inner` asks for) or ARP (its first four bytes 00:01:08:00).",
    (
        flag("vxlan", "A VXLAN header.", wireshark="vxlan"),
        number("vxlan.vni", 24, "The VXLAN network identifier.", wireshark="vxlan.vni"),
    ),
)  # fmt: skip
