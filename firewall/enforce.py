"""Enforcing rules on this host, in the network namespace of the caller: apply, roll back, remove, status.

The order of an `apply`, so that whatever ends it leaves the old rules or the new ones: check and compile; take the lock; clear
away what a killed one left; write the revision to disk; build it in the kernel and flip (`firewall.kernel`); mark the revision as
enforced; clear away the old generation."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from firewall.early_drop.interfaces import AtInterface
from firewall.features import require_enforcement, require_netlink
from firewall.generation import counter_name
from firewall.kernel import Enforced, Kernel, Swept
from firewall.pins import clear_dead
from firewall.plan import Environment, Node, plan
from firewall.render import render
from firewall.sources import Sources, policy_from, read_sources, sources_of
from firewall.state import Revision, RuleRecord, State
from firewall.vlan import vlan_interfaces
from rules_dsl.policy import Policy

__all__ = [
    "Change",
    "NoRevisionError",
    "RuleStatus",
    "TenantStatus",
    "UnknownTenantError",
    "apply",
    "apply_text",
    "remove",
    "rollback",
    "status",
    "sweep",
]

KEPT = 50
"""Revisions of a tenant that stay on disk."""


class UnknownTenantError(Exception):
    """There is no tenant of that name here."""


class NoRevisionError(Exception):
    """There is no such revision, or none to go back to."""


@dataclass(frozen=True, slots=True)
class Change:
    """What `apply`, `rollback` or `remove` did."""

    tenant: str
    before: int | None
    """The revision that was enforced, None where there was none."""
    after: int | None


@dataclass(frozen=True, slots=True)
class RuleStatus:
    name: str
    action: str
    mode: str
    expression: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TenantStatus:
    """A tenant whose rules are enforced, as the kernel says; what only the state directory knows is None where it does not."""

    tenant: str
    revision: int
    protects: tuple[str, ...]
    hooks: tuple[str, ...]
    record: Revision | None
    rules: tuple[RuleStatus, ...]
    """In the rule file's order."""
    early: tuple[AtInterface, ...] = ()
    """How its early drop stands at the interfaces that it names."""


def apply(path: Path, *, node: Node | None = None, geo: Sequence[Path] = (), who: str | None = None, state: State | None = None) -> Change:
    """Enforces a rule file. Raises EnvironmentRefusedError, DiagnosticError (nothing has happened then), StateError, and what
    Kernel.install raises (and then the rules enforced before still are)."""
    sources, policy = read_sources(path, geo=geo)
    return _apply(sources, policy, node or Node(), who or _user(), state or State())


def apply_text(
    text: str,
    *,
    name: str,
    folder: Path,
    node: Node | None = None,
    geo: Sequence[Path] = (),
    who: str | None = None,
    state: State | None = None,
) -> Change:
    """As `apply`, for the text of a rule file; paths in it start at `folder`."""
    sources, policy = sources_of(text, name=name, folder=folder, geo=geo)
    return _apply(sources, policy, node or Node(), who or _user(), state or State())


def _apply(sources: Sources, policy: Policy, node: Node, who: str, state: State) -> Change:
    compiled = plan(policy, Environment(node, vlan_interfaces()))
    with _changing(state) as (kernel, enforced):
        tenant = policy.tenant
        before = enforced[tenant].revision if tenant in enforced else None
        known = state.numbers(tenant)
        number = 1 + max((before or 0, *known))
        when = datetime.now(UTC).isoformat(timespec="seconds")
        rules = tuple(
            RuleRecord(rule.name, rule.action.value, rule.mode.value, rule.expression, counter_name(tenant, rule.name))
            for rule in policy.rules
        )
        hook, default = policy.hook.value, policy.default.value
        generation = render(compiled, number)
        state.write(Revision(tenant, number, before, when, who, sources.name, hook, default, node.name, node.region, rules), sources)
        try:
            kernel.install(generation)
        finally:
            _settle(kernel, state)
        for old in known[: max(0, len(known) + 1 - KEPT)]:
            if old != before:
                state.forget(tenant, old)
    return Change(tenant, before, number)


def rollback(tenant: str, revision: int | None = None, *, state: State | None = None) -> Change:
    """Enforces an earlier revision again: the one that was enforced before the present one, or the one given. Where no rules of
    the tenant are enforced, its latest. Raises UnknownTenantError, NoRevisionError, and what `apply` raises."""
    state = state or State()
    with _changing(state) as (kernel, enforced):
        known = state.numbers(tenant)
        if not known:
            raise UnknownTenantError(f"no revision of tenant {tenant} is stored in {state.directory}")
        before = enforced[tenant].revision if tenant in enforced else None
        if revision is None:
            revision = max(known) if before is None else state.revision(tenant, before).previous if before in known else None
        if revision is None:
            raise NoRevisionError(f"nothing was enforced before revision {before} of {tenant}; stored are {_listed(known)}")
        if revision not in known:
            raise NoRevisionError(f"revision {revision} of {tenant} is not stored; stored are {_listed(known)}")
        if revision == before:
            raise NoRevisionError(f"revision {revision} of {tenant} is the one that is enforced")
        record = state.revision(tenant, revision)
        policy = policy_from(*state.sources(tenant, revision))
        compiled = plan(policy, Environment(Node(record.node, record.region), vlan_interfaces()))
        kernel.install(render(compiled, revision))
    return Change(tenant, before, revision)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def remove(tenant: str, *, state: State | None = None) -> Change:
    """Takes a tenant's rules out of the kernel; its revisions stay on disk. Raises UnknownTenantError."""
    state = state or State()
    with _changing(state, require_netlink) as (kernel, enforced):
        if tenant not in enforced:
            raise UnknownTenantError(f"no rules of tenant {tenant} are enforced")
        kernel.remove(tenant)
    return Change(tenant, enforced[tenant].revision, None)


@contextmanager
def _changing(state: State, require: Callable[[], None] = require_enforcement) -> Iterator[tuple[Kernel, Mapping[str, Enforced]]]:
    """The kernel, under the lock and free of leftovers, and what is enforced in it."""
    require()
    with state.lock(), Kernel() as kernel:
        kernel.sweep()
        yield kernel, _settle(kernel, state)[0]


def _settle(kernel: Kernel, state: State) -> tuple[Mapping[str, Enforced], tuple[str, ...]]:
    """What is enforced, after the disk was made to agree with it; and what of the disk went."""
    enforced = kernel.enforced()
    return enforced, state.settle({tenant: entry.revision for tenant, entry in enforced.items()})


def sweep(*, state: State | None = None) -> tuple[Swept, tuple[str, ...]]:
    """Clears away what killed changes and replays left: in the kernel, and (second) on disk."""
    require_enforcement()
    state = state or State()
    with state.lock(), Kernel() as kernel:
        swept = kernel.sweep()
        return replace(swept, pins=(*swept.pins, *clear_dead())), _settle(kernel, state)[1]


def status(*, state: State | None = None) -> tuple[TenantStatus, ...]:
    """The tenants whose rules are enforced here, with their counters, by name."""
    require_netlink()
    state = state or State()
    with Kernel() as kernel:
        enforced = kernel.enforced()
        counters = {counter.name: counter for counter in kernel.counters()}
        early = {tenant: kernel.early_drop(tenant) for tenant in enforced}
    found = []
    for tenant, entry in sorted(enforced.items()):
        try:
            record = state.revision(tenant, entry.revision)
        except KeyError:
            record = None
        rules = []
        if record is not None:
            for rule in record.rules:
                counter = counters.get(rule.counter)
                packets, octets = (counter.packets, counter.bytes) if counter else (0, 0)
                rules.append(RuleStatus(rule.name, rule.action, rule.mode, rule.expression, packets, octets))
        else:
            own = (counter for counter in counters.values() if counter.name.startswith(f"{tenant}.c."))
            rules = [RuleStatus(counter.comment, "", "", "", counter.packets, counter.bytes) for counter in own]
        hooks = tuple(sorted({claim.hook.value for claim in entry.claims}))
        protects = tuple(str(claim) for claim in sorted(entry.claims, key=lambda claim: (claim.kind.value, claim.first)))
        found.append(TenantStatus(tenant, entry.revision, protects, hooks, record, tuple(rules), early[tenant]))
    return tuple(found)


def _user() -> str:
    """Who runs this, and as whom before `sudo`."""
    if name := os.environ.get("SUDO_USER"):
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
