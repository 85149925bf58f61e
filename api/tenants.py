"""Tenants: made, changed and deleted by the operator, in the store that all nodes share. No two protect the same traffic."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from api.access.audit import put_record
from api.documents import (
    OPERATOR,
    TENANT_ID,
    AuditRecord,
    Head,
    Quotas,
    Tenant,
    Token,
    first_head,
    from_json,
    head_key,
    items_key,
    lists_key,
    new_id,
    now,
    operations_key,
    rulesets_key,
    tenant_key,
    to_json,
    token_key,
)
from api.policy_text import PolicyText, ProtectText, policy_of
from api.store.model import MAX_CHANGES, Change, Delete, Put, Store
from firewall.dispatch import Claim, claims
from rules_dsl.literals import LiteralError
from rules_dsl.policy import LONGEST_INTERFACE_NAME, Hook

_REGISTRY: Final = "registry"
"""Written whenever what a tenant protects changes, so that no two such changes miss each other."""


class TenantError(Exception):
    """What the operator asked for cannot be; the message says why."""


def tenants(store: Store) -> tuple[Tenant, ...]:
    """All, by id. Raises StoreError."""
    return tuple(from_json(Tenant, entry.value) for entry in store.list(tenant_key("")).entries)


def tenant(store: Store, name: str) -> Tenant:
    """Raises TenantError where there is no such, StoreError."""
    entry = store.get(tenant_key(name))
    if entry is None:
        raise TenantError(f"there is no tenant `{name}`")
    return from_json(Tenant, entry.value)


def create(
    store: Store,
    name: str,
    protect: ProtectText,
    author: str,
    *,
    hook: Hook = Hook.PREROUTING,
    quotas: Quotas | None = None,
    early_drop: tuple[str, ...] = (),
) -> Tenant:
    """Raises TenantError, ConflictError where somebody else changed tenants meanwhile, StoreError."""
    if not TENANT_ID.fullmatch(name):
        raise TenantError(f"`{name}` is no id of a tenant: a letter or digit, then letters, digits, `_` and `-`, 32 at most")
    registry = _registry(store)
    if store.get(tenant_key(name)) is not None:
        raise TenantError(f"there is a tenant `{name}` already")
    _purge(store, name)  # of one that was deleted before
    made = Tenant(name, protect, now(), hook, quotas or Quotas(), early_drop)
    _refuse_early_drop(made)
    _refuse_overlap(store, made)
    changes = [Put(tenant_key(name), to_json(made), expected=0), Put(head_key(name), to_json(first_head()))]
    store.commit([*changes, *_noted(registry, author, "tenants.create", name)])
    return made


def change(
    store: Store,
    name: str,
    author: str,
    *,
    protect: ProtectText | None = None,
    hook: Hook | None = None,
    quotas: Quotas | None = None,
    early_drop: tuple[str, ...] | None = None,
) -> Tenant:
    """What is not said stays. Raises as `create` does."""
    registry = _registry(store)
    head = store.get(head_key(name))
    before = tenant(store, name)
    after = replace(before, protect=protect or before.protect, hook=hook or before.hook, quotas=quotas or before.quotas)
    if early_drop is not None:
        after = replace(after, early_drop=early_drop)
    _refuse_early_drop(after)
    _refuse_overlap(store, after)
    following = first_head() if head is None else Head(from_json(Head, head.value).generation + 1)
    changes = [
        Put(tenant_key(name), to_json(after)),
        Put(head_key(name), to_json(following), expected=0 if head is None else head.revision),
    ]
    store.commit([*changes, *_noted(registry, author, "tenants.edit", name)])
    return after


def delete(store: Store, name: str, author: str) -> None:
    """The tenant with all that it has, and its tokens; its audit log stays. Raises as `create` does."""
    registry = _registry(store)
    tenant(store, name)
    store.commit([Delete(tenant_key(name)), Delete(head_key(name)), *_noted(registry, author, "tenants.delete", name)])
    _purge(store, name)


def _registry(store: Store) -> int:
    entry = store.get(_REGISTRY)
    return 0 if entry is None else entry.revision


def _noted(registry: int, author: str, action: str, name: str) -> tuple[Change, Change]:
    record = AuditRecord(new_id(), now(), OPERATOR, author, action, name)
    return Put(_REGISTRY, b"{}", expected=registry), put_record(record)


def _refuse_early_drop(wanted: Tenant) -> None:
    for name in wanted.early_drop:
        _refuse_name(name)
    if wanted.early_drop and wanted.hook is not Hook.PREROUTING:
        raise TenantError(f"an early drop goes with rules at prerouting, and those of {wanted.id} stand at {wanted.hook.value}")
    if wanted.early_drop and not wanted.protect.prefixes:
        raise TenantError(f"an early drop goes with prefixes that are protected, and {wanted.id} protects none")


def _refuse_name(interface: str) -> None:
    if not 0 < len(interface.encode()) <= LONGEST_INTERFACE_NAME:
        raise TenantError(f"`{interface}` is no name of an interface: it has 1 to {LONGEST_INTERFACE_NAME} bytes")


def _refuse_overlap(store: Store, wanted: Tenant) -> None:
    asked = _claims(wanted)
    for other in tenants(store):
        if other.id == wanted.id:
            continue
        for claim in _claims(other):
            found = next((each for each in asked if each.overlaps(claim)), None)
            if found is not None:
                there = "" if str(found) == str(claim) else f" (there {claim})"
                raise TenantError(f"{wanted.id} cannot protect {found}: tenant {other.id} protects it already{there}")


def _claims(of: Tenant) -> frozenset[Claim]:
    for name in of.protect.interfaces:
        _refuse_name(name)
    wrong = next((mark for mark in of.protect.marks if not 0 <= mark < 1 << 32), None)
    if wrong is not None:
        raise TenantError(f"{wrong} is no mark: it has 32 bits")
    try:
        return claims(of.hook, policy_of(PolicyText(of.id, protect=of.protect)).protect)
    except LiteralError as error:
        raise TenantError(f"what {of.id} protects is not right: {error}") from error


def _purge(store: Store, name: str) -> None:
    """Deletes what no living tenant has, a commit at a time."""
    prefixes = (rulesets_key(name), f"versions/{name}/", lists_key(name), items_key(name), operations_key(name))
    keys = [entry.key for prefix in prefixes for entry in store.list(prefix).entries]
    keys += [entry.key for entry in store.list(token_key()).entries if from_json(Token, entry.value).tenant == name]
    for at in range(0, len(keys), MAX_CHANGES):
        store.commit([Delete(key) for key in keys[at : at + MAX_CHANGES]])
