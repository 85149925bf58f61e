"""RADIUS: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _radius(test: str) -> str:
    return f"({under('udp:radius')} and {test})"


_PORTS = "(udp.srcport in {1645 1646 1700 1812 1813 3799} or udp.dstport in {1645 1646 1700 1812 1813 3799})"

PAIRS: tuple[tuple[str, str], ...] = (
    ("radius", under("udp:radius")),
    ("radius.code == 1", _radius("radius.code == 1")),
    ("radius.code in {2 3 11}", _radius("radius.code in {2, 3, 11}")),
    ("radius.code >= 40", _radius("radius.code >= 40")),
    ("radius.id < 20", _radius("radius.id < 20")),
    ("radius.length > 600", _radius("radius.length > 600")),
    ("radius.length == 137", _radius("radius.length == 137")),
    ('radius.user_name contains "3gppnetwork.org"', _radius('radius.User_Name contains "3gppnetwork.org"')),
    ('starts_with(radius.User_Name, "0311480")', _radius('radius.User_Name matches "^0311480"')),
    ("radius.nas_ip == 172.20.1.16", _radius("radius.NAS_IP_Address == 172.20.1.16")),
    ("radius.NAS_IP_Address in {10.0.0.0/8 192.168.0.0/16}", _radius("radius.NAS_IP_Address in {10.0.0.0/8, 192.168.0.0/16}")),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference("RADIUS with attributes that do not fill it", ("radius",), mantlet=f"not radius and {_PORTS}"),
    Difference("RADIUS on other ports", ("radius",), mantlet=f"radius and not {_PORTS}"),
    Difference("RADIUS user names with a NUL", ("radius.user_name",), mantlet=r'radius.user_name contains "\x00"'),
    Difference(
        "RADIUS with a malformed attribute of a vendor", ("radius.user_name", "radius.nas_ip"), wireshark="radius and _ws.malformed"
    ),
)  # fmt: skip
