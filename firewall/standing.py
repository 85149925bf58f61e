"""What stands in our table and among our pins: listed once, and then kept up with our own transactions for as long as nobody else makes
one. With a thousand tenants a listing takes longer than a change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from firewall import dispatch
from firewall.dispatch import Claim, Dispatched, Kind
from firewall.generation import TABLE, Generation, prefix_of
from firewall.netlink import Netlink
from firewall.pins import Pins
from rules_dsl.policy import Hook

GENERATION = re.compile(r"(.+?)\.r(\d+)(?:\..*)?", re.DOTALL)
_PLAIN = re.compile(rf"add (?:(chain|set|map) inet {TABLE} (\S+)|(?:rule|counter|element) inet {TABLE} |table inet {TABLE}$)")


@dataclass(frozen=True, slots=True)
class Way:
    """Where a tenant's chain leads."""

    revision: int
    entry: str
    comment: str


@dataclass(slots=True)
class Parts:
    """What stands of a generation."""

    tenant: str
    revision: int
    chains: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    counters: frozenset[str] | None = frozenset()
    """Those that its rules count with; None: not known, since the tenant has several generations."""
    is_pinned: bool = False


@dataclass(slots=True)
class Standing:
    transaction: int
    """After which it is so."""
    chains: set[str]
    """Base chains, and those of claims."""
    tenants: dict[str, Way | None]
    """None: its chain leads nowhere."""
    parts: dict[str, Parts]
    """By prefix."""
    dispatched: tuple[Dispatched, ...]
    looked_up: dict[Hook, frozenset[Kind]]
    counters: dict[str, bool]
    """Whether a rule counts with it."""

    @property
    def live(self) -> frozenset[str]:
        """The prefixes of what is enforced."""
        return frozenset(prefix_of(tenant, way.revision) for tenant, way in self.tenants.items() if way is not None)

    def claims(self) -> Mapping[str, tuple[Claim, ...]]:
        """Those whose packets come to their tenant."""
        return claims_of(entry for entry in self.dispatched if entry.claim.kind in self.looked_up[entry.claim.hook])

    def build(self, generation: Generation) -> bool:
        """A generation is built. False: what its text makes is not known."""
        found = parts_of(generation)
        present = self.parts.get(generation.prefix)
        if found is None or (present is not None and (present.chains or present.sets)):
            return False
        self.parts[generation.prefix] = found
        self.counters |= dict.fromkeys(generation.counters, True)
        return True

    def flip(self, generation: Generation, comment: str) -> bool:
        """A generation is enforced. False: the handles of its claims are not known."""
        tenant = generation.tenant
        wanted = dispatch.claims(generation.hook, generation.protect)
        own = {entry.claim for entry in self.dispatched if entry.tenant == tenant}
        self.tenants[tenant] = Way(generation.revision, generation.entry, comment)
        if own != wanted:
            others = [entry for entry in self.dispatched if entry.tenant != tenant]
            self.dispatched = (*others, *(Dispatched(claim, tenant) for claim in sorted(wanted, key=dispatch.order)))
        return own == wanted or not any(claim.kind is Kind.ALL for claim in own | wanted)

    def remove(self, tenant: str) -> None:
        """A tenant has no chain and claims any more."""
        del self.tenants[tenant]
        self.dispatched = tuple(entry for entry in self.dispatched if entry.tenant != tenant)

    def forget(self, gone: Iterable[str]) -> None:
        """Generations are removed."""
        for prefix in gone:
            parts = self.parts.pop(prefix)
            live = [other for other in self.parts.values() if other.tenant == parts.tenant]
            used = {name for other in live for name in other.counters or ()}
            for name in (parts.counters or frozenset()) - used:
                self.counters[name] = False


def parts_of(generation: Generation) -> Parts | None:
    """What a generation will have; None where its text is not one command a line."""
    parts = Parts(generation.tenant, generation.revision, counters=frozenset(generation.counters), is_pinned=generation.is_pinned)
    for line in generation.nft.splitlines():
        found = _PLAIN.match(line)
        if found is None:
            return None
        if found[1] is not None:
            (parts.chains if found[1] == "chain" else parts.sets).append(found[2])
    return parts


def claims_of(dispatched: Iterable[Dispatched]) -> dict[str, tuple[Claim, ...]]:
    found: dict[str, list[Claim]] = {}
    for entry in dispatched:
        found.setdefault(entry.tenant, []).append(entry.claim)
    return {tenant: tuple(claims) for tenant, claims in found.items()}


def ways(kernel: Netlink, chains: Iterable[str]) -> Iterator[tuple[str, Way | None]]:
    """Of every tenant among the chains."""
    return ((name, way(kernel, name)) for name in chains if "." not in name)


def way(kernel: Netlink, tenant: str) -> Way | None:
    found = None
    for rule in kernel.rules(TABLE, tenant):
        for target in rule.targets:
            if place := GENERATION.fullmatch(target):
                found = Way(int(place[2]), target, rule.comment.partition(", ")[2])
    return found


def standing(kernel: Netlink, pins: Pins) -> Standing:
    """As the kernel and bpffs have it."""
    transaction = kernel.transaction()
    names = kernel.chains(TABLE)
    parts: dict[str, Parts] = {}

    def of(tenant: str, revision: int) -> Parts:
        return parts.setdefault(prefix_of(tenant, revision), Parts(tenant, revision))

    chains = set()
    for name in names:
        if found := GENERATION.fullmatch(name):
            of(found[1], int(found[2])).chains.append(name)
        elif "." in name:
            chains.add(name)
    for name in kernel.sets(TABLE):
        if found := GENERATION.fullmatch(name):
            of(found[1], int(found[2])).sets.append(name)
    for tenant, revision in pins.generations():
        of(tenant, revision).is_pinned = True
    made = Standing(
        transaction,
        chains,
        dict(ways(kernel, names)),
        parts,
        tuple(dispatch.standing(kernel, names)),
        {hook: dispatch.base_kinds(kernel, hook) for hook in Hook},
        {},
    )
    count(kernel, made)
    return made


def count(kernel: Netlink, made: Standing) -> None:
    """Lists the counters anew."""
    made.counters = {counter.name: counter.uses > 0 for counter in kernel.counters(TABLE)}
    by_tenant: dict[str, list[Parts]] = {}
    for parts in made.parts.values():
        by_tenant.setdefault(parts.tenant, []).append(parts)
    used: dict[str, list[str]] = {}
    for name, is_used in made.counters.items():
        if is_used:
            used.setdefault(tenant_of_counter(name), []).append(name)
    for tenant, several in by_tenant.items():
        for parts in several:
            parts.counters = frozenset(used.get(tenant, ())) if len(several) == 1 else None


def tenant_of_counter(name: str) -> str:
    return name.partition(".")[0]
