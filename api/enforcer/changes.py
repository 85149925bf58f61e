"""Changes of the kernel, one at a time: a generation is prepared, then committed or abandoned; and what stands."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from api.enforcer.apart import Apart
from api.enforcer.compile import Compiler, TextError, check_tenant, told
from api.enforcer.drift import Fingerprints, rules_of
from api.enforcer.messages import MOST_TOGETHER, EnforcedTenant, Failure, Refusal, RuleCount, Unenforced, Wanted
from api.policy_text import PolicyText
from bpf import BpfError
from firewall import dispatch, nft
from firewall.generation import TABLE, Generation
from firewall.kernel import Kernel
from firewall.netlink import NetlinkError
from firewall.nft import NftError
from firewall.pins import Pins
from firewall.standing import Standing
from firewall.state import State
from rules_dsl.policy import Hook

log = logging.getLogger(__name__)

PATIENCE: Final = 30.0
"""Seconds to wait for another change."""

COMPILING: Final = 2
"""Texts at a time, of those that are enforced together."""

_REVISION: Final = re.compile(r"store revision (\d+)")


class BusyError(Exception):
    """Another change has been under way for too long."""


@dataclass(slots=True)
class Change:
    """A generation in the kernel that no packet meets yet, and the lock of changes."""

    generation: Generation
    revision: int
    held: ExitStack = field(repr=False)
    """Gives the lock back."""
    stands: Standing | None
    """What was there when it was prepared."""
    fingerprint: bytes | None = None


class Changes:
    """The one who changes the kernel, in the network namespace of the thread that makes it."""

    def __init__(self, compiler: Compiler | Apart, state: State, *, patience: float = PATIENCE) -> None:
        self._compiler = compiler
        self._state = state
        self._patience = patience
        self._lock = threading.Lock()
        self._fingerprints = Fingerprints()
        self._drifted: frozenset[str] = frozenset()
        self._numbers = threading.Lock()
        self._asking: Kernel | None = None
        """Of who holds that."""
        self._last = 0
        self._contents: dict[str, int] = {}
        """By tenant: what was enforced last, for the next to go on from."""
        self._kernel: Kernel | None = None
        """The holder of the lock's. It remembers what stands from change to change."""

    def start(self) -> None:
        """Clears away what a killed enforcer left. Raises KernelError, NetlinkError, StateError."""
        with self._changing() as held:
            held.enter_context(self._state.lock())
            self._kernel_here().sweep()

    def check(self, text: PolicyText) -> None:
        """Raises what compiling and the kernel raise."""
        generation = self._compiler.generation(text, self._number(text.tenant))
        with Kernel() as kernel:
            kernel.check(generation)

    def prepare(self, text: PolicyText, revision: int) -> Change:
        """Raises what compiling and the kernel raise, and BusyError."""
        generation = self._generation(text)
        with self._changing() as held:
            held.enter_context(self._state.lock())
            try:
                self._refuse_files(text.tenant)
                generation = self._unless_stale(generation, text)
                if text.tenant in self._drifted:
                    _wake(text.hook)
                self._kernel_here().prepare(generation)
            except BaseException:
                self._fresh_kernel().sweep()
                raise
            return Change(generation, revision, held.pop_all(), self._kernel_here().remembered())

    def enforce_all(self, wanted: Sequence[Wanted]) -> tuple[Unenforced, ...]:
        """Enforces the rules of several tenants together; those that are not, and why. Raises TextError, BusyError, and what the
        kernel raises where it is not a tenant's rules that are wrong."""
        names = {each.policy.tenant for each in wanted}
        if len(names) < len(wanted) or len(wanted) > MOST_TOGETHER:
            raise TextError(f"{MOST_TOGETHER} tenants are the most that are enforced together, each once")
        with ThreadPoolExecutor(COMPILING) as threads:
            compiled = [*threads.map(self._compiled, (each.policy for each in wanted))]
        texts = {each.policy.tenant: each for each in wanted}
        with self._changing() as held:
            held.enter_context(self._state.lock())
            kernel = self._kernel_here()
            compiled = [self._unless_files(made) for made in compiled]
            compiled = [self._answered(made, texts[made.tenant].policy) if isinstance(made, Generation) else made for made in compiled]
            generations = [made for made in compiled if isinstance(made, Generation)]
            try:
                for hook in {generation.hook for generation in generations if generation.tenant in self._drifted}:
                    _wake(hook)
                refused = kernel.prepare_all(generations)
                prepared = [generation for generation in generations if generation.tenant not in refused]
                prints = {each.tenant: rules_of(kernel.netlink, each) for each in prepared}
                flips = {each.tenant: (each, f"store revision {texts[each.tenant].revision}") for each in prepared}
                refused |= kernel.flip_all(flips)
            except BaseException:
                self._fresh_kernel().sweep()
                raise
            enforced = [(each, prints[each.tenant]) for each in prepared if each.tenant not in refused]
            self._enforced(generation for generation, _ in enforced)
            for generation, _ in enforced:
                self._fingerprints.forget(generation.tenant)
            self._tidy(enforced)
        answers = {tenant: _answer(error, texts[tenant].policy) for tenant, error in refused.items()}
        answers |= {each.policy.tenant: made for each, made in zip(wanted, compiled, strict=True) if not isinstance(made, Generation)}
        return tuple(
            Unenforced(tenant, answer) if isinstance(answer, Refusal) else Unenforced(tenant, None, answer.message)
            for tenant, answer in answers.items()
        )

    def _compiled(self, text: PolicyText) -> Generation | Refusal | Failure:
        try:
            return self._generation(text)
        except Exception as error:
            return _answer(error, text)

    def _generation(self, text: PolicyText) -> Generation:
        return self._compiler.generation(text, self._number(text.tenant), self._contents.get(text.tenant))

    def _unless_stale(self, made: Generation, text: PolicyText) -> Generation:
        """What was compiled while another change of the tenant was under way is compiled again."""
        base = self._kernel_here().contents(made.tenant)
        if made.contents is None or made.contents.base in (None, base):
            return made
        return self._compiler.generation(text, made.revision, base)

    def _answered(self, made: Generation, text: PolicyText) -> Generation | Refusal | Failure:
        try:
            return self._unless_stale(made, text)
        except Exception as error:
            return _answer(error, text)

    def _enforced(self, generations: Iterable[Generation]) -> None:
        for generation in generations:
            if generation.contents is not None:
                self._contents[generation.tenant] = generation.contents.number

    def _is_of_file(self, tenant: str) -> bool:
        """Whether a rule file enforced it: then it is not the API's to change."""
        entry = self._kernel_here().enforced().get(tenant)
        return entry is not None and not _REVISION.fullmatch(entry.comment)

    def _refuse_files(self, tenant: str) -> None:
        """Raises TextError."""
        if self._is_of_file(tenant):
            raise TextError(f"tenant {tenant} is that of a rule file, which `mantlet remove {tenant}` removes")

    def _unless_files(self, made: Generation | Refusal | Failure) -> Generation | Refusal | Failure:
        try:
            if isinstance(made, Generation):
                self._refuse_files(made.tenant)
        except TextError as error:
            return Refusal(str(error))
        return made

    def examine(self, change: Change) -> None:
        """Takes the fingerprint of what is prepared, unless there is time for it when it is enforced. Raises NetlinkError."""
        if change.stands is None or change.generation.protect.everything:  # later it might be of what others have made
            change.fingerprint = rules_of(self._kernel_here().netlink, change.generation)

    def commit(self, change: Change) -> None:
        """Enforces it; `settle` must follow, whatever happens. Raises GenerationError, NetlinkError."""
        self._kernel_here().flip(change.generation, f"store revision {change.revision}")
        self._enforced([change.generation])

    def settle(self, change: Change, *, committed: bool) -> None:
        """Clears away the generation that is not enforced, the old one or this, and gives the lock back."""
        with change.held:
            if committed:
                self._fingerprints.forget(change.generation.tenant)
                with suppress(NetlinkError):  # without one it shows as drift
                    if change.fingerprint is None and change.stands is self._kernel_here().remembered():
                        change.fingerprint = rules_of(self._kernel_here().netlink, change.generation)
            self._tidy([(change.generation, change.fingerprint)] if committed and change.fingerprint is not None else [])

    def _tidy(self, enforced: Sequence[tuple[Generation, bytes]]) -> None:
        """Clears away what is not enforced, and keeps the fingerprints of what is enforced now."""
        try:
            self._kernel_here().sweep()
            self._fingerprints.keep(self._kernel_here(), enforced)
            self._drifted -= {generation.tenant for generation, _ in enforced}
        except (NetlinkError, NftError, BpfError, OSError):
            # The next change sweeps first, and a fingerprint that is missing shows as drift.
            log.exception("what was left of a change could not be cleared away")
            self._fresh_kernel()

    def remove(self, tenant: str) -> None:
        check_tenant(tenant)
        with self._changing() as held:
            held.enter_context(self._state.lock())
            if self._is_of_file(tenant):
                log.warning("tenant %s is that of a rule file, and stays", tenant)
                return
            self._kernel_here().remove(tenant)
            self._contents.pop(tenant, None)
            self._fingerprints.forget(tenant)
            self._drifted -= {tenant}

    def drift(self) -> tuple[str, ...]:
        """The tenants whose state is not what was put there, and those that an enforcer before this one put there: enforced again,
        they are known to be whole."""
        with self._changing():
            kernel = self._kernel_here()
            found = self._fingerprints.drifted(kernel)
            inherited = {each.tenant for each in _standing(kernel) if each.revision is not None} - self._fingerprints.tenants
            found = tuple(sorted({*found, *inherited}))
        self._drifted = frozenset(found)
        return found

    def standing(self) -> tuple[EnforcedTenant, ...]:
        with Kernel() as kernel:
            return _standing(kernel)

    def counters(self, tenant: str) -> tuple[RuleCount, ...]:
        check_tenant(tenant)
        with Kernel() as kernel:
            return tuple(RuleCount(each.comment, each.packets, each.bytes) for each in kernel.counters(tenant))

    def _changing(self) -> ExitStack:
        """The lock of changes of this process."""
        if not self._lock.acquire(timeout=self._patience):
            raise BusyError(f"another change has been under way for {self._patience:.0f} seconds")
        held = ExitStack()
        held.callback(self._lock.release)
        return held

    def _number(self, tenant: str) -> int:
        """A generation number that nothing of the tenant has: above all that this process gave, and what stands."""
        check_tenant(tenant)
        with self._numbers:
            self._asking = self._asking or Kernel()
            try:
                present = self._asking.revision(tenant) or 0
            except BaseException:
                self._asking.close()
                self._asking = None
                raise
            self._last = 1 + max(self._last, present, *Pins.here().revisions(tenant))
            return self._last

    def _kernel_here(self) -> Kernel:
        if self._kernel is None:
            self._kernel = Kernel()
        return self._kernel

    def _fresh_kernel(self) -> Kernel:
        """After an error: with a socket of which nothing is left to be read, and that remembers nothing."""
        if self._kernel is not None:
            self._kernel.close()
        self._kernel = Kernel()
        return self._kernel


def _standing(kernel: Kernel) -> tuple[EnforcedTenant, ...]:
    return tuple(
        EnforcedTenant(
            tenant,
            int(found[1]) if (found := _REVISION.fullmatch(entry.comment)) else None,
            entry.revision,
            tuple(str(claim) for claim in sorted(entry.claims, key=lambda claim: (claim.kind.value, claim.first))),
        )
        for tenant, entry in sorted(kernel.enforced().items())
    )


def _answer(error: Exception, text: PolicyText) -> Refusal | Failure:
    answer = told(error, text)
    if answer is None:
        log.error("the rules of %s are not enforced", text.tenant, exc_info=error)
        answer = Failure(f"a fault of the enforcer: {type(error).__name__}: {error}")
    return answer


def _wake(hook: Hook) -> None:
    """The table is not dormant and the hook's base chain lets pass what it says nothing of, as they were made."""
    base = f"{dispatch.base_chain(hook)} {{ type filter hook {hook.value} priority {dispatch.PRIORITY}; policy accept; }}"
    nft.run(f"add table inet {TABLE}\nadd chain inet {TABLE} {base}\n")
