"""What the store holds: tenants, rulesets and their versions, lists and their items, operations, tokens and the audit log, as frozen
dataclasses; their JSON, and the key of each."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as field_
from datetime import UTC, datetime
from functools import cache
from hashlib import blake2s
from typing import Any, Final, Literal, NamedTuple, TypeVar

from pydantic import TypeAdapter

from api.policy_text import ProtectText
from rules_dsl.policy import TENANT_NAME, Hook

D = TypeVar("D")

OPERATOR: Final = "-"
"""The pseudo-tenant whose managed rulesets every tenant may execute."""
TENANT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
OBJECT_ID: Final = re.compile(r"[0-9a-f]{32}")

Kind = Literal["root", "custom", "managed"]
Phase = Literal["magic_transit", "magic_transit_managed", "magic_transit_ratelimit", "magic_transit_ids_managed"]
Scope = Literal["read", "write", "admin"]


@dataclass(frozen=True, slots=True)
class Quotas:
    """What a tenant may use, at most."""

    rulesets: int = 100
    rules: int = 1_000
    """Of all rulesets together."""
    versions: int = 1_000
    """Of one ruleset; the oldest go."""
    lists: int = 100
    list_items: int = 10_000
    """Of all lists together."""
    expression_characters: int = 4_096
    """Of one expression."""
    complexity: int = 1_000_000
    """Characters of all conditions that are evaluated, with those of managed rulesets: what compiling them costs grows with it."""


@dataclass(frozen=True, slots=True)
class Tenant:
    id: str
    protect: ProtectText
    created: str
    hook: Hook = Hook.PREROUTING
    quotas: Quotas = Quotas()
    early_drop: tuple[str, ...] = ()
    """Interfaces of the nodes at which frames are judged as they are received."""


@dataclass(frozen=True, slots=True)
class Head:
    """Touched by every write of its tenant, which so are serial over the whole fleet."""

    generation: int
    """One more with every write. Of a new tenant the microseconds since 1970, so that no tenant of the same name had it before."""


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    version: str
    """From "1", one more whenever the rule itself changes."""
    action: str
    expression: str
    last_updated: str
    ref: str
    """Its id unless the client gave another."""
    description: str | None = None
    enabled: bool = True
    action_parameters: Mapping[str, Any] | None = None
    categories: tuple[str, ...] | None = None
    logging: Mapping[str, Any] | None = None
    ratelimit: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ruleset:
    """One version of a ruleset."""

    id: str
    kind: Kind
    phase: Phase
    name: str
    description: str
    version: str
    """From "1", one more with every change."""
    last_updated: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class List:
    id: str
    kind: Literal["ip"]
    name: str
    description: str
    created_on: str
    modified_on: str
    num_items: int = 0


class Item(NamedTuple):
    """Of a list. Many of them make one value of the store: they are arrays there, and their ids follow from what they say."""

    ip: str
    """An address or CIDR, in canonical form."""
    created: int
    """Microseconds since 1970."""
    modified: int
    comment: str | None = None

    def id(self, list_id: str) -> str:
        return blake2s(self.ip.encode(), key=list_id.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Items:
    """All items of a list, in the order in which they came."""

    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A change of a list's items. It is answered when it is done; what it was stands here to be asked for."""

    id: str
    status: Literal["pending", "running", "completed", "failed"]
    completed: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    id: str
    tenant: str
    """OPERATOR for the operator's."""
    scope: Scope
    hash: str
    created: str
    name: str = ""
    expires: str | None = None
    revoked: str | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who changed what, when, from which version to which."""

    id: str
    time: str
    tenant: str
    author: str
    """The token's id, or what else wrote."""
    action: str
    """As the SDK calls it: "rulesets.rules.create"."""
    object: str
    """The id of the ruleset, list, tenant or token."""
    before: str | None = None
    """The version before, where there was one."""
    after: str | None = None
    address: str | None = None
    """Of the client."""
    details: Mapping[str, Any] = field_(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node says of itself, for as long as it lives."""

    name: str
    revision: int
    """The store's revision up to which it enforces everything."""
    tenants: Mapping[str, int]
    """By tenant the revision of the head that is enforced."""
    since: str


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(document: object) -> bytes:
    """The document's JSON: UTF-8, keys in the order of the fields. Raises ValueError for text that is not Unicode."""
    kind: Any = type(document)
    return _adapter(kind).dump_json(document)


def from_json(kind: type[D], content: bytes) -> D:
    """Raises ValueError for what is no such document."""
    document_type: Any = kind
    document: D = _adapter(document_type).validate_json(content)
    return document


# -- keys --------------------------------------------------------------------------------------------------------------


def tenant_key(tenant: str) -> str:
    return f"tenants/{tenant}"


def head_key(tenant: str) -> str:
    return f"heads/{tenant}"


def rulesets_key(tenant: str, ruleset: str = "") -> str:
    """The prefix of all without `ruleset`; the same with those below."""
    return f"rulesets/{tenant}/{ruleset}"


def versions_key(tenant: str, ruleset: str, version: int | str = "") -> str:
    return f"versions/{tenant}/{ruleset}/" + (f"{int(version):08d}" if version != "" else "")


def lists_key(tenant: str, list_id: str = "") -> str:
    return f"lists/{tenant}/{list_id}"


def items_key(tenant: str, list_id: str = "") -> str:
    return f"items/{tenant}/{list_id}"


def operations_key(tenant: str, operation: str = "") -> str:
    return f"operations/{tenant}/{operation}"


def token_key(token: str = "") -> str:
    return f"tokens/{token}"


def audit_key(record: AuditRecord) -> str:
    when = round(datetime.fromisoformat(record.time).timestamp() * 1_000_000)
    return f"audit/{record.tenant or OPERATOR}/{when:016d}-{record.id}"


def node_key(name: str = "") -> str:
    return f"nodes/{name}"


# -- ids, times, names -------------------------------------------------------------------------------------------------


def new_id() -> str:
    """32 hex digits."""
    return secrets.token_hex(16)


def operation_id() -> str:
    """As `new_id`; ids of later operations are greater."""
    return f"{microseconds():014x}{secrets.token_hex(9)}"


def microseconds() -> int:
    """Since 1970."""
    return time.time_ns() // 1_000


def timestamp(microseconds: int) -> str:
    """RFC 3339, in microseconds."""
    moment = datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> str:
    """RFC 3339, in microseconds."""
    return timestamp(microseconds())


def first_head() -> Head:
    """Of a new tenant."""
    return Head(microseconds())


def kernel_name(tenant: str) -> str:
    """What a tenant is called in the kernel."""
    return tenant if TENANT_NAME.fullmatch(tenant) else "t-" + blake2s(tenant.encode(), digest_size=10).hexdigest()
