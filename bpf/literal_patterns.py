"""`matches` patterns that ask for nothing but a few literals, such as `(?i)sqlmap|nikto` or `^GET /`: many are of that kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, assert_never

from bpf.automaton import Fold
from rules_dsl.regexes import Concat, Edge, Either, Look, OneOf, Regex, Repeat, parse_regex


@dataclass(frozen=True, slots=True)
class Text:
    """A run of bytes that is asked for; at the value's start, at its end, both, or anywhere."""

    text: bytes
    fold: Fold
    """What happens to the value's bytes before."""
    at_start: bool = False
    at_end: bool = False

    @property
    def kind(self) -> Fold:
        """NONE in its own case, LOWER in either: where the value could be in upper case, so could the text be in lower."""
        return Fold.NONE if self.fold is Fold.NONE else Fold.LOWER

    @property
    def has_letters(self) -> bool:
        """Whether case matters."""
        return self.text.lower() != self.text.upper()


MOST_TEXTS: Final = 64
"""Of one pattern; beyond, it has an automaton of its own."""

_MOST_ITEMS: Final = 4_096
"""Bytes of a pattern's texts while they are made."""

_MOST_CHOICES: Final = 16
"""Texts that sets such as `[ab]` make of one."""

_Sequence = tuple[frozenset[int] | Edge, ...]


def texts_of_pattern(pattern: str, fold: Fold) -> list[Text] | None:
    """The texts of which the value has one where the pattern has a match in it; None where that cannot be said by few."""
    sequences = _sequences(_core(parse_regex(pattern)))
    if sequences is None:
        return None
    texts: list[Text] = []
    for sequence in sequences:
        found = _texts(sequence, fold)
        if found is None or len(texts) + len(found) > MOST_TEXTS:
            return None
        texts += found
    kinds = {text.kind for text in texts if text.has_letters}
    if len(kinds) > 1:
        return None
    return [replace(text, fold=Fold.LOWER) for text in texts] if fold is Fold.NONE and Fold.LOWER in kinds else texts


def _core(tree: Regex) -> Regex:
    """What need be found: of an item that is repeated at the pattern's start or end, only as much as must be there."""
    match tree:
        case Either(items):
            return Either(tuple(map(_core, items)))
        case Repeat(item, low):
            return Repeat(item, low, low)
        case Concat(items) if items:
            inner = list(items)
            while inner and isinstance(inner[0], Repeat) and inner[0].low == 0:
                del inner[0]
            while inner and isinstance(inner[-1], Repeat) and inner[-1].low == 0:
                del inner[-1]
            for place in {0, len(inner) - 1} if inner else ():
                if isinstance(item := inner[place], Repeat):
                    inner[place] = Repeat(item.item, item.low, item.low)
            return Concat(tuple(inner))
    return tree


def _sequences(tree: Regex) -> list[_Sequence] | None:
    """All that the tree can be, each as what stands one behind the other; None where these are too many."""
    match tree:
        case OneOf(those):
            return [(those,)] if len(those) <= _MOST_CHOICES else None
        case Look(edge):
            return [(edge,)]
        case Either(items):
            found: list[_Sequence] = []
            for item in items:
                several = _sequences(item)
                if several is None:
                    return None
                found += several
            return found if _are_few(found) else None
        case Concat(items):
            return _in_a_row(items)
        case Repeat(item, low, high):
            if high is None or high > _MOST_ITEMS or high - low > MOST_TEXTS:
                return None
            found = []
            for count in range(low, high + 1):
                several = _in_a_row((item,) * count)
                if several is None:
                    return None
                found += several
            return found if _are_few(found) else None
        case _:
            assert_never(tree)


def _in_a_row(items: Sequence[Regex]) -> list[_Sequence] | None:
    found: list[_Sequence] = [()]
    for item in items:
        several = _sequences(item)
        if several is None or len(found) * len(several) > MOST_TEXTS:
            return None
        found = [left + right for left in found for right in several]
        if not _are_few(found):
            return None
    return found


def _are_few(sequences: Sequence[_Sequence]) -> bool:
    return len(sequences) <= MOST_TEXTS and sum(map(len, sequences)) <= _MOST_ITEMS


def _texts(sequence: _Sequence, fold: Fold) -> list[Text] | None:
    items = list(sequence)
    at_start = at_end = False
    while items and items[0] is Edge.START:
        del items[0]
        at_start = True
    while items and items[-1] is Edge.END:
        del items[-1]
        at_end = True
    sets: list[frozenset[int]] = []
    for item in items:
        if isinstance(item, Edge):
            return None
        sets.append(frozenset(byte for byte in item if fold.apply(byte) == byte))
    if fold is Fold.NONE and any(len(those) > 1 for those in sets) and all(map(_is_caseless, sets)):
        return [Text(bytes(max(those) for those in sets), Fold.LOWER, at_start, at_end)]
    if prod(map(len, sets)) > _MOST_CHOICES:
        return None
    return [Text(bytes(choice), fold, at_start, at_end) for choice in product(*sets)]


def _is_caseless(those: frozenset[int]) -> bool:
    """Both cases of a letter, or what has none."""
    if len(those) == 2:
        return bytes(those).lower() in {bytes((max(those),)) * 2} and max(those) - min(those) == 0x20
    return len(those) == 1 and bytes(those).lower() == bytes(those).upper()
