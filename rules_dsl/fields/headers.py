# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of headers: addresses, IP, the transport headers, and the packet's place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rules_dsl.fields.model import Bits, Field, Header, Type
from rules_dsl.protocols import IP_PROTOCOLS


def _number(
    name: str, group: str, bits: int, summary: str, *at: Bits, aliases: tuple[str, ...] = (), wireshark: str | None = None,
    names: Mapping[str, int] | None = None, multiple: bool = False,
) -> Field:  # fmt: skip
    return Field(name, Type.INT, group, summary, (1 << bits) - 1, at, aliases, names, multiple, wireshark=wireshark)


def _flag(name: str, group: str, summary: str, *at: Bits, aliases: tuple[str, ...] = (), wireshark: str | None = None) -> Field:
    return Field(name, Type.BOOL, group, summary, 1, at, aliases, wireshark=wireshark)


def _address(name: str, summary: str, v4_offset: int, v6_offset: int, alias: str) -> Field:
    at = (Bits(Header.IPV4, v4_offset, 32), Bits(Header.IPV6, v6_offset, 128))
    return Field(name, Type.ADDRESS, "address", summary, at=at, aliases=(alias,), wireshark=name)


def _text(name: str, group: str, summary: str, wireshark: str | None = None) -> Field:
    return Field(name, Type.BYTES, group, summary, wireshark=wireshark)


def _tcp_flag(name: str, bit: int, meaning: str, alias: str | None = None) -> Field:
    aliases = (alias,) if alias else ()
    return _flag(f"tcp.flags.{name}", "l4", f"The TCP {meaning} flag is set.", Bits(Header.TCP, 104 + bit, 1), aliases=aliases,
                 wireshark=alias or f"tcp.flags.{name}")  # fmt: skip


HEADER_FIELDS: Final[tuple[Field, ...]] = (
    # address
    _address("ip.src", "The source address, IPv4 or IPv6.", 96, 64, "ipv6.src"),
    _address("ip.dst", "The destination address, IPv4 or IPv6.", 128, 192, "ipv6.dst"),
    _text("ip.src.country", "address", "ISO 3166-1 alpha-2 code of the source address's country, from the operator's file; absent where the file does not know the address."),
    _text("ip.dst.country", "address", "ISO 3166-1 alpha-2 code of the destination address's country; absent where unknown."),
    Field("ip.geoip.country", Type.BYTES, "address", "The country of the source or of the destination address: a test is true where one of the two passes.", multiple=True),
    _number("ip.src.asnum", "address", 32, "The autonomous system number that announces the source address; absent where unknown."),
    _number("ip.dst.asnum", "address", 32, "The autonomous system number that announces the destination address; absent where unknown."),
    # ip
    _flag("ip", "ip", "The packet is IPv4 or IPv6: true for every packet that a rule sees."),
    _number("ip.version", "ip", 4, "4 or 6.", Bits(Header.IPV4, 0, 4), Bits(Header.IPV6, 0, 4), wireshark="ip.version"),
    _number("ip.proto", "ip", 8, "The transport protocol: IPv4's protocol field, or for IPv6 the protocol after the extension headers; absent where the chain of extension headers is cut.", names=IP_PROTOCOLS, wireshark="ip.proto"),
    _number("ip.len", "ip", 17, "The packet's length by its IP header, in bytes: IPv4's total length, or IPv6's payload length plus 40.", Bits(Header.IPV4, 16, 16), Bits(Header.IPV6, 32, 16, add=40), wireshark="ip.len"),
    _number("ip.hdr_len", "ip", 8, "The IP header's length in bytes; 40 for IPv6.", Bits(Header.IPV4, 4, 4, scale=4), Bits(Header.IPV6, 0, 4, scale=0, add=40), wireshark="ip.hdr_len"),
    _number("ip.opt.type", "ip", 8, "The first byte of the IPv4 options; absent without options.", aliases=("ip.option_type",), wireshark="ip.opt.type"),
    _number("ip.ttl", "ip", 8, "Time to live, or IPv6's hop limit.", Bits(Header.IPV4, 64, 8), Bits(Header.IPV6, 56, 8), wireshark="ip.ttl"),
    _number("ip.id", "ip", 16, "IPv4's identification; absent for IPv6.", Bits(Header.IPV4, 32, 16), wireshark="ip.id"),
    _number("ip.dscp", "ip", 6, "Differentiated services code point (RFC 2474).", Bits(Header.IPV4, 8, 6), Bits(Header.IPV6, 4, 6), aliases=("ip.dsfield.dscp",), wireshark="ip.dsfield.dscp"),
    _number("ip.ecn", "ip", 2, "Explicit congestion notification (RFC 3168).", Bits(Header.IPV4, 14, 2), Bits(Header.IPV6, 10, 2), aliases=("ip.dsfield.ecn",), wireshark="ip.dsfield.ecn"),
    _flag("ip.frag", "ip", "The packet is a fragment: IPv4 with an offset or more fragments to come, IPv6 with a fragment header."),
    _number("ip.frag.offset", "ip", 16, "The fragment's offset in bytes; 0 for an IPv4 packet that is no fragment, absent for an IPv6 packet without a fragment header.", Bits(Header.IPV4, 51, 13, scale=8), Bits(Header.FRAGMENT, 16, 13, scale=8), aliases=("ip.frag_offset",), wireshark="ip.frag_offset"),
    _flag("ip.frag.more", "ip", "More fragments follow.", Bits(Header.IPV4, 50, 1), Bits(Header.FRAGMENT, 31, 1), aliases=("ip.flags.mf",), wireshark="ip.flags.mf"),
    _flag("ip.flags.df", "ip", "IPv4's don't-fragment flag is set; false for IPv6.", Bits(Header.IPV4, 49, 1), wireshark="ip.flags.df"),
    _flag("ip.checksum.valid", "ip", "The IPv4 header checksum is right; false for IPv6, which has none. (The kernel drops an IPv4 packet with a wrong one before any rule.)"),
    _number("ipv6.flow", "ip", 20, "IPv6's flow label; absent for IPv4.", Bits(Header.IPV6, 12, 20), wireshark="ipv6.flow"),
    _number("ipv6.exthdr", "ip", 8, "The protocol numbers of the IPv6 extension headers that are in the packet before the transport header (many values); absent without any.", names=IP_PROTOCOLS, multiple=True),
    # l4
    _flag("tcp", "l4", "A TCP header is there, whole and with a header length of at least 20 bytes.", wireshark="tcp"),
    _number("tcp.srcport", "l4", 16, "TCP source port.", Bits(Header.TCP, 0, 16), wireshark="tcp.srcport"),
    _number("tcp.dstport", "l4", 16, "TCP destination port.", Bits(Header.TCP, 16, 16), wireshark="tcp.dstport"),
    _number("tcp.seq", "l4", 32, "TCP sequence number, as on the wire.", Bits(Header.TCP, 32, 32), aliases=("tcp.seq_raw",), wireshark="tcp.seq_raw"),
    _number("tcp.ack", "l4", 32, "TCP acknowledgment number, as on the wire.", Bits(Header.TCP, 64, 32), aliases=("tcp.ack_raw",), wireshark="tcp.ack_raw"),
    _number("tcp.hdr_len", "l4", 6, "TCP header length in bytes.", Bits(Header.TCP, 96, 4, scale=4), wireshark="tcp.hdr_len"),
    _number("tcp.flags", "l4", 8, "The byte of TCP flags, CWR the highest bit and FIN the lowest.", Bits(Header.TCP, 104, 8), wireshark="tcp.flags"),
    _tcp_flag("cwr", 0, "CWR"),
    _tcp_flag("ecn", 1, "ECE", alias="tcp.flags.ece"),
    _tcp_flag("urg", 2, "URG"),
    _tcp_flag("ack", 3, "ACK"),
    _tcp_flag("push", 4, "PSH"),
    _tcp_flag("reset", 5, "RST"),
    _tcp_flag("syn", 6, "SYN"),
    _tcp_flag("fin", 7, "FIN"),
    _number("tcp.window", "l4", 16, "TCP window, unscaled.", Bits(Header.TCP, 112, 16), aliases=("tcp.window_size_value",), wireshark="tcp.window_size_value"),
    _number("tcp.options.mss", "l4", 16, "The value of the TCP maximum segment size option (RFC 9293 section 3.7.1); absent without one.", aliases=("tcp.options.mss_val",), wireshark="tcp.options.mss_val"),
    _text("tcp.payload", "l4", "What follows the TCP header; absent where the header is not whole.", wireshark="tcp.payload"),
    _number("tcp.payload.len", "l4", 17, "The length of tcp.payload in bytes.", aliases=("tcp.len",), wireshark="tcp.len"),
    _flag("udp", "l4", "A UDP header is there, whole.", wireshark="udp"),
    _number("udp.srcport", "l4", 16, "UDP source port.", Bits(Header.UDP, 0, 16), wireshark="udp.srcport"),
    _number("udp.dstport", "l4", 16, "UDP destination port.", Bits(Header.UDP, 16, 16), wireshark="udp.dstport"),
    _number("udp.length", "l4", 16, "The UDP header's length field, in bytes.", Bits(Header.UDP, 32, 16), wireshark="udp.length"),
    _text("udp.payload", "l4", "What follows the UDP header, up to udp.length or the packet's end; absent where the header is not whole or its length below 8.", wireshark="udp.payload"),
    _number("udp.payload.len", "l4", 17, "The length of udp.payload in bytes."),
    _flag("icmp", "l4", "An ICMP header of 8 bytes is there, in IPv4.", wireshark="icmp"),
    _number("icmp.type", "l4", 8, "ICMP type (IPv4).", Bits(Header.ICMP, 0, 8), wireshark="icmp.type"),
    _number("icmp.code", "l4", 8, "ICMP code (IPv4).", Bits(Header.ICMP, 8, 8), wireshark="icmp.code"),
    _flag("icmpv6", "l4", "An ICMPv6 header of 8 bytes is there, in IPv6.", wireshark="icmpv6"),
    _number("icmpv6.type", "l4", 8, "ICMPv6 type.", Bits(Header.ICMPV6, 0, 8), wireshark="icmpv6.type"),
    _number("icmpv6.code", "l4", 8, "ICMPv6 code.", Bits(Header.ICMPV6, 8, 8), wireshark="icmpv6.code"),
    _flag("sctp", "l4", "An SCTP common header is there, whole.", wireshark="sctp"),
    _number("sctp.srcport", "l4", 16, "SCTP source port.", Bits(Header.SCTP, 0, 16), wireshark="sctp.srcport"),
    _number("sctp.dstport", "l4", 16, "SCTP destination port.", Bits(Header.SCTP, 16, 16), wireshark="sctp.dstport"),
    _flag("gre", "l4", "A GRE header is there (its first 4 bytes).", wireshark="gre"),
    _number("gre.proto", "l4", 16, "The EtherType of what GRE carries.", Bits(Header.GRE, 16, 16), wireshark="gre.proto"),
    _flag("esp", "l4", "An ESP header is there, whole.", wireshark="esp"),
    _number("esp.spi", "l4", 32, "ESP security parameters index.", Bits(Header.ESP, 0, 32), wireshark="esp.spi"),
    _text("payload", "l4", "Whatever follows the transport header: tcp.payload, udp.payload, after 12 bytes of SCTP, 8 of ICMP, ICMPv6 and ESP, after GRE's header with its optional words, and for any other protocol all that follows the IP headers; absent for a later fragment and where the header is not whole."),
    _number("payload.len", "l4", 17, "The length of payload in bytes."),
    # place
    _text("cf.colo.name", "place", "The name of the node that judges the packet."),
    _text("cf.colo.region", "place", "The region of the node that judges the packet."),
    _text("interface.in", "place", "The name of the interface that the packet came in by; absent at hook output."),
    _text("interface.out", "place", "The name of the interface that the packet will leave by; absent at hooks prerouting and input."),
    _number("meta.mark", "place", 32, "The packet's mark in the kernel (skb->mark), 0 where nothing set it."),
    _number("vlan.id", "place", 12, "The outermost VLAN id of the VLAN interface that the packet came in by; absent for an untagged packet.", wireshark="vlan.id"),
    _text("ct.state", "place", "The connection's state: new, established, related, invalid or untracked."),
    _text("ct.direction", "place", "original or reply."),
)  # fmt: skip
