"""From many tests on the same bytes to few automata that tell which of the tests hold, each in one pass.

What asks for literals alone, as most tests do, becomes one automaton (bpf.literal_set); every other test has one of its own. Then they
are joined, as far as the joint automaton stays small (bpf.joint_automata).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from bpf import automaton, regex_automaton
from bpf.automaton import Automaton, Fold
from bpf.joint_automata import JOIN_BOUNDS, JoinBounds, join_all, machine_of, machine_of_draft
from bpf.literal_patterns import Text, texts_of_pattern
from bpf.literal_set import Literal, literal_set
from bpf.set_automaton import Draft, SetAutomaton, Tests
from rules_dsl.expression import CompareBytes, Contains, EndsWith, InStrings, Matches, StartsWith, Wildcard

BytesTest = CompareBytes | InStrings | Contains | StartsWith | EndsWith | Wildcard | Matches


def pattern_set(
    tests: Sequence[tuple[BytesTest, Fold]], bits: Sequence[int] | None = None, base: int = 0, bounds: JoinBounds = JOIN_BOUNDS
) -> tuple[SetAutomaton, ...]:
    """Automata that decide the tests between them, placed one behind the other from `base` on. A test is given with the fold of its
    operand, which is no substring; of CompareBytes, equality alone. That it holds is told by setting its bit, by default of its own
    number. Raises regex_automaton.TooLargeError."""
    texts: list[tuple[int, Text]] = []
    searches: dict[_Search, set[int]] = {}
    for number, (test, fold) in enumerate(tests):
        asked = _asked(test, fold)
        if isinstance(asked, _Search):
            searches.setdefault(asked, set()).add(number)
        else:
            texts += [(number, text) for text in asked]
    plain = frozenset(range(len(tests))).difference(*searches.values())
    drafts = _literal_drafts(texts, plain, base, alone=not searches) if plain else []
    machines = [machine_of(search.automaton(), frozenset(numbers)) for search, numbers in searches.items()]
    joinable = [draft for draft in drafts if len(machines) + len(drafts) > 1 and len(draft.rows) * 4 <= bounds.table_bytes]
    machines = join_all([*machines, *map(machine_of_draft, joinable)], bounds)
    drafts = [draft for draft in drafts if not any(draft is other for other in joinable)]
    drafts += [machine.draft() for machine in machines]
    found: list[SetAutomaton] = []
    for draft in drafts:
        found.append(draft.at(found[-1].end if found else base).finish(range(len(tests)) if bits is None else bits))
    return tuple(found)


def texts_anywhere(tests: Sequence[tuple[BytesTest, Fold]]) -> list[Text] | None:
    """The texts one of which a value has somewhere in it where any of the tests holds; None where a test asks for more than that."""
    found: list[Text] = []
    for test, fold in tests:
        asked = _asked(test, fold)
        if isinstance(asked, _Search) or any(text.at_start or text.at_end for text in asked):
            return None
        found += asked
    return found


# -- what a test asks for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Search:
    """What takes an automaton of its own: a `matches` pattern, or the segments of a wildcard."""

    wanted: str | tuple[bytes, ...]
    fold: Fold

    def automaton(self) -> Automaton:
        if isinstance(self.wanted, str):
            return regex_automaton.matching(self.wanted, self.fold)
        return automaton.wildcard(self.wanted, self.fold)


def _asked(test: BytesTest, fold: Fold) -> Sequence[Text] | _Search:
    match test:
        case CompareBytes(_, _, value):
            texts = [Text(value, fold, at_start=True, at_end=True)]
        case InStrings(_, values):
            texts = [Text(value, fold, at_start=True, at_end=True) for value in values]
        case Contains(_, patterns):
            texts = [Text(pattern, fold) for pattern in patterns]
        case StartsWith(_, value):
            texts = [Text(value, fold, at_start=True)]
        case EndsWith(_, value):
            texts = [Text(value, fold, at_end=True)]
        case Wildcard(_, segments, strict):
            fold = fold if strict else Fold.LOWER
            if not all(map(fold.can_give, segments)):
                return ()
            some = [segment for segment in segments if segment]
            if len(segments) == 1:
                texts = [Text(segments[0], fold, at_start=True, at_end=True)]
            elif len(some) > 1:
                return _Search(segments, fold)
            else:
                texts = [Text(b"".join(some), fold, at_start=segments[0] != b"", at_end=segments[-1] != b"")]
        case Matches(_, pattern):
            told = texts_of_pattern(pattern, fold)
            if told is None:
                return _Search(pattern, fold)
            texts = told
        case _:
            assert_never(test)
    texts = [text for text in texts if text.fold.can_give(text.text)]
    if any(not text.text and not (text.at_start and text.at_end) for text in texts):
        return (Text(b"", fold, at_start=True),)  # every value has that
    return texts


# -- literals ----------------------------------------------------------------------------------------------------------


def _literal_drafts(texts: Sequence[tuple[int, Text]], tests: Tests, base: int, *, alone: bool) -> list[Draft]:
    """One for the tests on texts in their own case, one for those in either; one alone, where all can be of that kind."""
    kinds = {text.kind for _, text in texts if text.has_letters}
    if len(kinds) < 2:
        kind = Fold.LOWER if Fold.LOWER in kinds else Fold.NONE
        return [literal_set(_literals(texts, kind), kind, tests, base, alone=alone)]
    exact = [(number, text) for number, text in texts if text.kind is Fold.NONE]
    caseless = [(number, text) for number, text in texts if text.kind is Fold.LOWER]
    first = frozenset(number for number, _ in exact)
    return [
        literal_set(_literals(exact, Fold.NONE), Fold.NONE, first, base, alone=False),
        literal_set(_literals(caseless, Fold.LOWER), Fold.LOWER, tests - first, base, alone=False),
    ]


def _literals(texts: Sequence[tuple[int, Text]], kind: Fold) -> list[Literal]:
    return [Literal(number, text.text if kind is Fold.NONE else text.text.lower(), text.at_start, text.at_end) for number, text in texts]
