"""What rule sets and lists of prefixes cost: nanoseconds a packet, time to load and to change one rule, memory; beside what others take
for the same rules, in one run. Every packet of every trace must meet the same fate with each contender, which is what the rules say."""

from __future__ import annotations

import random
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from bpf.assembler import Assembler
from bpf.image import ProgramImage, ProgramKind
from bpf.isa import R0
from bpf.traffic import Traffic
from bpf.traffic import trace as send_trace
from firewall import nft
from firewall.bench import in_process
from firewall.bench.classbench import TCP, TRACES, Filter, RuleSet, trace
from firewall.bench.contenders import EXTRA, Contender, of_prefixes, of_rules
from firewall.bench.processes import ProcessError, kernel_memory, run
from firewall.namespace import Namespace
from firewall.replay.admission import repair_checksum
from firewall.state import VARIABLE

INTERFACE: Final = "bench0"
ROUND_NS: Final = 100_000_000
"""CPU time that a measured run should take; a trace is sent once at least."""
PATIENCE: Final = 120.0
"""Seconds that a contender may take to load its rules."""
CHANGES: Final = 2
"""Changes that are timed, each there and back."""
SLOW: Final = 5.0
"""Seconds to load, from which on fewer are."""
TRACE_PACKETS: Final = 2048
MANY, FEWER = 50_000, 512
"""From so many rules on a trace has fewer packets: those that grow with each rule take half a millisecond a packet there."""
LISTS: Final = "prefixes"
"""The name under which lists of prefixes are told."""

_SEEN: Final = """table ip seen {
 set passed { typeof ip id; flags dynamic; size 65536; }
 chain last { type filter hook prerouting priority -100; add @passed { ip id }; drop; }
}"""
"""Behind all contenders: notes which packets they let through, by the number in their IP header, and ends the packet's way."""
_UNSEEN: Final = "flush chain ip seen last; add rule ip seen last drop"
"""For measuring: the note would cost time of its own."""


@dataclass(frozen=True, slots=True)
class Cost:
    contender: str
    trace: str
    added: float
    """Median nanoseconds a packet above an empty rule set."""
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Setting:
    """What it takes to put rules into the kernel. Times are of whole processes."""

    contender: str
    load: float
    """Seconds."""
    change: float | None
    """Seconds to change one rule, or to add or remove one element: the median; None where it was not measured."""
    change_lowest: float | None
    change_highest: float | None
    process_memory: int
    """Bytes: the most that a loading process held."""
    kernel_memory: int
    """Bytes that the kernel held more afterwards; of the whole machine, so it is as quiet as that is."""
    in_process: float | None = None
    """Seconds from a text with one rule changed to its enforcement, in a process that goes on: the median."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    contender: str
    reason: str
    is_wrong: bool = False
    """It judged packets otherwise than the rules say."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A set of one size."""

    name: str
    asked: int
    """The size that was asked for."""
    rules: int
    """The rules or elements there were."""
    origin: str
    packets: Mapping[str, int]
    """By trace: its packets, each of which every contender judged as the rules say."""
    empty: Mapping[str, float]
    """By trace: nanoseconds a packet of an empty rule set."""
    costs: tuple[Cost, ...]
    settings: tuple[Setting, ...]
    left_out: tuple[LeftOut, ...]
    took: float | None = None
    """Seconds of this measurement; None where it was not noted."""


# -- one contender -----------------------------------------------------------------------------------------------------


class Lane:
    """A network namespace with a contender's rules and a generator for each trace."""

    def __init__(self, contender: Contender | None, traces: Mapping[str, Sequence[bytes]], folder: Path) -> None:
        """None: no rules. Raises ProcessError where they cannot be loaded."""
        self.contender = contender
        self._state = {VARIABLE: str(folder / "state")}
        self._held = {name: len(packets) for name, packets in traces.items()}
        self._counts = dict(self._held)
        with ExitStack() as opened:
            self._namespace = opened.enter_context(Namespace())
            self._namespace.call(_set_up)
            self.load, self.process_memory, self.kernel_memory = 0.0, 0, 0
            if contender is not None:
                self._namespace.call(self._load, contender)
            self._traffic = {
                name: opened.enter_context(self._namespace.call(send_trace, INTERFACE, packets)) for name, packets in traces.items()
            }
            self._opened = opened.pop_all()

    def _load(self, contender: Contender) -> None:
        before = kernel_memory()
        for process in contender.load:
            usage = run(process, timeout=PATIENCE, environment=self._state)
            self.load += usage.seconds
            self.process_memory = max(self.process_memory, usage.memory)
        self.kernel_memory = kernel_memory() - before

    def passed(self, name: str) -> frozenset[int]:
        """The packets of a trace, by their places in it, that come through."""
        return self._namespace.call(self._passed, name)

    def _passed(self, name: str) -> frozenset[int]:
        nft.run("flush set ip seen passed")
        self._traffic[name].send(self._held[name])
        (listed,) = (entry["set"] for entry in nft.listing_json("list set ip seen passed")["nftables"] if "set" in entry)
        return frozenset(int(element) for element in listed.get("elem", ()))

    def calibrate(self) -> None:
        """What came through is noted no longer; chooses the packets of a run."""
        self._namespace.call(nft.run, _UNSEEN)
        for name, held in self._held.items():
            first = self._namespace.call(self._traffic[name].send, held)
            burst = self._namespace.call(self._traffic[name].send, max(held, int(ROUND_NS / 4 / first.per_packet)))
            self._counts[name] = max(1, int(ROUND_NS / burst.per_packet) // held) * held

    def per_packet(self, name: str) -> float:
        return self._namespace.call(self._traffic[name].send, self._counts[name]).per_packet

    def changes(self) -> list[float]:
        """Seconds of each change of one rule; none where the contender has none. Raises ProcessError."""
        return self._namespace.call(self._changes)

    def _changes(self) -> list[float]:
        if self.contender is None or self.contender.changes is None:
            return []
        pair = self.contender.changes()
        times = CHANGES if self.load < SLOW else 1
        return [run(process, timeout=PATIENCE, environment=self._state).seconds for _ in range(times) for process in pair]

    def changes_in_process(self) -> list[float]:
        """The same within this process, where the contender is Mantlet. Those rules stay."""
        if self.contender is None or self.contender.texts is None:
            return []
        texts = self.contender.texts()
        times = 4 * CHANGES if self.load < SLOW else CHANGES
        return self._namespace.call(in_process.changes, islice(texts, in_process.WARMING + times))

    def close(self) -> None:
        self._opened.close()


def _set_up() -> None:
    for command in (f"ip link add {INTERFACE} type veth peer name bench1", f"ip link set {INTERFACE} up", "ip link set bench1 up"):
        subprocess.run(command.split(), check=True, capture_output=True)
    nft.run(_SEEN)


# -- all of them -------------------------------------------------------------------------------------------------------


def measure(
    name: str,
    asked: int,
    rules: int,
    origin: str,
    contenders: Callable[[Path], Iterable[Contender]],
    traces: Mapping[str, tuple[Sequence[bytes], Sequence[bool]]],
    rounds: int,
    progress: Callable[[str], None],
) -> Measured:
    """`traces`: packets, whose IP identification is their place, and whether each must be dropped. The contenders are measured in turn,
    `rounds` times, so that a drift of the machine meets all of them."""
    began = time.perf_counter()
    packets = {kind: sent for kind, (sent, _) in traces.items()}
    wanted = {kind: frozenset(at for at, is_dropped in enumerate(drops) if not is_dropped) for kind, (_, drops) in traces.items()}
    left_out: list[LeftOut] = []
    settings: list[Setting] = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        empty = Lane(None, packets, folder)
        opened.callback(empty.close)
        lanes = []
        for contender in contenders(folder):
            progress(f"{name}, {asked:,}: {contender.name}")
            try:
                if contender.missing:
                    raise ProcessError(contender.missing)
                lane = Lane(contender, packets, folder)
            except ProcessError as error:
                left_out.append(LeftOut(contender.name, str(error)))
                continue
            opened.callback(lane.close)
            wrong = {kind: len(lane.passed(kind) ^ wanted[kind]) for kind in packets}
            if any(wrong.values()):
                told = ", ".join(f"{count:,} of {len(packets[kind]):,} packets ({kind})" for kind, count in wrong.items() if count)
                left_out.append(LeftOut(contender.name, f"judged otherwise than the rules say: {told}", is_wrong=True))
                continue
            lanes.append(lane)
        progress(f"{name}, {asked:,}: packets")
        samples: dict[tuple[str, str], list[float]] = {}
        for lane in (empty, *lanes):
            lane.calibrate()
        for _ in range(rounds):
            for kind in packets:
                for lane in (empty, *lanes):
                    samples.setdefault((lane.contender.name if lane.contender else "", kind), []).append(lane.per_packet(kind))
        base = {kind: statistics.median(samples["", kind]) for kind in packets}
        progress(f"{name}, {asked:,}: changes")
        for lane in lanes:
            assert lane.contender is not None
            try:
                took, inside = lane.changes(), lane.changes_in_process()
            except ProcessError as error:
                left_out.append(LeftOut(lane.contender.name, f"no change of one rule: {error}"))
                took, inside = [], []
            median, lowest, highest = (statistics.median(took), min(took), max(took)) if took else (None, None, None)
            settings.append(
                Setting(
                    lane.contender.name, lane.load, median, lowest, highest, lane.process_memory, lane.kernel_memory,
                    statistics.median(inside) if inside else None,
                )
            )  # fmt: skip
    costs = tuple(
        Cost(contender, kind, *(pick(found) - base[kind] for pick in (statistics.median, min, max)))
        for (contender, kind), found in samples.items()
        if contender
    )
    counts = {kind: len(sent) for kind, sent in packets.items()}
    return Measured(name, asked, rules, origin, counts, base, costs, tuple(settings), tuple(left_out), time.perf_counter() - began)


def rules(found: RuleSet, asked: int, rounds: int, progress: Callable[[str], None], *, only: str = "") -> Measured:
    """A rule set; with one contender alone, if it is named."""
    count = TRACE_PACKETS if len(found.filters) < MANY else FEWER
    traces = {}
    for kind in TRACES:
        packets = trace(found, kind, count)
        traces[kind] = [packet(each, at) for at, each in enumerate(packets)], found.dropped(packets)
    size = len(found.filters)

    def named(folder: Path) -> Iterator[Contender]:
        return (each for each in of_rules(found, folder) if only in ("", each.name))

    return measure(found.name, asked, size, found.origin, named, traces, rounds, progress)


def prefixes(asked: int, rounds: int, progress: Callable[[str], None]) -> Measured:
    """A list of prefixes: packets from them, and from elsewhere."""
    rng = random.Random(f"prefixes {asked}")
    listed = list(_prefixes(rng, asked))
    networks: dict[int, set[int]] = {}
    for address, length in listed:
        networks.setdefault(length, set()).add(address)

    def is_listed(source: int) -> bool:
        return any(source >> (32 - length) << (32 - length) in addresses for length, addresses in networks.items())

    traces = {}
    for kind in ("listed", "others"):
        sources: list[int] = []
        while len(sources) < TRACE_PACKETS:
            address, length = rng.choice(listed) if kind == "listed" else (0, 0)
            source = address | rng.getrandbits(32) >> length
            if is_listed(source) is (kind == "listed"):
                sources.append(source)
        sent = [Filter(source, 32, rng.getrandbits(32), 32, (1000, 1000), (80, 80), TCP) for source in sources]
        traces[kind] = [packet(each, at) for at, each in enumerate(sent)], [kind == "listed"] * len(sent)
    return measure(LISTS, asked, asked, "generated", lambda folder: of_prefixes(listed, folder), traces, rounds, progress)


def _prefixes(rng: random.Random, count: int) -> Iterator[tuple[int, int]]:
    """Disjoint prefixes from /16 to /32, of which most are from /20 to /24."""
    taken: dict[int, set[int]] = {length: set() for length in range(16, 33)}
    above: set[tuple[int, int]] = set()
    avoided = int.from_bytes(bytes(map(int, EXTRA.split("/", maxsplit=1)[0].split("."))), "big")
    given = 0
    while given < count:
        length = min(32, max(16, round(rng.gauss(23, 3))))
        address = rng.randrange(1 << 24, 224 << 24) >> (32 - length) << (32 - length)
        nets = [(each, address >> (32 - each)) for each in range(16, length + 1)]
        if (length, address >> (32 - length)) in above or any(number in taken[each] for each, number in nets):
            continue
        if avoided >> (32 - min(length, 24)) == address >> (32 - min(length, 24)):
            continue
        taken[length].add(nets[-1][1])
        above.update(nets)
        given += 1
        yield address, length


def packet(wanted: Filter, number: int) -> bytes:
    """A packet of 64 bytes on the wire. `number` is its identification."""
    assert wanted.protocol is not None
    ports = wanted.source_ports[0], wanted.destination_ports[0]
    match wanted.protocol:
        case 6:
            transport = struct.pack(">HHIIBBHHH", *ports, 1, 1, 5 << 4, 0x10, 1024, 0, 0)
        case 17:
            transport = struct.pack(">HHHH", *ports, 26, 0)
        case 1:
            transport = struct.pack(">BBHHH", 8, 0, 0, 1, 1)
        case _:
            transport = b""
    transport = transport.ljust(26, b"\0")
    size = 20 + len(transport)
    header = struct.pack(">BBHHHBBHII", 0x45, 0, size, number, 0, 64, wanted.protocol, 0, wanted.source, wanted.destination)
    return repair_checksum(header + transport)


# -- the floor ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Floor:
    """Nanoseconds a frame in all, its making included: dropped by an XDP program that looks at nothing, and handed to the stack, where an
    empty rule set drops it at the end."""

    xdp_drop: float
    xdp_lowest: float
    xdp_highest: float
    stack: float


def floor(rounds: int) -> Floor:
    """Below what any packet filter can come. The generator of frames is itself an XDP program; here it drops them."""
    sent = packet(Filter(0x0A000001, 32, 0x0A000002, 32, (1000, 1000), (80, 80), TCP), 1)
    with Namespace() as namespace:
        namespace.call(_set_up)
        namespace.call(nft.run, _UNSEEN)
        with namespace.call(Traffic, INTERFACE, _drop(), sent) as dropped, namespace.call(send_trace, INTERFACE, [sent]) as passed:
            found: dict[str, list[float]] = {"xdp": [], "stack": []}
            for turn in range(rounds + 1):
                xdp = namespace.call(dropped.send, 1_000_000).per_packet
                stack = namespace.call(passed.send, 500_000).per_packet
                if turn:  # the first warms up
                    found["xdp"].append(xdp)
                    found["stack"].append(stack)
    return Floor(statistics.median(found["xdp"]), min(found["xdp"]), max(found["xdp"]), statistics.median(found["stack"]))


def _drop() -> ProgramImage:
    asm = Assembler("drop", ProgramKind.XDP)
    asm.line("every frame")
    asm.mov(R0, 1)  # XDP_DROP
    asm.exit()
    return asm.assemble()
