"""What the passes know of a rule's predicate by itself. Where a few of many rules change, nothing is found out again of the others: the
checker gives the same object for the same text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from bpf import refusal, too_large
from firewall.match import PacketClass
from firewall.plan.model import Box, Candidate, Environment, Headers, Node, Term
from firewall.plan.split import Scene, Split, UnenforceableError, split
from rules_dsl import expression as ex
from rules_dsl.expression import Expression, Test
from rules_dsl.policy import Hook, Rule

MOST_KNOWN: Final = 200_000
"""Predicates that are remembered from one plan to the next."""
MOST_SPLITS: Final = 100_000
"""Of them, a class of packets each."""
_SCENES: Final = 4
"""For which so many are."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """What `classify` makes of a rule."""

    of: dict[int, tuple[Candidate, ...]]
    """By IP version."""
    takes: frozenset[int]
    """The IP versions of which it takes every packet."""


@dataclass(slots=True)
class Known:
    """Of one predicate, at one hook of one machine."""

    predicate: Expression
    too_large: tuple[tuple[Test, str], ...]
    """Tests that no program can hold, and why."""
    connection: tuple[str, ...]
    """Fields of the connection's state that it asks for."""
    is_enforceable: bool
    """As far as these two go."""
    _memory: Memory
    _splits: dict[tuple[PacketClass, bool], tuple[Split, ...] | UnenforceableError] = field(default_factory=dict)
    boxes: dict[int, tuple[Box, ...]] | Literal[False] | None = False
    """What `classify` makes of it; False: it was not asked yet."""
    headers: Headers | Literal[False] | None = False
    """As above, or of what it asks of headers alone (`shadow`)."""

    def other(self, predicate: Expression) -> Known:
        """The same of another predicate, which is not remembered."""
        return Known(predicate, (), (), True, self._memory)

    def splits(self, packets: PacketClass, *, once: bool = False) -> tuple[Split, ...]:
        """Raises UnenforceableError."""
        found = self._splits.get((packets, once))
        if found is None:
            try:
                found = split(self.predicate, self._memory.scene(packets), once=once)
            except UnenforceableError as error:
                found = error
            self._splits[packets, once] = found
            self._memory.splits += 1
        if isinstance(found, UnenforceableError):
            raise found
        return found

    def terms(self, packets: PacketClass) -> tuple[Term, ...] | None:
        """Of a rule that ends; None where it is several stages, or cannot be enforced."""
        try:
            found = self.splits(packets)
        except UnenforceableError:
            return None
        return () if not found else found[0].terms if len(found) == 1 else None


class Memory:
    """What is known of predicates, by the object."""

    def __init__(self, hook: Hook, environment: Environment) -> None:
        self._hook, self._environment = hook, environment
        self._known: dict[int, Known] = {}
        self.splits = 0
        self.members: dict[int, tuple[Rule, Known, Candidates | None]] = {}
        """By the object of the rule: its candidates, None where it is none of a search tree's."""

    def scene(self, packets: PacketClass) -> Scene:
        return Scene(packets, self._hook, self._environment, refusal)

    def of(self, predicate: Expression) -> Known:
        found = self._known.get(id(predicate))
        if found is None:
            if len(self._known) >= MOST_KNOWN or self.splits >= MOST_SPLITS:
                self._known.clear()
                self.members.clear()
                self.splits = 0
            large, connection = _too_large(predicate), _connection(predicate)
            found = Known(predicate, large, connection, not (large or connection), self)
            self._known[id(predicate)] = found  # which keeps the predicate, so that no other gets its id
        return found


def memory(hook: Hook, environment: Environment) -> Memory:
    return _memory(hook, environment.node, tuple(sorted(environment.vlan_interfaces.items())))


@lru_cache(_SCENES)
def _memory(hook: Hook, node: Node, vlans: tuple[tuple[str, int], ...]) -> Memory:
    return Memory(hook, Environment(node, dict(vlans)))


def _too_large(predicate: Expression) -> tuple[tuple[Test, str], ...]:
    tests = dict.fromkeys(test for test in _all_tests(predicate) if isinstance(test, ex.Matches) and refusal(test) is None)
    return tuple((test, reason) for test in tests if (reason := too_large(test)) is not None)


def _connection(predicate: Expression) -> tuple[str, ...]:
    roots = (ex.root_of(ex.operand_of(test)) for test in _all_tests(predicate))
    return tuple(sorted({root.field.name for root in roots if isinstance(root, ex.FieldValue) and root.field.name.startswith("ct.")}))


def _all_tests(expression: Expression) -> Iterator[Test]:
    for test in ex.tests_of(expression):
        yield test.test if isinstance(test, ex.All) else test
