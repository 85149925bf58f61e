"""Packets in tunnels: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import before_transport, layers

_ETHERNET = r"(?::eth:ethertype(?::vlan:ethertype){0,2})"
_TUNNEL = rf"(?:|:gre|:gre:erspan{_ETHERNET}|:gre{_ETHERNET}|:udp:vxlan{_ETHERNET}|:udp:geneve{_ETHERNET}|:udp:geneve)"


def carried(inner: str, outer: str = "ip|ipv6") -> str:
    """A tunnel in a packet of the IP version `outer` carries `inner`, given as layers."""
    return layers(rf"{before_transport(outer)}{_TUNNEL}:{inner}(?::|$)")


def _ipv4(test: str) -> str:
    """`test` of the inner IPv4 header, whose field is written with N for the place of its layer."""
    return f"(({carried('ip', 'ip')} and {test.replace('#N', '#2')}) or ({carried('ip', 'ipv6')} and {test.replace('#N', '#1')}))"


def _ipv6(test: str) -> str:
    return f"(({carried('ipv6', 'ipv6')} and {test.replace('#N', '#2')}) or ({carried('ipv6', 'ip')} and {test.replace('#N', '#1')}))"


_UDP_TUNNEL = rf"{before_transport('ip|ipv6')}:udp:(?:vxlan|geneve)"


def _udp(test: str) -> str:
    by_udp, inner = layers(_UDP_TUNNEL), carried("(?:ip|ipv6):udp")
    return f"({inner} and (({by_udp} and {test.replace('#N', '#2')}) or (not {by_udp} and {test.replace('#N', '#1')})))"


PAIRS: tuple[tuple[str, str], ...] = (
    ("inner", f"({carried('ip')} or {carried('ipv6')})"),
    ("inner.ip.version == 4", carried("ip")),
    ("inner.ip.version == 6", carried("ipv6")),
    ("inner.ip.src in {10.0.0.0/8}", _ipv4("ip.src#N == 10.0.0.0/8")),
    ("inner.ip.src in {192.168.0.0/16}", _ipv4("ip.src#N == 192.168.0.0/16")),
    ("inner.ip.dst in {224.0.0.0/4}", _ipv4("ip.dst#N == 224.0.0.0/4")),
    ("inner.ip.dst in {2000::/3}", _ipv6("ipv6.dst#N == 2000::/3")),
    ("inner.ip.src in {fc00::/7}", _ipv6("ipv6.src#N == fc00::/7")),
    ("inner.ip.ttl == 64", f"({_ipv4('ip.ttl#N == 64')} or {_ipv6('ipv6.hlim#N == 64')})"),
    ("inner.ip.ttl < 5", f"({_ipv4('ip.ttl#N < 5')} or {_ipv6('ipv6.hlim#N < 5')})"),
    ('inner.ip.proto == "icmp"', _ipv4("ip.proto#N == 1")),
    ('inner.ip.proto in {"ospf" "pim"}', _ipv4("ip.proto#N in {89, 103}")),
    ('inner.ip.proto == "udp"', f"({_ipv4('ip.proto#N == 17')} or {_ipv6('ipv6.nxt#N == 17')})"),
    ('inner.ip.proto == "tcp" and inner.dstport > 0', carried("(?:ip|ipv6):tcp")),
    ('inner.dstport == 22 and inner.ip.proto == "tcp"', f"({carried('(?:ip|ipv6):tcp')} and tcp.dstport#1 == 22)"),
    ('inner.srcport == 443 and inner.ip.proto == "tcp"', f"({carried('(?:ip|ipv6):tcp')} and tcp.srcport#1 == 443)"),
    ('inner.dstport == 53 and inner.ip.proto == "udp"', _udp("udp.dstport#N == 53")),
    ('inner.srcport > 1024 and inner.ip.proto == "udp"', _udp("udp.srcport#N > 1024")),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference("Tunnels on other ports", ("inner",), mantlet="inner and (vxlan or geneve) and not udp.dstport in {4789 6081}"),
    Difference("Tunnels that are not looked into", ("inner",), wireshark="gre.proto == 0x883e"),
)
