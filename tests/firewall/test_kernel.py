"""Generations in the kernel: what they do to packets, what stands after a change, and what is left of a failed one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import rule_lab
from rule_lab import PAYLOAD4, PAYLOAD6, RECEIVER, HandRule, Wire, addresses, byte_is, constant, generation, refused_by_verifier

from bpf import VerifierError
from firewall import nft
from firewall.generation import TABLE, counter_name
from firewall.kernel import GenerationError, Kernel, OverlapError
from firewall.namespace import Namespace
from firewall.netlink import Netlink
from firewall.pins import Pins
from rules_dsl.policy import Hook, Protect

pytestmark = pytest.mark.kernel

BAD_A = HandRule("bad a", "udp dport 4000", byte_is("rule0", PAYLOAD4, ord("a")))
SEEN_B = HandRule("seen b", "udp dport 4000", byte_is("rule1", PAYLOAD4, ord("b")), verdict="")
EVERYTHING = Protect()
HERE = Protect(v4=addresses(RECEIVER))


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


def names(wire: Wire) -> list[str]:
    """Chains and sets of our table."""

    def listed() -> list[str]:
        with Netlink() as netlink:
            return [*netlink.chains(TABLE), *netlink.sets(TABLE)]

    return wire.receiver.call(listed)


def pins(wire: Wire) -> list[tuple[str, int]]:
    return list(Pins.of(wire.receiver.inode).generations())


def test_a_payload_rule_drops_what_it_matches_and_its_neighbour_does_not(wire: Wire) -> None:
    wire.install(generation("acme", 1, (SEEN_B, BAD_A)))
    assert wire.arrived(b"a1", b"b2", b"c3", b"", b"b4") == [b"b2", b"c3", b"", b"b4"]
    assert wire.counts() == {"seen b": 2, "bad a": 1}


def test_ipv6_meets_the_same_rules(wire: Wire) -> None:
    wire.install(generation("acme", 1, (HandRule("six", "udp dport 4000", byte_is("rule0", PAYLOAD6, ord("a"))),)))
    assert wire.arrived(b"a1", b"b2", version=6) == [b"b2"]


def test_the_program_and_its_rule_show_in_bpftool_and_nft(wire: Wire) -> None:
    wire.install(generation("acme", 7, (BAD_A,)))
    pin = Pins.of(wire.receiver.inode).folder("acme", 7) / "rule0"
    shown = json.loads(wire.listing(f"bpftool --json prog show pinned {pin}"))
    assert (shown["type"], shown["name"]) == ("socket_filter", "rule0")
    assert "packet[28] == 0x61" in wire.listing(f"bpftool prog dump xlated pinned {pin} linum")
    listed = wire.listing(f"nft list table inet {TABLE}")
    assert 'xt match bpf goto acme.r7.rule0 comment "bad a"' in listed
    assert 'goto acme.r7.entry comment "revision 7"' in listed


def test_bulk_elements_match(wire: Wire) -> None:
    rules = (HandRule("listed", "ip saddr @acme.r1.bulk"),)
    sender = addresses(rule_lab.SENDER)[0][0]
    wire.install(generation("acme", 1, rules, bulk=[(5, 6), (sender - 1, sender), (2**32 - 9, 2**32 - 1)]))
    assert wire.arrived(b"x") == []
    rules = (HandRule("listed", "ip saddr @acme.r2.bulk"),)
    wire.install(generation("acme", 2, rules, bulk=[(0, sender - 1), (sender + 1, 2**32 - 1)]))
    assert wire.arrived(b"x") == [b"x"]


def test_fifty_thousand_bulk_elements_load(wire: Wire) -> None:
    wire.install(
        generation("acme", 1, (HandRule("listed", "ip saddr @acme.r1.bulk"),), bulk=[(at * 1000, at * 1000 + 7) for at in range(50_000)])
    )
    assert wire.at(Kernel.enforced)["acme"].revision == 1


def test_counters_go_on_over_a_swap_and_go_with_their_rule(wire: Wire) -> None:
    wire.install(generation("acme", 1, (SEEN_B, BAD_A)))
    wire.arrived(b"b", b"a")
    wire.install(generation("acme", 2, (SEEN_B,)))
    wire.arrived(b"b", b"a")
    assert wire.counts() == {"seen b": 2}
    assert wire.at(Kernel.counters, "acme")[0].bytes == 2 * 29
    assert wire.at(Kernel.counters, "other") == ()


def test_a_swap_leaves_nothing_of_the_old_generation(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,), bulk=[(1, 2)]))
    wire.install(generation("acme", 2, (BAD_A,), bulk=[(1, 2)]))
    assert not [name for name in names(wire) if name.startswith("acme.r1.")]
    assert pins(wire) == [("acme", 2)]
    assert wire.at(Kernel.enforced)["acme"].entry == "acme.r2.entry"


@pytest.mark.parametrize(
    ("protect", "judged"),
    [
        (Protect(v4=addresses(RECEIVER)), True),
        (Protect(v4=addresses("10.9.0.3")), False),
        (Protect(interfaces=("wire0",)), True),
        (Protect(interfaces=("wire",)), False),
        (Protect(marks=(0,)), True),
        (Protect(marks=(7, 0x10000000)), False),
        (Protect(v6=((0, 2**128 - 1),)), False),
        (Protect(v4=((0, 2**32 - 1),)), True),
        (EVERYTHING, True),
    ],
)
def test_rules_see_only_what_the_tenant_protects(wire: Wire, protect: Protect, judged: bool) -> None:
    wire.install(generation("acme", 1, (BAD_A,), protect=protect))
    assert wire.arrived(b"a") == ([] if judged else [b"a"])


def test_protecting_other_traffic_moves_the_dispatch_with_the_rules(wire: Wire) -> None:
    everywhere = (HandRule("all udp", "udp dport 4000"),)
    ranges = (
        addresses("10.9.0.2", "10.9.0.4"),
        ((0x0A090001, 0x0A090002),),
        addresses("10.9.0.1", "10.9.0.3"),
        ((0x0A090003, 0x0A0900FF),),
    )
    judged = []
    for revision, v4 in enumerate(ranges):
        wire.install(generation("acme", revision, everywhere, protect=Protect(v4=v4)))
        judged.append(wire.arrived(b"x") == [])
        assert {(int.from_bytes(c.first, "big"), int.from_bytes(c.last, "big")) for c in wire.at(Kernel.enforced)["acme"].claims} == set(v4)
    assert judged == [True, True, False, False]
    for revision, protect in enumerate((EVERYTHING, Protect(marks=(0,)), Protect(interfaces=("wire0",)), EVERYTHING), 10):
        wire.install(generation("acme", revision, everywhere, protect=protect))
        assert wire.arrived(b"x") == []
        assert len(wire.at(Kernel.enforced)["acme"].claims) == 1


@pytest.mark.parametrize(
    ("first", "second", "traffic"),
    [
        (Protect(v4=((5, 9),)), Protect(v4=((1, 2), (9, 9))), "0.0.0.9 (there 0.0.0.5-0.0.0.9)"),
        (Protect(v6=((5, 9),)), Protect(v6=((0, 2**128 - 1),)), "::/0 (there ::5-::9)"),
        (Protect(interfaces=("a", "b")), Protect(interfaces=("b",)), "interface b"),
        (Protect(marks=(16,)), Protect(marks=(16, 2)), "mark 0x10"),
        (EVERYTHING, EVERYTHING, "everything"),
    ],
)
def test_two_tenants_cannot_protect_the_same(wire: Wire, first: Protect, second: Protect, traffic: str) -> None:
    wire.install(generation("acme", 1, (BAD_A,), protect=first))
    with pytest.raises(OverlapError) as refused:
        wire.install(generation("umbra", 1, (BAD_A,), protect=second, hook=Hook.INPUT))
    assert str(refused.value) == f"umbra cannot protect {traffic}: tenant acme protects it already"
    assert set(wire.at(Kernel.enforced)) == {"acme"}
    assert pins(wire) == [("acme", 1)]


def test_tenants_beside_each_other_are_judged_apart(wire: Wire) -> None:
    here, there = addresses(RECEIVER)[0], addresses("10.9.0.3")[0]
    wire.install(generation("acme", 1, (BAD_A,), protect=Protect(v4=(there,))))
    wire.install(generation("umbra", 1, (HandRule("bad b", "", byte_is("rule0", PAYLOAD4, ord("b"))),), protect=Protect(v4=(here,))))
    assert wire.arrived(b"a", b"b") == [b"a"]
    assert wire.at(Kernel.remove, "umbra")
    assert wire.arrived(b"a", b"b") == [b"a", b"b"]
    assert set(wire.at(Kernel.enforced)) == {"acme"}


def test_a_specific_claim_goes_before_everything(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,), protect=EVERYTHING))
    wire.install(generation("umbra", 1, (), protect=HERE))
    assert wire.arrived(b"a") == [b"a"]


@pytest.mark.parametrize("hook", [Hook.PREROUTING, Hook.INPUT])
def test_hooks_that_see_arriving_packets(wire: Wire, hook: Hook) -> None:
    wire.install(generation("acme", 1, (BAD_A,), hook=hook, protect=HERE))
    assert wire.arrived(b"a", b"b") == [b"b"]


@pytest.mark.parametrize("protect", [HERE, Protect(interfaces=("wire0",))])
def test_the_output_hook_judges_what_leaves(wire: Wire, protect: Protect) -> None:
    def install() -> None:
        with Kernel() as kernel:
            kernel.install(generation("acme", 1, (BAD_A,), hook=Hook.OUTPUT, protect=protect))

    wire.sender.call(install)
    assert wire.arrived(b"b") == [b"b"]
    with pytest.raises(PermissionError):  # what a sender gets for a packet that its own output hook drops
        wire.arrived(b"a")


def test_another_hook_takes_the_base_of_the_old_one_along(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,), hook=Hook.PREROUTING))
    wire.install(generation("acme", 2, (BAD_A,), hook=Hook.INPUT))
    assert not [name for name in names(wire) if name.startswith("prerouting")]
    assert wire.arrived(b"a", b"b") == [b"b"]


def test_the_last_tenant_takes_the_table_along(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,), protect=HERE, bulk=[(1, 2)]))
    assert wire.at(Kernel.remove, "acme") is True
    assert wire.listing("nft list ruleset") == ""
    assert pins(wire) == []
    assert not Pins.of(wire.receiver.inode).root.exists()
    assert wire.at(Kernel.remove, "acme") is False


def test_nft_refuses_a_generation_and_the_old_one_stands(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    bad = generation("acme", 2, (SEEN_B,))
    counter = counter_name("acme", "seen b")
    with pytest.raises(GenerationError) as refused:
        wire.install(replace(bad, nft=bad.nft + f"add rule inet {TABLE} acme.r2.entry counter name {counter} jump nowhere\n"))
    assert refused.value.rule == "seen b"
    assert str(refused.value).startswith(
        'the kernel refused revision 2 of acme at rule "seen b": nft: Could not process rule: No such file'
    )
    assert "^" in refused.value.words
    assert_only_first_stands(wire)


def test_the_kernel_refuses_a_match_and_the_old_one_stands(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    bad = generation("acme", 2, (BAD_A, SEEN_B))
    with pytest.raises(GenerationError) as refused:
        wire.install(replace(bad, matches=(bad.matches[0], replace(bad.matches[1], target="nowhere"))))
    assert refused.value.rule == "seen b"
    assert_only_first_stands(wire)


def test_the_kernel_refuses_the_flip_and_the_old_one_stands(wire: Wire) -> None:
    """A loop shows only when the chains are reached from a base chain."""
    wire.install(generation("acme", 1, (BAD_A,)))
    bad = generation("acme", 2, ())
    loop = ("add chain {0} acme.r2.a", "add rule {0} acme.r2.a jump acme.r2.entry", "insert rule {0} acme.r2.entry jump acme.r2.a")
    text = "\n".join(loop).format(f"inet {TABLE}") + "\n"
    with pytest.raises(GenerationError) as refused:
        wire.install(replace(bad, nft=bad.nft + text))
    assert refused.value.rule is None
    assert_only_first_stands(wire)


def test_the_verifier_refuses_a_program_and_the_old_one_stands(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    with pytest.raises(VerifierError) as refused:
        wire.install(generation("acme", 2, (BAD_A, HandRule("worse", "", refused_by_verifier("rule1")))))
    assert refused.value.rule == "the bad rule"
    assert_only_first_stands(wire)


def assert_only_first_stands(wire: Wire) -> None:
    assert wire.at(Kernel.enforced)["acme"].revision == 1
    assert not [name for name in names(wire) if ".r2." in name]
    assert pins(wire) == [("acme", 1)]
    assert wire.arrived(b"a", b"b") == [b"b"]
    assert set(wire.counts()) == {"bad a"}


def test_the_first_install_that_fails_leaves_an_empty_kernel(wire: Wire) -> None:
    with pytest.raises(VerifierError):
        wire.install(generation("acme", 1, (BAD_A, HandRule("worse", "", refused_by_verifier("rule1")))))
    assert wire.listing("nft list ruleset") == ""
    assert not Pins.of(wire.receiver.inode).root.exists()


def test_a_sweep_takes_leftovers_and_nothing_else(wire: Wire) -> None:
    wire.install(generation("acme", 4, (BAD_A,)))
    left = generation("acme", 5, (BAD_A, SEEN_B), bulk=[(1, 2)])
    wire.at(Kernel.prepare, left)
    wire.receiver.call(nft.run, f"add counter inet {TABLE} umbra.c.0123456789\nadd chain inet {TABLE} umbra.r3.entry\n")
    swept = wire.at(Kernel.sweep)
    expected = ["acme.r5.entry", "acme.r5.rule0", "acme.r5.rule0.match", "acme.r5.rule1", "acme.r5.rule1.match", "umbra.r3.entry"]
    assert sorted(swept.chains) == expected
    assert swept.sets == ("acme.r5.bulk",)
    assert set(swept.counters) == {counter_name("acme", "seen b"), "umbra.c.0123456789"}
    assert [pin.split("/")[-2:] for pin in swept.pins] == [["acme", "r5"]]
    assert wire.arrived(b"a", b"b") == [b"b"]
    assert not wire.at(Kernel.sweep)


def test_a_table_without_tenants_is_swept_whole(wire: Wire) -> None:
    wire.at(Kernel.prepare, generation("acme", 1, (BAD_A,)))
    assert wire.at(Kernel.sweep)
    assert wire.listing("nft list ruleset") == ""
    assert not Pins.of(wire.receiver.inode).root.exists()


def test_a_base_that_somebody_flushed_is_made_anew(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    wire.receiver.call(nft.run, f"flush table inet {TABLE}")
    assert dict(wire.at(Kernel.enforced)) == {}
    wire.install(generation("acme", 2, (BAD_A,)))
    assert wire.arrived(b"a", b"b") == [b"b"]


def test_the_same_revision_again_is_a_fault_of_the_caller(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    with pytest.raises(ValueError, match="enforced already"):
        wire.install(generation("acme", 1, (BAD_A,)))
    with pytest.raises(ValueError, match="tenant"):
        wire.install(generation("a.b", 1, (BAD_A,)))


def test_rules_stay_when_their_pins_go(wire: Wire) -> None:
    wire.install(generation("acme", 1, (BAD_A,)))
    Pins.of(wire.receiver.inode).clear()
    assert wire.arrived(b"a", b"b") == [b"b"]
    wire.install(generation("acme", 2, (SEEN_B,)))
    assert wire.arrived(b"a", b"b") == [b"a", b"b"]


def test_namespaces_do_not_meet() -> None:
    def install(value: int) -> None:
        with Kernel() as kernel:
            kernel.install(generation("acme", 1, (HandRule("r", "", constant("rule0", value)),)))

    def remove() -> bool:
        with Kernel() as kernel:
            return kernel.remove("acme")

    with Namespace() as one, Namespace() as other:
        one.call(install, 0)
        other.call(install, 1)
        assert one.call(remove)
        assert list(Pins.of(other.inode).generations()) == [("acme", 1)]
        assert other.call(remove)


def test_the_pins_go_with_a_namespace() -> None:
    with Namespace() as namespace:
        namespace.call(lambda: Kernel().install(generation("acme", 1, (HandRule("r", "", constant("rule0", 0)),))))
        root = Pins.of(namespace.inode).root
        assert root.exists()
    assert not root.exists()


def test_one_of_many_that_nft_refuses_keeps_none_of_the_others(wire: Wire) -> None:
    protects = [HERE, *(Protect(v4=addresses(f"198.51.100.{at}")) for at in range(4))]
    made = [generation(f"t{at}", 1, (BAD_A,), protect=protect) for at, protect in enumerate(protects)]
    made[2] = replace(made[2], nft=made[2].nft + f"add rule inet {TABLE} t2.r1.entry nonsense\n")

    def enforce(kernel: Kernel) -> set[str]:
        refused = kernel.prepare_all(made)
        assert all(isinstance(error, GenerationError) for error in refused.values())
        assert kernel.flip_all({each.tenant: (each, "") for each in made if each.tenant not in refused}) == {}
        kernel.sweep()
        return set(refused)

    assert wire.at(enforce) == {"t2"}
    assert sorted(wire.at(Kernel.enforced)) == ["t0", "t1", "t3", "t4"]
    assert wire.arrived(b"a", b"b") == [b"b"]
    assert not wire.at(Kernel.sweep)
