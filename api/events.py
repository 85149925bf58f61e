"""What happens on a node, for those who watch: rules enforced, refused, found changed by others and mended."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api.documents import now

KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Event:
    number: int
    """From 1, without gaps while the node runs."""
    time: str
    tenant: str
    kind: str
    """`enforced`, `removed`, `drift` (the kernel had something else, and was mended) or `failed`."""
    details: Mapping[str, Any] = field(default_factory=dict)


class Events:
    """The last events of a node."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._changed = threading.Condition()
        self._number = 0
        self._tally: Counter[tuple[str, str]] = Counter()

    @property
    def last(self) -> int:
        """The number of the newest event; 0 where there is none."""
        return self._number

    def record(self, tenant: str, kind: str, **details: Any) -> None:
        with self._changed:
            self._number += 1
            self._tally[tenant, kind] += 1
            self._events.append(Event(self._number, now(), tenant, kind, details))
            self._changed.notify_all()

    def tally(self) -> Mapping[tuple[str, str], int]:
        """How many there were of each tenant and kind."""
        with self._changed:
            return dict(self._tally)

    def after(self, number: int, tenant: str | None = None, wait_seconds: float = 0.0) -> tuple[Event, ...]:
        """Events with greater numbers, of one tenant or of all; waits for some to come."""

        def found() -> tuple[Event, ...]:
            return tuple(event for event in self._events if event.number > number and tenant in (None, event.tenant))

        with self._changed:
            self._changed.wait_for(found, wait_seconds)
            return found()
