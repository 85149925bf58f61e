"""A node: what is written is stored and enforced or neither, others' writes are followed, and the enforcer is kept as the store says.

The enforcer here notes what it is told; that the kernel does as it is told is for tests/api/enforcer and test_sdk.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from api_account import execute, refused, rule, ruleset
from api_server import Noted, Paper

from api import lists, rulesets, tenants
from api.bodies import EntryPointBody, ItemBody, ListBody, RulesetUpdateBody
from api.changes import Change, Documents
from api.documents import OPERATOR, Quotas, Ruleset, from_json, head_key, versions_key
from api.enforcer.client import EnforcedTenant, EnforcerUnavailable, Refused
from api.node import Author, Node
from api.policy_text import PolicyText, ProtectText
from api.store import Put, Store, StoreError, open_store

AUTHOR = Author("test", "192.0.2.1")
A, B, C = (f"udp.dstport == {port}" for port in (1, 2, 3))


class Enforcer(Paper):
    """Fails as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = 0
        self.refuses = ""
        """A rule with this expression."""
        self.breaks = False
        """Whether the next commit fails."""

    def check(self, text: PolicyText) -> None:
        super().check(text)
        wrong = [rule.name for rule in text.rules if rule.conditions[-1].expression == self.refuses]
        if wrong:
            raise Refused("the kernel refuses it", wrong[0])

    def prepare(self, text: PolicyText, revision: int) -> Noted:
        self.prepared += 1
        if self.breaks:
            self.check(text)
            return Breaking(self, text, revision)
        return super().prepare(text, revision)


class Breaking(Noted):
    def commit(self) -> None:
        assert isinstance(self.paper, Enforcer)
        self.paper.breaks = False
        raise EnforcerUnavailable("it was killed")


@dataclass
class Fleet:
    address: str
    opened: ExitStack
    enforcers: dict[str, Enforcer] = field(default_factory=dict)

    def start(self, name: str = "one", store: Store | None = None) -> Node:
        """A node, with the enforcer that it had before."""
        enforcer = self.enforcers.setdefault(name, Enforcer())
        chosen = store or self.opened.enter_context(open_store(self.address))
        return self.opened.enter_context(Node(chosen, enforcer, name, drift_seconds=0.1, keep_seconds=0.05))

    def enforced(self, name: str = "one", tenant: str = "acme") -> list[str]:
        """The expressions that the enforcer has."""
        text, _ = self.enforcers[name].texts.get(tenant, (PolicyText(tenant), 0))
        return [" & ".join(condition.expression for condition in rule.conditions) for rule in text.rules]

    def eventually(self, what: Callable[[], object], wanted: object) -> None:
        end = time.monotonic() + 10
        while what() != wanted and time.monotonic() < end:
            time.sleep(0.01)
        assert what() == wanted


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as opened:
        yield Fleet(f"sqlite://{tmp_path}/store.db", opened)


@pytest.fixture
def node(fleet: Fleet) -> Node:
    made = fleet.start()
    tenants.create(made.store, "acme", ProtectText(("203.0.113.0/24",)), "test")
    fleet.eventually(lambda: "acme" in fleet.enforcers["one"].texts, True)
    return made


def put(*rules: Any, phase: Any = "magic_transit") -> Callable[[Documents], Change]:
    return lambda documents: rulesets.put_entry_point(documents, phase, EntryPointBody(rules=list(rules)))


def write(node: Node, operate: Callable[[Documents], Change], tenant: str = "acme", *, dry_run: bool = False) -> Change:
    return node.write(tenant, operate, AUTHOR, dry_run=dry_run)


def test_what_is_written_is_stored_enforced_and_audited(fleet: Fleet, node: Node) -> None:
    head = node.store.get(head_key("acme"))
    change = write(node, put(rule(A)))
    assert fleet.enforced() == [A]
    assert node.documents("acme").rulesets[change.object] is change.ruleset
    assert node.version("acme", change.object, "1") == change.ruleset
    after = node.store.get(head_key("acme"))
    assert head is not None
    assert after is not None
    assert after.revision > head.revision
    records = [entry.value for entry in node.store.list("audit/acme/").entries]
    assert len(records) == 1
    assert b'"action":"rulesets.phases.update"' in records[0]
    assert b'"address":"192.0.2.1"' in records[0]
    assert node.events.after(0, "acme")[-1].details["version"] == "1"


def test_a_dry_run_is_checked_and_changes_nothing(fleet: Fleet, node: Node) -> None:
    revision = node.store.revision()
    write(node, put(rule(A)), dry_run=True)
    fleet.enforcers["one"].refuses = B
    assert refused(lambda: write(node, put(rule(A), rule(B)), dry_run=True))[::3] == (400, "/rules/1/expression")
    assert (node.store.revision(), fleet.enforced()) == (revision, [])


def test_what_the_kernel_refuses_is_not_stored(fleet: Fleet, node: Node) -> None:
    write(node, put(rule(A)))
    fleet.enforcers["one"].refuses = B
    revision = node.store.revision()
    assert refused(lambda: write(node, put(rule(A), rule(B))))[::3] == (400, "/rules/1/expression")
    assert (node.store.revision(), fleet.enforced()) == (revision, [A])


def test_what_could_not_be_enforced_is_taken_back_as_a_new_version(fleet: Fleet, node: Node) -> None:
    made = write(node, put(rule(A)))
    fleet.enforcers["one"].breaks = True
    status, _, message, _ = refused(lambda: write(node, put(rule(B))))
    assert status == 503
    assert "taken back" in message
    kept = [each.rules[0].expression for each in node.versions("acme", made.object)]
    assert kept == [A, B, A]
    fleet.eventually(fleet.enforced, [A])
    assert write(node, put(rule(C))).after == "4"
    assert fleet.enforced() == [C]


def test_a_list_that_could_not_be_enforced_has_a_failed_operation(fleet: Fleet, node: Node) -> None:
    made = write(node, lambda documents: lists.create(documents, ListBody(name="bad", kind="ip")))
    write(node, put(rule("ip.src in $bad")))
    fleet.enforcers["one"].breaks = True
    seen: list[str] = []

    def add(documents: Documents) -> Change:
        change = lists.add_items(documents, made.object, [ItemBody(ip="10.0.0.1")])
        assert change.operation is not None
        seen.append(change.operation.id)
        return change

    assert refused(lambda: write(node, add))[0] == 503
    operation = node.operation("acme", seen[-1])
    assert operation.status == "failed"
    assert "killed" in (operation.error or "")
    assert node.documents("acme").lists[made.object].num_items == 0


def test_what_the_store_does_not_take_is_abandoned(fleet: Fleet, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    write(node, put(rule(A)))

    def fails(_: object) -> int:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(node.store, "commit", fails)
        with pytest.raises(StoreError):
            write(node, put(rule(B)))
    assert fleet.enforced() == [A]
    write(node, put(rule(C)))
    assert fleet.enforced() == [C]


def test_what_changes_no_rule_is_not_built_again(fleet: Fleet, node: Node) -> None:
    made = write(node, put(rule(A)))
    before = fleet.enforcers["one"].prepared
    body = RulesetUpdateBody(description="other")
    assert write(node, lambda documents: rulesets.update(documents, made.object, body)).after == "2"
    write(node, lambda documents: lists.create(documents, ListBody(name="unused", kind="ip")))
    time.sleep(0.2)
    assert fleet.enforcers["one"].prepared == before


def test_the_oldest_versions_go_and_a_deleted_rulesets_all(fleet: Fleet) -> None:
    node = fleet.start()
    tenants.create(node.store, "acme", ProtectText(("203.0.113.0/24",)), "test", quotas=Quotas(versions=3))
    for _ in range(5):
        made = write(node, put(rule(A)))
    assert [each.version for each in node.versions("acme", made.object)] == ["3", "4", "5"]
    write(node, lambda documents: rulesets.delete(documents, made.object))
    assert node.store.list(versions_key("acme", made.object)).entries == ()
    assert fleet.enforced() == []


# -- several nodes -----------------------------------------------------------------------------------------------------


def test_nodes_enforce_what_any_accepted_and_say_how_far_they_are(fleet: Fleet, node: Node) -> None:
    other = fleet.start("two")
    write(node, put(rule(A)))
    fleet.eventually(lambda: fleet.enforced("two"), [A])
    write(other, put(rule(B)))
    fleet.eventually(fleet.enforced, [B])
    fleet.eventually(other.lagging, {})
    assert [each.name for each in node.nodes()] == ["one", "two"]
    fleet.enforcers["two"].away = True
    write(node, put(rule(C)))
    fleet.eventually(node.lagging, {"two": ("acme",)})
    fleet.enforcers["two"].away = False
    fleet.eventually(node.lagging, {})
    assert fleet.enforced("two") == [C]


def test_a_write_that_another_came_before_is_made_upon_it(fleet: Fleet, node: Node) -> None:
    made = write(node, put(rule(A)))
    other = fleet.start("two")
    calls = []

    def add(documents: Documents) -> Change:
        if not calls:
            write(other, lambda documents: rulesets.add_rule(documents, made.object, rule(B), None))
        calls.append(1)
        return rulesets.add_rule(documents, made.object, rule(C), None)

    assert write(node, add).after == "3"
    assert len(calls) == 2
    assert fleet.enforced() == [A, B, C]
    fleet.eventually(lambda: fleet.enforced("two"), [A, B, C])


def test_a_node_that_was_away_catches_up_when_it_starts(fleet: Fleet, node: Node) -> None:
    tenants.create(node.store, "gone", ProtectText(("192.0.2.0/24",)), "test")
    with open_store(fleet.address) as store, Node(store, fleet.enforcers.setdefault("two", Enforcer()), "two"):
        assert set(fleet.enforcers["two"].texts) == {"acme", "gone"}
    write(node, put(rule(A)))
    tenants.delete(node.store, "gone", "test")
    fleet.start("two")
    assert fleet.enforced("two") == [A]
    assert set(fleet.enforcers["two"].texts) == {"acme"}


def test_a_start_leaves_what_stands_already_and_what_no_api_has_put_there(fleet: Fleet, node: Node) -> None:
    write(node, put(rule(A)))
    node.close()
    enforcer = fleet.enforcers["one"]
    enforcer.texts["foreign"] = (PolicyText("foreign"), 0)
    standing = enforcer.status()
    enforcer.status = lambda: tuple(  # type: ignore[method-assign]
        EnforcedTenant(each.tenant, None if each.tenant == "foreign" else each.revision, 1, ()) for each in standing
    )
    before = enforcer.prepared
    fleet.start()
    assert enforcer.prepared == before
    assert "foreign" in enforcer.texts


def test_a_watch_is_resumed_past_compaction(fleet: Fleet, node: Node) -> None:
    other = fleet.start("two")
    with other._writing:  # it cannot follow meanwhile
        for _ in range(3):
            write(node, put(rule(A), rule(B)))
            time.sleep(0.1)
        tenants.create(node.store, "late", ProtectText(("192.0.2.0/24",)), "test")
        node.store.compact(node.store.revision())
    fleet.eventually(lambda: (fleet.enforced("two"), "late" in fleet.enforcers["two"].texts), ([A, B], True))
    write(node, put(rule(C)))
    fleet.eventually(lambda: fleet.enforced("two"), [C])


def test_a_tenant_that_is_deleted_is_taken_out_of_the_kernel_and_its_name_begins_anew(fleet: Fleet, node: Node) -> None:
    made = write(node, put(rule(A)))
    tenants.delete(node.store, "acme", "test")
    fleet.eventually(lambda: "acme" in fleet.enforcers["one"].texts, False)
    assert refused(lambda: node.documents("acme"))[0] == 404
    tenants.create(node.store, "acme", ProtectText(("203.0.113.0/24",)), "test")
    fleet.eventually(lambda: "acme" in fleet.enforcers["one"].texts, True)
    assert fleet.enforced() == []
    assert refused(lambda: node.version("acme", made.object, "1"))[0] == 404


def test_what_is_protected_is_followed(fleet: Fleet, node: Node) -> None:
    tenants.change(node.store, "acme", "test", protect=ProtectText(("198.51.100.0/24",)))
    fleet.eventually(lambda: fleet.enforcers["one"].texts["acme"][0].protect.prefixes, ("198.51.100.0/24",))


def test_drift_is_noticed_and_mended(fleet: Fleet, node: Node) -> None:
    write(node, put(rule(A)))
    last = node.events.last
    del fleet.enforcers["one"].texts["acme"]
    fleet.eventually(fleet.enforced, [A])
    fleet.enforcers["one"].drifted = ("acme",)
    fleet.eventually(lambda: [event.kind for event in node.events.after(last, "acme")].count("drift"), 2)
    assert node.mend() == ()


# -- managed rulesets --------------------------------------------------------------------------------------------------


def test_a_managed_ruleset_that_changes_is_enforced_for_those_who_execute_it(fleet: Fleet, node: Node) -> None:
    tenants.create(node.store, "other", ProtectText(("192.0.2.0/24",)), "test")
    fleet.eventually(lambda: "other" in fleet.enforcers["one"].texts, True)
    two = fleet.start("two")
    offer = ruleset("magic_transit_managed", rule(A), kind="managed")
    managed = write(node, lambda documents: rulesets.create(documents, offer), OPERATOR)
    write(two, put(execute(managed.object, "ip.proto == 17"), phase="magic_transit_managed"))
    fleet.eventually(fleet.enforced, [f"ip.proto == 17 & {A}"])
    before = {name: enforcer.prepared for name, enforcer in fleet.enforcers.items()}
    body = RulesetUpdateBody(rules=[rule(B)])
    write(node, lambda documents: rulesets.update(documents, managed.object, body), OPERATOR)
    assert fleet.enforced() == [f"ip.proto == 17 & {B}"]
    fleet.eventually(lambda: fleet.enforced("two"), [f"ip.proto == 17 & {B}"])
    fleet.eventually(node.lagging, {})
    assert {name: enforcer.prepared - before[name] for name, enforcer in fleet.enforcers.items()} == {"one": 1, "two": 1}
    assert write(node, put(rule(C)), "acme").after == "1"
    assert "acme" in refused(lambda: write(node, lambda documents: rulesets.delete(documents, managed.object), OPERATOR))[2]


def test_a_managed_ruleset_that_is_too_much_for_a_tenant_is_refused(fleet: Fleet) -> None:
    node = fleet.start()
    tenants.create(node.store, "acme", ProtectText(("203.0.113.0/24",)), "test", quotas=Quotas(complexity=100))
    managed = write(node, lambda documents: rulesets.create(documents, ruleset("magic_transit", rule(A), kind="managed")), OPERATOR)
    write(node, put(execute(managed.object)))
    more = RulesetUpdateBody(rules=[rule(A) for _ in range(10)])
    message = refused(lambda: write(node, lambda documents: rulesets.update(documents, managed.object, more), OPERATOR))[2]
    assert "acme" in message
    assert "complexity" in message
    assert len(fleet.enforced()) == 1


# -- tenants -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "protect",
    [
        ProtectText(("203.0.113.128/25",)),
        ProtectText(("203.0.0.0/16", "192.0.2.0/24")),
        ProtectText(("::ffff:0:0/96", "2001:db8::1/128")),
        ProtectText(interfaces=("eth1",)),
        ProtectText(marks=(7,)),
    ],
)
def test_no_two_tenants_protect_the_same(fleet: Fleet, protect: ProtectText) -> None:
    with open_store(fleet.address) as store:
        taken = ProtectText(("203.0.113.0/24", "2001:db8::/32"), ("eth1",), (7,))
        tenants.create(store, "acme", taken, "test")
        with pytest.raises(tenants.TenantError, match="acme"):
            tenants.create(store, "other", protect, "test")
        tenants.create(store, "third", ProtectText(("192.0.2.0/25",), ("eth2",), (8,)), "test")
        with pytest.raises(tenants.TenantError, match="acme"):
            tenants.change(store, "third", "test", protect=protect)
        assert [each.id for each in tenants.tenants(store)] == ["acme", "third"]


@pytest.mark.parametrize("name", ["", "-", "a/b", "ä", "x" * 33, "_x"])
def test_what_a_tenant_cannot_be_called(fleet: Fleet, name: str) -> None:
    with open_store(fleet.address) as store, pytest.raises(tenants.TenantError):
        tenants.create(store, name, ProtectText(("203.0.113.0/24",)), "test")


def test_what_a_deleted_tenant_had_is_gone(fleet: Fleet, node: Node) -> None:
    write(node, put(rule(A)))
    write(node, lambda documents: lists.create(documents, ListBody(name="l", kind="ip")))
    node.store.commit([Put("rulesets/acme-2/x", b"{}")])
    tenants.delete(node.store, "acme", "test")
    left = [entry.key for entry in node.store.list("").entries if "acme" in entry.key and not entry.key.startswith("audit/")]
    assert left == ["rulesets/acme-2/x"]


def test_documents_are_read_back_as_they_were_written(fleet: Fleet, node: Node) -> None:
    write(node, put(rule(A, description="é\u2028", categories=["x"], logging={"enabled": True})))
    (entry,) = node.store.list("rulesets/acme/").entries
    assert from_json(Ruleset, entry.value) in node.documents("acme").rulesets.values()
