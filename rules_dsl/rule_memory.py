"""What is remembered of rules that were checked before, by their text: where one rule of many changes, the others are not looked at
again, and the same text is the same object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from rules_dsl.policy import Rule

if TYPE_CHECKING:
    from rules_dsl.limits import Limits
    from rules_dsl.lists import ListValue
    from rules_dsl.rule_template import Made, Template

MOST_RULES: Final = 200_000
MOST_CHARACTERS: Final = 1 << 25
MOST_VALUES: Final = 200_000
"""Tests that templates hold, and templates."""
_LIMITS: Final = 4
"""For which so much is remembered."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownRule:
    """A rule whose statement has no error and no warning."""

    rule: Rule
    start: int
    """Of the statement, within the text that it is remembered by."""
    end: int
    lists: frozenset[str]
    """The names of those that it uses."""
    is_numbered: bool
    """It has no name of its own: it is called by its number."""


class RuleMemory:
    """Of one setting of the limits."""

    def __init__(self) -> None:
        self.rules: dict[str, KnownRule | None] = {}
        """By the line of a file that the statement stands on alone, or else by the statement; None for a line without a statement."""
        self.templates: dict[tuple[str, ...], Template | None] = {}
        """By what stands around the literals; None where that was seen once, or gives none."""
        self.values = 0
        """Tests that are kept."""
        self._tests: dict[str, Made] = {}
        self._characters = 0
        self._lists: dict[str, ListValue] = {}
        """What the lists held that the rules use."""

    def keep(self, text: str, rule: KnownRule | None) -> None:
        self._characters += len(text)
        if len(self.rules) >= MOST_RULES or self._characters > MOST_CHARACTERS:
            self.rules.clear()
            self._characters = len(text)
        self.rules[text] = rule

    def tests(self, field_and_operator: str) -> Made:
        """Where templates keep what such tests are."""
        return self._tests.setdefault(field_and_operator, {})

    def make_room(self) -> None:
        """Before a template, or a test of one, is added."""
        if self.values + len(self.templates) >= MOST_VALUES:
            self.templates.clear()
            self._tests.clear()
            self.values = 0

    def use(self, lists: Mapping[str, ListValue]) -> bool:
        """Forgets the rules whose lists are others now. Whether there were any."""
        stale = {name for name, value in self._lists.items() if name not in lists or (lists[name] is not value and lists[name] != value)}
        self._lists = dict(lists)
        gone = [text for text, known in self.rules.items() if known is not None and not stale.isdisjoint(known.lists)] if stale else []
        for text in gone:
            del self.rules[text]
        return bool(gone)


@lru_cache(_LIMITS)
def memory(limits: Limits) -> RuleMemory:
    return RuleMemory()
