"""The kernel engine of a replay: the compiled rules in a network namespace of their own, and each packet's deciding rule as the
kernel reports it.

The generation that would be enforced stands at the prerouting hook of the namespace, with one addition: where a rule matches, it
logs its number (`render(..., observe=GROUP)`). Packets come in by taps (`firewall.replay.tap`), reports go out by nfnetlink_log,
and what the rules let through is dropped right behind them. A policy for another hook is judged at prerouting all the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from bpf import BpfError
from firewall import nft
from firewall.dispatch import base_chain
from firewall.generation import TABLE, Generation
from firewall.kernel import Kernel
from firewall.namespace import Namespace, NamespaceError
from firewall.netlink import NetlinkError
from firewall.pins import Pins
from firewall.plan import Environment, Node, plan
from firewall.render import render
from firewall.replay.admission import repair_checksum
from firewall.replay.arrival import OUTSIDE, Arrival, why_dropped
from firewall.replay.link import NotIp
from firewall.replay.nflog import RECEIVE_BYTES, LogOverrunError, LogReader, LogUnavailableError
from firewall.replay.record import Fate, judged, not_judged
from firewall.replay.tap import MAC, SENTINEL, Taps
from rules_dsl.policy import Hook, Policy, Rule, judgement

GROUP: Final = 1
"""NFLOG group; groups belong to the namespace."""

GATHERED: Final = 64
"""Reports that the kernel gathers before it sends them; as many packets of our own flush the last ones out."""

DRAINED: Final = 512
"""Frames after which waiting reports are read, so that they do not pile up in the socket."""

MOST_FATES: Final = 65_536
"""Different reports whose meaning is kept; a policy with many `log` rules can make any number of them."""

LOST_WITHOUT_REASON: Final = "the kernel dropped it before any rule, reason unknown"

_FRAME, _END = 0x02, 0x06
"""First byte of the source MAC address, whose other five count: frames of the capture, and the packets that end a batch."""
_FIRST_FRAME: Final = _FRAME << 40
_UNPROTECTED, _DEFAULT = b"unprotected\0", b"default\0"

_ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}
_END_PACKET = repair_checksum(bytes.fromhex("4500001400000000 40ff0000 0a000001 0a000002"))
"""A bare IPv4 header."""

_SURROUNDINGS = f"""
add table inet replay
add chain inet replay before {{ type filter hook prerouting priority -451; }}
add rule inet replay before iifname "{SENTINEL}" log prefix "end" group {GROUP} drop
add chain inet replay after {{ type filter hook prerouting priority -449; policy drop; }}
"""


Lease = Callable[[], AbstractContextManager[Namespace]]
"""Gives an empty network namespace for the time of a replay."""


class EngineUnavailableError(Exception):
    """The kernel engine cannot run on this machine: one line that says what is missing."""


def compiled(policy: Policy, node: Node, vlan_interfaces: Mapping[str, int]) -> Generation:
    """The generation that a replay of `policy` puts into the kernel. Raises DiagnosticError for what cannot be enforced.

    `vlan_interfaces`: the VLAN interfaces by which packets will come (name -> outermost VLAN id), needed only where the policy
    tests `vlan.id`."""
    return render(plan(replace(policy, hook=Hook.PREROUTING), Environment(node, vlan_interfaces)), 1, observe=GROUP)


class KernelEngine:
    """Judges packets by the kernel, with `policy` compiled to `generation`. A context manager: the namespace lives in it.

    `receive_bytes` bounds the reports that wait to be read; where they are more, packets go in smaller batches. Raises
    EngineUnavailableError, and the kernel's refusals (GenerationError, bpf.VerifierError)."""

    def __init__(
        self, policy: Policy, generation: Generation, mark: int = 0, *, receive_bytes: int = RECEIVE_BYTES, namespace: Lease = Namespace
    ) -> None:
        self._policy = policy
        self._sequence = 0
        self._rounds = 0
        self._fates: dict[bytes, Fate] = {}
        with ExitStack() as opened:
            try:
                self._namespace = opened.enter_context(namespace())
                self._taps = opened.enter_context(Taps(self._namespace))
                self._log = opened.enter_context(self._namespace.call(LogReader, GROUP, threshold=GATHERED, receive_bytes=receive_bytes))
                self._end_tap = self._taps[SENTINEL]
                self._namespace.call(_install, generation, mark)
            except (NamespaceError, LogUnavailableError, nft.NftMissingError, nft.NftError, NetlinkError, BpfError) as error:
                raise EngineUnavailableError(f"the kernel engine cannot run here: {error}") from error
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    @property
    def name(self) -> str:
        return "kernel"

    def judge(self, arrivals: Sequence[Arrival | NotIp]) -> list[Fate]:
        reports = self._reports_of([arrival for arrival in arrivals if not isinstance(arrival, NotIp)])
        known, next_report = self._fates, iter(reports).__next__
        return [
            not_judged(arrival.reason)
            if isinstance(arrival, NotIp)
            else known.get(report := next_report()) or self._fate_of(report, arrival)
            for arrival in arrivals
        ]

    def matched(self, arrivals: Sequence[Arrival | NotIp]) -> list[tuple[Rule, ...] | None]:
        reports = iter(self._reports_of([arrival for arrival in arrivals if not isinstance(arrival, NotIp)]))
        return [None if isinstance(arrival, NotIp) else self._rules_of(next(reports)) for arrival in arrivals]

    def _fate_of(self, report: bytes, arrival: Arrival) -> Fate:
        """The fate that the kernel's whole report of a packet means. Without a report no rule saw the packet."""
        if not report:
            return not_judged(why_dropped(arrival) or LOST_WITHOUT_REASON)
        matched = self._rules_of(report)
        fate = not_judged(OUTSIDE) if matched is None else judged(judgement(self._policy, matched))
        if len(self._fates) == MOST_FATES:
            self._fates.clear()
        self._fates[report] = fate
        return fate

    def _rules_of(self, report: bytes) -> tuple[Rule, ...] | None:
        """The rules that a whole report names: the numbers of those that matched, in order, and `default` or `unprotected` where
        no rule ended it, each with a NUL behind. None where no rule saw the packet."""
        if not report or report == _UNPROTECTED:
            return None
        by_default = report.endswith(_DEFAULT)
        numbers = report.removesuffix(_DEFAULT).split(b"\0")[:-1]
        matched = tuple(self._policy.rules[int(number)] for number in numbers)
        # A rule that ends the evaluation is the last to be reported, or none and then the default.
        ends = [rule.ends and not self._policy.goes_on(rule) for rule in matched]
        assert ends == [False] * (len(matched) - (not by_default)) + [True] * (not by_default), report
        return matched

    def _reports_of(self, packets: list[Arrival]) -> list[bytes]:
        """The report of each packet, empty where no rule saw it. Where reports get lost, fewer packets are sent at once."""
        if not packets:
            return []
        try:
            return self._inject(packets)
        except LogOverrunError:
            if len(packets) == 1:
                raise EngineUnavailableError("the kernel engine cannot run here: too many rules log one packet") from None
            half = len(packets) // 2
            return self._reports_of(packets[:half]) + self._reports_of(packets[half:])

    def _inject(self, packets: list[Arrival]) -> list[bytes]:
        reports = [b""] * len(packets)
        write, taps, v4, v6, join = os.write, self._taps, _ETHERTYPE[4], _ETHERTYPE[6], b"".join
        sequence = first = _FIRST_FRAME + self._sequence
        self._sequence += len(packets)
        for start in range(0, len(packets), DRAINED):
            for ip, (name, _), _ in packets[start : start + DRAINED]:
                write(taps[name], join((MAC, sequence.to_bytes(6), v4 if ip[0] < 0x60 else v6, ip)))
                sequence += 1
            self._log.gather(first, reports)
        self._rounds += 1
        end = ((_END << 40) + self._rounds).to_bytes(6)
        for _ in range(GATHERED):
            write(self._end_tap, join((MAC, end, v4, _END_PACKET)))
        others = self._log.gather(first, reports)
        assert (end, b"end\0") in others, "the kernel did not report the packets that end a batch"
        return reports


def _install(generation: Generation, mark: int) -> None:
    """Puts the generation and its surroundings into the namespace of the calling thread."""
    nft.run(_SURROUNDINGS + (f"add rule inet replay before meta mark set {mark:#x}\n" if mark else ""))
    with Kernel(quiet=True) as kernel:  # no packet comes in yet
        kernel.install(generation)
    Pins.here().clear()  # the rules hold their programs; so a replay that is killed leaves nothing
    nft.run(f'add rule inet {TABLE} {base_chain(Hook.PREROUTING)} log prefix "unprotected" group {GROUP}\n')
