"""The classification benchmark as a whole: which sets of which sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from firewall.bench import classification
from firewall.bench.classbench import NAMES, rule_set
from firewall.bench.classification import LISTS
from firewall.bench.results import Machine, Results

SIZES: Final = (10, 100, 1_000, 10_000, 100_000)
SETS: Final = (*NAMES, LISTS)


def run(sets: Sequence[str], sizes: Sequence[int], folder: Path | None, rounds: int, progress: Callable[[str], None]) -> Results:
    """`folder`: of ClassBench's files `NAME_N.cb`. Raises OSError, FilterError."""
    measured = []
    for name in sets:
        for size in sizes:
            if name == LISTS:
                measured.append(classification.prefixes(size, rounds, progress))
            else:
                measured.append(classification.rules(rule_set(name, size, folder), size, rounds, progress))
    progress("the floor")
    return Results(Machine.here(), rounds, tuple(measured), classification.floor(rounds))
