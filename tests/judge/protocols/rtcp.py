"""RTCP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

_RTCP = under("udp:(?:rtp:)?rtcp")

PAIRS: tuple[tuple[str, str], ...] = (
    ("rtcp", _RTCP),
    ("rtcp.pt == 200", f"({_RTCP} and rtcp.pt == 200)"),
    ("rtcp.pt == 201", f"({_RTCP} and rtcp.pt == 201)"),
    ("rtcp.pt in {202..204}", f"({_RTCP} and rtcp.pt >= 202 and rtcp.pt <= 204)"),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("RTP that nothing announced", ("rtcp",), wireshark=f"udp and not {_RTCP}"),
    Difference("RTCP that does not add up", ("rtcp",), wireshark="rtcp and (_ws.malformed or rtcp.pt > 207)"),
)
