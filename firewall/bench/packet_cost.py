"""Nanoseconds a packet of a rule list, by each contender, on one veth interface fed by the in-kernel generator."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from bpf.traffic import HEADER
from bpf.traffic import trace as send_trace
from firewall import netlink, nft
from firewall.bench.workload import TRACE_PACKETS, Line, as_iptables, as_mantlet, as_nft
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from firewall.plan import Environment, plan
from firewall.render import render
from rules_dsl import parse_policy

Found = TypeVar("Found")

INTERFACE = "bench0"
WARM_UP_NS = 200_000_000
ROUND_NS = 400_000_000
"""CPU time that one contender's measured run should take, a round."""
SURVIVORS = """table inet survivors {
 counter passed {}
 chain last { type filter hook prerouting priority -100; meta l4proto { tcp, udp } counter name passed; drop; }
}"""
"""Behind all contenders: counts what they let through, and ends the packet's way, so that routing is not measured."""

Install = Callable[[], None]
"""Puts a contender's rules into the network namespace of the calling thread."""

NO_RULES = "no rules"


class BenchError(Exception):
    """The contenders do not agree, or one could not be set up."""


def install_mantlet(rules: str) -> None:
    """A rule file, enforced."""
    generation = render(plan(parse_policy(rules), Environment()), 1)
    with Kernel() as kernel:
        kernel.install(generation)


def install_iptables(rules: str) -> None:
    """Input of iptables-restore, through iptables-nft."""
    done = subprocess.run(["iptables-nft-restore"], input=rules, text=True, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"iptables-nft-restore: {done.stderr.strip()}")


def has_iptables() -> bool:
    return shutil.which("iptables-nft-restore") is not None


def header_contenders(rules: list[Line]) -> dict[str, Install]:
    """The same header rules, as each tool has them."""
    contenders: dict[str, Install] = {
        "mantlet": partial(install_mantlet, as_mantlet(rules)),
        "nft inet, a rule a line": partial(nft.run, as_nft(rules, "inet")),
        "nft ip, a rule a line": partial(nft.run, as_nft(rules, "ip")),
    }
    if has_iptables():
        contenders["iptables-nft"] = partial(install_iptables, as_iptables(rules))
    return contenders


@dataclass(frozen=True, slots=True)
class Cost:
    contender: str
    rules: int
    added: float
    """Median nanoseconds a packet above an empty rule set."""
    lowest: float
    highest: float


def measure(
    contenders: Mapping[str, Install], packets: Sequence[bytes], *, rules: int, rounds: int, held: int = HEADER, round_ns: int = ROUND_NS
) -> tuple[float, list[Cost]]:
    """(nanoseconds a packet of an empty rule set, each contender's cost). The contenders run in turn, `rounds` times, so that a drift of
    the machine meets all of them; each must let the same number of packets through. Of each packet the first `held` bytes count."""
    installs: dict[str, Install] = {NO_RULES: _nothing, **contenders}
    samples: dict[str, list[float]] = {name: [] for name in installs}
    lanes: list[Lane] = []
    try:
        for name, install in installs.items():
            lanes.append(Lane(name, install, packets, held=held, round_ns=round_ns))
        passed = {lane.contender: lane.passed_of_one_trace() for lane in lanes}
        kept = {name: count for name, count in passed.items() if name != NO_RULES}
        if len(set(kept.values())) != 1:
            raise BenchError(f"the contenders do not agree on the packets: {kept}")
        for lane in lanes:
            lane.calibrate()
        for _ in range(rounds):
            for lane in lanes:
                samples[lane.contender].append(lane.round())
    finally:
        for lane in lanes:
            lane.close()
    base = statistics.median(samples[NO_RULES])
    costs = [
        Cost(name, rules, statistics.median(found) - base, min(found) - base, max(found) - base)
        for name, found in samples.items()
        if name != NO_RULES
    ]
    return base, costs


def _nothing() -> None:
    return


class Lane:
    """A contender's namespace, interface and generator."""

    def __init__(self, contender: str, install: Install, packets: Sequence[bytes], *, held: int = HEADER, round_ns: int = ROUND_NS) -> None:
        self.contender = contender
        self._trace = len(packets)
        self._count = self._trace
        self._round_ns = round_ns
        self._namespace = Namespace()
        try:
            self._namespace.call(_set_up, install)
            self._traffic = self._namespace.call(send_trace, INTERFACE, packets, held=held)
        except BaseException:
            self._namespace.close()
            raise

    def call(self, function: Callable[[], Found]) -> Found:
        """The function's result, run in the contender's namespace."""
        return self._namespace.call(function)

    def send(self, count: int) -> int:
        """Sends so many packets, and returns how many that were."""
        return self._namespace.call(self._traffic.send, count).packets

    def passed_of_one_trace(self) -> int:
        return self._namespace.call(self._send_and_count, self._trace)

    def _send_and_count(self, count: int) -> int:
        before = _passed()
        self._traffic.send(count)
        return _passed() - before

    def calibrate(self) -> None:
        """Warms up, and chooses the packets of a round."""
        burst = self._namespace.call(self._traffic.send, self._trace)
        if burst.cpu_time < WARM_UP_NS:
            burst = self._namespace.call(self._traffic.send, self._trace * -(-TRACE_PACKETS * 8 // self._trace))
        rate = max(1.0, burst.per_packet)
        self._namespace.call(self._traffic.send, max(self._trace, int(WARM_UP_NS / rate)))
        self._count = max(self._trace, int(self._round_ns / rate) // self._trace * self._trace)

    def round(self) -> float:
        return self._namespace.call(self._traffic.send, self._count).per_packet

    def close(self) -> None:
        self._traffic.close()
        self._namespace.close()


def _set_up(install: Install) -> None:
    for command in (
        f"ip link add {INTERFACE} type veth peer name bench1",
        f"ip link set {INTERFACE} up",
        "ip link set bench1 up",
    ):
        subprocess.run(command.split(), check=True, capture_output=True)
    nft.run(SURVIVORS)
    install()


def _passed() -> int:
    with netlink.Netlink() as kernel:
        return next(counter.packets for counter in kernel.counters("survivors") if counter.name == "passed")


def table(sets: Sequence[tuple[int, float, Sequence[Cost]]]) -> Iterator[str]:
    """Rows of text from (rules, empty rule set, costs): contenders down, rule counts across; each cell has the median with half its
    spread, and the ratio to Mantlet's."""
    yield f"{'nanoseconds added a packet':<26}" + "".join(f"{count:>15,} rules" for count, _, _ in sets)
    for name in [cost.contender for cost in sets[0][2]]:
        cells = []
        for _, _, costs in sets:
            by_name = {cost.contender: cost for cost in costs}
            own, ours = by_name[name], by_name["mantlet"]
            ratio = f"{own.added / ours.added:.1f}x" if ours.added > 0 else "-"
            cells.append(f"{own.added:7,.0f} ±{(own.highest - own.lowest) / 2:<5,.0f}{ratio:>6}")
        yield f"{name:<26}" + " ".join(cells)
    yield "an empty rule set takes " + ", ".join(f"{base:,.0f}" for _, base, _ in sets) + " ns a packet in these runs"
