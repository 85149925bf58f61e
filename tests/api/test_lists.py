"""Lists: items in order, duplicates and bad addresses refused at their place, paging, search, and lists in use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from api_account import operator, refused, rule, ruleset, tenant
from pydantic import ValidationError

from api import lists, rulesets
from api.bodies import ItemBody, ItemReference, ListBody, ListUpdateBody
from api.changes import Change, Documents
from api.documents import Items


def items(*addresses: str, comment: str | None = None) -> list[ItemBody]:
    return [ItemBody(ip=address, comment=comment) for address in addresses]


def addresses(change: Change) -> list[str]:
    return [item.ip for item in change.documents.items[change.object].items]


@pytest.fixture
def made() -> tuple[Documents, str]:
    change = lists.create(tenant(), ListBody(name="bad_hosts", kind="ip", description="d"))
    return change.documents, change.object


def test_a_new_list_is_empty(made: tuple[Documents, str]) -> None:
    documents, key = made
    shown = lists.shown(documents.lists[key], 0)
    assert (shown["name"], shown["kind"], shown["num_items"], shown["description"]) == ("bad_hosts", "ip", 0, "d")
    assert refused(lambda: lists.create(documents, ListBody(name="bad_hosts", kind="ip")))[::3] == (400, "/name")
    assert lists.update(documents, key, ListUpdateBody(description="e")).documents.lists[key].description == "e"


@pytest.mark.parametrize("name", ["", "Upper", "has-dash", "a.b.c", "x" * 51, "$x"])
def test_what_a_list_cannot_be_called(name: str) -> None:
    with pytest.raises(ValidationError):
        ListBody(name=name, kind="ip")


def test_the_operators_lists_have_names_of_their_own() -> None:
    assert refused(lambda: lists.create(tenant(), ListBody(name="managed.bots", kind="ip")))[3] == "/name"
    assert refused(lambda: lists.create(tenant(), ListBody(name="other.bots", kind="ip")))[3] == "/name"
    assert refused(lambda: lists.create(operator(), ListBody(name="bots", kind="ip")))[3] == "/name"
    assert lists.create(operator(), ListBody(name="managed.bots", kind="ip")).list is not None


def test_items_are_added_replaced_and_deleted_in_the_order_of_addresses(made: tuple[Documents, str]) -> None:
    documents, key = made
    added = lists.add_items(documents, key, items("2001:db8::/64", "10.0.0.9", "10.0.0.0/8", "9.0.0.1/32"))
    assert addresses(added) == ["9.0.0.1", "10.0.0.0/8", "10.0.0.9", "2001:db8::/64"]
    assert added.operation is not None
    assert lists.shown_operation(added.operation)["status"] == "completed"
    assert added.documents.lists[key].num_items == 4
    before = {item.ip: item for item in added.documents.items[key].items}
    replaced = lists.replace_items(added.documents, key, [*items("10.0.0.9"), *items("9.0.0.1", comment="why"), *items("1.1.1.1")])
    assert addresses(replaced) == ["1.1.1.1", "9.0.0.1", "10.0.0.9"]
    after = {item.ip: item for item in replaced.documents.items[key].items}
    assert after["10.0.0.9"] is before["10.0.0.9"]
    assert (after["9.0.0.1"].created, after["9.0.0.1"].comment) == (before["9.0.0.1"].created, "why")
    assert after["9.0.0.1"].modified > before["9.0.0.1"].modified
    deleted = lists.delete_items(replaced.documents, key, [ItemReference(id=after["1.1.1.1"].id(key))])
    assert addresses(deleted) == ["9.0.0.1", "10.0.0.9"]
    assert addresses(lists.replace_items(deleted.documents, key, [])) == []


@pytest.mark.parametrize(
    "address",
    ["", "nonsense", "10.0.0.256", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::1/64", "fe80::1%eth0", "10.0.0.0-10.0.0.9", "10.0.0.٣"],
)
def test_a_bad_address_is_refused_at_its_place(made: tuple[Documents, str], address: str) -> None:
    documents, key = made
    status, code, message, pointer = refused(lambda: lists.add_items(documents, key, items("10.0.0.1", address)))
    assert (status, code, pointer) == (400, 10035, "/1/ip")
    assert repr(address) in message


@pytest.mark.parametrize("again", [("10.0.0.1",), ("10.0.0.1/32",), ("10.0.0.2", "10.0.0.2"), ("2001:DB8::1", "2001:db8:0::1")])
def test_a_duplicate_is_refused(made: tuple[Documents, str], again: tuple[str, ...]) -> None:
    documents, key = made
    documents = lists.add_items(documents, key, items("10.0.0.1")).documents
    assert refused(lambda: lists.add_items(documents, key, items(*again)))[:2] == (400, 10035)


def test_an_item_that_is_not_there_cannot_be_deleted(made: tuple[Documents, str]) -> None:
    documents, key = made
    assert refused(lambda: lists.delete_items(documents, key, [ItemReference(id="x")]))[1::2] == (10035, "/items/0/id")
    assert refused(lambda: lists.delete_items(documents, "0" * 32, [ItemReference(id="x")]))[0] in (400, 404)
    assert refused(lambda: lists.add_items(documents, "0" * 32, []))[0] == 404


def test_pages_go_through_all_items_and_go_on_where_one_was_deleted(made: tuple[Documents, str]) -> None:
    documents, key = made
    held = lists.add_items(documents, key, items(*(f"10.0.{high}.{low}" for high in range(4) for low in range(25)))).documents.items[key]
    seen, cursor = [], None
    while True:
        page, cursor = lists.page(held, cursor=cursor, per_page=30, search=None)
        seen += page
        if cursor is None:
            break
        held = Items(tuple(item for item in held.items if item is not page[-1]))
    assert len(seen) == 100
    assert len(set(seen)) == 100
    assert refused(lambda: lists.page(held, cursor="!", per_page=1, search=None))[::3] == (400, "cursor")
    assert refused(lambda: lists.page(held, cursor="eA==", per_page=1, search=None))[::3] == (400, "cursor")


def test_a_search_finds_what_begins_with_it(made: tuple[Documents, str]) -> None:
    documents, key = made
    held = lists.add_items(documents, key, items("10.1.0.1", "10.10.0.1", "110.1.0.1", "2001:db8::1")).documents.items[key]
    found = {text: [item.ip for item in lists.page(held, cursor=None, per_page=10, search=text)[0]] for text in ("10.1", "2001:DB8", "x")}
    assert found == {"10.1": ["10.1.0.1", "10.10.0.1"], "2001:DB8": ["2001:db8::1"], "x": []}


def test_a_list_in_use_cannot_be_deleted(made: tuple[Documents, str]) -> None:
    documents, key = made
    used = rulesets.create(documents, ruleset("magic_transit", rule("ip.src in $bad_hosts"), kind="custom")).documents
    status, code, message, _ = refused(lambda: lists.delete(used, key))
    assert (status, code) == (400, 10031)
    assert "$bad_hosts" in message
    assert lists.delete(documents, key).documents.lists == {}


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("ip.src in $a and not ip.dst in $b_2", {"a", "b_2"}),
        ("ip.src in $managed.bots", {"managed.bots"}),
        ('udp.payload contains "$a"', set()),
        (r'udp.payload contains "\"$a" or ip.src in $b', {"b"}),
        ('udp.payload matches r#"x"$a"#', set()),
        ('udp.payload contains "a" and ip.src in $c and udp.payload contains "b"', {"c"}),
    ],
)
def test_names_in_expressions(expression: str, names: set[str]) -> None:
    assert lists.names_in(expression) == names


def test_quotas_of_lists_and_items() -> None:
    small = tenant(lists=1, list_items=2)
    change = lists.create(small, ListBody(name="one", kind="ip"))
    assert refused(lambda: lists.create(change.documents, ListBody(name="two", kind="ip")))[1] == 20120
    full = lists.add_items(change.documents, change.object, items("1.1.1.1", "1.1.1.2")).documents
    assert refused(lambda: lists.add_items(full, change.object, items("1.1.1.3")))[1] == 20120
    fewer = replace(full, tenant=replace(full.tenant, quotas=replace(full.tenant.quotas, list_items=0)))
    assert addresses(lists.replace_items(fewer, change.object, items("1.1.1.9"))) == ["1.1.1.9"]
