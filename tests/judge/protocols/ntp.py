"""NTP: pairs of expressions."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _ntp(test: str) -> str:
    return f"({under('udp:ntp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("ntp", under("udp:ntp")),
    ("ntp.version == 4", _ntp("ntp.flags.vn == 4")),
    ("ntp.version < 3", _ntp("ntp.flags.vn < 3")),
    ("ntp.mode == 3", _ntp("ntp.flags.mode == 3")),
    ("ntp.mode in {6 7}", _ntp("ntp.flags.mode >= 6")),
    ("ntp.leap == 3", _ntp("ntp.flags.li == 3")),
    ("ntp.leap == 0", _ntp("ntp.flags.li == 0")),
    ("ntp.stratum in {1..15}", _ntp("ntp.flags.mode < 6 and ntp.stratum in {1..15}")),
    ("ntp.stratum == 0", _ntp("ntp.flags.mode < 6 and ntp.stratum == 0")),
    ("ntp.poll > 5", _ntp("ntp.flags.mode < 6 and ntp.ppoll > 5")),
    ('ntp.refid == "GOOG"', _ntp("ntp.refid == 47:4f:4f:47")),
    ('ntp.refid == "STEP"', _ntp("ntp.refid == 53:54:45:50")),
    ("ntp.response", _ntp("(ntp.ctrl.flags2.r == 1 or ntp.priv.flags.r == 1)")),
    ("ntp.request_code in {1 28}", _ntp("ntp.priv.reqcode in {1, 28}")),
)

DIFFERENCES: tuple[Difference, ...] = ()
"""None on the corpus: what the page says of other ports does not excuse a message of another protocol."""
