"""RTP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

_RTP = under("udp:rtp(?!:rtcp)")


def _rtp(test: str) -> str:
    return f"({_RTP} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("rtp", _RTP),
    ("rtp.version == 2", _rtp("rtp.version == 2")),
    ("rtp.ext", _rtp("rtp.ext == 1")),
    ("rtp.marker", _rtp("rtp.marker == 1")),
    ("rtp.p_type == 0", _rtp("rtp.p_type == 0")),
    ("rtp.p_type in {8 96..127}", _rtp("(rtp.p_type == 8 or rtp.p_type >= 96)")),
    ("rtp.seq < 2000", _rtp("rtp.seq < 2000")),
    ("rtp.timestamp > 0x10000", _rtp("rtp.timestamp > 0x10000")),
    ("rtp.ssrc == 0xf6bf57dc", _rtp("rtp.ssrc == 0xf6bf57dc")),
    ("rtp.ssrc > 0x80000000", _rtp("rtp.ssrc > 0x80000000")),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("RTP that nothing announced", ("rtp",), wireshark=f"udp and not {_RTP}"),
    Difference("RTP that nothing announced", ("rtp",), wireshark="rtp and (rtp.cc > 0 or rtp.padding == 1 or rtp.ssrc == 0)"),
)
