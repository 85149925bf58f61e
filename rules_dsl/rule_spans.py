"""Where the rules of a policy stand, found when it is asked for: a change of one rule moves those behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rules_dsl.diagnostics import Source, Span
from rules_dsl.rule_memory import KnownRule


class RuleSpans(Mapping[str, Span]):
    """The statements by the rules' names."""

    def __init__(self, source: Source, numbers: Mapping[str, int | Span], rules: Sequence[KnownRule], bases: Sequence[int]) -> None:
        """`numbers`: which of `rules` bears a name (a Span: none does); `bases`: where the texts that they are remembered by begin."""
        self._source = source
        self._numbers, self._rules, self._bases = numbers, rules, bases

    def __getitem__(self, name: str) -> Span:
        number = self._numbers[name]
        if isinstance(number, Span):
            raise KeyError(name)
        rule, base = self._rules[number], self._bases[number]
        return Span(self._source, base + rule.start, base + rule.end)

    def __iter__(self) -> Iterator[str]:
        return iter([each.rule.name for each in self._rules])

    def __len__(self) -> int:
        return len(self._rules)
