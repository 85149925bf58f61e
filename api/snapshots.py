"""What a tenant has at one moment, read from the store and kept for as long as its head stays."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from api.changes import Documents
from api.compile import policy_text
from api.documents import (
    OPERATOR,
    Head,
    Items,
    List,
    Quotas,
    Ruleset,
    Tenant,
    from_json,
    head_key,
    items_key,
    lists_key,
    rulesets_key,
    tenant_key,
)
from api.policy_text import PolicyText, ProtectText
from api.rulesets import executed
from api.store.model import Store

D = TypeVar("D")

KEPT: Final = 5_000
"""Tenants whose documents stay in memory."""
OPERATORS: Final = Tenant(OPERATOR, ProtectText(), "1970-01-01T00:00:00Z", quotas=Quotas(1_000, 100_000, 1_000, 1_000, 1_000_000))


@dataclass(frozen=True, slots=True)
class Version:
    """Of what a tenant has: its own head, and the operator's, whose managed rulesets it may execute."""

    head: int
    """The store's revision of the head; 0 where there is none yet."""
    generation: int
    """Of the head."""
    offered_head: int = 0
    offered_generation: int = 0

    @property
    def number(self) -> int:
        """Grows with every write of the tenant or the operator; known before the store has it."""
        return self.generation + self.offered_generation


@dataclass(frozen=True, slots=True)
class Snapshot:
    version: Version
    documents: Documents
    text: PolicyText
    """What is to be enforced."""


def executes(documents: Documents) -> bool:
    """Whether a rule of the tenant executes a ruleset."""
    return any(executed(rule) is not None for ruleset in documents.rulesets.values() for rule in ruleset.rules)


class Snapshots:
    """Reads a store. Every method may be called from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, tenant: str) -> Snapshot | None:
        """None: there is no such tenant. Raises StoreError."""
        while True:
            version = self.version(tenant)
            kept = self._kept.get(tenant)
            if kept is not None and kept.version == version:
                return kept
            snapshot = self._read(tenant, version)
            if self.version(tenant) == version:  # nothing was written meanwhile
                if snapshot is not None:
                    self.keep(snapshot)
                return snapshot

    def version(self, tenant: str) -> Version:
        head, generation = self._head(tenant)
        return Version(head, generation) if tenant == OPERATOR else Version(head, generation, *self._head(OPERATOR))

    def keep(self, snapshot: Snapshot) -> None:
        """As what is stored now."""
        with self._lock:
            tenant = snapshot.documents.tenant.id
            self._kept[tenant] = snapshot
            self._kept.move_to_end(tenant)
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)

    def forget(self, tenant: str) -> None:
        with self._lock:
            self._kept.pop(tenant, None)

    def _head(self, tenant: str) -> tuple[int, int]:
        entry = self._store.get(head_key(tenant))
        return (0, 0) if entry is None else (entry.revision, from_json(Head, entry.value).generation)

    def _read(self, tenant: str, version: Version) -> Snapshot | None:
        if tenant == OPERATOR:
            return Snapshot(version, self._documents(OPERATORS), PolicyText(""))
        operators = self.read(OPERATOR)
        kept = self._kept.get(tenant)
        if kept is not None and operators is not None and kept.version.head == version.head:  # the operator alone wrote
            documents = replace(kept.documents, offered=operators.documents)
            return Snapshot(version, documents, policy_text(documents) if executes(documents) else kept.text)
        entry = self._store.get(tenant_key(tenant))
        if entry is None or operators is None:
            return None
        documents = replace(self._documents(from_json(Tenant, entry.value)), offered=operators.documents)
        return Snapshot(version, documents, policy_text(documents))

    def _documents(self, tenant: Tenant) -> Documents:
        rulesets = self._all(Ruleset, rulesets_key(tenant.id))
        return Documents(tenant, rulesets, self._all(List, lists_key(tenant.id)), self._all(Items, items_key(tenant.id)))

    def _all(self, kind: type[D], prefix: str) -> dict[str, D]:
        return {entry.key.removeprefix(prefix): from_json(kind, entry.value) for entry in self._store.list(prefix).entries}
