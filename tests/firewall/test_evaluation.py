"""The rules that one program evaluates, in the kernel: between rules of every kind they decide as the reference does."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import test_plan_random
from generators.expressions import Expressions
from generators.packets import carrying
from generators.pools import INTERFACES
from kernel_lab import KernelLab
from rule_lab import PORT, RECEIVER, Wire
from test_plan_random import ENVIRONMENT, VLAN_INTERFACES, compare, is_enforceable

from bpf import evaluate
from bpf.image import ProgramImage
from firewall.kernel import Kernel
from firewall.pins import Pins
from firewall.plan import Environment, plan
from firewall.render import render
from firewall.replay.admission import refusal
from rules_dsl import DiagnosticError, parse_expression, parse_policy
from rules_dsl import expression as ex
from rules_dsl.fields import PROTOCOLS
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy, Rule

SPECIAL = (
    'tcp.payload == ""', 'tcp.payload matches "^$"', "len(tcp.payload) == 0", "tcp.payload.len == 0", 'udp.payload == ""',
    'payload == ""', "len(payload) == 0", 'udp.payload contains ""', 'starts_with(udp.payload, "")', 'tcp.payload wildcard "*"',
    'tcp.payload <= ""', 'udp.payload > ""', 'substring(udp.payload, 0, 1) == ""', 'udp.payload in {"" "abc"}', 'payload contains "e"',
    'udp.payload matches "a|"', "not tls", "not (dns or tls)", "tcp or dns", "udp and not dns", "tls xor tcp",
    'not tcp.payload contains "a"', 'udp.payload != ""',
)  # fmt: skip
"""Tests that hold for empty payloads, for absent ones, or for other packets than those of the field's protocol."""


@pytest.fixture(scope="module")
def lab() -> Iterator[KernelLab]:
    with KernelLab((*INTERFACES, *VLAN_INTERFACES)) as opened:
        yield opened


def messages(rng: random.Random, count: int) -> list[Packet]:
    """Packets with messages of protocols, right and wrong."""
    names, found = list(PROTOCOLS), list[Packet]()
    while len(found) < count:
        data = carrying(rng, rng.choice(names))
        if refusal(data) is None:
            interface = rng.choice((*INTERFACES, *VLAN_INTERFACES))
            place = Place(
                interface, vlan_id=VLAN_INTERFACES.get(interface), colo_name=ENVIRONMENT.node.name, colo_region=ENVIRONMENT.node.region
            )
            found.append(Packet(data, place))
    return found


def special(rng: random.Random) -> ex.Expression:
    one, other = (parse_expression(rng.choice((*SPECIAL, *PROTOCOLS))) for _ in range(2))
    return rng.choice((one, ex.Or((one, other)), ex.And((one, ex.Not(other))), ex.Xor(one, other)))


def mixed_policy(rng: random.Random, tried: list[Packet], count: int) -> Policy:
    """Rules on payload before, behind and between native ones; a rule may have alternatives of both kinds."""
    source = Expressions(rng, near=tried)
    drawn = source.policy(count)
    rules: list[Rule] = []
    for rule in drawn.rules:
        test, deep = source.test(), special(rng)
        predicate = rng.choice((rule.predicate, deep, ex.Or((test, deep)), ex.And((test, deep)), ex.Xor(test, deep)))
        if rng.random() < 0.5:
            action, mode = rng.choice((Action.COUNT, Action.LOG)), rng.choice((Mode.ENABLED, Mode.ENABLED, Mode.DISABLED))
            changed = replace(rule, predicate=predicate, action=action, mode=mode)
        else:  # seldom true, so that rules behind it are reached
            changed = replace(rule, predicate=ex.And((source.test(), predicate)))
        if is_enforceable(replace(drawn, rules=(changed,))):
            rules.append(changed)
    return replace(drawn, rules=tuple(rules))


@pytest.mark.kernel
@pytest.mark.parametrize("members", [evaluate.MOST_MEMBERS, 3])
@pytest.mark.parametrize("seed", range(4))
def test_rules_on_payload_among_others_decide_as_the_reference_does(
    lab: KernelLab, monkeypatch: pytest.MonkeyPatch, members: int, seed: int
) -> None:
    """With one evaluator, and with many that have three rules each."""
    monkeypatch.setattr(evaluate, "MOST_MEMBERS", members)
    rng = random.Random(seed)
    tried = [*messages(rng, 120), *test_plan_random.random_packets(rng, 60)]
    policy = mixed_policy(rng, tried, 30)
    assert len(plan(policy, ENVIRONMENT).evaluated) > 3
    compare(lab, policy, tried, seed)


def programs(text: str) -> dict[str, set[ProgramImage]]:
    """The images by the name of their pin."""
    found: dict[str, set[ProgramImage]] = {}
    for match in render(plan(parse_policy(f"tenant acme\n{text}\n"), Environment()), 3).matches:
        if match.program is not None:
            found.setdefault(match.program.name, set()).add(match.program)
    return found


@pytest.mark.parametrize("name", ["payload0", "payload0_held", "payload0_ended_1", "payload0_digit_0_1"])
def test_no_rule_takes_the_name_of_an_evaluators_program(name: str) -> None:
    """A rule that nftables must test in part has a program of its own."""
    own = "\n".join(f'log "{name}{"-" * n}" when interface.in == "eth{n}" xor tcp.payload contains "{n}"' for n in range(4))
    shared = '\nlog "l" when udp.payload contains "l"\nblock "a" when udp.payload contains "a"\nblock "b" when udp.payload contains "b"'
    found = programs(own + shared)
    assert "payload0_held_0" in found
    assert {name: len(images) for name, images in found.items() if len(images) > 1} == {}


LARGE = "\n".join(f'block "r{n}" when udp.payload matches "[a-m]{n}.{{9}}y" or udp.payload contains "z{n}"' for n in range(6))


def test_rules_whose_patterns_are_too_large_together_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = (image for image in programs(LARGE)["payload0"])
    size = max(len(spec.initial or b"") for spec in whole.maps)
    monkeypatch.setattr(evaluate, "LARGEST", size // 2)
    assert len([name for name in programs(LARGE) if name.removeprefix("payload").isdigit()]) > 1


def test_a_rule_whose_patterns_are_too_large_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its tests are joined before they are lowered."""
    monkeypatch.setattr(evaluate, "LARGEST", 1000)
    text = 'udp.payload contains "{0}a" or udp.payload contains "{0}b" or udp.payload matches "{0}{0}.c"'
    with pytest.raises(DiagnosticError) as raised:
        programs("\n".join(f'block "r{n}" when {text.format(str(n) * 30)}' for n in range(3)))
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "E0904"
    assert "limit is 0 MiB" in str(diagnostic)


def test_members_of_many_tests_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record has a bit for each, and a CPU's part of a map is 32 KiB at most."""
    monkeypatch.setattr(evaluate, "MOST_TESTS", 10)
    tests = [parse_expression(" or ".join(f'starts_with(udp.payload, "{n}{k}")' for k in range(6))) for n in range(4)]
    evaluators = evaluate.compile_evaluators("test", [evaluate.Member(f"r{n}", test, True) for n, test in enumerate(tests)])
    assert [(each.first, len(each.names)) for each in evaluators] == [(0, 1), (1, 1), (2, 1), (3, 1)]


# -- real traffic ------------------------------------------------------------------------------------------------------

TRAFFIC = (
    'count "all" when udp.payload contains "."\nblock "a" when udp.payload contains "a."\n'
    'count "not c" when not udp.payload contains "c."\n'
    f'count "native" when udp.dstport == {PORT}\nblock "b" when udp.payload contains "b." or ip.ttl == 1\n'
    'log "after" when udp.payload contains "."\nblock "c" when udp.payload contains "c." and udp.payload contains "cc"\n'
)
SENT = (b"a.", b"b.", b"c.", b"d.", b"cc.", b"a.b.c.", b"x")
PASSED = [b"c.", b"d.", b"x"]
COUNTED = {"all": 6, "a": 2, "not c": 3, "native": 5, "b": 1, "after": 3, "c": 1}
"""What the packets of SENT count; the one that ends a test counts besides."""


def counted(wire: Wire) -> dict[str, tuple[int, int]]:
    return {counter.comment: (counter.packets, counter.bytes) for counter in wire.at(Kernel.counters)}


@pytest.mark.kernel
@pytest.mark.parametrize("hook", ["prerouting", "input"])
@pytest.mark.parametrize("members", [evaluate.MOST_MEMBERS, 2])
def test_rules_are_counted_across_swaps_and_without_pins(monkeypatch: pytest.MonkeyPatch, hook: str, members: int) -> None:
    """Programs that stand in rules hold the maps that they share, whatever becomes of their pins."""
    monkeypatch.setattr(evaluate, "MOST_MEMBERS", members)
    policy = plan(parse_policy(f"tenant acme\nprotect {RECEIVER}\nhook {hook}\n{TRAFFIC}"), Environment())
    assert len(policy.evaluated) == 6
    with Wire() as wire:
        for revision in (1, 2, 3):
            wire.install(render(policy, revision))
            assert wire.arrived(*SENT) == PASSED
            if revision == 2:
                folder = wire.at(lambda _: Pins.here()).folder("acme", revision)
                for pin in list(folder.iterdir()):
                    pin.unlink()
                assert wire.arrived(*SENT) == PASSED
        rounds = 4
        found = counted(wire)
        extra = {"not c": rounds, "native": rounds}  # rule_lab.END has no dot
        assert {name: packets - extra.get(name, 0) for name, (packets, _) in found.items()} == {
            name: packets * rounds for name, packets in COUNTED.items()
        }
        assert found["a"][1] == rounds * sum(28 + len(each) for each in SENT if b"a." in each)
        assert found["all"][1] == rounds * sum(28 + len(each) for each in SENT if b"." in each)
