"""Names of IP protocol numbers (IANA "Assigned Internet Protocol Numbers"), as `ip.proto` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

IP_PROTOCOLS: Mapping[str, int] = MappingProxyType(
    {
        "hopopt": 0, "icmp": 1, "igmp": 2, "ipip": 4, "ipencap": 4, "tcp": 6, "egp": 8, "igp": 9, "udp": 17, "dccp": 33,
        "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58,
        "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "etherip": 97, "pim": 103,
        "ipcomp": 108, "vrrp": 112, "l2tp": 115, "sctp": 132, "mobility-header": 135, "udplite": 136, "mpls-in-ip": 137,
        "hip": 139, "shim6": 140, "ethernet": 143,
    }
)  # fmt: skip
"""Lower-case name to protocol number."""
