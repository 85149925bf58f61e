"""Packets a second that are dropped, by XDP before nftables and by nftables, of the same rules in one run.

Frames come over a veth pair as over a wire: a generator at one end sends them to the other, whose driver polls for them in the same thread.
So the thread's CPU time is that of all packets, but for what the kernel's own threads (ksoftirqd) take over, which is added. In it is
the making of the frames, the same for all contenders."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import statistics
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

from bpf.traffic import trace as send_trace
from firewall import netlink, nft
from firewall.bench.packet_cost import BenchError
from firewall.bench.workload import PREFIX, Line, as_mantlet, lines, trace
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from firewall.plan import Environment, plan
from firewall.render import render
from rules_dsl import parse_policy

SIZES: Final = (10, 1_000, 10_000)
EARLY, LATE, MAP, BARE = "mantlet, early drop", "mantlet, nftables", "nft, a map", "nft, drop without a look"

_NEAR, _FAR = "bench0", "bench1"
_PROTECT: Final = "protect 10.0.0.0/7\n"
_ROUND: Final = 300_000
"""Packets."""
_SIOCETHTOOL, _ETHTOOL_SGRO = 0x8946, 0x2C
_PASSED: Final = """table inet survivors {
 counter passed {}
 chain last { type filter hook prerouting priority -100; meta l4proto udp counter name passed; drop; }
}"""


@dataclass(frozen=True, slots=True)
class Dropping:
    """Nanoseconds of CPU time a packet, its making included."""

    contender: str
    rules: int
    median: float
    lowest: float
    highest: float

    @property
    def per_second(self) -> float:
        """Packets, on one core."""
        return 1e9 / self.median


def measure(sizes: Sequence[int], rounds: int, progress: Callable[[str], None]) -> list[Dropping]:
    """Raises BenchError where a contender lets a packet through, or Mantlet does not count each."""
    found = []
    for size in sizes:
        progress(f"early drop, {size:,} rules ...")
        found += _measure(size, rounds)
    return found


def _measure(size: int, rounds: int) -> list[Dropping]:
    rules = lines(size, "one shape")
    packets = trace(rules, hits=1)
    file = _PROTECT + as_mantlet(rules)
    installs: dict[str, Callable[[], None]] = {
        EARLY: partial(_install, f"early_drop {_NEAR}\n{file}"),
        LATE: partial(_install, file),
        MAP: partial(nft.run, _as_map(rules)),
        BARE: partial(nft.run, "table inet bench {\n chain every {\n  type filter hook prerouting priority -450; drop;\n }\n}\n"),
    }
    samples: dict[str, list[float]] = {name: [] for name in installs}
    with ExitStack() as opened:
        lanes = {}
        for name, install in installs.items():
            namespace = opened.enter_context(Namespace())
            namespace.call(_set_up, install)
            lanes[name] = namespace, opened.enter_context(namespace.call(send_trace, _NEAR, packets, peer=_FAR))
        for each in range(rounds + 1):
            for name, (namespace, traffic) in lanes.items():
                before = _softirq_time()
                burst = namespace.call(traffic.send, _ROUND)
                if each:  # the first warms up
                    samples[name].append((burst.cpu_time + _softirq_time() - before) / _ROUND)
        for name, (namespace, _) in lanes.items():
            if passed := namespace.call(_passed):
                raise BenchError(f"{name} let {passed:,} packets through")
            if name in (EARLY, LATE) and namespace.call(_counted) != _ROUND * (rounds + 1):
                raise BenchError(f"{name} did not count every packet")
    return [Dropping(name, size, statistics.median(some), min(some), max(some)) for name, some in samples.items()]


def table(found: Sequence[Dropping]) -> Iterator[str]:
    """Rows of text: contenders down, rule counts across; million packets a second, with the ratio to Mantlet's rules in nftables."""
    sizes = dict.fromkeys(each.rules for each in found)
    by_place = {(each.contender, each.rules): each for each in found}
    yield f"{'million packets a second':<26}" + "".join(f"{size:>13,} rules" for size in sizes)
    for name in dict.fromkeys(each.contender for each in found):
        cells = []
        for size in sizes:
            own = by_place[name, size]
            ratio = own.per_second / by_place[LATE, size].per_second
            cells.append(f"{own.per_second / 1e6:8.2f} {f'({ratio:.1f}x)':>10}")
        yield f"{name:<26}" + "".join(cells)


def _install(file: str) -> None:
    with Kernel() as kernel:
        kernel.install(render(plan(parse_policy(file), Environment()), 1))


def _as_map(rules: Sequence[Line]) -> str:
    """The rules in one map, which is legal as all ask for the same fields."""
    elements = []
    for line in rules:
        assert line.source is not None
        assert line.destination is not None
        elements.append(f"{IPv4Address(line.source)}/{PREFIX} . {IPv4Address(line.destination)} . {line.port} : drop")
    return (
        "table inet bench {\n map rules {\n  type ipv4_addr . ipv4_addr . inet_service : verdict; flags interval;\n"
        f"  elements = {{ {', '.join(elements)} }}\n }}\n chain every {{\n  type filter hook prerouting priority -450;\n"
        "  ip saddr . ip daddr . udp dport vmap @rules\n }\n}\n"
    )


def _set_up(install: Callable[[], None]) -> None:
    subprocess.run(f"ip link add {_NEAR} type veth peer name {_FAR}".split(), check=True, capture_output=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # so that the driver polls, with XDP and without
        value = (ctypes.c_uint32 * 2)(_ETHTOOL_SGRO, 1)
        fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP16x", _NEAR.encode(), ctypes.addressof(value)))
    for end in (_NEAR, _FAR):
        subprocess.run(f"ip link set {end} up".split(), check=True, capture_output=True)
    nft.run(_PASSED)
    install()


def _softirq_time() -> int:
    """Nanoseconds that the kernel's threads have spent on what interrupts leave to them."""
    spent = 0
    for comm in Path("/proc").glob("[0-9]*/comm"):
        try:
            if comm.read_text(encoding="ascii", errors="replace").startswith("ksoftirqd/"):
                spent += int(comm.with_name("schedstat").read_text(encoding="ascii").split()[0])
        except (OSError, IndexError, ValueError):  # it has ended, or the kernel keeps no such account
            continue
    return spent


def _passed() -> int:
    with netlink.Netlink() as kernel:
        return next(counter.packets for counter in kernel.counters("survivors") if counter.name == "passed")


def _counted() -> int:
    with Kernel() as kernel:
        return sum(counter.packets for counter in kernel.counters())
