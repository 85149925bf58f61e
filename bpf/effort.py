"""How often a program reads the packet's bytes at most: the bound on what a hostile payload can cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

from bpf.ir import Branch, Call, Function, Jump, Label, Mark, Routine
from bpf.search import SEEK, SEEK_NAME
from bpf.tables import Tables

LONGEST_LOOP: Final = 32
"""Steps of a loop within a routine, at most."""


@dataclass(slots=True)
class Effort:
    """Counted while a program is written. A pass is one run of an automaton over a field or payload, from its start to its end at
    most."""

    passes: int = 0
    reporting: int = 0
    """Of them, those that report what they meet and go on."""
    _found_once: set[object] = field(default_factory=set)

    def ask(self, routine: Routine, times: int, once: object | None) -> None:
        """A call of a routine; `once`: for this fact, at most one in a packet."""
        if once is not None:
            if once in self._found_once:
                return
            self._found_once.add(once)
        self.passes += passes_of(routine) * times

    def search(self, times: int) -> None:
        self.passes += times

    def sweep(self, times: int) -> None:
        self.passes += times
        self.reporting += times


@cache
def passes_of(routine: Routine) -> int:
    """Passes that one call of the routine makes at most."""
    return sum(_passes_in(function) for function in routine.write(Tables()))


def _passes_in(function: Function) -> int:
    places: dict[Label, int] = {item.label: at for at, item in enumerate(function.instructions) if isinstance(item, Mark)}
    loops = [
        (places[item.label], at)
        for at, item in enumerate(function.instructions)
        if isinstance(item, Jump | Branch) and places[item.label] < at
    ]
    found = 0
    for at, item in enumerate(function.instructions):
        if isinstance(item, Call) and isinstance(item.target, str):
            times = LONGEST_LOOP if any(first < at < last for first, last in loops) else 1
            if item.target in (SEEK, SEEK_NAME):
                found += times
            elif item.target in function.routines:
                found += times * passes_of(function.routines[item.target])
    return found
