"""Changes of the kernel, one at a time: a generation is prepared, then committed or abandoned; and what stands."""

from __future__ import annotations

import logging
import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from api.enforcer.apart import Apart
from api.enforcer.compile import Compiler, check_tenant
from api.enforcer.drift import Fingerprints, rules_of
from api.enforcer.messages import EnforcedTenant, RuleCount
from api.policy_text import PolicyText
from bpf import BpfError
from firewall import dispatch, nft
from firewall.generation import TABLE, Generation
from firewall.kernel import Kernel
from firewall.netlink import Netlink, NetlinkError
from firewall.nft import NftError
from firewall.pins import Pins
from firewall.state import State
from rules_dsl.policy import Hook

log = logging.getLogger(__name__)

PATIENCE: Final = 30.0
"""Seconds to wait for another change."""

_REVISION: Final = re.compile(r"store revision (\d+)")


class BusyError(Exception):
    """Another change has been under way for too long."""


@dataclass(slots=True)
class Change:
    """A generation in the kernel that no packet meets yet, and the lock of changes."""

    generation: Generation
    revision: int
    kernel: Kernel
    held: ExitStack = field(repr=False)
    """Gives the lock back."""
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
        self._last = 0

    def start(self) -> None:
        """Clears away what a killed enforcer left. Raises KernelError, NetlinkError, StateError."""
        with self._changing() as held, Kernel() as kernel:
            held.enter_context(self._state.lock())
            kernel.sweep()

    def check(self, text: PolicyText) -> None:
        """Raises what compiling and the kernel raise."""
        generation = self._compiler.generation(text, self._number(text.tenant))
        with Kernel() as kernel:
            kernel.check(generation)

    def prepare(self, text: PolicyText, revision: int) -> Change:
        """Raises what compiling and the kernel raise, and BusyError."""
        generation = self._compiler.generation(text, self._number(text.tenant))
        with self._changing() as held:
            held.enter_context(self._state.lock())
            kernel = held.enter_context(Kernel())
            try:
                if text.tenant in self._drifted:
                    _wake(text.hook)
                kernel.prepare(generation)
            except BaseException:
                kernel.sweep()
                raise
            return Change(generation, revision, kernel, held.pop_all())

    def examine(self, change: Change) -> None:
        """Takes the fingerprint of what is prepared. Raises NetlinkError."""
        with Netlink() as link:
            change.fingerprint = rules_of(link, change.generation.tenant, change.generation.revision)

    def commit(self, change: Change) -> None:
        """Enforces it; `settle` must follow, whatever happens. Raises GenerationError, NetlinkError."""
        change.kernel.flip(change.generation, f"store revision {change.revision}")

    def settle(self, change: Change, *, committed: bool) -> None:
        """Clears away the generation that is not enforced, the old one or this, and gives the lock back."""
        tenant = change.generation.tenant
        with change.held:
            try:
                if committed:
                    self._fingerprints.forget(tenant)
                change.kernel.sweep()
                if committed and change.fingerprint is not None:
                    self._fingerprints.keep(change.kernel, change.generation, change.fingerprint)
                    self._drifted -= {tenant}
            except (NetlinkError, NftError, BpfError, OSError):
                # The next change sweeps first, and a fingerprint that is missing shows as drift.
                log.exception("what was left of a change of %s could not be cleared away", tenant)

    def remove(self, tenant: str) -> None:
        check_tenant(tenant)
        with self._changing() as held:
            held.enter_context(self._state.lock())
            with Kernel() as kernel:
                kernel.remove(tenant)
            self._fingerprints.forget(tenant)
            self._drifted -= {tenant}

    def drift(self) -> tuple[str, ...]:
        """The tenants whose state is not what was put there, and those that an enforcer before this one put there: enforced again,
        they are known to be whole."""
        with self._changing(), Kernel() as kernel:
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
        with Kernel() as kernel:
            present = kernel.enforced().get(tenant)
        pinned = max((number for name, number in Pins.here().generations() if name == tenant), default=0)
        with self._numbers:
            self._last = 1 + max(self._last, pinned, 0 if present is None else present.revision)
            return self._last


def _standing(kernel: Kernel) -> tuple[EnforcedTenant, ...]:
    return tuple(
        EnforcedTenant(
            tenant,
            int(told[1]) if (told := _REVISION.fullmatch(entry.comment)) else None,
            entry.revision,
            tuple(str(claim) for claim in sorted(entry.claims, key=lambda claim: (claim.kind.value, claim.first))),
        )
        for tenant, entry in sorted(kernel.enforced().items())
    )


def _wake(hook: Hook) -> None:
    """The table is not dormant and the hook's base chain lets pass what it says nothing of, as they were made."""
    base = f"{dispatch.base_chain(hook)} {{ type filter hook {hook.value} priority {dispatch.PRIORITY}; policy accept; }}"
    nft.run(f"add table inet {TABLE}\nadd chain inet {TABLE} {base}\n")
