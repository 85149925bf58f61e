"""What a node measures of itself, in the text format of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds: upper bounds of the latency histogram."""


class Sample(NamedTuple):
    labels: Mapping[str, str]
    value: float
    suffix: str = ""


class Requests:
    """Requests that were answered, and how long that took. Not locked: one event loop notes them."""

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str, int], int] = {}
        self._latency: dict[tuple[str, str], list[float]] = {}
        """Counts of the buckets and of what is above them, and the sum of all seconds."""

    def note(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """`route` is the path with its parameters' names; None where none fitted, which all count as one."""
        where = route or "none"
        shown = method if route else "any"
        key = (shown, where, status)
        self._answered[key] = self._answered.get(key, 0) + 1
        counts = self._latency.setdefault((shown, where), [0.0] * (len(BUCKETS) + 2))
        counts[bisect_left(BUCKETS, seconds)] += 1
        counts[-1] += seconds

    def exposition(self) -> Iterator[str]:
        yield from family(
            "mantlet_requests_total",
            "counter",
            "Requests answered",
            (
                Sample({"method": method, "route": route, "status": str(status)}, count)
                for (method, route, status), count in self._answered.items()
            ),
        )
        yield from family("mantlet_request_seconds", "histogram", "Seconds from a request's head to the end of its answer", self._seconds())

    def _seconds(self) -> Iterator[Sample]:
        for (method, route), counts in self._latency.items():
            labels = {"method": method, "route": route}
            below = 0.0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=False):
                below += count
                yield Sample({**labels, "le": bound}, below, "_bucket")
            yield Sample(labels, counts[-1], "_sum")
            yield Sample(labels, below, "_count")


def family(name: str, kind: Literal["counter", "gauge", "histogram"], about: str, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric."""
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value, suffix in samples:
        named = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{suffix}{{{named}}} {_number(value)}" if named else f"{name}{suffix} {_number(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
