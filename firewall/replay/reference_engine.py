"""The reference engine of a replay: the meaning of the rules, in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from firewall.plan import Node
from firewall.replay.arrival import OUTSIDE, Arrival, why_dropped
from firewall.replay.link import NotIp
from firewall.replay.record import Fate, judged, not_judged
from firewall.replay.tap import Interface
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Policy, Rule
from rules_dsl.reference import judge, matched, protects


class ReferenceEngine:
    """Judges packets by `rules_dsl.reference`. A context manager only because the kernel engine is one."""

    def __init__(self, policy: Policy, node: Node, mark: int) -> None:
        self._policy = policy
        self._node = node
        self._mark = mark
        self._places: dict[Interface, Place] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        return

    @property
    def name(self) -> str:
        return "reference"

    def judge(self, arrivals: Sequence[Arrival | NotIp]) -> list[Fate]:
        return [self._judge(arrival) for arrival in arrivals]

    def matched(self, arrivals: Sequence[Arrival | NotIp]) -> list[tuple[Rule, ...] | None]:
        return [None if isinstance(seen := self._seen(arrival), str) else matched(self._policy, seen) for arrival in arrivals]

    def _judge(self, arrival: Arrival | NotIp) -> Fate:
        seen = self._seen(arrival)
        return not_judged(seen) if isinstance(seen, str) else judged(judge(self._policy, seen))

    def _seen(self, arrival: Arrival | NotIp) -> Packet | str:
        """The packet that the rules see, or why they see none."""
        if isinstance(arrival, NotIp):
            return arrival.reason
        reason = why_dropped(arrival)
        if reason is not None:
            return reason
        packet = Packet(arrival.ip, self._place(arrival.interface))
        return packet if protects(self._policy.protect, packet) else OUTSIDE

    def _place(self, interface: Interface) -> Place:
        place = self._places.get(interface)
        if place is None:
            place = self._places[interface] = Place(
                interface_in=interface.name,
                mark=self._mark,
                vlan_id=interface.vlan,
                colo_name=self._node.name,
                colo_region=self._node.region,
            )
        return place
