"""How long the audit log is kept: records beyond an age are deleted, of all tenants and of those that are gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Final

from api.store.model import MAX_CHANGES, Delete, Store

LOG = logging.getLogger("mantlet.api")

PREFIX: Final = "audit/"
DAY_SECONDS: Final = 86_400


def prune(store: Store, days: int, now: float | None = None) -> int:
    """Deletes the records that are older; how many those were. Nodes of one store may do so at the same time. Raises StoreError."""
    oldest = int(((time.time() if now is None else now) - days * DAY_SECONDS) * 1_000_000)
    pruned = 0
    for tenant in _tenants(store):
        bound = f"{PREFIX}{tenant}/{max(oldest, 0):016d}"  # as `api.documents.audit_key` begins: keys are in the order of time
        while entries := store.list(f"{PREFIX}{tenant}/", limit=MAX_CHANGES).entries:
            old = [entry.key for entry in entries if entry.key < bound]
            if old:
                store.commit([Delete(key) for key in old])
                pruned += len(old)
            if len(old) < MAX_CHANGES:
                break
    if pruned:
        LOG.info("%d records of the audit log were older than %d days, and are deleted", pruned, days)
    return pruned


def _tenants(store: Store) -> Iterator[str]:
    """Those that have records, whether they live or not."""
    after = ""
    while entries := store.list(PREFIX, after=after, limit=1).entries:
        tenant = entries[0].key.removeprefix(PREFIX).partition("/")[0]
        yield tenant
        after = f"{PREFIX}{tenant}/\U0010ffff"
