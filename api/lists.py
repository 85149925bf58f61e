"""Lists of addresses: made, described, deleted, and their items added, replaced, deleted and searched for."""

from __future__ import annotations

import base64
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from api.bodies import ItemBody, ItemReference, ListBody, ListUpdateBody
from api.changes import Change, Documents, over_quota
from api.documents import OPERATOR, Item, Items, List, Operation, microseconds, new_id, now, operation_id, timestamp
from api.errors import ApiError, Code, Problem, bad_request, not_found

OPERATORS_NAMES: Final = "managed."
"""How the names of the operator's lists begin, so that no tenant's list has the name of one."""
_TOKEN: Final = re.compile(r'r(?P<hashes>#*)"[^\n]*?"(?P=hashes)|"(?:[^"\\\n]|\\[^\n])*"|\$(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)')
"""Strings, in which a `$` names nothing, and names of lists (rules_dsl/grammar.lark)."""


# -- reading -----------------------------------------------------------------------------------------------------------


def find(documents: Documents, list_id: str) -> List:
    """Raises ApiError (404)."""
    found = documents.lists.get(list_id)
    if found is None:
        raise not_found("list")
    return found


@lru_cache(100_000)
def names_in(expression: str) -> frozenset[str]:
    """The lists that an expression names."""
    return frozenset(found["name"] for found in _TOKEN.finditer(expression) if found["name"]) if "$" in expression else frozenset()


def references(documents: Documents, name: str) -> int:
    """How many rules name the list."""
    return sum(name in names_in(rule.expression) for ruleset in documents.rulesets.values() for rule in ruleset.rules)


def shown(found: List, referencing: int) -> dict[str, Any]:
    """As the API answers it."""
    return {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "kind": found.kind,
        "num_items": found.num_items,
        "num_referencing_filters": referencing,
        "created_on": found.created_on,
        "modified_on": found.modified_on,
    }


def shown_item(list_id: str, item: Item) -> dict[str, Any]:
    answer = {
        "id": item.id(list_id),
        "ip": item.ip,
        "created_on": timestamp(item.created),
        "modified_on": timestamp(item.modified),
    }
    return answer if item.comment is None else answer | {"comment": item.comment}


def shown_operation(operation: Operation) -> dict[str, Any]:
    answer = {"id": operation.id, "status": operation.status, "completed": operation.completed, "error": operation.error}
    return {name: value for name, value in answer.items() if value is not None}


def page(items: Items, *, cursor: str | None, per_page: int, search: str | None) -> tuple[tuple[Item, ...], str | None]:
    """Items in the order of their addresses, and the cursor of those that follow. A search finds addresses that begin with its text."""
    found: Sequence[Item] = items.items
    if search:
        found = [item for item in found if item.ip.startswith(search.strip().lower())]
    at = 0
    if cursor:
        try:
            last = address_order(base64.urlsafe_b64decode(cursor.encode("ascii")).decode("ascii"))
        except ValueError:
            raise bad_request("this is no cursor of this listing", parameter="cursor") from None
        at = bisect_right(found, last, key=lambda item: address_order(item.ip))
    taken = tuple(found[at : at + per_page])
    more = at + len(taken) < len(found)
    return taken, base64.urlsafe_b64encode(taken[-1].ip.encode()).decode() if more else None


# -- lists -------------------------------------------------------------------------------------------------------------


def create(documents: Documents, body: ListBody) -> Change:
    if (documents.tenant.id == OPERATOR) != body.name.startswith(OPERATORS_NAMES) or (
        "." in body.name and not body.name.startswith(OPERATORS_NAMES)
    ):
        raise bad_request(f"names of the operator's lists, and no others, begin with `{OPERATORS_NAMES}`", pointer="/name")
    if any(other.name == body.name for other in documents.lists.values()):
        raise bad_request("another list has this name", pointer="/name")
    if len(documents.lists) >= documents.tenant.quotas.lists:
        raise over_quota("lists", documents.tenant.quotas.lists)
    time = now()
    made = List(new_id(), body.kind, body.name, body.description, time, time)
    return Change(documents.with_list(made, Items()), "rules.lists.create", made.id, None, time, list=made)


def update(documents: Documents, list_id: str, body: ListUpdateBody) -> Change:
    before = find(documents, list_id)
    changed = replace(before, description=body.description, modified_on=now())
    return _written(documents.with_list(changed), "rules.lists.update", before, changed)


def delete(documents: Documents, list_id: str) -> Change:
    before = find(documents, list_id)
    if used := references(documents, before.name):
        message = f"the list is in use: {used} rule{'s name' if used > 1 else ' names'} `${before.name}`"
        raise ApiError(400, Problem(Code.LIST_IN_USE, message))
    lists = {key: value for key, value in documents.lists.items() if key != list_id}
    items = {key: value for key, value in documents.items.items() if key != list_id}
    left = replace(documents, lists=lists, items=items)
    return Change(left, "rules.lists.delete", list_id, before.modified_on, None, list=before)


# -- items -------------------------------------------------------------------------------------------------------------


def add_items(documents: Documents, list_id: str, bodies: Sequence[ItemBody]) -> Change:
    present = documents.items.get(list_id, Items()).items
    new = _new(bodies, {item.ip for item in present}, microseconds())
    return _with_items(documents, list_id, (*present, *new), "rules.lists.items.create")


def replace_items(documents: Documents, list_id: str, bodies: Sequence[ItemBody]) -> Change:
    present = {item.ip: item for item in documents.items.get(list_id, Items()).items}
    items = []
    for item in _new(bodies, set(), microseconds()):
        before = present.get(item.ip)
        if before is not None:
            item = before if before.comment == item.comment else item._replace(created=before.created)  # noqa: PLW2901
        items.append(item)
    return _with_items(documents, list_id, items, "rules.lists.items.update")


def delete_items(documents: Documents, list_id: str, wanted: Sequence[ItemReference]) -> Change:
    find(documents, list_id)
    left = {item.id(list_id): item for item in documents.items.get(list_id, Items()).items}
    for at, reference in enumerate(wanted):
        if left.pop(reference.id, None) is None:
            raise ApiError(400, Problem(Code.LIST_ITEM, "the list has no item of this id", f"/items/{at}/id"))
    return _with_items(documents, list_id, left.values(), "rules.lists.items.delete")


def _with_items(documents: Documents, list_id: str, items: Iterable[Item], action: str) -> Change:
    before = find(documents, list_id)
    held = tuple(sorted(items, key=lambda item: address_order(item.ip)))
    total = len(held) + sum(other.num_items for other in documents.lists.values() if other.id != list_id)
    if len(held) > before.num_items and total > documents.tenant.quotas.list_items:
        raise over_quota("items in its lists", documents.tenant.quotas.list_items)
    time = now()
    changed = replace(before, num_items=len(held), modified_on=time)
    written = _written(documents.with_list(changed, Items(held)), action, before, changed)
    return replace(written, operation=Operation(operation_id(), "completed", time))


def _written(documents: Documents, action: str, before: List, after: List) -> Change:
    return Change(documents, action, after.id, before.modified_on, after.modified_on, list=after)


def _new(bodies: Sequence[ItemBody], taken: set[str], time: int) -> list[Item]:
    """Refuses bad addresses and duplicates, all at once."""
    items, problems = [], []
    for at, body in enumerate(bodies):
        try:
            ip = canonical(body.ip)
        except ValueError as error:
            problems.append(Problem(Code.LIST_ITEM, f"item {at}: {error}", f"/{at}/ip"))
            continue
        if ip in taken:
            problems.append(Problem(Code.LIST_ITEM, f"item {at}: {ip} is in the list already", f"/{at}/ip"))
        taken.add(ip)
        items.append(Item(ip, time, time, body.comment))
    if problems:
        raise ApiError(400, *problems[:100])
    return items


@lru_cache(100_000)
def canonical(text: str) -> str:
    """An address or CIDR as it is stored. Raises ValueError, which says what is wrong."""
    try:
        if "%" in text or not text.isascii():
            raise ValueError
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 or IPv6 address or CIDR") from None
    if "/" in text and ipaddress.ip_address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"{text!r} has bits behind its prefix; the network is {network}")
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


@lru_cache(100_000)
def address_order(ip: str) -> tuple[int, int, int]:
    """Sorts addresses: IPv4 first, then by number. Raises ValueError."""
    network = ipaddress.ip_network(ip)
    return network.version, int(network.network_address), network.prefixlen
