"""The official Python SDK, as it comes, against a node that is served: every call on rulesets and lists, and what a rule says is seen
in what becomes of real packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import cloudflare
import pytest
from api_lab import ACME, ServedNode
from cloudflare import Cloudflare
from cloudflare.types.rulesets import RulesetGetResponse
from pydantic import BaseModel
from rule_lab import RECEIVER, RECEIVER6, Wire

from api import tenants
from api.policy_text import ProtectText

pytestmark = pytest.mark.kernel

ACCOUNT = "acme"


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


@pytest.fixture(scope="module")
def node(wire: Wire) -> Iterator[ServedNode]:
    with ServedNode(wire) as served:
        yield served


@pytest.fixture(scope="module")
def clients(node: ServedNode) -> tuple[Cloudflare, Cloudflare]:
    """A tenant's and the operator's."""
    return node.client(ACCOUNT), node.client("-")


@pytest.fixture
def cf(clients: tuple[Cloudflare, Cloudflare]) -> Iterator[Cloudflare]:
    """The tenant's; what a test leaves behind is deleted."""
    tenant, operator = clients
    yield tenant
    for kind in ("root", "custom"):
        for each in list(tenant.rulesets.list(account_id=ACCOUNT)):
            if each.kind == kind:
                tenant.rulesets.delete(each.id, account_id=ACCOUNT)
    for found in tenant.rules.lists.list(account_id=ACCOUNT):
        tenant.rules.lists.delete(found.id, account_id=ACCOUNT)
    for each in list(operator.rulesets.list(account_id="-")):
        operator.rulesets.delete(each.id, account_id="-")


@pytest.fixture
def operator(clients: tuple[Cloudflare, Cloudflare], cf: Cloudflare) -> Cloudflare:
    return clients[1]


def begins(letter: str) -> str:
    return f'udp.dstport == 4000 and starts_with(udp.payload, "{letter}")'


def plain(*models: BaseModel) -> list[dict[str, Any]]:
    """The SDK has a class of its own for the answer of each call."""
    return [model.model_dump() for model in models]


def block(letter: str, **more: Any) -> dict[str, Any]:
    return {"action": "block", "expression": begins(letter), **more}


def passing(wire: Wire) -> str:
    """The letters with which packets still arrive, by both versions of IP."""
    letters = [b"a", b"b", b"c", b"d"]
    found = wire.arrived(*letters)
    assert found == wire.arrived(*letters, version=6)
    return b"".join(found).decode()


def written(answer: object) -> RulesetGetResponse:
    """What a write of a ruleset answered. The SDK says of it that it is a ruleset or anything, and so may leave it the JSON that it is."""
    found = answer if isinstance(answer, RulesetGetResponse) else RulesetGetResponse.model_validate(answer, from_attributes=True)
    assert isinstance(found, RulesetGetResponse)
    return found


def error(call: Callable[[], object], kind: type[cloudflare.APIStatusError] = cloudflare.BadRequestError) -> dict[str, Any]:
    """The first error of a call that fails."""
    with pytest.raises(kind) as found:
        call()
    assert found.value.response.json()["success"] is False
    return dict(found.value.body["errors"][0])  # type: ignore[call-overload, index]


# -- rulesets ----------------------------------------------------------------------------------------------------------


def test_a_ruleset_is_created_read_listed_updated_and_deleted(cf: Cloudflare, wire: Wire) -> None:
    made = written(
        cf.rulesets.create(
            account_id=ACCOUNT, name="mine", kind="root", phase="magic_transit", description="d", rules=[block("a", description="no a")]
        )
    )
    assert (made.name, made.kind, made.phase, made.version, made.description) == ("mine", "root", "magic_transit", "1", "d")
    assert type(made.rules[0]).__name__ == "RuleBlockRule"
    assert isinstance(made.last_updated, datetime)
    assert isinstance(made.rules[0].last_updated, datetime)
    assert passing(wire) == "bcd"
    assert plain(cf.rulesets.get(made.id, account_id=ACCOUNT)) == plain(made)
    (listed,) = cf.rulesets.list(account_id=ACCOUNT)
    assert (listed.id, listed.version, listed.last_updated) == (made.id, "1", made.last_updated)
    updated = written(cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[block("b"), block("c")]))
    assert updated.version == "2"
    assert passing(wire) == "ad"
    assert cf.rulesets.delete(made.id, account_id=ACCOUNT) is None
    assert passing(wire) == "abcd"
    assert error(lambda: cf.rulesets.get(made.id, account_id=ACCOUNT), cloudflare.NotFoundError)["message"] == "ruleset not found"


def test_lists_of_rulesets_go_on_by_cursors(cf: Cloudflare) -> None:
    names = {f"set {number}" for number in range(5)}
    for name in names:
        cf.rulesets.create(account_id=ACCOUNT, name=name, kind="custom", phase="magic_transit", rules=[])
    page = cf.rulesets.list(account_id=ACCOUNT, per_page=2)
    assert len(page.result) == 2
    assert {each.name for each in page} == names


def test_every_change_is_a_version(cf: Cloudflare, wire: Wire) -> None:
    made = written(cf.rulesets.create(account_id=ACCOUNT, name="mine", kind="root", phase="magic_transit", rules=[block("a")]))
    cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[block("b")])
    cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[block("c")])
    versions = list(cf.rulesets.versions.list(made.id, account_id=ACCOUNT))
    assert [each.version for each in versions] == ["1", "2", "3"]
    first = cf.rulesets.versions.get("1", ruleset_id=made.id, account_id=ACCOUNT)
    assert plain(*first.rules) == plain(*made.rules)
    cf.rulesets.versions.delete("2", ruleset_id=made.id, account_id=ACCOUNT)
    assert [each.version for each in cf.rulesets.versions.list(made.id, account_id=ACCOUNT)] == ["1", "3"]
    with pytest.raises(cloudflare.NotFoundError):
        cf.rulesets.versions.get("2", ruleset_id=made.id, account_id=ACCOUNT)
    assert "latest" in error(lambda: cf.rulesets.versions.delete("3", ruleset_id=made.id, account_id=ACCOUNT))["message"]
    back = [rule.model_dump(mode="json", exclude_none=True) for rule in first.rules]
    assert written(cf.rulesets.update(made.id, account_id=ACCOUNT, rules=back)).version == "4"  # type: ignore[arg-type]
    assert passing(wire) == "bcd"


def test_rules_are_added_edited_moved_and_deleted(cf: Cloudflare, wire: Wire) -> None:
    skip = {"action": "skip", "action_parameters": {"ruleset": "current"}, "expression": begins("a")}
    made = written(cf.rulesets.create(account_id=ACCOUNT, name="mine", kind="root", phase="magic_transit", rules=[block("a"), block("b")]))
    a, b = (rule.id for rule in made.rules)
    added = written(cf.rulesets.rules.create(made.id, account_id=ACCOUNT, **skip, position={"after": a}))
    assert [rule.action for rule in added.rules] == ["block", "skip", "block"]
    passed = added.rules[1].id
    assert passing(wire) == "cd"
    moved = written(cf.rulesets.rules.edit(passed, ruleset_id=made.id, account_id=ACCOUNT, position={"before": ""}))
    assert [rule.id for rule in moved.rules] == [passed, a, b]
    assert passing(wire) == "acd"
    edited = written(cf.rulesets.rules.edit(b, ruleset_id=made.id, account_id=ACCOUNT, **block("c")))
    assert (edited.rules[2].id, edited.rules[2].version, edited.rules[2].expression) == (b, "2", begins("c"))
    assert passing(wire) == "abd"
    off = written(cf.rulesets.rules.edit(b, ruleset_id=made.id, account_id=ACCOUNT, enabled=False, position={"index": 1}))
    assert [rule.id for rule in off.rules] == [b, passed, a]
    assert passing(wire) == "abcd"
    cf.rulesets.rules.delete(passed, ruleset_id=made.id, account_id=ACCOUNT)
    deleted = cf.rulesets.get(made.id, account_id=ACCOUNT)
    assert [rule.id for rule in deleted.rules] == [b, a]
    assert deleted.version == "6"
    assert passing(wire) == "bcd"


def test_an_entry_point_is_put_and_read_by_its_phase(cf: Cloudflare, wire: Wire) -> None:
    with pytest.raises(cloudflare.NotFoundError):
        cf.rulesets.phases.get("magic_transit", account_id=ACCOUNT)
    first = written(cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[block("a", ref="one")]))
    assert (first.kind, first.version) == ("root", "1")
    second = written(cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, description="d", rules=[block("b", ref="one")]))
    assert (second.id, second.version, second.rules[0].id) == (first.id, "2", first.rules[0].id)
    assert plain(cf.rulesets.phases.get("magic_transit", account_id=ACCOUNT)) == plain(second)
    versions = cf.rulesets.phases.versions.list("magic_transit", account_id=ACCOUNT)
    assert [each.version for each in versions] == ["1", "2"]
    old = cf.rulesets.phases.versions.get("1", ruleset_phase="magic_transit", account_id=ACCOUNT)
    assert plain(*old.rules) == plain(*first.rules)
    assert passing(wire) == "acd"
    named = error(lambda: cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, name="x", rules=[]))
    assert named["source"]["pointer"] == "/name"
    again = error(lambda: cf.rulesets.create(account_id=ACCOUNT, name="x", kind="root", phase="magic_transit", rules=[]))
    assert again["code"] == 20217


def test_a_dry_run_checks_and_changes_nothing(cf: Cloudflare, wire: Wire) -> None:
    made = written(cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[block("a")]))
    rule = made.rules[0].id
    assert cf.rulesets.create(account_id=ACCOUNT, name="x", kind="custom", phase="magic_transit", rules=[block("b")], dry_run=True) is None
    assert cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[block("b")], dry_run=True) is None
    assert cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[block("b")], dry_run=True) is None
    assert cf.rulesets.rules.create(made.id, account_id=ACCOUNT, **block("b"), dry_run=True) is None
    assert cf.rulesets.rules.edit(rule, ruleset_id=made.id, account_id=ACCOUNT, **block("b"), dry_run=True) is None
    assert cf.rulesets.rules.delete(rule, ruleset_id=made.id, account_id=ACCOUNT, dry_run=True) is None
    assert cf.rulesets.delete(made.id, account_id=ACCOUNT, dry_run=True) is None
    wrong = {"action": "block", "expression": "udp.dstprot == 1"}
    assert error(lambda: cf.rulesets.rules.create(made.id, account_id=ACCOUNT, **wrong, dry_run=True))["code"] == 20127
    sloppy = error(lambda: cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[], extra_query={"dry_run": "yes"}))
    assert sloppy["source"]["parameter"] == "dry_run"
    (listed,) = cf.rulesets.list(account_id=ACCOUNT)
    assert listed.version == "1"
    assert passing(wire) == "bcd"


def test_a_wrong_rule_gets_the_languages_own_diagnostic(cf: Cloudflare, wire: Wire) -> None:
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[block("a")])
    wrong = [block("b"), {"action": "block", "expression": "udp.dstprot == 53"}]
    found = error(lambda: cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=wrong))
    assert found["source"]["pointer"] == "/rules/1/expression"
    diagnostic = found["diagnostic"]
    assert (diagnostic["start"], diagnostic["end"]) == (0, 11)
    assert "udp.dstport" in diagnostic["help"]
    assert passing(wire) == "bcd"
    unknown = error(lambda: cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[{**block("b"), "colour": "red"}]))
    assert (unknown["source"]["pointer"], "colour" in unknown["message"]) == ("/rules/0/colour", True)


def test_if_match_names_the_version_that_is_written_over(cf: Cloudflare) -> None:
    made = written(cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[block("a")]))
    answered = cf.rulesets.with_raw_response.get(made.id, account_id=ACCOUNT)
    tag = answered.headers["etag"]
    cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[], extra_headers={"If-Match": tag})
    with pytest.raises(cloudflare.APIStatusError) as found:
        cf.rulesets.update(made.id, account_id=ACCOUNT, rules=[], extra_headers={"If-Match": tag})
    assert found.value.status_code == 412


def test_phases_are_evaluated_in_their_order_and_a_skip_ends_its_own_alone(cf: Cloudflare, wire: Wire) -> None:
    skip = {"action": "skip", "action_parameters": {"ruleset": "current"}, "expression": begins("a")}
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[skip, block("a")])
    assert passing(wire) == "abcd"
    cf.rulesets.phases.update("magic_transit_managed", account_id=ACCOUNT, rules=[block("a")])
    assert passing(wire) == "bcd"
    cf.rulesets.phases.update("magic_transit_ids_managed", account_id=ACCOUNT, rules=[block("b")])
    assert passing(wire) == "bcd"
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[{"action": "log", "expression": begins("d")}, block("c")])
    assert passing(wire) == "bd"


def test_managed_rulesets_are_executed_and_overridden(cf: Cloudflare, operator: Cloudflare, wire: Wire) -> None:
    managed = written(operator.rulesets.create(
        account_id="-", name="known bad", kind="managed", phase="magic_transit_managed",
        rules=[{**block("a", ref="a"), "categories": ["letters"]}, {**block("b", ref="b"), "categories": ["letters"]}],
    ))  # fmt: skip
    assert plain(cf.rulesets.get(managed.id, account_id=ACCOUNT)) == plain(managed)
    assert [each.version for each in cf.rulesets.versions.list(managed.id, account_id=ACCOUNT)] == ["1"]

    def execute(**overrides: Any) -> Any:
        parameters = {"id": managed.id, "overrides": overrides}
        rule = {"action": "execute", "expression": "udp.dstport == 4000", "action_parameters": parameters}
        return cf.rulesets.phases.update("magic_transit_managed", account_id=ACCOUNT, rules=[rule])  # type: ignore[list-item]

    assert type(written(execute()).rules[0]).__name__ == "RuleExecuteRule"
    assert passing(wire) == "cd"
    execute(rules=[{"id": managed.rules[0].id, "enabled": False}])
    assert passing(wire) == "acd"
    execute(categories=[{"category": "letters", "action": "log"}], rules=[{"id": "b", "action": "block"}])
    assert passing(wire) == "acd"
    operator.rulesets.update(managed.id, account_id="-", rules=[block("c", ref="b"), block("d", ref="d")])
    assert passing(wire) == "ab"
    assert ACCOUNT in error(lambda: operator.rulesets.delete(managed.id, account_id="-"))["message"]
    assert "operator" in error(lambda: cf.rulesets.delete(managed.id, account_id=ACCOUNT))["message"]
    cf.rulesets.phases.update("magic_transit_managed", account_id=ACCOUNT, rules=[])
    assert passing(wire) == "abcd"


def test_a_ruleset_of_ones_own_is_executed(cf: Cloudflare, wire: Wire) -> None:
    custom = written(cf.rulesets.create(account_id=ACCOUNT, name="c", kind="custom", phase="magic_transit", rules=[block("a")]))
    assert passing(wire) == "abcd"
    rule = {"action": "execute", "expression": "ip.version == 4", "action_parameters": {"id": custom.id}}
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[rule])  # type: ignore[list-item]
    assert wire.arrived(b"a", b"b") == [b"b"]
    assert wire.arrived(b"a", b"b", version=6) == [b"a", b"b"]
    assert "executed" in error(lambda: cf.rulesets.delete(custom.id, account_id=ACCOUNT))["message"]


# -- lists -------------------------------------------------------------------------------------------------------------


def arriving(wire: Wire) -> tuple[bool, bool]:
    """Whether packets of the sender arrive, by IPv4 and by IPv6."""
    return bool(wire.arrived(b"x")), bool(wire.arrived(b"x", version=6))


def test_a_list_is_created_read_listed_updated_and_deleted(cf: Cloudflare) -> None:
    made = cf.rules.lists.create(account_id=ACCOUNT, name="senders", kind="ip", description="d")
    assert made is not None
    assert (made.name, made.kind, made.num_items, made.num_referencing_filters, made.description) == ("senders", "ip", 0, 0, "d")
    datetime.fromisoformat(made.created_on)
    assert cf.rules.lists.get(made.id, account_id=ACCOUNT).model_dump() == made.model_dump()  # type: ignore[union-attr]
    (listed,) = cf.rules.lists.list(account_id=ACCOUNT)
    assert listed.model_dump() == made.model_dump()
    updated = cf.rules.lists.update(made.id, account_id=ACCOUNT, description="e")
    assert updated is not None
    assert (updated.description, updated.name) == ("e", "senders")
    assert cf.rules.lists.delete(made.id, account_id=ACCOUNT).id == made.id  # type: ignore[union-attr]
    with pytest.raises(cloudflare.NotFoundError):
        cf.rules.lists.get(made.id, account_id=ACCOUNT)


def test_what_a_list_holds_decides_about_packets(cf: Cloudflare, wire: Wire) -> None:
    made = cf.rules.lists.create(account_id=ACCOUNT, name="senders", kind="ip")
    assert made is not None
    rule = {"action": "block", "expression": "ip.src in $senders and udp.dstport == 4000"}
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[rule])  # type: ignore[list-item]
    assert arriving(wire) == (True, True)
    items = cf.rules.lists.items
    done = items.create(made.id, account_id=ACCOUNT, body=[{"ip": "10.9.0.0/24", "comment": "all"}, {"ip": "192.0.2.1"}])
    assert done is not None
    operation = cf.rules.lists.bulk_operations.get(done.operation_id, account_id=ACCOUNT)
    assert operation is not None
    assert (operation.id, operation.status) == (done.operation_id, "completed")
    datetime.fromisoformat(operation.completed)  # type: ignore[union-attr]
    assert arriving(wire) == (False, True)
    found = {item.ip: item for item in items.list(made.id, account_id=ACCOUNT)}  # type: ignore[union-attr]
    assert set(found) == {"10.9.0.0/24", "192.0.2.1"}
    assert items.get(found["10.9.0.0/24"].id, account_id=ACCOUNT, list_id=made.id).comment == "all"  # type: ignore[union-attr]
    items.update(made.id, account_id=ACCOUNT, body=[{"ip": "fd00:9::/64"}])
    assert arriving(wire) == (True, False)
    (left,) = items.list(made.id, account_id=ACCOUNT)
    items.delete(made.id, account_id=ACCOUNT, items=[{"id": left.id}])
    assert arriving(wire) == (True, True)
    assert cf.rules.lists.get(made.id, account_id=ACCOUNT).num_referencing_filters == 1  # type: ignore[union-attr]
    assert error(lambda: cf.rules.lists.delete(made.id, account_id=ACCOUNT))["code"] == 10031


def test_items_are_paged_and_searched(cf: Cloudflare) -> None:
    made = cf.rules.lists.create(account_id=ACCOUNT, name="many", kind="ip")
    assert made is not None
    addresses = {f"10.{high}.0.{low}" for high in range(5) for low in range(50)}
    cf.rules.lists.items.create(made.id, account_id=ACCOUNT, body=[{"ip": ip} for ip in addresses])
    page = cf.rules.lists.items.list(made.id, account_id=ACCOUNT, per_page=100)
    assert len(page.result) == 100
    assert [item.ip for item in page] == sorted(addresses, key=lambda ip: tuple(map(int, ip.split("."))))  # type: ignore[union-attr]
    found = cf.rules.lists.items.list(made.id, account_id=ACCOUNT, search="10.3.", per_page=30)
    assert {item.ip for item in found} == {ip for ip in addresses if ip.startswith("10.3.")}  # type: ignore[union-attr]


def test_bad_items_are_refused_with_their_place(cf: Cloudflare) -> None:
    made = cf.rules.lists.create(account_id=ACCOUNT, name="strict", kind="ip")
    assert made is not None
    items = cf.rules.lists.items
    bad = error(lambda: items.create(made.id, account_id=ACCOUNT, body=[{"ip": "10.0.0.1"}, {"ip": "10.0.0.300"}]))
    assert (bad["code"], bad["source"]["pointer"]) == (10035, "/1/ip")
    twice = error(lambda: items.create(made.id, account_id=ACCOUNT, body=[{"ip": "10.0.0.1"}, {"ip": "10.0.0.1/32"}]))
    assert (twice["code"], twice["source"]["pointer"]) == (10035, "/1/ip")
    assert error(lambda: items.create(made.id, account_id=ACCOUNT, body=[{"asn": 1}]))["code"] == 10026
    assert list(items.list(made.id, account_id=ACCOUNT)) == []


def test_an_account_sees_nothing_of_another(node: ServedNode, cf: Cloudflare) -> None:
    mine = cf.rules.lists.create(account_id=ACCOUNT, name="mine", kind="ip")
    made = written(
        cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[{"action": "block", "expression": "ip.src in $mine"}])
    )
    assert mine is not None
    node.tenant("other", ProtectText(("192.0.2.0/24",)))
    stranger = node.client("other")
    assert list(stranger.rulesets.list(account_id="other")) == []
    for call in (
        lambda: stranger.rulesets.get(made.id, account_id="other"),
        lambda: stranger.rulesets.get(made.id, account_id=ACCOUNT),
        lambda: stranger.rulesets.rules.delete(made.rules[0].id, ruleset_id=made.id, account_id="other"),
        lambda: stranger.rules.lists.get(mine.id, account_id="other"),
        lambda: stranger.rules.lists.items.list(mine.id, account_id="other"),
    ):
        error(call, cloudflare.NotFoundError)
    rule = [{"action": "block", "expression": "ip.src in $mine"}]
    assert "mine" in error(lambda: stranger.rulesets.phases.update("magic_transit", account_id="other", rules=rule))["message"]  # type: ignore[arg-type]


def test_no_rule_reaches_what_another_account_protects(node: ServedNode, cf: Cloudflare, wire: Wire) -> None:
    """Two accounts, one with the receiver's IPv4 address and one with its IPv6 address; the first tries to block everything."""
    tenants.change(node.store, ACCOUNT, "test", protect=ProtectText((f"{RECEIVER}/32",)))
    try:
        with pytest.raises(tenants.TenantError, match=ACCOUNT):
            tenants.create(node.store, "six", ProtectText(("10.9.0.0/24", f"{RECEIVER6}/128")), "test")
        node.tenant("six", ProtectText((f"{RECEIVER6}/128",)))
        neighbour = node.client("six")
        neighbour.rulesets.phases.update("magic_transit", account_id="six", rules=[block("d")])
        tries = ("true", "ip.version == 6 or ip.version == 4", "ipv6.dst == fd00:9::2 or ip.dst == 10.9.0.2", "not ip.src == 192.0.2.1")
        for expression in tries:
            cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[{"action": "block", "expression": expression}])
            assert wire.arrived(b"a", b"d") == [], expression
            assert wire.arrived(b"a", b"d", version=6) == [b"a"], expression
    finally:
        if "six" in {each.id for each in tenants.tenants(node.store)}:
            tenants.delete(node.store, "six", "test")
        cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[])
        tenants.change(node.store, ACCOUNT, "test", protect=ACME)
