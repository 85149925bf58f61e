"""The audit log: who changed what, when, from which version to which. A record is stored by the commit that it tells of."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from api.documents import AuditRecord, audit_key, from_json, new_id, now, to_json
from api.store.model import Put, Store

if TYPE_CHECKING:
    from api.access.caller import Caller

WINDOWS_S: Final = (3_600, 86_400, 30 * 86_400)
"""How far back the newest records are looked for, before all are read."""


def audit(
    caller: Caller,
    action: str,
    changed: str,
    before: str | None = None,
    after: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Put:
    """The change to commit beside the one that it tells of. `action` is as the SDK calls it, `changed` the id of what it changed."""
    return put_record(
        AuditRecord(new_id(), now(), caller.account, f"token {caller.token}", action, changed, before, after, caller.address, details or {})
    )


def put_record(record: AuditRecord) -> Put:
    return Put(audit_key(record), to_json(record), expected=0)


def newest(store: Store, tenant: str, limit: int) -> tuple[AuditRecord, ...]:
    """The newest records of a tenant or of the operator, in the order of time. Raises StoreError."""
    prefix = f"audit/{tenant}/"
    for window in (*WINDOWS_S, None):
        since = "" if window is None else f"{prefix}{int((time.time() - window) * 1e6):016d}"
        entries = store.list(prefix, after=since).entries
        if len(entries) >= limit or window is None:
            break
    return tuple(from_json(AuditRecord, entry.value) for entry in entries[-limit:])


def record_json(record: AuditRecord) -> dict[str, Any]:
    return asdict(record)
