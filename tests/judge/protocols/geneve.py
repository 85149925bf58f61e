"""GENEVE: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

PAIRS: tuple[tuple[str, str], ...] = (
    ("geneve", under("udp:geneve")),
    ("geneve.vni < 100", f"({under('udp:geneve')} and geneve.vni#1 < 100)"),
    ("geneve.vni >= 100", f"({under('udp:geneve')} and geneve.vni#1 >= 100)"),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("Tunnels on other ports", ("geneve",), mantlet="geneve and not udp.dstport == 6081"),
)  # fmt: skip
