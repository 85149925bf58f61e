"""A host with one interface, into which frames are written one by one, and what becomes of each."""

from __future__ import annotations

import os
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from firewall import nft
from firewall.early_drop import pinned
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from firewall.pins import Pins
from firewall.plan import Environment, plan
from firewall.render import render
from firewall.replay.nflog import LogReader
from rules_dsl.policy import Policy

INTERFACE = "mantlet0"
MAC = bytes.fromhex("020000000001")
_GROUP = 7

_SURROUNDINGS = f"""
add table inet lab
add chain inet lab after {{ type filter hook prerouting priority -449; policy drop; }}
add rule inet lab after log group {_GROUP}
"""


class EarlyLab:
    """`install` a policy, then `passes` tells of a frame whether the rules let it through. A context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.namespace = opened.enter_context(Namespace())
            self._tap = self.namespace.tap(INTERFACE, mac=MAC)
            opened.callback(os.close, self._tap)
            self._log = opened.enter_context(self.namespace.call(LogReader, _GROUP))
            self.namespace.call(nft.run, _SURROUNDINGS)
            self.kernel = self.namespace.call(Kernel)
            opened.callback(self.kernel.close)
            self._opened = opened.pop_all()
        self.revision = 0
        self._sent = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    def install(self, policy: Policy) -> None:
        self.revision += 1
        self.namespace.call(self.kernel.install, render(plan(policy, Environment()), self.revision))

    def passes(self, frame: bytes) -> bool:
        """`frame` without a source address, which it gets here."""
        self._sent += 1
        source = b"\x02" + self._sent.to_bytes(5, "big")
        os.write(self._tap, frame[:6] + source + frame[6:])
        return any(address == source for address, _ in self._log.read())

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of rules that have any."""
        found = self.namespace.call(self.kernel.counters)
        return {each.comment: (each.packets, each.bytes) for each in found if each.packets}

    def dropped_early(self, tenant: str) -> int:
        """Packets of the generation that is enforced."""
        return sum(packets for _, (packets, _) in pinned.counted(Pins.of(self.namespace.inode).folder(tenant, self.revision)))

    def modes(self, tenant: str) -> list[tuple[str, str]]:
        """Each interface, and how frames are dropped there, or why not."""
        found = self.namespace.call(self.kernel.early_drop, tenant)
        return [(each.interface, each.mode.value if each.mode else each.reason) for each in found]


def frame(packet: bytes, to: bytes = MAC, kind: bytes | None = None) -> bytes:
    """For `EarlyLab.passes`; padded as Ethernet does."""
    if kind is None:
        kind = b"\x08\x00" if packet[:1] and packet[0] >> 4 == 4 else b"\x86\xdd"
    return (to + kind + packet).ljust(54, b"\0")
