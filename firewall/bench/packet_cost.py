"""Nanoseconds a packet of a rule list, by each contender, on one veth interface fed by the in-kernel generator."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bpf.traffic import trace as send_trace
from firewall import netlink, nft
from firewall.bench.workload import TRACE_PACKETS, Line, as_iptables, as_mantlet, as_nft, trace
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from firewall.plan import Environment, plan
from firewall.render import render
from rules_dsl import parse_policy

INTERFACE = "bench0"
WARM_UP_NS = 200_000_000
ROUND_NS = 400_000_000
"""CPU time that one contender's measured run should take, a round."""
SURVIVORS = """table inet survivors {
 counter passed {}
 chain last { type filter hook prerouting priority -100; meta l4proto udp counter name passed; drop; }
}"""
"""Behind all contenders: counts what they let through, and ends the packet's way, so that routing is not measured."""

Install = Callable[[list[Line]], None]


class BenchError(Exception):
    """The contenders do not agree, or one could not be set up."""


def _nothing(_: list[Line]) -> None:
    return


def _mantlet(rules: list[Line]) -> None:
    generation = render(plan(parse_policy(as_mantlet(rules)), Environment()), 1)
    with Kernel() as kernel:
        kernel.install(generation)


def _nft_inet(rules: list[Line]) -> None:
    nft.run(as_nft(rules, "inet"))


def _nft_ip(rules: list[Line]) -> None:
    nft.run(as_nft(rules, "ip"))


def _iptables_nft(rules: list[Line]) -> None:
    done = subprocess.run(["iptables-nft-restore"], input=as_iptables(rules), text=True, capture_output=True, check=False)
    if done.returncode:
        raise BenchError(f"iptables-nft-restore: {done.stderr.strip()}")


CONTENDERS: dict[str, Install] = {
    "no rules": _nothing,
    "mantlet": _mantlet,
    "nft inet, a rule a line": _nft_inet,
    "nft ip, a rule a line": _nft_ip,
    "iptables-nft": _iptables_nft,
}


@dataclass(frozen=True, slots=True)
class Cost:
    contender: str
    rules: int
    added: float
    """Median nanoseconds a packet above an empty rule set."""
    lowest: float
    highest: float


def measure(rules: list[Line], *, hits: float, rounds: int) -> tuple[float, list[Cost]]:
    """(nanoseconds a packet of an empty rule set, each contender's cost). The contenders run in turn, `rounds` times, so that a
    drift of the machine meets all of them; each must let the same number of packets through."""
    packets = trace(rules, hits=hits)
    contenders = [name for name in CONTENDERS if name != "iptables-nft" or shutil.which("iptables-nft-restore")]
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    lanes = [_Lane(name, rules, packets) for name in contenders]
    try:
        passed = {lane.contender: lane.passed_of_one_trace() for lane in lanes}
        kept = {name: count for name, count in passed.items() if name != "no rules"}
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
    base = statistics.median(samples["no rules"])
    costs = [
        Cost(name, len(rules), statistics.median(found) - base, min(found) - base, max(found) - base)
        for name, found in samples.items()
        if name != "no rules"
    ]
    return base, costs


class _Lane:
    """A contender's namespace, interface and generator."""

    def __init__(self, contender: str, rules: list[Line], packets: Sequence[bytes]) -> None:
        self.contender = contender
        self._namespace = Namespace()
        self._count = TRACE_PACKETS
        self._namespace.call(self._set_up, rules)
        self._traffic = self._namespace.call(send_trace, INTERFACE, packets)

    def _set_up(self, rules: list[Line]) -> None:
        for command in (
            f"ip link add {INTERFACE} type veth peer name bench1",
            f"ip link set {INTERFACE} up",
            "ip link set bench1 up",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        nft.run(SURVIVORS)
        CONTENDERS[self.contender](rules)

    def passed_of_one_trace(self) -> int:
        return self._namespace.call(self._send_and_count, TRACE_PACKETS)

    def _send_and_count(self, count: int) -> int:
        before = _passed()
        self._traffic.send(count)
        return _passed() - before

    def calibrate(self) -> None:
        """Warms up, and chooses the packets of a round."""
        burst = self._namespace.call(self._traffic.send, TRACE_PACKETS * 16)
        rate = max(1.0, burst.per_packet)
        self._namespace.call(self._traffic.send, max(TRACE_PACKETS, int(WARM_UP_NS / rate)))
        self._count = max(TRACE_PACKETS, int(ROUND_NS / rate) // TRACE_PACKETS * TRACE_PACKETS)

    def round(self) -> float:
        return self._namespace.call(self._traffic.send, self._count).per_packet

    def close(self) -> None:
        self._traffic.close()
        self._namespace.close()


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
