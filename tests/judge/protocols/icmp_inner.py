"""Packets that ICMP errors quote: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import layers, under


def _quoted(inner: str, icmp: str = "icmp|icmpv6") -> str:
    """The outermost packet is an ICMP error that quotes `inner`, given as layers."""
    return f"({under(f'(?:{icmp})')} and {layers(rf'^[^:]*(?::(?!icmp)[^:]+)*:(?:{icmp}):{inner}(?::|$)')})"


def _ipv4(test: str) -> str:
    return f"({_quoted('ip', 'icmp')} and {test})"


def _ipv6(test: str) -> str:
    return f"({_quoted('ipv6', 'icmpv6')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("icmp.inner", f"({_quoted('ip', 'icmp')} or {_quoted('ipv6', 'icmpv6')})"),
    ("icmp.inner.ip.src in {10.0.0.0/8}", _ipv4("ip.src#2 == 10.0.0.0/8")),
    ("icmp.inner.ip.src in {192.168.0.0/16}", _ipv4("ip.src#2 == 192.168.0.0/16")),
    ("icmp.inner.ip.dst in {128.0.0.0/1}", _ipv4("ip.dst#2 == 128.0.0.0/1")),
    ("icmp.inner.ip.src in {2000::/3}", _ipv6("ipv6.src#2 == 2000::/3")),
    ("icmp.inner.ip.dst in {2000::/3}", _ipv6("ipv6.dst#2 == 2000::/3")),
    ("icmp.inner.ip.ttl < 64", f"({_ipv4('ip.ttl#2 < 64')} or {_ipv6('ipv6.hlim#2 < 64')})"),
    ("icmp.inner.ip.ttl == 1", f"({_ipv4('ip.ttl#2 == 1')} or {_ipv6('ipv6.hlim#2 == 1')})"),
    ('icmp.inner.ip.proto == "udp"', f"({_ipv4('ip.proto#2 == 17')} or {_ipv6('ipv6.nxt#2 == 17')})"),
    ('icmp.inner.ip.proto == "icmp"', _ipv4("ip.proto#2 == 1")),
    ("icmp.inner.srcport > 0", _quoted("(?:ip|ipv6):(?:udp|tcp|sctp)")),
    ('icmp.inner.srcport > 1024 and icmp.inner.ip.proto == "udp"', f"({_quoted('(?:ip|ipv6):udp')} and udp.srcport#1 > 1024)"),
    ('icmp.inner.dstport == 443 and icmp.inner.ip.proto == "udp"', f"({_quoted('(?:ip|ipv6):udp')} and udp.dstport#1 == 443)"),
    ('icmp.inner.dstport > 0 and icmp.inner.ip.proto == "tcp"', f"({_quoted('(?:ip|ipv6):tcp')} and tcp.dstport#1 > 0)"),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = ()
