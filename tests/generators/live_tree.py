"""A classifier's map in memory: putting a tree into it while programs read it.

The root cell is written last, in one piece of 8 bytes: a packet finds the old tree or the new one. What an old tree had and a new one has
not is free for others once no packet can be in the old tree any more: a grace period after the cell was written."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from bpf.classifier.arena import FullError
from bpf.classifier.build import Classifier
from bpf.classifier.change import Change
from bpf.classifier.entries import Words
from bpf.classifier.layout import HEADER_UNITS, UNIT, UNIT_WORDS
from bpf.classifier.program import SLACK
from bpf.maps import Map

ROOM: Final = 2.0
"""Units of a map for each that a tree takes at first."""
LEAST_ROOM: Final = 4096


def units_for(classifier: Classifier) -> int:
    """Units of a map for the classifier and its changes."""
    return max(LEAST_ROOM, int(classifier.statistics.units * ROOM))


class LiveTree:
    """The memory of a map made from `tree_spec`. A context manager."""

    def __init__(self, held: Map) -> None:
        self._memory = held.memory()
        self.units = (held.spec.value_size - SLACK) // UNIT
        words: NDArray[np.uint32] = np.frombuffer(self._memory, dtype=np.uint32, count=self.units * UNIT_WORDS)
        self.image: Words = words.reshape(self.units, UNIT_WORDS)
        self._cells = np.frombuffer(self._memory, dtype=np.uint64, count=HEADER_UNITS * UNIT // 8)

    def root(self, cell: int = 0) -> int:
        """The unit of the tree at the cell; 0 for none."""
        return int(self._cells[cell])

    def put(self, classifier: Classifier, cell: int = 0) -> Classifier:
        """The whole tree, into a map that has no other; the classifier with an arena as large as the map, to be changed. Raises
        FullError."""
        image = classifier.image
        if len(image) > self.units:
            raise FullError(f"the tree has {len(image)} units, and the map {self.units}")
        self.image[HEADER_UNITS : len(image)] = image[HEADER_UNITS:]
        self.switch(classifier.root, cell)
        return replace(classifier, arena=classifier.arena.within(self.units))

    def apply(self, change: Change, cell: int = 0) -> None:
        """Write what is new, and switch to it."""
        image = change.classifier.arena.image
        for offset, size in change.written:
            self.image[offset : offset + size] = image[offset : offset + size]
        self.switch(change.classifier.root, cell)

    def switch(self, root: int, cell: int = 0) -> None:
        """From now on packets are looked up in that tree."""
        self._cells[cell] = root

    def close(self) -> None:
        del self.image, self._cells
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
