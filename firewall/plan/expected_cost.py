"""What the plan expects a rule to cost a packet, in nanoseconds on one core of a present-day machine: an estimate for comparing
rules with each other, from figures measured on Linux 6.18 (x86_64). `mantlet bench` measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from bpf.image import ProgramImage
from firewall.match import Match, Notation
from firewall.plan.model import ClassifierStage, MapStage, RuleStage, Stage, Term
from rules_dsl.expression import All, Contains, Matches, Test, Wildcard, tests_of

WORD = 5
"""One comparison of a loaded word: 1,000 rules that miss took 4.5 to 6 ns each."""
PREFIX = 29
"""A prefix or range, or anything that does not take nft's fast path."""
WIDE = 40
"""An IPv6 address."""
SET = 150
"""A look-up in a set of intervals or a verdict map: 100 to 200 ns up to 1,000 elements."""
CLASSIFIER = 200
"""A search tree's program: 130 to 250 up to 10,000 rules."""
PROGRAM = 65
"""One `match bpf` with a load."""
TEST = 10
"""One further test within a program."""
BYTE = 2.2
"""A byte of payload through an automaton."""

WORST_BYTE = 3.5
"""The same of hostile bytes: 2.2 to 2.9 were measured, in the nearly matching payloads of `mantlet bench --payload` too."""
WORST_REPORT = 90
"""What an automaton of many patterns reports on the way, once a byte at most: 65 to 80 were measured where every byte ends a pattern."""
WORST_ENTRY = 1_000
"""A program's start, the way there and the headers that it walks: 350 to 600 were measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    native: float
    """Nanoseconds of the tests that every packet meets which comes to the rule."""
    program: float = 0.0
    """Nanoseconds of the program, for packets that the native tests leave."""
    per_byte: float = 0.0
    """Of those, nanoseconds a payload byte."""

    def __str__(self) -> str:
        if not self.program:
            return f"{self.native:.0f} ns"
        parts = [f"{self.program:.0f} ns"]
        if self.native:
            parts = [f"{self.native:.0f} ns", f"{self.program:.0f} ns where the native part holds"]
        if self.per_byte:
            parts.append(f"{self.per_byte:.1f} ns a payload byte")
        return " + ".join(parts)


def worst(image: ProgramImage, octets: int) -> float:
    """Nanoseconds that a program takes for a payload of so many bytes that is made to cost the most."""
    return WORST_ENTRY + octets * worst_per_byte(image)


def worst_per_byte(image: ProgramImage) -> float:
    """Of those, the nanoseconds that one byte more may cost."""
    return image.passes * WORST_BYTE + image.reporting * WORST_REPORT


def cost_of(stage: Stage) -> Cost:
    """The cost of a packet that comes to the stage and is not matched by it, all alternatives tried."""
    match stage:
        case RuleStage(terms=terms):
            each = [_term(term) for term in terms]
            return Cost(sum(cost.native for cost in each), sum(cost.program for cost in each), max((c.per_byte for c in each), default=0.0))
        case MapStage(fixed=fixed):
            return Cost(sum(_match(match) for match in fixed) + SET)
        case ClassifierStage():
            return Cost(0.0, CLASSIFIER)
        case _:
            assert_never(stage)


def _term(term: Term) -> Cost:
    # A rule's first test decides nearly always that the packet is not its own; the tests behind it are for those few.
    native = float(_match(term.matches[0])) if term.matches else 0.0
    if term.payload is None:
        return Cost(native)
    tests = list(tests_of(term.payload))
    return Cost(native, PROGRAM + TEST * (len(tests) - 1), BYTE if any(_searches(test) for test in tests) else 0.0)


def _match(match: Match) -> int:
    if len(match.ranges) > 1:
        return SET
    if match.notation is Notation.IPV6:
        return WIDE
    if match.ranges and match.ranges[0][0] != match.ranges[0][1]:
        return PREFIX
    return WORD


def _searches(test: Test) -> bool:
    match test:
        case All(inner):
            return _searches(inner)
        case Contains() | Matches():
            return True
        case Wildcard(segments=segments):
            return len(segments) > 2 or (len(segments) == 2 and bool(segments[0]) and bool(segments[1]))
        case _:
            return False
