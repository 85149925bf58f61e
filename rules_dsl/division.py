"""A rule file as runs of lines that are known as rules already, and the statements between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import add
from typing import Final, cast

from rules_dsl.rule_memory import KnownRule, RuleMemory
from rules_dsl.statements import NO_CODE, Piece, pieces


@dataclass(frozen=True, slots=True)
class Run:
    """Known rules that follow one another, and where the lines begin that they stand on."""

    rules: list[KnownRule]
    bases: list[int]


class _Unknown:
    """In place of what is remembered of a line."""


_UNKNOWN: Final = _Unknown()
_Found = KnownRule | _Unknown | None


def divide(text: str, remembered: RuleMemory) -> Sequence[Piece | Run]:
    """In order. A known line next to one that is not may be a piece: the two may be one statement."""
    lines = text.split("\n")
    found: list[_Found] = list(map(remembered.rules.get, lines, repeat(_UNKNOWN)))
    unknown = [at for at, known in enumerate(found) if known is _UNKNOWN]
    for at in unknown:
        if lines[at].lstrip()[:1] in ("", "#") and NO_CODE.fullmatch(lines[at]):
            remembered.keep(lines[at], None)
    if 2 * len(unknown) > len(lines):
        return pieces(text)
    begins = list(map(add, accumulate(map(len, lines), initial=0), range(len(lines) + 1)))
    result: list[Piece | Run] = []
    at = 0
    for low, high in _apart(found, unknown):
        result += _run(found, begins, at, low)
        result += pieces(text, begins[low], min(begins[high], len(text)))
        at = high
    result += _run(found, begins, at, len(lines))
    return result


def _run(found: Sequence[_Found], begins: list[int], low: int, high: int) -> Iterator[Run]:
    rules, bases = found[low:high], begins[low:high]
    if None in rules:
        bases = [begin for begin, known in zip(bases, rules, strict=True) if known is not None]
        rules = [known for known in rules if known is not None]
    if rules:
        yield Run(cast(list[KnownRule], rules), bases)


def _apart(found: Sequence[_Found], unknown: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges of lines, half-open, to be cut into statements again: what is not known, and on each side a rule that is."""
    low = high = 0
    for at in unknown:
        before, behind = at - 1, at + 1
        while before > 0 and found[before] is None:
            before -= 1
        while behind < len(found) and found[behind] is None:
            behind += 1
        if before >= high and high:
            yield low, high
        if before >= high:
            low = max(0, before)
        high = min(behind + 1, len(found))
    if high:
        yield low, high
