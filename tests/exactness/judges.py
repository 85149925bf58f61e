"""What the kernel decides about packets, by each way of enforcing the same rules; every packet's report must be the meaning's."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from exactness import linear
from exactness.counting import counted
from exactness.meaning import reports
from exactness.packets import AUTHENTICATED, Packets, aimed
from exactness.rule_sets import HeaderRule, policy_of

from firewall.generation import Generation
from firewall.plan import Environment, Pass, plan
from firewall.render import render
from firewall.replay.arrival import Arrival
from firewall.replay.kernel_engine import GROUP, KernelEngine
from firewall.replay.tap import Interface
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Policy
from rules_dsl.reference import matched

T = TypeVar("T")

INTERFACE: Final = Interface("eth0", None)
LINEAR: Final = "plain nft, a rule a line"
WAYS: Final[Mapping[str, tuple[Pass, ...]]] = {
    "all passes": (),
    "no pass": tuple(Pass),
    **{f"{each.value} alone": tuple(other for other in Pass if other is not each) for each in Pass},
}
"""By name: what is left out."""
ALONE: Final = frozenset(f"{each.value} alone" for each in Pass)
CHUNK: Final = 16_384
"""Packets that are judged at once."""


@dataclass(slots=True)
class Tally:
    """Packets, by who judged them; rule sets, and seconds, by the same."""

    packets: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        self.packets += other.packets
        self.seconds += other.seconds
        self.sets += other.sets

    def lines(self) -> Iterator[str]:
        for name, count in self.packets.items():
            yield f"{name:28} {count:>12,} packets, {self.sets[name]:>6,} rule sets, {self.seconds[name]:>7,.0f} s"


def judge(
    rules: Sequence[HeaderRule],
    seed: int,
    packets: int,
    *,
    default: str = "allow",
    ways: Sequence[str] = (*WAYS, LINEAR),
    sampled: int = 100,
    most_linear: int = 1 << 30,
    most_alone: int = 1 << 30,
) -> Tally:
    """Every way of enforcing the rules decides about so many packets at their borders as the meaning does, which is the reference's by a
    sample. `most_linear`: packets for plain nft, whose cost grows with every rule; `most_alone`: those for each pass alone."""
    tally = Tally()
    policy = policy_of(rules, default)
    judged = _timed(tally, "made", packets, lambda: aimed(np.random.default_rng(seed), rules, packets))
    expected = _timed(tally, "meaning", packets, lambda: reports(policy, judged.columns))
    _timed(tally, "reference, sampled", sampled, lambda: _sample(policy, judged, expected, seed, sampled))
    for way in ways:
        places: Sequence[int] = range(min(packets, most_alone) if way in ALONE else packets)
        if way == LINEAR:
            if not all(rule.is_plain for rule in rules):
                continue
            found = np.flatnonzero(judged.columns.made[:most_linear] != AUTHENTICATED)  # behind that nft finds no transport header
            places = found.tolist()
            generation = linear.generation(rules, GROUP)
        else:
            generation = render(plan(policy, Environment(), without=WAYS[way]), 1, observe=GROUP)
        _timed(tally, way, len(places), lambda: _same(policy, generation, judged, expected, places, way))  # noqa: B023
    for way in ("all passes", "no pass"):
        if way in ways:
            generation = render(plan(policy, Environment(), without=WAYS[way]), 1)
            _timed(tally, f"{way}, counters", packets, lambda: counted(policy, generation, judged.data, expected))  # noqa: B023
    return tally


def _timed(tally: Tally, name: str, packets: int, work: Callable[[], T]) -> T:
    start = time.perf_counter()
    found = work()
    tally.seconds[name] += time.perf_counter() - start
    tally.packets[name] += packets
    tally.sets[name] += 1
    return found


def text_of_policy(policy: Policy) -> str:
    rules = (f"{number} {rule.mode.value} {rule.action.value} when {rule.expression}" for number, rule in enumerate(policy.rules))
    return "\n".join(rules)


def _sample(policy: Policy, judged: Packets, expected: Sequence[bytes], seed: int, count: int) -> None:
    rng = random.Random(seed)
    numbers = {rule.name: number for number, rule in enumerate(policy.rules)}
    for place in rng.sample(range(len(judged.data)), min(count, len(judged.data))):
        found = matched(policy, Packet(judged.data[place], Place(INTERFACE.name)))
        told = b"".join(b"%d\0" % numbers[rule.name] for rule in found)
        if not any(rule.ends for rule in found):
            told += b"default\0"
        assert told == expected[place], f"the meaning of {judged.data[place].hex()} is not the reference's\n{text_of_policy(policy)}"


def _same(policy: Policy, generation: Generation, judged: Packets, expected: Sequence[bytes], places: Sequence[int], way: str) -> None:
    arrivals = [Arrival(data, INTERFACE, 0) for data in judged.data]
    with KernelEngine(policy, generation) as engine:
        for start in range(0, len(places), CHUNK):
            chunk = places[start : start + CHUNK]
            told = engine._reports_of([arrivals[place] for place in chunk])
            wanted = [expected[place] for place in chunk]
            if told != wanted:
                wrong = [number for number, (one, other) in enumerate(zip(told, wanted, strict=True)) if one != other]
                data = judged.data[chunk[wrong[0]]].hex()
                raise AssertionError(
                    f"{way}: {len(wrong)} packets are judged otherwise; {data} by {told[wrong[0]]!r} in place of {wanted[wrong[0]]!r}"
                    f"\n{text_of_policy(policy)}"
                )
