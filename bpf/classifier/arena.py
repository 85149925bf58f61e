"""The units of a classifier's map, and which of them are free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bpf.classifier.entries import Numbers, Words
from bpf.classifier.layout import HEADER_UNITS, UNIT_WORDS


class FullError(Exception):
    """The map has no room for what is to be written: build anew, in a larger one."""


@dataclass(slots=True)
class Arena:
    """An image of units. `end` is the first behind all that are used; `free` are holes before it."""

    image: Words
    """[unit, word]"""
    end: int = HEADER_UNITS
    grows: bool = True
    free: list[tuple[int, int]] = field(default_factory=list)
    """Offset and size."""
    taken: list[tuple[int, int]] = field(default_factory=list)
    """Offset and size of what has been taken since this arena was made; not kept by one that grows."""

    @classmethod
    def empty(cls) -> Arena:
        return cls(np.zeros((4096, UNIT_WORDS), dtype=np.uint32))

    def within(self, units: int) -> Arena:
        """A copy with room for so many units and no more. Raises FullError."""
        if self.end > units:
            raise FullError(f"{self.end} units are used, and the map has {units}")
        image = np.zeros((units, UNIT_WORDS), dtype=np.uint32)
        image[: self.end] = self.image[: self.end]
        return Arena(image, self.end, False, list(self.free))

    def take(self, sizes: Numbers) -> Numbers:
        """The offsets of areas of those sizes. Raises FullError."""
        if not self.grows:
            return self._from_holes(sizes.tolist())
        offsets = self.end + np.cumsum(sizes) - sizes
        self.end += int(sizes.sum())
        if self.end > len(self.image):
            grown = np.zeros((max(self.end, 2 * len(self.image)), UNIT_WORDS), dtype=np.uint32)
            grown[: len(self.image)] = self.image
            self.image = grown
        return offsets

    def _from_holes(self, sizes: Sequence[int]) -> Numbers:
        """First fit; else behind the end."""
        offsets = []
        for size in sizes:
            for place, (offset, room) in enumerate(self.free):
                if room >= size:
                    if room == size:
                        del self.free[place]
                    else:
                        self.free[place] = offset + size, room - size
                    break
            else:
                offset = self.end
                if offset + size > len(self.image):
                    raise FullError(f"no {size} units are free of {len(self.image)}")
                self.end += size
            offsets.append(offset)
            self.taken.append((offset, size))
        return np.array(offsets, dtype=np.int64)
