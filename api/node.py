"""A node: makes what tenants write true. A write is compiled, built in the kernel beside what is enforced, stored, and then enforced;
what other nodes accepted is followed, and the kernel is kept as the store says."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Protocol, Self

from api.access.audit import put_record
from api.changes import Change, Documents
from api.compile import Checker, asks_geo, refuse_complex, refuse_wrong
from api.compile import policy_text as text_of
from api.documents import (
    OPERATOR,
    AuditRecord,
    Head,
    NodeReport,
    Operation,
    Ruleset,
    first_head,
    from_json,
    head_key,
    items_key,
    kernel_name,
    lists_key,
    microseconds,
    new_id,
    node_key,
    now,
    operations_key,
    rulesets_key,
    timestamp,
    to_json,
    versions_key,
)
from api.enforcer.client import EnforcerUnavailable, Refused
from api.errors import ApiError, Code, Problem, conflict, expression_problems, not_found, unavailable
from api.events import Events
from api.policy_text import PolicyText
from api.rulesets import executed
from api.snapshots import Snapshot, Snapshots, executes
from api.store.model import MAX_CHANGES, Check, CompactedError, ConflictError, Delete, Put, Store, StoreError, TooLargeError
from api.store.model import Change as StoreChange
from rules_dsl.diagnostics import Diagnostic, Source, Span
from rules_dsl.geo import Geo

LOG = logging.getLogger("mantlet.node")

ATTEMPTS: Final = 20
"""Of a write that other nodes' writes come before."""
ANNOUNCED_SECONDS: Final = 15
"""How long a node is known to live without a sign of it."""
OPERATION_SECONDS: Final = 86_400
"""How long an operation on a list's items can be asked for, at least."""


class Prepared(Protocol):
    """A generation in the kernel that nothing refers to yet."""

    def commit(self) -> None: ...

    def abandon(self) -> None: ...


class EnforcedTenant(Protocol):
    @property
    def tenant(self) -> str: ...

    @property
    def revision(self) -> int | None: ...


class Enforcer(Protocol):
    """What a node asks of the process that owns the kernel. All raise EnforcerUnavailable; those that take a text, Refused."""

    def check(self, text: PolicyText) -> None: ...

    def prepare(self, text: PolicyText, revision: int) -> Prepared: ...

    def enforce_all(self, wanted: Sequence[tuple[PolicyText, int]]) -> Mapping[str, Refused | EnforcerUnavailable]: ...

    def remove(self, tenant: str) -> None: ...

    def status(self) -> tuple[EnforcedTenant, ...]: ...

    def drift(self) -> tuple[str, ...]: ...

    def counters(self, tenant: str) -> Mapping[str, tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes."""

    name: str
    """As the audit log says it: `token ID`, or a command."""
    address: str | None = None


Operate = Callable[[Documents], Change]


class Node:
    """The one place through which tenants' rules change. A context manager: entered, the stored rules are in force."""

    def __init__(
        self,
        store: Store,
        enforcer: Enforcer,
        name: str,
        *,
        geo: Geo | None = None,
        drift_seconds: float = 30.0,
        keep_seconds: float = 1.0,
    ) -> None:
        self.store = store
        self.enforcer = enforcer
        self.name = name
        self.geo = geo
        """As the enforcer has it."""
        self._checker = Checker(geo)
        self.events = Events()
        self.since = now()
        self._snapshots = Snapshots(store)
        self._writing = threading.RLock()
        """Held by whoever changes the kernel."""
        self._enforced: dict[str, Snapshot] = {}
        self._missed: set[str] = set()
        """Tenants whose stored rules could not be enforced; tried again."""
        self._revision = 0
        self._stop = threading.Event()
        self._drift_seconds = drift_seconds
        self._keep_seconds = keep_seconds
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def start(self) -> None:
        """Enforces what is stored, and follows it from there on. Raises StoreError, EnforcerUnavailable."""
        self._revision = self._restore(starting=True)
        self._announce()
        for work in (self._follow, self._keep):
            thread = threading.Thread(target=work, name=f"mantlet-node-{work.__name__.strip('_')}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Ends following; what is enforced stays."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    # -- reading

    def documents(self, tenant: str) -> Documents:
        """What a tenant has. Raises ApiError (404), StoreError."""
        return self._snapshot(tenant).documents

    def versions(self, tenant: str, ruleset: str) -> Iterator[Ruleset]:
        """All versions of a ruleset that are kept, in their order."""
        prefix = versions_key(self._holder(tenant, ruleset), ruleset)
        after = ""
        while entries := self.store.list(prefix, after=after, limit=20).entries:
            yield from (from_json(Ruleset, entry.value) for entry in entries)
            after = entries[-1].key

    def version(self, tenant: str, ruleset: str, version: str) -> Ruleset:
        """Raises ApiError (404)."""
        holder = self._holder(tenant, ruleset)
        known = re.fullmatch("[1-9][0-9]{0,7}", version) is not None
        entry = self.store.get(versions_key(holder, ruleset, version)) if known else None
        if entry is None:
            raise not_found("version")
        return from_json(Ruleset, entry.value)

    def operation(self, tenant: str, operation: str) -> Operation:
        """Raises ApiError (404)."""
        entry = self.store.get(operations_key(tenant, operation)) if operation.isalnum() else None
        if entry is None:
            raise not_found("operation")
        return from_json(Operation, entry.value)

    def _holder(self, tenant: str, ruleset: str) -> str:
        documents = self.documents(tenant)
        if ruleset in documents.rulesets:
            return tenant
        if documents.offered is not None and ruleset in documents.offered.rulesets:
            return OPERATOR
        raise not_found("ruleset")

    def _snapshot(self, tenant: str) -> Snapshot:
        found = self._snapshots.read(tenant)
        if found is None:
            raise not_found("account")
        return found

    # -- writing

    def write(self, tenant: str, operate: Operate, author: Author, *, dry_run: bool = False) -> Change:
        """What the operation makes of the tenant's documents: stored and enforced once this returns, or nothing of it.

        The operation may be called several times. Raises ApiError, StoreError, EnforcerUnavailable."""
        for attempt in range(ATTEMPTS):
            with self._writing:
                try:
                    return self._write(self._snapshot(tenant), operate, author, dry_run)
                except ConflictError:
                    self._snapshots.forget(tenant)
            time.sleep(random.uniform(0, 0.01 * (attempt + 1)))
        raise conflict("others wrote at the same time, again and again")

    def _write(self, before: Snapshot, operate: Operate, author: Author, dry_run: bool) -> Change:
        change = operate(before.documents)
        refuse_wrong(change, before.documents, self._checker)
        tenant = before.documents.tenant.id
        after = self._after(before, change)
        affected = self._executing(after) if tenant == OPERATOR else ()
        for other in affected:
            self._check_affected(other)
        if tenant != OPERATOR:
            refuse_complex(change.documents, after.text)
        held = after.text == before.text and tenant in self._enforced and self._enforced[tenant].text == after.text
        if dry_run:
            if not held and tenant != OPERATOR:
                self._refused(self.enforcer.check, after.text, change=change)
            return change
        prepared = None
        if not held and tenant != OPERATOR:
            prepared = self._refused(self.enforcer.prepare, after.text, after.version.number, change=change)
        try:
            revision = self._store(before, after, change, author)
        except BaseException:
            if prepared is not None:
                prepared.abandon()
            raise
        after = replace(after, version=replace(after.version, head=revision))
        if prepared is not None:
            try:
                prepared.commit()
            except (EnforcerUnavailable, Refused) as error:
                self._enforced.pop(tenant, None)  # which of the two is enforced is unknown
                self._missed.add(tenant)
                raise self._taken_back(before, after, change, author, error) from error
        self._snapshots.keep(after)
        if tenant != OPERATOR:
            self._enforced[tenant] = after
        self._missed.discard(tenant)
        self._forget_versions(change, tenant)
        for other in affected:
            self._follow_tenant(other.documents.tenant.id)
        self.events.record(tenant, "enforced", action=change.action, object=change.object, version=change.after, author=author.name)
        return change

    def _store(self, before: Snapshot, after: Snapshot, change: Change, author: Author) -> int:
        """The revision at which it is stored."""
        try:
            return self.store.commit(self._commit(before, after, change, author))
        except TooLargeError as error:
            message = "what is to be stored at once is too large: fewer rules or items at a time, or in several rulesets or lists"
            raise ApiError(400, Problem(Code.QUOTA, message)) from error
        except StoreError:  # it may have been stored
            self._missed.add(before.documents.tenant.id)
            raise

    def _after(self, before: Snapshot, change: Change) -> Snapshot:
        """The snapshot that the change makes; the store's revision of its head is not known yet."""
        generation = before.version.generation + 1 if before.version.head else first_head().generation
        text = before.text if before.documents.tenant.id == OPERATOR else text_of(change.documents)
        return Snapshot(replace(before.version, generation=generation), change.documents, text)

    def _refused(self, ask: Callable[..., Any], *args: Any, change: Change) -> Any:
        """What the enforcer answers. Raises ApiError, which names the rule, where the kernel refuses it."""
        try:
            return ask(*args)
        except Refused as error:
            raise ApiError(400, *_problems(error, change)) from error

    def _commit(self, before: Snapshot, after: Snapshot, change: Change, author: Author) -> list[StoreChange]:
        """Everything that the store is to hold, if nobody else wrote since `before` was read."""
        tenant = before.documents.tenant.id
        time = now()
        record = AuditRecord(new_id(), time, tenant, author.name, change.action, change.object, change.before, change.after, author.address)
        changes: list[StoreChange] = [put_record(record)]
        changes.append(Put(head_key(tenant), to_json(Head(after.version.generation)), expected=before.version.head))
        if tenant != OPERATOR:
            changes.append(Check(head_key(OPERATOR), expected=before.version.offered_head))
        old, new = before.documents, after.documents
        for key, ruleset in new.rulesets.items():
            if old.rulesets.get(key) is not ruleset:
                content = to_json(ruleset)
                changes += [Put(rulesets_key(tenant, key), content), Put(versions_key(tenant, key, ruleset.version), content)]
                if (oldest := int(ruleset.version) - new.tenant.quotas.versions) > 0:
                    changes.append(Delete(versions_key(tenant, key, oldest)))
        changes += [Delete(rulesets_key(tenant, key)) for key in old.rulesets if key not in new.rulesets]
        for key, found in new.lists.items():
            if old.lists.get(key) is not found:
                changes.append(Put(lists_key(tenant, key), to_json(found)))
        for key, items in new.items.items():
            if old.items.get(key) is not items:
                changes.append(Put(items_key(tenant, key), to_json(items)))
        for key in old.lists:
            if key not in new.lists:
                changes += [Delete(lists_key(tenant, key)), Delete(items_key(tenant, key))]
        if change.forgotten is not None:
            changes.append(Delete(versions_key(tenant, change.object, change.forgotten)))
        if change.operation is not None:
            changes += [Put(operations_key(tenant, change.operation.id), to_json(change.operation)), *self._old_operations(tenant)]
        return changes

    def _old_operations(self, tenant: str) -> list[StoreChange]:
        """Deletes the oldest operations, a few at a time: more than come."""
        oldest = self.store.list(operations_key(tenant), limit=3).entries
        return [
            Delete(entry.key) for entry in oldest
            if (done := from_json(Operation, entry.value).completed) is None or done < _ago(OPERATION_SECONDS)
        ]  # fmt: skip

    def _forget_versions(self, change: Change, tenant: str) -> None:
        """Of a ruleset that was deleted: after it, since there may be more than one commit takes."""
        if change.after is not None or change.ruleset is None:
            return
        try:
            while entries := self.store.list(versions_key(tenant, change.object), limit=MAX_CHANGES).entries:
                self.store.commit([Delete(entry.key) for entry in entries])
        except StoreError as error:  # nobody can read them any more
            LOG.warning("versions of a deleted ruleset stay: %s", error)

    def _taken_back(self, before: Snapshot, after: Snapshot, change: Change, author: Author, reason: Exception) -> ApiError:
        """Stores what was before once more, since the kernel did not take what is stored. The error that the client gets."""
        LOG.error("%s of %s was stored, but not enforced: %s", change.action, change.object, reason)
        back = _back(before.documents, after.documents)
        change = replace(change, documents=back, before=change.after, after=change.before, action=f"{change.action} (taken back)")
        if change.operation is not None:
            change = replace(change, operation=replace(change.operation, status="failed", error=f"not enforced: {reason}"))
        version = replace(after.version, generation=after.version.generation + 1)
        self.events.record(before.documents.tenant.id, "failed", action=change.action, reason=str(reason))
        try:
            self.store.commit(self._commit(after, replace(after, version=version, documents=back), change, author))
        except (StoreError, ConflictError) as error:
            LOG.error("and it could not be taken back: %s", error)
            return unavailable(f"the change is stored, but this node could not enforce it yet: {reason}")
        return unavailable(f"the change was not enforced, and is taken back: {reason}")

    # -- managed rulesets

    def _executing(self, offered: Snapshot) -> tuple[Snapshot, ...]:
        """The tenants whose rules are others with what the operator offers now, and as they are with it."""
        found = []
        for tenant in self.tenants():
            snapshot = self._snapshots.read(tenant)
            if snapshot is None or not executes(snapshot.documents):
                continue
            own = snapshot.documents.rulesets
            for ruleset in own.values():
                for rule in ruleset.rules:
                    target = executed(rule)
                    if target is not None and target not in own and target not in offered.documents.rulesets:
                        raise ApiError(400, Problem(Code.BAD_REQUEST, f"the ruleset is executed by the account {tenant}"))
            documents = replace(snapshot.documents, offered=offered.documents)
            text = text_of(documents)
            if text != snapshot.text:
                found.append(replace(snapshot, documents=documents, text=text))
        return tuple(found)

    def _check_affected(self, other: Snapshot) -> None:
        tenant = other.documents.tenant.id
        try:
            refuse_complex(other.documents, other.text)
            self.enforcer.check(other.text)
        except (ApiError, Refused) as error:
            reason = error.problems[0].message if isinstance(error, ApiError) else str(error)
            raise ApiError(400, Problem(Code.QUOTA, f"the account {tenant} executes the ruleset: {reason}")) from error

    # -- following the store

    def tenants(self) -> tuple[str, ...]:
        """All that the store has."""
        return tuple(entry.key.removeprefix("tenants/") for entry in self.store.list("tenants/").entries)

    def _restore(self, *, starting: bool = False) -> int:
        """Makes the kernel what the store says, whatever it is; the store's revision that it then has at least. When it starts, rules that
        ask geo files are enforced in any case: the files may be others."""
        with self._writing:
            listing = self.store.list("tenants/")
            tenants = {entry.key.removeprefix("tenants/") for entry in listing.entries}
            names = {kernel_name(tenant) for tenant in tenants}
            standing = {each.tenant: each.revision for each in self.enforcer.status()}
            drifted = set(self.enforcer.drift())
            as_stored = {name: revision for name, revision in standing.items() if name not in drifted}
            for name, revision in standing.items():
                if name not in names and revision is not None:
                    self.enforcer.remove(name)
                    self.events.record(name, "removed")
            self._enforced = {tenant: snapshot for tenant, snapshot in self._enforced.items() if tenant in tenants}
            for again in (False, True):  # what one tenant gave up may be another's now
                self._enforce_stored(self._missed if again else tenants, as_stored, anew=asks_geo if starting else None)
            return listing.revision

    def _enforce_stored(
        self, tenants: Collection[str], standing: Mapping[str, int | None], *, anew: Callable[[PolicyText], bool] | None = None
    ) -> None:
        """Enforces what is stored of tenants, unless the kernel has it: `standing` has the numbers of what that has, by its names. What is
        to be `anew` is enforced nevertheless."""
        wanted: dict[str, Snapshot] = {}
        for tenant in sorted(tenants):
            snapshot = self._snapshots.read(tenant)
            if snapshot is None:
                self._remove(tenant)
            elif standing.get(snapshot.text.tenant) == snapshot.version.number and not (anew and anew(snapshot.text)):
                self._holds(snapshot)
            else:
                wanted[snapshot.text.tenant] = snapshot
        if not wanted:
            return
        refused = self.enforcer.enforce_all([(each.text, each.version.number) for each in wanted.values()])
        for name, snapshot in wanted.items():
            tenant = snapshot.documents.tenant.id
            error = refused.get(name)
            if error is None:
                self.events.record(tenant, "enforced", action="restored")
                self._holds(snapshot)
            else:
                if tenant not in self._missed:
                    LOG.error("the stored rules of %s are not enforced: %s", tenant, error)
                    self.events.record(tenant, "failed", reason=str(error))
                self._missed.add(tenant)

    def _holds(self, snapshot: Snapshot) -> None:
        """The kernel has it."""
        self._enforced[snapshot.documents.tenant.id] = snapshot
        self._missed.discard(snapshot.documents.tenant.id)

    def _remove(self, tenant: str) -> None:
        self.enforcer.remove(kernel_name(tenant))
        self._snapshots.forget(tenant)
        self._enforced.pop(tenant, None)
        self._missed.discard(tenant)
        self.events.record(tenant, "removed")

    def _follow(self) -> None:
        """Enforces what others wrote, until the node is closed."""
        revision = self._revision
        while not self._stop.is_set():
            try:
                for events in self.store.watch("heads/", revision, stop=self._stop):
                    for tenant in {event.key.removeprefix("heads/") for event in events}:
                        self._follow_change(tenant)
                    self._revision = revision = events[-1].revision
            except CompactedError:
                LOG.info("the store's history begins after revision %d: everything is compared anew", revision)
                revision = self._try_restore(revision)
            except StoreError as error:
                LOG.warning("the store cannot be followed: %s", error)
                self._stop.wait(1.0)
            except Exception:
                LOG.exception("what others wrote is not followed")
                self._stop.wait(1.0)

    def _try_restore(self, revision: int) -> int:
        try:
            self._revision = self._restore()
        except (StoreError, EnforcerUnavailable) as error:
            LOG.warning("what is stored cannot be enforced: %s", error)
            self._stop.wait(1.0)
            return revision
        return self._revision

    def _follow_change(self, tenant: str) -> None:
        if tenant != OPERATOR:
            self._follow_tenant(tenant)
            return
        for other in self.tenants():
            self._follow_tenant(other)

    def _follow_tenant(self, tenant: str) -> None:
        """Enforces what is stored of a tenant, if that is another than what is enforced."""
        with self._writing:
            try:
                before = self._enforced.get(tenant)
                if before is not None and self._snapshots.version(tenant) == before.version:
                    return
                snapshot = self._snapshots.read(tenant)
                if snapshot is not None and before is not None and snapshot.text == before.text:
                    self._enforced[tenant] = snapshot
                elif snapshot is not None or before is not None or tenant in self._missed:
                    self._enforce_stored((tenant,), {})
            except EnforcerUnavailable as error:
                LOG.warning("%s waits: %s", tenant, error)
                self._missed.add(tenant)

    # -- keeping

    def _keep(self) -> None:
        """Says that the node lives, tries again what could not be enforced, and looks for drift, until the node is closed."""
        compared = time.monotonic()
        while not self._stop.wait(self._keep_seconds):
            try:
                for tenant in sorted(self._missed):
                    with self._writing:
                        self._enforced.pop(tenant, None)
                        self._follow_tenant(tenant)
                if time.monotonic() - compared >= self._drift_seconds:
                    self.mend()
                    compared = time.monotonic()
                self._announce()
            except (StoreError, EnforcerUnavailable) as error:
                LOG.warning("%s", error)
            except Exception:
                LOG.exception("the kernel is not compared with the store")

    def mend(self) -> tuple[str, ...]:
        """Compares the kernel with the store and makes it the same; the tenants that were not.

        Raises StoreError, EnforcerUnavailable."""
        with self._writing:
            drifted = set(self.enforcer.drift())
            standing = {each.tenant: each.revision for each in self.enforcer.status()}
            mended: list[str] = []
            missing: list[str] = []
            for tenant in self.tenants():
                name = kernel_name(tenant)
                if name in drifted or (name not in standing and tenant in self._enforced):
                    self.events.record(tenant, "drift")
                    LOG.warning("the kernel's rules of %s were changed by others; they are put right", tenant)
                    mended.append(tenant)
                elif tenant not in self._enforced:
                    missing.append(tenant)
            self._enforce_stored((*mended, *missing), {})
            return tuple(mended)

    def _announce(self) -> None:
        report = NodeReport(
            self.name, self._revision, {tenant: each.version.head for tenant, each in self._enforced.copy().items()}, self.since
        )
        self.store.announce(node_key(self.name), to_json(report), ANNOUNCED_SECONDS)

    def nodes(self) -> tuple[NodeReport, ...]:
        """Those that live, by name."""
        return tuple(from_json(NodeReport, entry.value) for entry in self.store.list(node_key()).entries)

    def lagging(self) -> Mapping[str, tuple[str, ...]]:
        """By node that lives the tenants whose stored rules it does not enforce yet; nodes without such are not in it."""
        heads = {entry.key.removeprefix("heads/"): entry.revision for entry in self.store.list("heads/").entries}
        heads.pop(OPERATOR, None)
        found = {
            node.name: tuple(tenant for tenant, revision in heads.items() if node.tenants.get(tenant, 0) < revision)
            for node in self.nodes()
        }
        return {name: tenants for name, tenants in found.items() if tenants}


def _problems(error: Refused, change: Change) -> tuple[Problem, ...]:
    """What the kernel's side refused, with the rule's place in the request or else its id."""

    def place(name: str | None) -> tuple[str | None, str]:
        rule = None if name is None else name.removesuffix(".log").split(".")[0]
        pointer = None if rule is None else change.pointers.get(rule)
        return (None, "" if rule is None else f" (rule {rule})") if pointer is None else (f"{pointer}/expression", "")

    found: list[Problem] = []
    for each in error.diagnostics:
        diagnostic = Diagnostic(each.code, each.message, Span(Source(each.rule, each.text), each.start, each.end), help=each.help)
        found += expression_problems((diagnostic,), place(each.rule)[0] or f"/rules/{each.rule}")
    pointer, where = place(error.rule)
    return tuple(found) or (Problem(Code.EXPRESSION, f"{error}{where}", pointer),)


def _ago(seconds: int) -> str:
    return timestamp(microseconds() - seconds * 1_000_000)


def _back(before: Documents, after: Documents) -> Documents:
    """What was before, as something new: a ruleset's versions only grow."""
    time = now()
    rulesets = {}
    for key, old in before.rulesets.items():
        new = after.rulesets.get(key)
        if new is old:
            rulesets[key] = old
        else:
            rulesets[key] = replace(old, version=str(int((new or old).version) + 1), last_updated=time)
    return replace(before, rulesets=rulesets)
