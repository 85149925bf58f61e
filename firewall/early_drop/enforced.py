"""The early drops of the tenants whose rules are enforced, kept in step with what nftables enforces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from firewall.dispatch import Kind
from firewall.early_drop import pinned
from firewall.early_drop.interfaces import AtInterface, Interfaces, Protected
from firewall.early_drop.pinned import Told
from firewall.generation import EarlyDrop
from firewall.pins import Pins
from firewall.standing import Standing
from rules_dsl.expression import Ranges
from rules_dsl.policy import Hook

_VERSIONS = {Kind.V4: 4, Kind.V6: 6}


class EarlyDrops:
    """Those of the calling thread's network namespace."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._interfaces = Interfaces(pins)
        self._told: dict[tuple[str, int], Told | None] = {}
        """Of the generations that stand."""
        self._of: Standing | None = None

    @property
    def are_used(self) -> bool:
        """Whether a program is at an interface, or was to be."""
        return self._interfaces.is_used

    def pin(self, tenant: str, revision: int, early: EarlyDrop | None) -> None:
        """Loads and pins that of a new generation, whose folder is there; it drops nothing yet. Raises VerifierError, BpfError."""
        self._told.pop((tenant, revision), None)
        if early is not None:
            pinned.pin(self._pins.folder(tenant, revision), early)

    def shut(self, generations: Iterable[tuple[str, int]]) -> None:
        """Before other rules are enforced instead of these: from now on nftables alone decides. Raises BpfError."""
        for tenant, revision in generations:
            if self._told_of(tenant, revision) is not None:
                pinned.shut_gate(self._pins.folder(tenant, revision))

    def settle(self, stands: Standing) -> None:
        """Frames come to the programs of what is enforced, and are dropped by no others. Raises BpfError."""
        if self._of is not stands:
            self._of, self._told = stands, {}
        live = {tenant: way.revision for tenant, way in stands.tenants.items() if way is not None}
        found = {
            (parts.tenant, parts.revision): told
            for parts in stands.parts.values()
            if parts.is_pinned and (told := self._told_of(parts.tenant, parts.revision)) is not None
        }
        if not found and not self._interfaces.is_used:
            return
        self.shut(generation for generation in found if live.get(generation[0]) != generation[1])
        prefixes = _prefixes(stands)
        enforced = {
            tenant: (told, Protected(revision, prefixes.get(tenant, {})))
            for (tenant, revision), told in found.items()
            if live.get(tenant) == revision
        }
        self._interfaces.settle(enforced)
        for tenant, (_, protected) in enforced.items():
            pinned.open_gate(self._pins.folder(tenant, protected.revision))

    def at(self, tenant: str, revision: int) -> tuple[AtInterface, ...]:
        """How that of an enforced generation stands at its interfaces. Raises BpfError."""
        told = pinned.told(self._pins.folder(tenant, revision))
        return () if told is None else self._interfaces.at(tenant, revision, told)

    def _told_of(self, tenant: str, revision: int) -> Told | None:
        key = tenant, revision
        if key not in self._told:
            self._told[key] = pinned.told(self._pins.folder(tenant, revision))
        return self._told[key]


def _prefixes(stands: Standing) -> dict[str, Mapping[int, Ranges]]:
    """By tenant: the destinations whose packets come to its rules at prerouting, by IP version."""
    found: dict[str, dict[int, list[tuple[int, int]]]] = {}
    for entry in stands.dispatched:
        claim = entry.claim
        if claim.hook is Hook.PREROUTING and claim.kind in _VERSIONS and claim.kind in stands.looked_up[claim.hook]:
            of_tenant = found.setdefault(entry.tenant, {}).setdefault(_VERSIONS[claim.kind], [])
            of_tenant.append((int.from_bytes(claim.first, "big"), int.from_bytes(claim.last, "big")))
    return {
        tenant: {version: tuple(sorted(some)) for version, some in sorted(ranges.items())} for tenant, ranges in found.items()
    }  # fmt: skip
