"""Frames a second of the replay engines, over a capture made for it."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Final

from firewall.bench.workload import as_mantlet, lines, trace
from firewall.capture import Frame
from firewall.replay import EngineName, replay, uncollected
from rules_dsl import parse_policy

RAW_IP: Final = 101
"""LINKTYPE_RAW."""
RULES: Final = 100
KERNEL_FRAMES, REFERENCE_FRAMES = 200_000, 50_000


@dataclass(frozen=True, slots=True)
class Speed:
    engine: str
    rules: int
    frames: int
    """In each round."""
    per_second: float
    """The median of the rounds: whole replays, from the frame to the verdict with its rule."""
    lowest: float
    highest: float


def measure(rounds: int) -> list[Speed]:
    """Raises EngineUnavailableError where the kernel engine cannot run."""
    rules = lines(RULES, "one shape")
    policy = parse_policy(as_mantlet(rules))
    packets = trace(rules, hits=0.5)
    found = []
    engines: tuple[tuple[EngineName, int], ...] = (("kernel", KERNEL_FRAMES), ("reference", REFERENCE_FRAMES))
    for engine, count in engines:
        frames = [Frame(at + 1, 0, packets[at % len(packets)], RAW_IP, len(packets[0]), "eth0") for at in range(count)]
        speeds = []
        for _ in range(rounds):
            started = time.perf_counter()
            with uncollected():  # as the commands do
                judged = sum(1 for _ in replay(policy, frames, engine))
            speeds.append(judged / (time.perf_counter() - started))
        found.append(Speed(engine, RULES, count, statistics.median(speeds), min(speeds), max(speeds)))
    return found
