"""Where the statements of a rule file begin and end: found before parsing, so that an error in one does not hide the next."""

from __future__ import annotations

import re
from typing import NamedTuple

from rules_dsl.checker_functions import TESTS, VALUES
from rules_dsl.fields import BY_NAME
from rules_dsl.lexemes import RAW_STRING, RESERVED

KEYWORDS = frozenset(
    {"allow", "block", "reject", "log", "count", "limit", "monitor", "disabled", "tenant", "protect", "hook", "list", "default", "geo",
     "expect", "early_drop"}
)  # fmt: skip
"""What a statement begins with."""

RULE_WORDS = frozenset({"allow", "block", "reject", "log", "count", "limit", "monitor", "disabled"})
"""What a rule begins with."""

CLAUSES = frozenset({"when", "to", "per", "burst", "from", "packet", "packets", "file", "interface", "mark", "all"})
_CARRIERS = frozenset({"monitor", "disabled", "default", "expect"})
_CARRIED = re.compile(rf"(?:(?:{'|'.join(sorted(_CARRIERS))})[ \t\r\n\f]+)+")
"""Words behind which a keyword goes on with the statement, even on the next line."""

_SCAN = re.compile(
    rf"^(?P<indent>[ \t]*)(?!{RAW_STRING})(?P<word>[A-Za-z_][\w-]*)(?![\w.\-\[(])(?P<colon>:)?", re.MULTILINE
)  # fmt: skip
"""A word at the start of a line, not the `r` of a raw string. (No string and no comment goes over a line break.)"""


class Piece(NamedTuple):
    """Characters `start` to `end` of a file: one statement, up to where the next begins. `word` is its first."""

    word: str
    start: int
    end: int

    @property
    def known(self) -> bool:
        return self.word in KEYWORDS


def _begins(word: str, *, within: bool) -> bool:
    """Whether a word at the start of a line begins a statement: a keyword does; so does, at the margin, a word that belongs to no
    expression (it will be reported as no statement). `within`: it is indented, or the start of an address (`fe80::/64`)."""
    if word in KEYWORDS:
        return True
    return not (within or word in RESERVED or word in CLAUSES or word in BY_NAME or word in TESTS or word in VALUES)


def pieces(text: str, begin: int = 0, end: int | None = None) -> list[Piece]:
    """The statements of a file, in order, or those of a part of it that begins and ends with lines. What stands before the first one is
    a piece with an empty word, if it is more than comments."""
    starts: list[tuple[int, str]] = []
    end = len(text) if end is None else end
    first_code = _first_code(text, begin, end)
    for match in _SCAN.finditer(text, begin, end):
        indent, _, word, colon = match.groups()
        if word not in KEYWORDS and not _begins(word, within=bool(indent or colon)):
            continue
        start = match.start("word")
        if starts and starts[-1][1] in _CARRIERS and word in KEYWORDS and _CARRIED.fullmatch(text, starts[-1][0], start):
            continue
        starts.append((start, word))
    if first_code is not None and (not starts or first_code < starts[0][0]):
        starts.insert(0, (first_code, ""))
    ends = [*(start for start, _ in starts[1:]), end]
    return [Piece(word, start, end) for (start, word), end in zip(starts, ends, strict=False)]


NO_CODE = re.compile(r"(?:[ \t\r\n\f]|#[^\n]*)*")


def _first_code(text: str, begin: int, end: int) -> int | None:
    match = NO_CODE.match(text, begin, end)
    assert match is not None
    return match.end() if match.end() < end else None
