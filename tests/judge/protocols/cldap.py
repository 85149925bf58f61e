"""CLDAP: pairs of expressions."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

PAIRS: tuple[tuple[str, str], ...] = (
    ("cldap", under("udp:cldap")),  # the corpus has none: nothing else passes for it
)

DIFFERENCES: tuple[Difference, ...] = ()
"""None on the corpus: what the page says of other ports does not excuse a message of another protocol."""
