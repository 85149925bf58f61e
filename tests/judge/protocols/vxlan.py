"""VXLAN: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

PAIRS: tuple[tuple[str, str], ...] = (
    ("vxlan", under("udp:vxlan")),
    ("vxlan.vni < 100", f"({under('udp:vxlan')} and vxlan.vni#1 < 100)"),
    ("vxlan.vni >= 100", f"({under('udp:vxlan')} and vxlan.vni#1 >= 100)"),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("Tunnels on other ports", ("vxlan",), mantlet="vxlan and not udp.dstport == 4789"),
)  # fmt: skip
