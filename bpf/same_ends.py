"""Where two sequences differ that have most in common at their ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from operator import is_not
from typing import Any


def same_ends(before: Sequence[Any], after: Sequence[Any], differ: Callable[[Any, Any], bool] = is_not) -> tuple[int, int]:
    """How many items at the start, and how many of the rest at the end, do not differ; without `differ` the same objects."""
    most = min(len(before), len(after))
    start = _same(map(differ, before, after), most)
    left = most - start
    return start, _same(map(differ, islice(reversed(before), left), islice(reversed(after), left)), left)


def _same(differences: map[bool], most: int) -> int:
    return next((place for place, is_other in enumerate(differences) if is_other), most)
