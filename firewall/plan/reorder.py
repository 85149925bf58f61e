"""Second pass: a rule that ends and is boxes stands with those above it, where no rule between has a packet in common with it.

So runs grow, of which one search tree or one map is made. No packet meets another rule first, and none is counted otherwise: a packet
that the rule takes is of no rule that it goes past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Final

from firewall.plan.model import Box, Headers
from rules_dsl.policy import Policy

MOST_PASSED: Final = 32
"""Rules that one goes past."""
MOST_COMPARISONS: Final = 20_000
"""Of boxes, in all: some ten milliseconds. Beyond it rules stay where they are."""


def reordered(policy: Policy, asked: Sequence[int], headers: Sequence[Headers | None], others: Set[int]) -> tuple[int, ...]:
    """The rules that are `asked`, by index, in an order that means the same. `headers`: of each rule of the policy; `others`: those that
    are not boxes, or do not end."""
    return tuple(_Ordering(policy, headers, others).order(asked))


class _Ordering:
    def __init__(self, policy: Policy, headers: Sequence[Headers | None], others: Set[int]) -> None:
        self._rules, self._headers, self._others = policy.rules, headers, others
        self._left = MOST_COMPARISONS

    def order(self, asked: Sequence[int]) -> Iterator[int]:
        run: list[int] = []
        behind: list[int] = []
        """Rules that stand behind the run and are of another kind."""
        phase: int | None = None
        for index in asked:
            if self._rules[index].phase != phase:
                yield from (*run, *behind)
                run, behind, phase = [], [], self._rules[index].phase
            if index in self._others:
                behind.append(index)
            elif not behind or (run and self._is_apart(index, behind)):
                run.append(index)
            else:
                yield from (*run, *behind)
                run, behind = [index], []
        yield from (*run, *behind)

    def _is_apart(self, index: int, others: Sequence[int]) -> bool:
        """Whether no packet is of the rule and of another."""
        headers = self._headers[index]
        if headers is None or len(others) > MOST_PASSED or self._left < 0:
            return False
        for each in others:
            other = self._headers[each]
            if other is None:
                return False
            for version, boxes in headers.boxes.items():
                self._left -= len(boxes) * len(other.boxes[version])
                if self._left < 0 or any(_meets(box, asked) for box in boxes for asked in other.boxes[version]):
                    return False
        return True


def _meets(box: Box, other: Box) -> bool:
    return all(low <= top and bottom <= high for (low, high), (bottom, top) in zip(box, other, strict=True))
