"""Whatever somebody else does to a tenant's state in the kernel is noticed, and enforcing again mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from enforcer_lab import Lab, begins
from rule_lab import RECEIVER

from api.policy_text import ProtectText
from firewall.generation import TABLE
from firewall.netlink import Netlink
from firewall.pins import Pins

pytestmark = pytest.mark.kernel

OTHER = begins("a", "other", ProtectText(("192.0.2.0/24",)))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as made:
        made.client.enforce(begins("a"), 1)
        made.client.enforce(OTHER, 1)
        assert made.client.drift() == ()
        yield made


def mends(lab: Lab, *tenants: str) -> None:
    """Exactly these are said to have drifted; enforced again, nothing has, and packets meet the rules."""
    assert lab.client.drift() == tenants
    assert lab.client.drift() == tenants
    for text in (begins("a"), OTHER):
        if text.tenant in tenants:
            lab.client.enforce(text, 2)
    assert lab.client.drift() == ()
    assert lab.passes() == "bc"
    assert lab.left() == []


def chains(lab: Lab) -> list[str]:
    def listed() -> tuple[str, ...]:
        with Netlink() as netlink:
            return netlink.chains(TABLE)

    return [name for name in lab.wire.receiver.call(listed) if name.startswith("acme.r")]


def delete_rule(lab: Lab, chain: str, at: int = 0) -> None:
    def handles() -> list[int]:
        with Netlink() as netlink:
            return [rule.handle for rule in netlink.rules(TABLE, chain)]

    lab.nft(f"delete rule inet {TABLE} {chain} handle {lab.wire.receiver.call(handles)[at]}")


def test_nothing_of_our_own_is_drift(lab: Lab) -> None:
    lab.passes()
    lab.client.check(begins("b"))
    lab.client.prepare(begins("b"), 2).abandon()
    lab.client.enforce(begins("c", "third", ProtectText(("198.51.100.0/24",))), 1)
    lab.client.remove("third")
    assert lab.client.drift() == ()


def test_packets_and_other_tables_are_no_drift(lab: Lab) -> None:
    lab.nft("add table inet others\nadd chain inet others c { type filter hook input priority 0; }\nadd rule inet others c counter")
    lab.passes()
    assert lab.client.drift() == ()


def test_a_flushed_rule_set(lab: Lab) -> None:
    lab.nft("flush ruleset")
    mends(lab, "acme", "other")


@pytest.mark.parametrize("chain", ["prerouting.base", "acme", "rules"])
def test_a_flushed_chain(lab: Lab, chain: str) -> None:
    name = chain if chain != "rules" else next(name for name in chains(lab) if name.endswith(".ip4"))
    lab.nft(f"flush chain inet {TABLE} {name}")
    mends(lab, *(("acme", "other") if chain == "prerouting.base" else ("acme",)))


def test_each_rule_that_is_deleted_is_missed(lab: Lab) -> None:
    for position in range(len(chains(lab))):
        assert lab.left() == []
        chain = chains(lab)[position]
        delete_rule(lab, chain)
        assert lab.client.drift() == ("acme",), chain
        lab.client.enforce(begins("a"), 2)
    assert lab.client.drift() == ()


def test_a_rule_that_is_added(lab: Lab) -> None:
    lab.nft(f"insert rule inet {TABLE} prerouting.base accept")
    assert lab.passes() == "abc"
    mends(lab, "acme", "other")


def test_a_rule_that_is_added_to_a_generation(lab: Lab) -> None:
    lab.nft(f"insert rule inet {TABLE} {chains(lab)[0]} accept")
    mends(lab, "acme")


def test_an_element_of_a_set(lab: Lab) -> None:
    def sets() -> list[str]:
        with Netlink() as netlink:
            return [name for name in netlink.sets(TABLE) if name.startswith("acme.r")]

    (name, *_) = lab.wire.receiver.call(sets)
    lab.nft(f"delete element inet {TABLE} {name} {{ 192.0.2.3 }}")
    mends(lab, "acme")


def test_a_claim(lab: Lab) -> None:
    lab.nft(f"delete element inet {TABLE} prerouting.v4 {{ {RECEIVER} }}")
    assert lab.passes() == "abc"
    mends(lab, "acme")


def test_a_pin(lab: Lab) -> None:
    pins = Pins.of(lab.wire.receiver.inode)
    next(pins.folder("acme", 1).iterdir()).unlink()
    mends(lab, "acme")
    pins.remove("other", next(number for name, number in pins.generations() if name == "other"))
    mends(lab, "other")


def test_a_table_that_sleeps(lab: Lab) -> None:
    lab.nft(f"add table inet {TABLE} {{ flags dormant; }}")
    assert lab.passes() == "abc"
    assert lab.client.drift() == ("acme", "other")
    lab.client.enforce(begins("a"), 2)
    lab.client.enforce(OTHER, 2)
    assert lab.client.drift() == ()
    assert lab.passes() == "bc"


def test_a_base_chain_that_drops(lab: Lab) -> None:
    lab.nft(f"add chain inet {TABLE} prerouting.base {{ policy drop; }}")
    mends(lab, "acme", "other")


def test_counters_keep_their_values_where_they_survive(lab: Lab) -> None:
    lab.passes()
    before = lab.client.counters("acme")
    assert before["begins a"][0] == 1
    lab.nft(f"flush chain inet {TABLE} acme")
    assert lab.client.drift() == ("acme",)
    lab.client.enforce(begins("a"), 2)
    assert lab.client.counters("acme") == before


def test_what_an_enforcer_before_has_left_is_to_be_enforced_anew(tmp_path: Path) -> None:
    with Lab(tmp_path) as lab:
        lab.client.enforce(begins("a"), 5)
        with lab.beside(tmp_path / "later") as other:
            assert [(each.tenant, each.revision) for each in other.status()] == [("acme", 5)]
            assert other.drift() == ("acme",)
            other.enforce(begins("a"), 5)
            assert other.drift() == ()
