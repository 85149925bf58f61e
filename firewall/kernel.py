"""The rules in the kernel: builds a generation beside the one that is enforced, moves the tenant over in one transaction, and
clears away what nothing refers to.

At every moment the kernel holds the old generation or the new one, whole: a generation is built unreferenced, and the one
transaction of `flip` makes it the tenant's. Whatever ends the process, `sweep` finds what is left by its names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bpf.bpffs import make_directory
from bpf.program import load, shared_maps
from firewall import dispatch, netlink, nft
from firewall.dispatch import Claim, Dispatched, Kind
from firewall.generation import TABLE, Generation, prefix_of
from firewall.grace import grace_period
from firewall.netlink import Counter, Message, Netlink, NetlinkError, Verdict
from firewall.pins import Pins
from rules_dsl.policy import TENANT_NAME, Hook

_GENERATION = re.compile(r"(.+?)\.r(\d+)(?:\..*)?", re.DOTALL)
_COUNTER_NAME = re.compile(r'counter name "?([^"\s]+)"?')


class KernelError(Exception):
    """The kernel cannot or will not enforce something; the message is for the operator."""


class GenerationError(KernelError):
    """nft or the kernel refused a generation, which is a fault of the compiler; the rules enforced before still stand.

    `rule` is the rule it was about, where that is known; `words` is all that nft or the kernel said."""

    def __init__(self, generation: Generation, rule: str | None, reason: str, words: str) -> None:
        self.tenant = generation.tenant
        self.revision = generation.revision
        self.rule = rule
        self.words = words
        place = f' at rule "{rule}"' if rule is not None else ""
        super().__init__(f"the kernel refused revision {generation.revision} of {generation.tenant}{place}: {reason}")


class OverlapError(KernelError):
    """Two tenants protect the same traffic."""

    def __init__(self, tenant: str, other: str, claim: Claim, others: Claim) -> None:
        self.tenant = tenant
        self.other = other
        traffic = f"{claim}" if str(claim) == str(others) else f"{claim} (there {others})"
        super().__init__(f"{tenant} cannot protect {traffic}: tenant {other} protects it already")


@dataclass(frozen=True, slots=True)
class Enforced:
    """A tenant whose rules stand in the kernel."""

    tenant: str
    revision: int
    entry: str
    """The chain its packets start in."""
    claims: tuple[Claim, ...]
    comment: str = ""
    """What `flip` was given."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, by name."""

    chains: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    counters: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.chains or self.sets or self.counters or self.pins)


class Kernel:
    """Our table and pins in the network namespace of the thread that makes it. A context manager.

    Calls of several processes must not mix: `firewall.state` has the lock. With `quiet` it is taken that no packet flows during
    the calls, and nothing waits for those on their way."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._netlink = Netlink()
        self._pins = Pins.here()
        self._quiet = quiet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._netlink.close()

    # --- what stands

    def enforced(self) -> Mapping[str, Enforced]:
        """The tenants with their revisions and the claims whose packets come to them, as the kernel has them."""
        chains = self._netlink.chains(TABLE)
        looked_up = {hook: dispatch.base_kinds(self._netlink, hook) for hook in Hook}
        dispatched = dispatch.standing(self._netlink, chains)
        return self._enforced(chains, tuple(entry for entry in dispatched if entry.claim.kind in looked_up[entry.claim.hook]))

    def _enforced(self, chains: Iterable[str], dispatched: Iterable[Dispatched]) -> dict[str, Enforced]:
        claims: dict[str, list[Claim]] = {}
        for entry in dispatched:
            claims.setdefault(entry.tenant, []).append(entry.claim)
        found = {}
        for tenant in chains:
            if "." in tenant:
                continue
            for rule in self._netlink.rules(TABLE, tenant):
                for target in rule.targets:
                    if place := _GENERATION.fullmatch(target):
                        number, comment = int(place[2]), rule.comment.partition(", ")[2]
                        found[tenant] = Enforced(tenant, number, target, tuple(claims.get(tenant, ())), comment)
        return found

    def counters(self, tenant: str | None = None) -> tuple[Counter, ...]:
        """The counters of rules that are enforced, of one tenant or of all; a counter's comment is its rule's name."""
        found = self._netlink.counters(TABLE)
        return tuple(counter for counter in found if tenant is None or counter.name.startswith(f"{tenant}.c."))

    # --- what changes it

    def install(self, generation: Generation) -> None:
        """Enforces a generation; the tenant's one before goes. Raises OverlapError, GenerationError, bpf.VerifierError or
        bpf.BpfError, and then what was enforced before still is."""
        try:
            self.prepare(generation)
            self.flip(generation)
        finally:
            self.sweep()

    def check(self, generation: Generation) -> None:
        """Has nft check the generation and the verifier its programs, and leaves nothing of it behind. Raises as `install` does."""
        self._refuse_overlap(generation)
        self._nft(nft.check, generation, f"add table inet {TABLE}\n{generation.nft}")
        with shared_maps(generation.programs.values()) as shared:
            for image in generation.programs.values():
                load(image, shared).close()

    def prepare(self, generation: Generation) -> None:
        """Builds a generation for `flip`; no packet meets it yet, and a `sweep` takes it away. Raises as `install` does, and then a
        `sweep` is due. Counters of the tenant keep their values, even where somebody else has emptied it."""
        if not TENANT_NAME.fullmatch(generation.tenant):
            raise ValueError(f"tenant {generation.tenant!r}: a letter, then letters, digits, `_` and `-`, 32 at most")
        self.sweep(heir=generation.tenant)
        present = self.enforced().get(generation.tenant)
        if present is not None and present.revision == generation.revision:
            raise ValueError(
                f"revision {generation.revision} of {generation.tenant} is enforced already; a new generation has a new number"
            )
        self._refuse_overlap(generation)
        self._build(generation)
        self._wait()

    def flip(self, generation: Generation, comment: str = "") -> None:
        """The one transaction by which the tenant's packets go to a generation that is prepared. A `sweep` takes the one before away.
        `comment`: for `Enforced.comment`. Raises GenerationError, and then what was enforced before still is."""
        tenant = generation.tenant
        present = dispatch.standing(self._netlink, self._netlink.chains(TABLE))
        told = f"revision {generation.revision}" + (f", {comment}" if comment else "")
        messages = [
            netlink.add_chain(TABLE, tenant),
            netlink.flush_rules(TABLE, tenant),
            *_ways(generation, told),
            *dispatch.change(tenant, present, dispatch.claims(generation.hook, generation.protect)),
        ]
        self._transact(generation, messages)

    def _wait(self) -> None:
        if not self._quiet:
            grace_period()

    def _refuse_overlap(self, generation: Generation) -> None:
        wanted = dispatch.claims(generation.hook, generation.protect)
        for entry in dispatch.standing(self._netlink, self._netlink.chains(TABLE)):
            if entry.tenant == generation.tenant:
                continue
            for claim in wanted:
                if claim.overlaps(entry.claim):
                    raise OverlapError(generation.tenant, entry.tenant, claim, entry.claim)

    def _build(self, generation: Generation) -> None:
        """Puts the generation into the kernel; no packet meets it yet."""
        self._widen_base(generation)
        self._nft(nft.run, generation, generation.nft)
        folder = self._pins.folder(generation.tenant, generation.revision)
        if generation.matches:
            make_directory(folder)
        with shared_maps(generation.programs.values()) as shared:
            for name, image in generation.programs.items():
                with load(image, shared) as program:
                    program.pin(folder / name)
        native = {
            chain: self._netlink.rules(TABLE, chain) for chain in {match.chain for match in generation.matches if match.place is not None}
        }
        messages = []
        for match in generation.matches:
            expressions = []
            if match.program is not None:
                expressions.append(netlink.match_bpf(str(folder / match.program.name)))
            if match.target is not None:
                expressions.append(netlink.immediate(Verdict(match.target, match.goto)))
            what = f'rule "{match.rule_name}"'
            if match.place is None:
                messages.append(netlink.add_rule(TABLE, match.chain, expressions, match.comment, what))
            else:
                standing = native[match.chain][match.place]
                expressions = [*standing.expressions[:-1], *expressions]
                messages.append(netlink.replace_rule(TABLE, match.chain, standing.handle, expressions, match.comment, what))
        for bulk in generation.bulk:
            elements = [part for first, last in bulk.ranges for part in netlink.interval(first, last, bulk.key_bytes)]
            messages += netlink.add_elements(TABLE, bulk.set_name, elements)
        self._transact(generation, messages)

    def _nft(self, run: Callable[[str], None], generation: Generation, text: str) -> None:
        try:
            run(text)
        except nft.NftError as error:
            raise GenerationError(generation, _rule_in(error.command, generation), str(error), error.words) from error

    def _widen_base(self, generation: Generation) -> None:
        """The base chain of the hook looks up what the generation will claim, besides what it looks up already."""
        hook = generation.hook
        wanted = {claim.kind for claim in dispatch.claims(hook, generation.protect)}
        present = [entry for entry in dispatch.standing(self._netlink, self._netlink.chains(TABLE)) if entry.claim.hook is hook]
        wanted |= {entry.claim.kind for entry in present}
        if wanted - dispatch.base_kinds(self._netlink, hook):
            nft.run(dispatch.base_nft(hook, wanted, dispatch.tenant_of_all(present)))

    def _mend_bases(self, dispatched: Iterable[Dispatched]) -> None:
        """The base chains look up what holds a claim (also where somebody else emptied them), and nothing else."""
        used: dict[Hook, list[Dispatched]] = {}
        for entry in dispatched:
            used.setdefault(entry.claim.hook, []).append(entry)
        for hook, entries in used.items():
            kinds = {entry.claim.kind for entry in entries}
            if dispatch.base_kinds(self._netlink, hook) != kinds:
                nft.run(dispatch.base_nft(hook, kinds, dispatch.tenant_of_all(entries)))

    def _transact(self, generation: Generation, messages: list[Message]) -> None:
        try:
            self._netlink.transact(messages)
        except NetlinkError as error:
            rules = {f'rule "{match.rule_name}"': match.rule_name for match in generation.matches}
            raise GenerationError(generation, rules.get(error.message or ""), str(error), str(error)) from error

    def remove(self, tenant: str) -> bool:
        """Takes a tenant's rules out of the kernel, in one transaction; the last tenant's with the whole table. False if it
        had none. Its counters go too."""
        chains = self._netlink.chains(TABLE)
        if tenant not in chains:
            self.sweep()
            return False
        present = tuple(dispatch.standing(self._netlink, chains))
        self._netlink.transact(
            [
                *dispatch.change(tenant, present, frozenset()),
                netlink.flush_rules(TABLE, tenant),
                netlink.delete_chain(TABLE, tenant),
            ]
        )
        self.sweep()
        return True

    def sweep(self, heir: str = "") -> Swept:
        """Removes what no enforced generation needs: chains, sets, maps, counters, pins, the base of a hook to which nothing is
        dispatched, a tenant that somebody else has emptied with its claims, and the table where no tenant is left. Base chains
        that somebody else has changed are as they were. The counters of the tenant `heir` stay, used or not."""
        chains = self._netlink.chains(TABLE)
        sets = self._netlink.sets(TABLE)
        dispatched = tuple(dispatch.standing(self._netlink, chains))
        enforced = self._enforced(chains, dispatched)
        live = {prefix_of(entry.tenant, entry.revision) for entry in enforced.values()}
        pins = self._sweep_pins(live)
        if not enforced and not heir:
            stood = self._netlink.has_table(TABLE)
            counters = tuple(counter.name for counter in self._netlink.counters(TABLE))
            if stood:
                self._netlink.transact([netlink.delete_table(TABLE)])
            return Swept(chains, sets, counters, pins)
        empty = tuple(name for name in chains if "." not in name and name not in enforced)
        emptied = [message for tenant in empty for message in dispatch.change(tenant, dispatched, frozenset())]
        dispatched = tuple(entry for entry in dispatched if entry.tenant in enforced)
        self._mend_bases(dispatched)
        hooks = {entry.claim.hook for entry in dispatched}
        idle = tuple(hook for hook in Hook if hook not in hooks and dispatch.map_name(hook, Kind.ALL) in chains)
        gone_chains = (*empty, *(name for name in chains if _stray(name, live)))
        gone_sets = tuple(name for name in sets if _stray(name, live))
        idle_bases = [message for hook in idle for message in dispatch.remove_base(hook, chains)]
        removal = [*emptied, *idle_bases, *_removal(gone_chains, gone_sets)]
        if removal:
            self._wait()
            self._netlink.transact(removal)
        kept = f"{heir}.c."
        unused = tuple(counter.name for counter in self._netlink.counters(TABLE) if not counter.uses and not counter.name.startswith(kept))
        self._netlink.transact([netlink.delete_counter(TABLE, name) for name in unused])
        return Swept((*(dispatch.base_chain(hook) for hook in idle), *gone_chains), gone_sets, unused, pins)

    def _sweep_pins(self, live: set[str]) -> tuple[str, ...]:
        gone = []
        for tenant, revision in tuple(self._pins.generations()):
            if prefix_of(tenant, revision) not in live:
                self._pins.remove(tenant, revision)
                gone.append(str(self._pins.folder(tenant, revision)))
        return tuple(gone)


def _ways(generation: Generation, comment: str) -> Iterator[Message]:
    """The rules of the tenant's chain."""
    tenant = generation.tenant
    if generation.entry6 is not None:
        six = [*netlink.family_is(netlink.NFPROTO_IPV6), netlink.immediate(Verdict(generation.entry6, goto=True))]
        yield netlink.add_rule(TABLE, tenant, six, comment)
    yield netlink.add_rule(TABLE, tenant, [netlink.immediate(Verdict(generation.entry, goto=True))], comment)


def _stray(name: str, live: set[str]) -> bool:
    found = _GENERATION.fullmatch(name)
    return found is not None and prefix_of(found[1], int(found[2])) not in live


def _removal(chains: Iterable[str], sets: Iterable[str]) -> Iterator[Message]:
    """Chains may jump to each other and maps to chains: so first all rules go, then the maps, then the chains."""
    chains = tuple(chains)
    yield from (netlink.flush_rules(TABLE, name) for name in chains)
    yield from (netlink.delete_set(TABLE, name) for name in sets)
    yield from (netlink.delete_chain(TABLE, name) for name in chains)


def _rule_in(command: str | None, generation: Generation) -> str | None:
    """The rule whose counter a refused nft line names."""
    found = _COUNTER_NAME.search(command or "")
    return generation.counters.get(found[1]) if found else None
