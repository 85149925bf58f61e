# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of DHCP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import address, flag, number, text

DHCP: Final = Protocol(
    "dhcp",
    "Dynamic Host Configuration Protocol for IPv4 (RFC 2131, options RFC 2132)",
    (Header.UDP,),
    "UDP's payload has at least 240 bytes, an operation code of 1 or 2, a hardware address length of at most 16, and the magic cookie "
    "63:82:53:63 at byte 236. Options are those in the first 2,048 bytes behind the cookie, up to the end option or to one that is not whole there; "
    "those in the fields `file` and `sname` are not read.",
    (
        flag("dhcp", "A message of DHCP.", wireshark="dhcp"),
        number("dhcp.op", 8, "The operation code: 1 is sent by clients, 2 by servers.", aliases=("dhcp.type",), wireshark="dhcp.type"),
        number("dhcp.hw.type", 8, "The type of hardware address: 1 is Ethernet.", wireshark="dhcp.hw.type"),
        text("dhcp.hw.mac_addr", "The client's hardware address; absent where its type is not 1 or 6 (IEEE 802) or its length not 6.", wireshark="dhcp.hw.mac_addr"),
        number("dhcp.hops", 8, "Relay agents that the message has passed.", wireshark="dhcp.hops"),
        number("dhcp.id", 32, "The transaction id.", wireshark="dhcp.id"),
        number("dhcp.secs", 16, "Seconds since the client began, as the client has them (some write them with the low byte first).", wireshark="dhcp.secs"),
        address("dhcp.ip.client", "The address that the client has (ciaddr).", wireshark="dhcp.ip.client"),
        address("dhcp.ip.your", "The address that the client is given (yiaddr).", wireshark="dhcp.ip.your"),
        address("dhcp.ip.server", "The server of the next step of booting (siaddr).", wireshark="dhcp.ip.server"),
        address("dhcp.ip.relay", "The relay agent (giaddr).", wireshark="dhcp.ip.relay"),
        number("dhcp.option.type", 8, "The options' codes, of the first 64, without pads and the end; absent where there is none.", multiple=True, bound=64, wireshark="dhcp.option.type"),
        number("dhcp.option.dhcp", 8, "The message type (option 53): 1 discover, 2 offer, 3 request, 4 decline, 5 ack, 6 nak, 7 release, 8 inform; absent where there is no such option of one byte.", aliases=("dhcp.option.message_type",), wireshark="dhcp.option.dhcp"),
        text("dhcp.option.hostname", "The client's name (option 12) up to the first NUL, of the first such option; absent where there is none.", wireshark="dhcp.option.hostname"),
        text("dhcp.option.vendor_class_id", "The vendor class (option 60) up to the first NUL: `MSFT 5.0`, `android-dhcp-14`; absent where there is none.", wireshark="dhcp.option.vendor_class_id"),
        address("dhcp.option.requested_ip_address", "The address that the client asks for (option 50); absent where there is no such option of four bytes.", wireshark="dhcp.option.requested_ip_address"),
    ),
)  # fmt: skip
