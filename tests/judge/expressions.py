"""Pairs of expressions that mean the same: Mantlet's, and a Wireshark display filter for the outermost packet.

Wireshark dissects tunnels and quoted packets too, so a filter says that its header belongs to the outermost packet: `OUTER_IP`
and `under(...)` look at the order of layers in `frame.protocols`, and `#1` selects the outermost of several equal layers.
Where Mantlet's field covers IPv4 and IPv6 alike, the filter names Wireshark's two fields.
"""

from __future__ import annotations

_BEFORE = r"^(?:(?!(?:ip|ipv6)(?::|$))[^:]+:)*"
_EXTENSIONS = r"(?::ipv6\.[a-z0-9]+|:ah)*"


def layers(pattern: str) -> str:
    """The names of the frame's layers match."""
    escaped = pattern.replace("\\", "\\\\")
    return f'frame.protocols matches "{escaped}"'


IPV4 = layers(_BEFORE + r"ip(?::|$)")
"""The outermost packet is IPv4."""
IPV6 = layers(_BEFORE + r"ipv6(?::|$)")
ANY_IP = layers(_BEFORE + r"(?:ip|ipv6)(?::|$)")


def before_transport(ip: str) -> str:
    """A pattern for the layers up to the transport header's, which follows with its colon."""
    return rf"{_BEFORE}(?:{ip}){_EXTENSIONS}"


def under(protocol: str) -> str:
    """The transport header right under the outermost IP header (and its extension headers) is `protocol`."""
    return layers(rf"{_BEFORE}(?:ip:|ipv6{_EXTENSIONS}:){protocol}(?::|$)")


def extension(name: str) -> str:
    """The outermost IPv6 header has an extension header that Wireshark calls `name`."""
    return layers(rf"{_BEFORE}ipv6{_EXTENSIONS}:{name}(?::|$)")


def fragment(test: str) -> str:
    return f"({extension('ipv6.fraghdr')} and ipv6.fraghdr.{test})"


TAGGED = layers(_BEFORE + "vlan:")
"""A VLAN tag stands before the outermost IP header."""


def v4(test: str) -> str:
    return f"({IPV4} and {test})"


def v6(test: str) -> str:
    return f"({IPV6} and {test})"


def tcp(test: str) -> str:
    return f"({under('tcp')} and {test})"


def udp(test: str) -> str:
    return f"({under('udp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    # addresses
    ("ip.src == 192.168.1.2", v4("ip.src#1 == 192.168.1.2")),
    ("ip.src in {10.0.0.0/8}", v4("ip.src#1 == 10.0.0.0/8")),
    ("ip.dst in {192.168.0.0/16 172.16.0.0/12}", v4("(ip.dst#1 == 192.168.0.0/16 or ip.dst#1 == 172.16.0.0/12)")),
    ("ip.dst in {224.0.0.0/4}", v4("ip.dst#1 == 224.0.0.0/4")),
    ("ip.dst == 255.255.255.255", v4("ip.dst#1 == 255.255.255.255")),
    ("ip.src in {10.0.0.1..10.0.3.255}", v4("(ip.src#1 >= 10.0.0.1 and ip.src#1 <= 10.0.3.255)")),
    ("ip.src in {fe80::/10}", v6("ipv6.src#1 == fe80::/10")),
    ("ip.dst in {ff02::/16}", v6("ipv6.dst#1 == ff02::/16")),
    ("ip.src == ::", v6("ipv6.src#1 == ::")),
    ("ip.src != 192.168.1.2", f"({ANY_IP} and not {v4('ip.src#1 == 192.168.1.2')})"),
    # ip
    ("ip", ANY_IP),
    ("ip.version == 4", v4("ip.version#1 == 4")),
    ("ip.version == 6", v6("ipv6.version#1 == 6")),
    ("ip.ttl == 64", f"({v4('ip.ttl#1 == 64')} or {v6('ipv6.hlim#1 == 64')})"),
    ("ip.ttl < 5", f"({v4('ip.ttl#1 < 5')} or {v6('ipv6.hlim#1 < 5')})"),
    ("ip.ttl in {128..255}", f"({v4('ip.ttl#1 >= 128')} or {v6('ipv6.hlim#1 >= 128')})"),
    ("ip.len > 1000", f"({v4('ip.len#1 > 1000')} or {v6('ipv6.plen#1 > 960')})"),
    ("ip.len <= 60", f"({v4('ip.len#1 <= 60')} or {v6('ipv6.plen#1 <= 20')})"),
    ("ip.hdr_len > 20 and ip.version == 4", v4("ip.hdr_len#1 > 20")),
    ("ip.hdr_len == 24", v4("ip.hdr_len#1 == 24")),
    ("ip.opt.type == 148", v4("ip.opt.type#1 == 148")),
    ("ip.id == 0", v4("ip.id#1 == 0")),
    ("ip.id > 0x8000", v4("ip.id#1 > 0x8000")),
    ("ip.dscp == 46", f"({v4('ip.dsfield.dscp#1 == 46')} or {v6('ipv6.tclass.dscp#1 == 46')})"),
    ("ip.dscp > 0", f"({v4('ip.dsfield.dscp#1 > 0')} or {v6('ipv6.tclass.dscp#1 > 0')})"),
    ("ip.ecn in {1..3}", f"({v4('ip.dsfield.ecn#1 > 0')} or {v6('ipv6.tclass.ecn#1 > 0')})"),
    ("ip.flags.df", v4("ip.flags.df#1 == 1")),
    ("ip.frag.more", f"({v4('ip.flags.mf#1 == 1')} or {fragment('more#1 == 1')})"),
    ("ip.frag.offset > 0", f"({v4('ip.frag_offset#1 > 0')} or {fragment('offset#1 > 0')})"),
    ("ip.frag", f"({v4('(ip.frag_offset#1 > 0 or ip.flags.mf#1 == 1)')} or {extension('ipv6.fraghdr')})"),
    ("ipv6.flow > 0", v6("ipv6.flow#1 > 0")),
    ("ipv6.exthdr == 0", extension("ipv6.hopopts")),
    ("ipv6.exthdr == 43", extension("ipv6.routing")),
    ("ipv6.exthdr == 44", extension("ipv6.fraghdr")),
    ('ip.proto == "icmp" and ip.version == 4', v4("ip.proto#1 == 1")),
    ('ip.proto in {"ospf" "pim" "vrrp" "eigrp"} and ip.version == 4', v4("ip.proto#1 in {89, 103, 112, 88}")),
    ("ip.proto > 17 and ip.version == 4", v4("ip.proto#1 > 17")),
    # tcp
    ("tcp.srcport == 80", tcp("tcp.srcport#1 == 80")),
    ("tcp.dstport in {80 443 8080}", tcp("tcp.dstport#1 in {80, 443, 8080}")),
    ("tcp.dstport in {1..1023}", tcp("(tcp.dstport#1 >= 1 and tcp.dstport#1 <= 1023)")),
    ("not tcp.dstport == 443 and tcp", tcp("not tcp.dstport#1 == 443")),
    ("tcp.seq > 0x80000000", tcp("tcp.seq_raw#1 > 0x80000000")),
    ("tcp.ack == 0", tcp("tcp.ack_raw#1 == 0")),
    ("tcp.hdr_len > 20", tcp("tcp.hdr_len#1 > 20")),
    ("tcp.hdr_len == 32", tcp("tcp.hdr_len#1 == 32")),
    ("tcp.flags.syn and not tcp.flags.ack", tcp("(tcp.flags.syn#1 == 1 and tcp.flags.ack#1 == 0)")),
    ("tcp.flags.syn and tcp.flags.ack", tcp("(tcp.flags.syn#1 == 1 and tcp.flags.ack#1 == 1)")),
    ("tcp.flags.fin", tcp("tcp.flags.fin#1 == 1")),
    ("tcp.flags.reset", tcp("tcp.flags.reset#1 == 1")),
    ("tcp.flags.push", tcp("tcp.flags.push#1 == 1")),
    ("tcp.flags.urg", tcp("tcp.flags.urg#1 == 1")),
    ("tcp.flags.ecn or tcp.flags.cwr", tcp("(tcp.flags.ece#1 == 1 or tcp.flags.cwr#1 == 1)")),
    ("tcp.flags == 0x18", tcp("tcp.flags#1 & 0xff == 0x18")),
    ("tcp.flags & 0x05", tcp("tcp.flags#1 & 0x05")),
    ("tcp.window < 1024", tcp("tcp.window_size_value#1 < 1024")),
    ("tcp.options.mss == 1460", tcp("tcp.options.mss_val#1 == 1460")),
    ("tcp.options.mss < 1400", tcp("tcp.options.mss_val#1 < 1400")),
    # udp
    ("udp.dstport == 53", udp("udp.dstport#1 == 53")),
    ("udp.srcport in {53 123 1900}", udp("udp.srcport#1 in {53, 123, 1900}")),
    ("udp.srcport > 1023 and udp.dstport > 1023", udp("(udp.srcport#1 > 1023 and udp.dstport#1 > 1023)")),
    ("udp.length > 512", udp("udp.length#1 > 512")),
    ("udp.length == 8", udp("udp.length#1 == 8")),
    # others
    ("icmp.type == 8", f"({under('icmp')} and icmp.type#1 == 8)"),
    ("icmp.type == 3 and icmp.code == 3", f"({under('icmp')} and icmp.type#1 == 3 and icmp.code#1 == 3)"),
    ("icmp.type in {5 9..18}", f"({under('icmp')} and (icmp.type#1 == 5 or (icmp.type#1 >= 9 and icmp.type#1 <= 18)))"),
    ("icmpv6.type in {133..137}", f"({under('icmpv6')} and icmpv6.type#1 >= 133 and icmpv6.type#1 <= 137)"),
    ("icmpv6.type == 1 and icmpv6.code == 0", f"({under('icmpv6')} and icmpv6.type#1 == 1 and icmpv6.code#1 == 0)"),
    ("sctp.dstport > 0", f"({under('sctp')} and sctp.dstport#1 > 0)"),
    ("sctp.srcport == 2905 or sctp.dstport == 2905", f"({under('sctp')} and (sctp.srcport#1 == 2905 or sctp.dstport#1 == 2905))"),
    ("gre.proto == 0x0800", f"({under('gre')} and gre.proto#1 == 0x0800)"),
    ("gre.proto > 0x0800", f"({under('gre')} and gre.proto#1 > 0x0800)"),
    ("esp.spi > 0x100", f"({under('esp')} and esp.spi#1 > 0x100)"),
    # place
    ("vlan.id == 100", f"({TAGGED} and vlan.id#1 == 100)"),
    ("vlan.id in {1..4094}", f"({TAGGED} and vlan.id#1 >= 1)"),
    # payload
    ("tcp.payload.len > 0", tcp("tcp.len#1 > 0")),
    ("tcp.payload.len == 1460", tcp("tcp.len#1 == 1460")),
    ('tcp.payload contains "HTTP/1.1"', tcp('tcp.payload#1 contains "HTTP/1.1"')),
    ('starts_with(tcp.payload, "GET ")', tcp("tcp.payload[0:4] == 47:45:54:20")),
    ("starts_with(tcp.payload, 16:03:01)", tcp("tcp.payload[0:3] == 16:03:01")),
    ('udp.payload contains "google"', udp('udp.payload#1 contains "google"')),
    ('udp.payload contains any {"SIP/2.0" "M-SEARCH"}', udp('(udp.payload#1 contains "SIP/2.0" or udp.payload#1 contains "M-SEARCH")')),
)  # fmt: skip
"""(Mantlet's expression, Wireshark's display filter)."""
