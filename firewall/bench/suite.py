"""The classification benchmark as a whole: which sets of which sizes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from firewall.bench import classification
from firewall.bench.classbench import NAMES, ONE_SHAPE, rule_set
from firewall.bench.classification import LISTS
from firewall.bench.contenders import MANTLET
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
    with _bytecode():
        return _run(machine, sets, sizes, folder, rounds, progress, keep)


@contextmanager
def _bytecode() -> Iterator[None]:
    """Processes find Mantlet's bytecode, and the tables of its grammar, as on a machine where it ran before."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="mantlet-bench.") as folder:
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            classification.rules(rule_set(ONE_SHAPE, 300), 300, 1, lambda _: None, only=MANTLET)
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def _run(
    machine: Machine,
    sets: Sequence[str],
    sizes: Sequence[int],
    folder: Path | None,
    rounds: int,
    progress: Callable[[str], None],
    keep: Callable[[Results], None],
) -> Results:
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
