"""The classification benchmark as a whole: which sets of which sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from firewall.bench import classification
from firewall.bench.classbench import NAMES, rule_set
from firewall.bench.classification import LISTS
from firewall.bench.results import Machine, Results

SIZES: Final = (10, 100, 1_000, 10_000, 100_000)
SETS: Final = (*NAMES, LISTS)


def run(
    sets: Sequence[str],
    sizes: Sequence[int],
    folder: Path | None,
    rounds: int,
    progress: Callable[[str], None],
    keep: Callable[[Results], None] = lambda _: None,
) -> Results:
    """`folder`: of ClassBench's files `NAME_N.cb`; `keep`: is given what was found so far, after each set. Raises OSError, FilterError."""
    machine = Machine.here()
    progress("the floor")
    floor = classification.floor(rounds)
    found = Results(machine, rounds, (), floor)
    for size in sizes:
        for name in sets:
            if name == LISTS:
                measured = classification.prefixes(size, rounds, progress)
            else:
                measured = classification.rules(rule_set(name, size, folder), size, rounds, progress)
            found = replace(found, sets=(*found.sets, measured))
            keep(found)
    return found
