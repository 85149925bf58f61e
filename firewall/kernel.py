"""The rules in the kernel: builds a generation beside the one that is enforced, moves the tenant over in one transaction, and
clears away what nothing refers to.

At every moment the kernel holds the old generation or the new one, whole: a generation is built unreferenced, and the one
transaction of `flip` makes it the tenant's. Whatever ends the process, `sweep` finds what is left by its names."""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from operator import itemgetter
from types import TracebackType
from typing import Self

from bpf import BpfError
from bpf.bpffs import make_directory
from firewall import counts, dispatch, netlink, nft
from firewall.dispatch import Claim, Dispatched, Kind
from firewall.early_drop import pinned
from firewall.early_drop.enforced import EarlyDrops
from firewall.early_drop.interfaces import AtInterface
from firewall.generation import TABLE, Generation, counter_name
from firewall.grace import grace_period
from firewall.loaded import Loaded, StaleError, load_for
from firewall.netlink import Counter, Message, Netlink, NetlinkError, Verdict
from firewall.pins import Pins
from firewall.standing import Parts, Standing, Way, claims_of, count, standing, tenant_of_counter, way, ways
from rules_dsl.policy import TENANT_NAME, Hook

MOST_DESCRIPTORS = 512
"""Of programs and maps that are kept for the next change."""
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
        self._memory: Standing | None = None
        self._loaded: dict[str, Loaded] = {}
        """By the tenant; the one that was changed last is the last."""
        self._prepared: dict[str, Loaded] = {}
        self._early = EarlyDrops(self._pins)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._abandon()
        for each in self._loaded.values():
            each.close()
        self._loaded = {}
        self._netlink.close()

    @property
    def netlink(self) -> Netlink:
        """Its socket, to list by. (One that is opened and closed for a few requests takes as long as a grace period.)"""
        return self._netlink

    # --- what stands

    def enforced(self) -> Mapping[str, Enforced]:
        """The tenants with their revisions and the claims whose packets come to them, as the kernel has them."""
        remembered = self.remembered()
        if remembered is not None:
            return _enforced(remembered.tenants.items(), remembered.claims())
        chains = self._netlink.chains(TABLE)
        looked_up = {hook: dispatch.base_kinds(self._netlink, hook) for hook in Hook}
        dispatched = dispatch.standing(self._netlink, chains)
        claims = claims_of(entry for entry in dispatched if entry.claim.kind in looked_up[entry.claim.hook])
        return _enforced(ways(self._netlink, chains), claims)

    def revision(self, tenant: str) -> int | None:
        """The tenant's revision that is enforced."""
        found = way(self._netlink, tenant)
        return None if found is None else found.revision

    def remembered(self) -> Standing | None:
        """What stands, if that is known without listing it."""
        if self._memory is not None and self._memory.transaction != self._netlink.transaction():
            self._memory = None
        return self._memory

    def stands(self) -> Standing:
        """All that stands, listed where it is not remembered. As long as it is the same object, nobody else has changed a rule."""
        self._memory = self.remembered() or standing(self._netlink, self._pins)
        return self._memory

    def counters(self, tenant: str | None = None) -> tuple[Counter, ...]:
        """The counters of rules that are enforced, of one tenant or of all, with what programs have counted of them; a counter's comment
        is its rule's name."""
        prefix = "" if tenant is None else f"{tenant}.c."
        found = {counter.name: counter for counter in self._netlink.counters(TABLE) if counter.name.startswith(prefix)}
        for each in self._pins.tenants() if tenant is None else (tenant,):
            for rule, (packets, octets) in counts.totals(self._pins, each).items():
                name = counter_name(each, rule)
                before = found.get(name) or Counter(name, 0, 0, rule, 0)
                found[name] = replace(before, packets=before.packets + packets, bytes=before.bytes + octets)
        return tuple(found.values())

    def early_drop(self, tenant: str) -> tuple[AtInterface, ...]:
        """How the tenant's early drop stands at the interfaces that it names."""
        revision = self.revision(tenant)
        return () if revision is None else self._early.at(tenant, revision)

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
        dispatched = dispatch.standing(self._netlink, self._netlink.chains(TABLE))
        overlap = _Claims(dispatched).overlap(generation)
        if overlap is not None:
            raise overlap
        try:
            nft.check(f"add table inet {TABLE}\n{generation.nft}")
        except nft.NftError as error:
            raise _refused(generation, error) from error
        load_for(generation, None).close()
        if generation.early is not None:
            pinned.check(generation.early)

    def prepare(self, generation: Generation) -> None:
        """Builds a generation for `flip`; no packet meets it yet, and a `sweep` takes it away. Raises as `install` does, and then a
        `sweep` is due. Counters of the tenant keep their values, even where somebody else has emptied it."""
        for error in self.prepare_all((generation,)).values():
            raise error

    def prepare_all(self, generations: Sequence[Generation]) -> dict[str, Exception]:
        """As `prepare`, of several tenants; those that are not prepared, and why. Raises NetlinkError, NftError, OSError."""
        for generation in generations:
            if not TENANT_NAME.fullmatch(generation.tenant):
                raise ValueError(f"tenant {generation.tenant!r}: a letter, then letters, digits, `_` and `-`, 32 at most")
        self.sweep(heirs={generation.tenant for generation in generations})
        stands = self.stands()
        claims = _Claims(stands.dispatched)
        refused: dict[str, Exception] = {}
        for generation in generations:
            present = stands.tenants.get(generation.tenant)
            if present is not None and present.revision == generation.revision:
                raise ValueError(
                    f"revision {generation.revision} of {generation.tenant} is enforced already; a new generation has a new number"
                )
            overlap = claims.overlap(generation)
            if overlap is not None:
                refused[generation.tenant] = overlap
                continue
            try:
                self._load(generation)
            except (BpfError, StaleError) as error:
                refused[generation.tenant] = error
                continue
            claims.add(generation)
        left = [generation for generation in generations if generation.tenant not in refused]
        self._widen_bases(left)
        refused |= _by_halves(left, self._build)
        if len(refused) < len(generations):
            self._wait()
        return refused

    def flip(self, generation: Generation, comment: str = "") -> None:
        """The one transaction by which the tenant's packets go to a generation that is prepared. A `sweep` takes the one before away.
        `comment`: for `Enforced.comment`. Raises GenerationError, and then what was enforced before still is."""
        for error in self.flip_all({generation.tenant: (generation, comment)}).values():
            raise error

    def flip_all(self, flips: Mapping[str, tuple[Generation, str]]) -> dict[str, Exception]:
        """As `flip`, of several tenants: in one transaction, where none of them is refused. Those that are, and why."""
        refused = _by_halves(
            [generation for generation, _ in flips.values()], lambda some: self._flip([flips[each.tenant] for each in some])
        )
        if self._early.are_used or any(generation.early is not None for generation, _ in flips.values()):
            with suppress(BpfError):  # the rules are enforced; a sweep is due, and tells
                self._early.settle(self.stands())
        return refused

    def _flip(self, flips: Sequence[tuple[Generation, str]]) -> None:
        stands = self.remembered()
        present = stands.dispatched if stands is not None else tuple(dispatch.standing(self._netlink, self._netlink.chains(TABLE)))
        messages: list[Message] = []
        for generation, comment in flips:
            tenant = generation.tenant
            told = f"revision {generation.revision}" + (f", {comment}" if comment else "")
            messages += [
                netlink.add_chain(TABLE, tenant),
                netlink.flush_rules(TABLE, tenant),
                *_ways(generation, told),
                *dispatch.change(tenant, present, dispatch.claims(generation.hook, generation.protect)),
            ]
        self._shut(generation.tenant for generation, _ in flips)
        with self._own():
            self._transact([generation for generation, _ in flips], messages)
        if self._memory is not None and not all(self._memory.flip(*flip) for flip in flips):
            self._memory = None
        for generation, _ in flips:
            self._flipped(generation.tenant)
        self._bound_loaded()

    def _shut(self, tenants: Iterable[str]) -> None:
        """Before their rules change: nothing of them is dropped early."""
        if self._early.are_used:
            self._early.shut((tenant, revision) for tenant in tenants if (revision := self.revision(tenant)) is not None)

    def _wait(self) -> None:
        if not self._quiet:
            grace_period()

    @contextmanager
    def _own(self) -> Iterator[None]:
        """One transaction of ours: what is remembered stays so, if that was the last one before it."""
        memory, self._memory = self.remembered(), None
        yield
        if memory is not None:
            last = self._netlink.transaction()
            if last in (memory.transaction, memory.transaction + 1):
                memory.transaction = last
                self._memory = memory

    # --- building

    def _load(self, generation: Generation) -> None:
        """Pins the generation's programs."""
        folder = self._pins.folder(generation.tenant, generation.revision)
        if generation.is_pinned:
            make_directory(folder)
            if self._memory is not None:
                parts = Parts(generation.tenant, generation.revision, is_pinned=True)
                self._memory.parts.setdefault(generation.prefix, parts)
        made = load_for(generation, self._former(generation.tenant))
        self._prepared[generation.tenant] = made
        if generation.early is not None or counts.COUNTS in made.maps:
            counts.begin(self._pins, generation.tenant, generation.revision)
        if counts.COUNTS in made.maps:
            counts.pin(folder, made.maps[counts.COUNTS][1], generation.counted)
        for name, (_, program) in made.programs.items():
            program.pin(folder / name)
        self._early.pin(generation.tenant, generation.revision, generation.early)

    def _former(self, tenant: str) -> Loaded | None:
        """What is loaded for the tenant's generation that is enforced."""
        found, stands = self._loaded.get(tenant), self.stands().tenants.get(tenant)
        return found if found is not None and stands is not None and stands.revision == found.revision else None

    def contents(self, tenant: str) -> int | None:
        """The number of the contents from which a tenant's next generation may go on."""
        former = self._former(tenant)
        return None if former is None else former.number

    def _flipped(self, tenant: str) -> None:
        """Its packets go to the generation that was prepared last."""
        made = self._prepared.pop(tenant, None)
        before = self._loaded.pop(tenant, None)
        if made is not None and made.number is not None:
            if before is not None:
                made.supersede(before)
            self._loaded[tenant] = made
        else:
            for each in (made, before):
                if each is not None:
                    each.close()

    def _bound_loaded(self) -> None:
        """Gives up what is kept of the tenants that were changed the longest ago, unless something goes on from it."""
        kept = sum(len(each.descriptors) for each in self._loaded.values())
        for tenant in [*self._loaded]:
            if kept > MOST_DESCRIPTORS and tenant not in self._prepared:
                given = self._loaded.pop(tenant)
                kept -= len(given.descriptors)
                given.close()

    def _abandon(self) -> None:
        """What is prepared and not enforced."""
        for tenant, made in self._prepared.items():
            made.close(but=self._loaded.get(tenant))
        self._prepared = {}

    def _build(self, generations: Sequence[Generation]) -> None:
        """Puts generations, whose programs are pinned, into the kernel, all or none; no packet meets them yet."""
        with self._own():
            try:
                nft.run("".join(generation.nft for generation in generations))
            except nft.NftError as error:
                raise _refused(generations[0], error) from error
        try:
            messages = [message for generation in generations for message in self._matches(generation)]
            with self._own():
                self._transact(generations, messages)
        except BaseException:
            if len(generations) > 1:  # they come again, each half by itself
                self._remove_parts(generations)
            raise
        if self._memory is not None and not all(self._memory.build(generation) for generation in generations):
            self._memory = None

    def _remove_parts(self, generations: Sequence[Generation]) -> None:
        """What the text of generations has made, which no packet has met."""
        prefixes = {generation.prefix for generation in generations}
        stands = standing(self._netlink, self._pins)
        found = [parts for prefix, parts in stands.parts.items() if prefix in prefixes]
        self._memory = None
        self._netlink.transact(
            [*_removal([name for each in found for name in each.chains], [name for each in found for name in each.sets])]
        )

    def _matches(self, generation: Generation) -> list[Message]:
        """What nft's text does not say of a generation."""
        folder = self._pins.folder(generation.tenant, generation.revision)
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
                present = native[match.chain][match.place]
                expressions = [*present.expressions[:-1], *expressions]
                messages.append(netlink.replace_rule(TABLE, match.chain, present.handle, expressions, match.comment, what))
        for bulk in generation.bulk:
            elements = [part for first, last in bulk.ranges for part in netlink.interval(first, last, bulk.key_bytes)]
            messages += netlink.add_elements(TABLE, bulk.set_name, elements)
        return messages

    def _widen_bases(self, generations: Sequence[Generation]) -> None:
        """The base chains of their hooks look up what the generations will claim, besides what they look up already."""
        wanted: dict[Hook, set[Kind]] = {}
        for generation in generations:
            kinds = {claim.kind for claim in dispatch.claims(generation.hook, generation.protect)}
            wanted.setdefault(generation.hook, set()).update(kinds)
        for hook, kinds in wanted.items():
            stands = self.stands()
            present = [entry for entry in stands.dispatched if entry.claim.hook is hook]
            kinds |= {entry.claim.kind for entry in present}
            if kinds - stands.looked_up[hook]:
                self._make_base(hook, kinds, present)

    def _mend_bases(self, stands: Standing) -> None:
        """The base chains look up what holds a claim (also where somebody else emptied them), and nothing else."""
        used: dict[Hook, list[Dispatched]] = {}
        for entry in stands.dispatched:
            used.setdefault(entry.claim.hook, []).append(entry)
        for hook, entries in used.items():
            kinds = {entry.claim.kind for entry in entries}
            if stands.looked_up[hook] != kinds:
                self._make_base(hook, kinds, entries)

    def _make_base(self, hook: Hook, kinds: set[Kind], present: Sequence[Dispatched]) -> None:
        with self._own():
            nft.run(dispatch.base_nft(hook, kinds, dispatch.tenant_of_all(present)))
        if self._memory is not None:
            self._memory.looked_up[hook] = frozenset(kinds)
            self._memory.chains |= {dispatch.base_chain(hook), dispatch.map_name(hook, Kind.ALL)}
        if Kind.ALL in kinds:  # whose rules have new handles
            self._memory = None

    def _transact(self, generations: Sequence[Generation], messages: list[Message]) -> None:
        try:
            self._netlink.transact(messages)
        except NetlinkError as error:
            generation = generations[0]
            rules = {f'rule "{match.rule_name}"': match.rule_name for match in generation.matches}
            raise GenerationError(generation, rules.get(error.message or ""), str(error), str(error)) from error

    def remove(self, tenant: str) -> bool:
        """Takes a tenant's rules out of the kernel, in one transaction; the last tenant's with the whole table. False if it
        had none. Its counters go too."""
        stands = self.stands()
        if tenant not in stands.tenants:
            self.sweep()
            return False
        self._shut((tenant,))
        with self._own():
            self._netlink.transact(
                [
                    *dispatch.change(tenant, stands.dispatched, frozenset()),
                    netlink.flush_rules(TABLE, tenant),
                    netlink.delete_chain(TABLE, tenant),
                ]
            )
        stands.remove(tenant)
        if tenant in self._loaded:
            self._loaded.pop(tenant).close()
        self.sweep()
        return True

    def sweep(self, heirs: Collection[str] = ()) -> Swept:
        """Removes what no enforced generation needs: chains, sets, maps, counters, pins, the base of a hook to which nothing is
        dispatched, a tenant that somebody else has emptied with its claims, and the table where no tenant is left. Base chains
        that somebody else has changed are as they were. The counters of the tenants `heirs` stay, used or not."""
        self._abandon()
        is_remembered = self.remembered() is not None
        stands = self.stands()
        self._early.settle(stands)
        live = stands.live
        gone = {prefix: parts for prefix, parts in stands.parts.items() if prefix not in live}
        if not live and not heirs:
            chains = (*stands.chains, *stands.tenants, *(name for parts in gone.values() for name in parts.chains))
            sets: tuple[str, ...] = ()
            self._memory = None
            if self._netlink.has_table(TABLE):
                sets = self._netlink.sets(TABLE)
                self._netlink.transact([netlink.delete_table(TABLE)])
            pins = self._sweep_pins(gone.values(), stands, heirs)
            self._forget(self._pins.tenants(), stands, heirs)
            return Swept(chains, sets, tuple(stands.counters), pins)
        empty = tuple(tenant for tenant, way in stands.tenants.items() if way is None)
        emptied = [message for tenant in empty for message in dispatch.change(tenant, stands.dispatched, frozenset())]
        stands.dispatched = tuple(entry for entry in stands.dispatched if stands.tenants.get(entry.tenant) is not None)
        self._mend_bases(stands)
        hooks = {entry.claim.hook for entry in stands.dispatched}
        idle = tuple(hook for hook in Hook if hook not in hooks and dispatch.map_name(hook, Kind.ALL) in stands.chains)
        gone_chains = (*empty, *(name for parts in gone.values() for name in parts.chains))
        gone_sets = tuple(name for parts in gone.values() for name in parts.sets)
        idle_bases = [message for hook in idle for message in dispatch.remove_base(hook, stands.chains)]
        removal = [*emptied, *idle_bases, *_removal(gone_chains, gone_sets)]
        if removal:
            self._wait()
            with self._own():
                self._netlink.transact(removal)
        is_counted = all(parts.counters is not None for parts in gone.values())
        stands.forget(gone)
        for tenant in empty:
            del stands.tenants[tenant]
        for hook in idle:
            stands.chains -= {dispatch.base_chain(hook), dispatch.map_name(hook, Kind.ALL)}
            stands.looked_up[hook] = frozenset()
        if not is_counted:
            count(self._netlink, stands)
        memory, self._memory = self._memory, None  # if it fails here, pins stand of what is forgotten
        pins = self._sweep_pins(gone.values(), stands, heirs)
        self._forget({parts.tenant for parts in gone.values()} if is_remembered else self._pins.tenants(), stands, heirs)
        self._memory = memory
        unused = self._unused(stands, heirs)
        with self._own():
            self._netlink.transact([netlink.delete_counter(TABLE, name) for name in unused])
        for name in unused:
            del stands.counters[name]
        return Swept((*(dispatch.base_chain(hook) for hook in idle), *gone_chains), gone_sets, unused, pins)

    def _unused(self, stands: Standing, heirs: Collection[str]) -> tuple[str, ...]:
        """Counters that no rule counts with, of rules that no program counts either."""
        found: dict[str, list[str]] = {}
        for name, used in stands.counters.items():
            if not used and (tenant := tenant_of_counter(name)) not in heirs:
                found.setdefault(tenant, []).append(name)
        for tenant, names in found.items():
            counted = {counter_name(tenant, rule) for rule in self._counted_by_programs(stands, tenant)}
            found[tenant] = [name for name in names if name not in counted]
        return tuple(name for names in found.values() for name in names)

    def _counted_by_programs(self, stands: Standing, tenant: str) -> tuple[str, ...]:
        """Rules of the generation that is enforced."""
        way = stands.tenants.get(tenant)
        return () if way is None else counts.names_of(self._pins.folder(tenant, way.revision))

    def _is_counted(self, stands: Standing, tenant: str) -> Callable[[str], bool]:
        """Of a rule's name: whether the generation that is enforced has it."""
        names = frozenset(self._counted_by_programs(stands, tenant))
        return lambda rule: rule in names or stands.counters.get(counter_name(tenant, rule), False)

    def _sweep_pins(self, gone: Iterable[Parts], stands: Standing, heirs: Collection[str]) -> tuple[str, ...]:
        """Removes the pins of generations that no packet meets; what they have counted stays, as long as the rule does."""
        removed = []
        for parts in gone:
            tenant = parts.tenant
            if stands.tenants.get(tenant) is not None:
                counts.carry(self._pins, tenant, parts.revision, self._is_counted(stands, tenant))
            elif tenant in heirs:
                counts.carry(self._pins, tenant, parts.revision, lambda _: True)
            if parts.is_pinned:
                self._pins.remove(tenant, parts.revision)
                removed.append(str(self._pins.folder(tenant, parts.revision)))
        return tuple(removed)

    def _forget(self, tenants: Iterable[str], stands: Standing, heirs: Collection[str]) -> None:
        """What programs have counted of those that are no more."""
        for tenant in tenants:
            if stands.tenants.get(tenant) is None and tenant not in heirs:
                counts.forget(self._pins, tenant)


class _Claims:
    """What tenants claim, of which no two tenants' overlap."""

    def __init__(self, dispatched: Iterable[Dispatched]) -> None:
        self._claims: dict[Kind, list[tuple[bytes, bytes, str, Claim]]] = {kind: [] for kind in Kind}
        for entry in dispatched:
            self._claims[entry.claim.kind].append((entry.claim.first, entry.claim.last, entry.tenant, entry.claim))
        for claims in self._claims.values():
            claims.sort(key=_place)

    def overlap(self, generation: Generation) -> OverlapError | None:
        """What the generation cannot claim, if there is such."""
        for claim in dispatch.claims(generation.hook, generation.protect):
            claims = self._claims[claim.kind]
            at = bisect_right(claims, claim.last, key=itemgetter(0))
            while at and claim.first <= claims[at - 1][1]:
                at -= 1
                _, _, tenant, other = claims[at]
                if tenant != generation.tenant:
                    return OverlapError(generation.tenant, tenant, claim, other)
        return None

    def add(self, generation: Generation) -> None:
        for claim in dispatch.claims(generation.hook, generation.protect):
            insort(self._claims[claim.kind], (claim.first, claim.last, generation.tenant, claim), key=_place)


_place = itemgetter(0, 1)


def _by_halves(generations: Sequence[Generation], act: Callable[[Sequence[Generation]], None]) -> dict[str, Exception]:
    """`act` on all at once; where it refuses them, on each half by itself, so that one does not keep the others. Those that are refused."""
    if not generations:
        return {}
    try:
        act(generations)
    except GenerationError as error:
        if len(generations) == 1:
            return {generations[0].tenant: error}
        middle = len(generations) // 2
        return _by_halves(generations[:middle], act) | _by_halves(generations[middle:], act)
    return {}


def _enforced(tenants: Iterable[tuple[str, Way | None]], claims: Mapping[str, tuple[Claim, ...]]) -> dict[str, Enforced]:
    return {
        tenant: Enforced(tenant, way.revision, way.entry, claims.get(tenant, ()), way.comment) for tenant, way in tenants if way is not None
    }


def _ways(generation: Generation, comment: str) -> Iterator[Message]:
    """The rules of the tenant's chain."""
    tenant = generation.tenant
    if generation.entry6 is not None:
        six = [*netlink.family_is(netlink.NFPROTO_IPV6), netlink.immediate(Verdict(generation.entry6, goto=True))]
        yield netlink.add_rule(TABLE, tenant, six, comment)
    yield netlink.add_rule(TABLE, tenant, [netlink.immediate(Verdict(generation.entry, goto=True))], comment)


def _removal(chains: Iterable[str], sets: Iterable[str]) -> Iterator[Message]:
    """Chains may jump to each other and maps to chains: so first all rules go, then the maps, then the chains."""
    chains = tuple(chains)
    yield from (netlink.flush_rules(TABLE, name) for name in chains)
    yield from (netlink.delete_set(TABLE, name) for name in sets)
    yield from (netlink.delete_chain(TABLE, name) for name in chains)


def _refused(generation: Generation, error: nft.NftError) -> GenerationError:
    return GenerationError(generation, _rule_in(error.command, generation), str(error), error.words)


def _rule_in(command: str | None, generation: Generation) -> str | None:
    """The rule whose counter a refused nft line names."""
    found = _COUNTER_NAME.search(command or "")
    return generation.counters.get(found[1]) if found else None
