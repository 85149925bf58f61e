"""What a tenant has, and what a write makes of it: operations take the documents before and give those after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from api.documents import Items, List, Operation, Ruleset, Tenant
from api.errors import ApiError, Code, Problem, bad_request


@dataclass(frozen=True, slots=True)
class Documents:
    """A tenant's, as they stand together."""

    tenant: Tenant
    rulesets: Mapping[str, Ruleset] = field(default_factory=dict)
    """By id, in their latest versions."""
    lists: Mapping[str, List] = field(default_factory=dict)
    items: Mapping[str, Items] = field(default_factory=dict)
    """By the list's id."""
    offered: Documents | None = None
    """What the operator offers for execution. None: the tenant is the operator."""

    def with_ruleset(self, ruleset: Ruleset) -> Documents:
        return replace(self, rulesets={**self.rulesets, ruleset.id: ruleset})

    def with_list(self, changed: List, items: Items | None = None) -> Documents:
        contents = self.items if items is None else {**self.items, changed.id: items}
        return replace(self, lists={**self.lists, changed.id: changed}, items=contents)


@dataclass(frozen=True, slots=True)
class Change:
    """What a write does, and what its audit record says of it."""

    documents: Documents
    """All of the tenant's, after the write. What is the same object as before was not changed."""
    action: str
    object: str
    before: str | None = None
    after: str | None = None
    ruleset: Ruleset | None = None
    """The ruleset that was written."""
    list: List | None = None
    operation: Operation | None = None
    forgotten: str | None = None
    """The version of the ruleset `object` that is deleted."""
    pointers: Mapping[str, str] = field(default_factory=dict)
    """Where in the request's body the rules of it stand, by their ids."""


def over_quota(what: str, limit: int) -> ApiError:
    return ApiError(400, Problem(Code.QUOTA, f"an account may have {limit:,} {what}"))


def must_match(version: str, wanted: str | None) -> None:
    """Refuses a write that its `If-Match` says is for another version. Raises ApiError."""
    if wanted is None or wanted.strip() == "*":
        return
    tags = [tag.strip().removeprefix("W/") for tag in wanted.split(",")]
    if any(len(tag) < 2 or tag[0] != '"' or tag[-1] != '"' for tag in tags):
        raise bad_request("a tag is the version in quotation marks", parameter="If-Match")
    if f'"{version}"' not in tags:
        raise ApiError(412, Problem(Code.CONFLICT, f"the latest version is {version}", parameter="If-Match"))
