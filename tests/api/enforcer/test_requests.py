"""Every request of a client, against a real kernel: what it does, what it refuses, and what it leaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from enforcer_lab import HERE, Lab, begins, eventually, rule
from rule_lab import RECEIVER, refused_by_verifier

from api.enforcer.apart import Apart
from api.enforcer.changes import Changes
from api.enforcer.client import EnforcedTenant, EnforcerUnavailable, Refused
from api.enforcer.compile import AnsweredError, Bounds, Compiler, Earlier
from api.enforcer.server import Patience
from api.policy_text import PolicyText, ProtectText
from firewall import loaded
from firewall.generation import Generation
from firewall.state import State
from rules_dsl.policy import Action, Mode

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as made:
        yield made


def test_what_is_prepared_meets_no_packet_until_it_is_committed(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 7)
    with lab.client.prepare(begins("b"), 8) as prepared:
        assert lab.passes() == "bc"
        assert lab.client.status() == (EnforcedTenant("acme", 7, 1, (RECEIVER,)),)
        prepared.commit()
    assert lab.passes() == "ac"
    assert lab.client.status() == (EnforcedTenant("acme", 8, 2, (RECEIVER,)),)
    lab.client.enforce(begins("c"), 9)
    assert lab.left() == []


def test_what_is_abandoned_leaves_nothing(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    lab.client.prepare(begins("b"), 2).abandon()
    assert lab.left() == []
    assert lab.passes() == "bc"
    lab.client.prepare(begins("b", "other", ProtectText(("192.0.2.0/24",))), 2).abandon()
    assert [each.tenant for each in lab.client.status()] == ["acme"]
    assert lab.left() == []


def test_a_check_leaves_nothing_and_disturbs_no_change(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    with lab.client.prepare(begins("b"), 2) as prepared:
        lab.client.check(begins("c"))
        prepared.commit()
    assert lab.passes() == "ac"
    lab.client.check(begins("c", "other", ProtectText(("192.0.2.0/24",))))
    assert lab.left() == []
    assert [each.tenant for each in lab.client.status()] == ["acme"]


def test_the_first_check_leaves_no_table(lab: Lab) -> None:
    lab.client.check(begins("a"))
    assert lab.wire.listing("nft list ruleset") == ""


def test_counters_count_by_rule_and_go_on_over_a_change(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    lab.passes()
    before = lab.client.counters("acme")
    assert before["begins a"] == (1, 29)
    lab.client.enforce(begins("a"), 2)
    assert lab.client.counters("acme")["all"] == before["all"]
    assert lab.client.counters("nobody") == {}


def test_a_tenant_is_removed_and_what_is_not_there_may_be_too(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    lab.client.remove("acme")
    lab.client.remove("acme")
    assert lab.client.status() == ()
    assert lab.wire.listing("nft list ruleset") == ""
    assert lab.passes() == "abc"


def test_the_tenant_of_a_rule_file_is_not_the_apis_to_change(lab: Lab, tmp_path: Path) -> None:
    from firewall import enforce

    path = tmp_path / "acme.rules"
    path.write_text(f'tenant acme\nprotect {RECEIVER}\nblock "b" when starts_with(udp.payload, "b")\n')
    lab.wire.receiver.call(enforce.apply, path, state=State(tmp_path / "state"))
    with pytest.raises(Refused, match="is that of a rule file"):
        lab.client.enforce(begins("c"), 2)
    lab.client.remove("acme")
    ((tenant, why),) = lab.client.enforce_all([(begins("c"), 2)]).items()
    assert (tenant, "is that of a rule file" in str(why)) == ("acme", True)
    assert lab.passes() == "ac"


def test_monitor_and_disabled_rules_stop_nothing(lab: Lab) -> None:
    text = begins("a")
    rules = (replace(text.rules[0], mode=Mode.MONITOR), replace(text.rules[1], mode=Mode.DISABLED))
    lab.client.enforce(replace(text, rules=rules), 1)
    assert lab.passes() == "abc"
    assert lab.client.counters("acme")["begins a"][0] == 1


# -- refusals ----------------------------------------------------------------------------------------------------------


def refused(lab: Lab, text: PolicyText) -> Refused:
    """How it is refused by each of the two ways; nothing of it stays."""
    with pytest.raises(Refused) as checked:
        lab.client.check(text)
    with pytest.raises(Refused) as prepared:
        lab.client.prepare(text, 9)
    assert (checked.value.rule, checked.value.diagnostics) == (prepared.value.rule, prepared.value.diagnostics)
    assert lab.left() == []
    return prepared.value


def test_a_bad_expression_is_refused_with_its_diagnostics(lab: Lab) -> None:
    found = refused(lab, PolicyText("acme", (rule("good", "udp"), rule("bad", "udp.dstprt == 53"), rule("worse", "tcp ==")), {}, HERE))
    assert found.rule == "bad"
    first, second = found.diagnostics
    assert (first.rule, first.code, first.text[first.start : first.end]) == ("bad", "E0201", "udp.dstprt")
    assert first.help is not None
    assert second.rule == "worse"


def test_what_cannot_be_enforced_yet_is_refused_by_rule(lab: Lab) -> None:
    found = refused(lab, PolicyText("acme", (rule("state", 'ct.state == "new"'),), {}, HERE))
    assert found.rule == "state"
    assert found.diagnostics[0].code.startswith("E09")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replace(begins("a"), tenant="-"), "tenant '-'"),
        (replace(begins("a"), tenant='x" accept'), "tenant"),
        (replace(begins("a"), protect=ProtectText(("10.9.0.300/24",))), "10.9.0.300"),
        (replace(begins("a"), protect=ProtectText(interfaces=("a" * 16,))), "interface"),
        (replace(begins("a"), protect=ProtectText(marks=(1 << 32,))), "mark"),
        (replace(begins("a"), lists={"many": ("nonsense",)}), "nonsense"),
        (replace(begins("a"), rules=(rule("x", "udp"), rule("x", "tcp"))), "two rules are called 'x'"),
        (replace(begins("a"), rules=(rule("x\n", "udp"),)), "rule name"),
        (replace(begins("a"), rules=(replace(rule("x", "udp"), conditions=()),)), "no condition"),
        (replace(begins("a"), rules=(replace(rule("x", "udp"), phase=2), rule("y", "udp"))), "phases do not ascend"),
    ],
)
def test_a_text_that_the_api_would_not_make_is_refused(lab: Lab, text: PolicyText, message: str) -> None:
    assert message in refused(lab, text).message


def test_overlapping_tenants_are_refused(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    found = refused(lab, begins("b", "other", ProtectText(("10.9.0.0/24",))))
    assert found.message == "other cannot protect 10.9.0.0/24 (there 10.9.0.2): tenant acme protects it already"


def test_what_the_verifier_refuses_is_refused_and_the_old_rules_stay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.client.enforce(begins("a"), 1)
    load = loaded.load
    monkeypatch.setattr(loaded, "load", lambda image, shared: load(refused_by_verifier(image.name), shared))
    assert "verifier" in refused(lab, begins("b")).message
    assert lab.passes() == "bc"


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (Bounds(rules=2), "4 rules, 2 are the most"),
        (Bounds(characters=10), "characters, 10 are the most"),
        (Bounds(list_items=100), "127 list items, 100 are the most"),
        (Bounds(protects=0), "1 protected prefixes, 0 are the most"),
        (Bounds(nft_rules=3), "nftables rules, 3 are the most"),
        (Bounds(programs=0), "eBPF programs, 0 are the most"),
        (Bounds(instructions=20), "eBPF instructions, 20 are the most"),
        (Bounds(table_bytes=20), "bytes of eBPF tables, 20 are the most"),
    ],
)
def test_rules_beyond_a_bound_are_refused(tmp_path: Path, bounds: Bounds, message: str) -> None:
    with Lab(tmp_path, compiler=Compiler(bounds=bounds)) as lab:
        text = begins("a")
        found = refused(lab, replace(text, rules=(*text.rules, rule("pattern", 'udp.payload contains "some words"')))).message
    assert found.startswith("ruleset exceeds complexity constraints: ")
    assert found.endswith(message)


COSTLY = PolicyText(
    "acme", tuple(rule(f"r{at}", f"(tcp.dstport == {at} or ip.ttl < {at % 250}) and (tcp.flags.syn xor ip.frag)") for at in range(1000))
)


@pytest.mark.parametrize(("seconds", "memory"), [(1, 4 << 30), (3, 280 << 20)])
def test_compiling_is_bounded_in_time_and_memory(tmp_path: Path, seconds: int, memory: int) -> None:
    with Apart(Compiler(), seconds, memory) as apart:
        with pytest.raises(AnsweredError, match="ruleset exceeds complexity constraints: more than"):
            Changes(apart, State(tmp_path)).check(COSTLY)
        assert apart.generation(begins("a"), 1).counters  # another process is there


class Telling(Compiler):
    """Says what it may do."""

    __slots__ = ()

    def generation(self, text: PolicyText, number: int, base: int | None = None, earlier: Earlier | None = None) -> Generation:
        raise OSError(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm")))


def test_what_compiles_has_no_capability() -> None:
    with Apart(Telling()) as apart, pytest.raises(AnsweredError, match="CapPrm:\t0000000000000000"):
        apart.generation(begins("a"), 1)


def test_what_is_remembered_of_a_tenant_is_of_its_lists() -> None:
    named = rule("r", "ip.src in $some")
    with Apart(Compiler(), processes=1) as apart:
        made = [
            apart.generation(PolicyText("acme", (named,), {"some": (address,)}), 1).nft
            for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1")
        ]
    assert made[0] == made[2] != made[1]
    assert "192.0.2.2" in made[1]


# -- one change at a time ----------------------------------------------------------------------------------------------


def test_a_second_change_waits_for_the_first(lab: Lab) -> None:
    done: list[float] = []
    prepared = lab.client.prepare(begins("a"), 1)
    other = threading.Thread(target=lambda: (lab.client.enforce(begins("b", "other", ProtectText(("192.0.2.0/24",))), 1), done.append(1)))
    other.start()
    time.sleep(0.3)
    assert not done
    assert lab.client.status() == ()
    prepared.commit()
    other.join(10)
    assert [each.tenant for each in lab.client.status()] == ["acme", "other"]


def test_a_change_that_waits_too_long_is_told(tmp_path: Path) -> None:
    with Lab(tmp_path, lock_patience=0.2) as lab, lab.client.prepare(begins("a"), 1):
        with pytest.raises(EnforcerUnavailable, match="another change has been under way"):
            lab.client.enforce(begins("b"), 2)
        with pytest.raises(EnforcerUnavailable, match="another change has been under way"):
            lab.client.remove("acme")


def test_the_time_of_what_is_prepared_is_limited(tmp_path: Path) -> None:
    with Lab(tmp_path, patience=Patience(prepared=0.3)) as lab:
        lab.client.enforce(begins("a"), 1)
        prepared = lab.client.prepare(begins("b"), 2)
        lab.client.enforce(begins("c"), 3)
        with pytest.raises(EnforcerUnavailable, match="nothing is prepared"):
            prepared.commit()
        assert lab.left() == []
        assert lab.passes() == "ab"


def test_a_client_that_dies_gives_the_lock_back(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    prepared = lab.client.prepare(begins("b"), 2)
    assert prepared._connection is not None
    prepared._connection.close()
    assert eventually(lambda: lab.left() == [])
    lab.client.enforce(begins("c"), 3)
    assert lab.passes() == "ab"


def test_many_threads_share_a_client(lab: Lab) -> None:
    failed: list[Exception] = []

    def write(number: int) -> None:
        try:
            protect = ProtectText((f"198.51.100.{number}",))
            for revision in range(1, 4):
                lab.client.enforce(begins("a", f"tenant{number}", protect), revision)
                lab.client.counters(f"tenant{number}")
        except Exception as error:  # told below
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not failed
    assert [(each.tenant, each.revision) for each in lab.client.status()] == [(f"tenant{number}", 3) for number in range(4)]
    assert lab.left() == []


def test_the_command_line_and_the_enforcer_change_one_after_the_other(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from firewall import enforce, state
    from firewall.state import State, StateError

    path = tmp_path / "other.rules"
    path.write_text('tenant other\nprotect 192.0.2.0/24\nblock "x" when udp\n')
    store = State(tmp_path / "state")
    monkeypatch.setattr(state, "LOCK_TIMEOUT", 0.2)
    with lab.client.prepare(begins("a"), 1) as prepared:
        with pytest.raises(StateError, match="another mantlet"):
            lab.wire.receiver.call(enforce.apply, path, state=store)
        prepared.commit()
    assert eventually(lambda: lab.client.drift() == ())
    lab.wire.receiver.call(enforce.apply, path, state=store)
    assert [(each.tenant, each.revision) for each in lab.client.status()] == [("acme", 1), ("other", None)]
    assert lab.client.drift() == ()


# -- replay ------------------------------------------------------------------------------------------------------------


def test_a_capture_is_replayed_by_each_engine_and_leaves_its_namespace_as_it_was(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    capture = (root / "examples" / "dns-resolver.pcap").read_bytes()
    text = PolicyText("acme", (rule("dns any", "dns.qry.type == 255"), rule("all", "udp", Action.COUNT)))
    with Lab(tmp_path, namespaces=1) as lab:
        kernel_records, again = (lab.client.replay(text, capture, "kernel") for _ in range(2))
        reference = lab.client.replay(text, capture, "reference")
        assert kernel_records == again
        assert [{**each, "engine": "x"} for each in kernel_records] == [{**each, "engine": "x"} for each in reference]
        assert {each["rule"] for each in reference if each["verdict"] == "block"} == {"dns any"}
        assert all(each["engine"] == "both" for each in lab.client.replay(text, capture, "both"))
        with pytest.raises(Refused, match="the capture: neither pcap nor pcapng"):
            lab.client.replay(text, b"nonsense of some length", "kernel")
        with pytest.raises(Refused, match="engine 'guess'"):
            lab.client.replay(text, capture, "guess")
        assert lab.client.replay(text, capture, "kernel") == again


def test_without_a_namespace_the_reference_still_replays(lab: Lab) -> None:
    capture = (Path(__file__).parents[3] / "examples" / "dns-resolver.pcap").read_bytes()
    with pytest.raises(EnforcerUnavailable, match="CAP_SYS_ADMIN"):
        lab.client.replay(begins("a"), capture, "kernel")
    assert lab.client.replay(begins("a"), capture, "reference")
