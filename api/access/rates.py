"""How much at once: a token bucket for each key, in memory that is bounded, and how many of something go on for each key."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from api.settings import Rate


class Rates:
    """Buckets that fill at a rate up to a burst. Not locked: one event loop asks it."""

    def __init__(self, rate: Rate, *, keys: int = 65_536, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._keys = keys
        """As many buckets are kept; the one unused the longest goes first, and is full by then or belongs to a flood of addresses."""
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What is in the bucket, and since when."""

    def wait(self, key: str) -> float:
        """Take one from the key's bucket: 0.0, or the seconds after which there will be one again."""
        now = self._clock()
        level, since = self._buckets.pop(key, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_second)
        short = level < 1
        self._buckets[key] = (level if short else level - 1, now)
        if len(self._buckets) > self._keys:
            self._buckets.popitem(last=False)
        return (1 - level) / self._rate.per_second if short else 0.0


class Ongoing:
    """How many of something go on for each key. Not locked: one event loop counts them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._number: dict[str, int] = {}

    @contextmanager
    def one(self, key: str) -> Iterator[bool]:
        """One more until the end, or False where there are as many as there may be."""
        number = self._number.get(key, 0)
        if number >= self._most:
            yield False
            return
        self._number[key] = number + 1
        try:
            yield True
        finally:
            self._number[key] -= 1
            if not self._number[key]:
                del self._number[key]
