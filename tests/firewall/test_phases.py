"""Policies of several phases: an `allow` ends its own alone, in the kernel as in the reference."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import test_plan_random
from generators.expressions import Expressions
from generators.pools import INTERFACES
from kernel_lab import GROUP, KernelLab, ipv4, ipv6, tcp, udp
from rule_lab import PORT, RECEIVER, Wire
from test_evaluation import counted, messages, special
from test_plan_random import ENVIRONMENT, VLAN_INTERFACES, compare, is_enforceable

from bpf import evaluate
from firewall.capture import Frame
from firewall.kernel import Kernel
from firewall.plan import Environment, PacketClass, plan
from firewall.render import render
from firewall.replay import replay
from rules_dsl import expression as ex
from rules_dsl import parse_policy
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Outcome, Policy, Rule, Verdict
from rules_dsl.reference import holds, judge, matched


def phased(*texts: str, head: str = "tenant acme") -> Policy:
    """A phase of each text's rules."""
    parts = [parse_policy(f"{head}\n{text}\n") for text in texts]
    rules = tuple(replace(rule, phase=phase) for phase, part in enumerate(parts) for rule in part.rules)
    return replace(parts[0], rules=rules)


def seen(data: bytes, interface: str = INTERFACES[0]) -> Packet:
    return Packet(data, Place(interface, colo_name=ENVIRONMENT.node.name, colo_region=ENVIRONMENT.node.region))


# -- the meaning -------------------------------------------------------------------------------------------------------

DNS, WEB = ipv4(udp()), ipv4(tcp(), 6)
CASES = [
    # an allow ends its phase alone
    (('allow "a" when udp\nblock "never" when udp', 'block "b" when udp.dstport == 53'), DNS, ["a", "b"], "block", "dropped", "b"),
    (('allow "a" when udp\nblock "never" when udp', 'block "b" when udp.dstport == 54'), DNS, ["a"], "allow", "passed", "a"),
    (('allow "a" when udp', 'allow "b" when ip.ttl == 64'), DNS, ["a", "b"], "allow", "passed", "b"),
    # a block or a reject ends everything
    (('block "b" when udp', 'allow "a" when udp'), DNS, ["b"], "block", "dropped", "b"),
    (('reject "r" when udp', 'log "l" when udp'), DNS, ["r"], "reject", "rejected", "r"),
    # what does not match goes on
    (('allow "a" when udp', 'block "b" when tcp'), WEB, ["b"], "block", "dropped", "b"),
    (('allow "a" when udp', 'block "b" when tcp.dstport == 1'), WEB, [], "default", "passed", None),
    # what does not end goes on in its phase
    (('log "l" when udp\nallow "a" when udp', 'count "c" when udp'), DNS, ["l", "a", "c"], "allow", "passed", "a"),
    (('monitor block "m" when udp', 'log "l" when udp'), DNS, ["m", "l"], "block", "passed", "m"),
    (('log "l" when udp', 'monitor allow "m" when udp\nblock "b" when udp'), DNS, ["l", "m", "b"], "block", "dropped", "b"),
    (('monitor allow "m" when udp\nlog "l" when udp', 'log "k" when tcp'), DNS, ["m", "l"], "allow", "passed", "m"),
    # phases in which nothing is enabled
    (('allow "a" when udp', 'disabled block "b" when udp'), DNS, ["a"], "allow", "passed", "a"),
    (('disabled allow "a" when udp', 'block "b" when udp', 'allow "c" when udp'), DNS, ["b"], "block", "dropped", "b"),
    # an unconditional allow hides what is below in its phase
    (('allow "a" when true\nblock "n" when udp', 'count "c" when ip\nblock "b" when ip'), DNS, ["a", "c", "b"], "block", "dropped", "b"),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "packet", "names", "verdict", "outcome", "rule"), CASES)
def test_what_phases_mean(texts: tuple[str, ...], packet: bytes, names: list[str], verdict: str, outcome: str, rule: str | None) -> None:
    policy = phased(*texts)
    assert [each.name for each in matched(policy, seen(packet))] == names
    found = judge(policy, seen(packet))
    assert (found.verdict, found.outcome) == (Verdict(verdict), Outcome(outcome))
    assert (found.rule.name if found.rule else None) == rule


@pytest.mark.kernel
def test_the_kernel_means_the_same() -> None:
    with KernelLab() as lab:
        for texts, packet, names, _, _, _ in CASES:
            policy = phased(*texts)
            lab.install(render(plan(policy, Environment()), 1, observe=GROUP))
            said = [policy.rules[int(prefix)].name if prefix != "default" else prefix for prefix in lab.send(packet)]
            assert said == names + ["default"] * (not names or not _is_final(policy, names[-1])), texts


def _is_final(policy: Policy, name: str) -> bool:
    (rule,) = (rule for rule in policy.rules if rule.name == name)
    return rule.ends and not policy.goes_on(rule)


def test_phases_ascend_and_have_no_default_but_allow() -> None:
    policy = phased('allow "a" when udp', 'allow "b" when tcp')
    with pytest.raises(AssertionError):
        replace(policy, rules=policy.rules[::-1])
    with pytest.raises(AssertionError):
        replace(policy, default=Action.BLOCK)
    assert replace(policy, rules=policy.rules[:1], default=Action.BLOCK).default is Action.BLOCK


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_no_map_is_of_two_phases() -> None:
    ports = [f'block "{n}" when udp.dstport == {n}' for n in range(8)]
    stages = plan(phased("\n".join(ports[:4]), "\n".join(ports[4:])), Environment()).stages_of(PacketClass.IP4)
    assert [stage.phase for stage in stages] == [0, 1]


def test_each_phase_has_an_evaluator_of_its_own() -> None:
    texts = ["\n".join(f'block "{p} {n}" when udp.payload contains "{p}{n}"' for n in range(3)) for p in range(3)]
    generation = render(plan(phased(*texts, 'block "alone" when udp.payload contains "x"'), Environment()), 1)
    assert {name for name in generation.programs if name.endswith("payload0")} == {f"p{phase}_payload0" for phase in range(3)}
    records = {spec.name for image in generation.programs.values() for spec in image.maps if spec.shared and "payload" in spec.name}
    assert len(records) >= 3


# -- kernel = reference ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab() -> Iterator[KernelLab]:
    with KernelLab((*INTERFACES, *VLAN_INTERFACES)) as opened:
        yield opened


def telling(rng: random.Random, tried: list[Packet], deep: bool) -> ex.Expression:
    """A predicate that holds for some of the packets and not for most: then many rules and phases decide."""
    source, sample = Expressions(rng, near=tried), rng.sample(tried, 50)
    while True:
        one, other = source.test(), special(rng) if deep and rng.random() < 0.7 else source.test()
        shapes = (
            one,
            other,
            ex.Not(one),
            ex.And((one, ex.Not(other))),
            ex.And((ex.Not(one), other)),
            ex.Or((one, other)),
            ex.Xor(one, other),
        )
        predicate = rng.choice(shapes)
        if 2 <= sum(holds(predicate, packet) for packet in sample) <= 20:
            return predicate


def random_policy(rng: random.Random, tried: list[Packet], *, deep: bool) -> Policy:
    """One to four phases. Most of the rules that end are an `allow`: what goes on is what is new."""
    count = rng.randint(1, 4)
    policy = replace(Expressions(rng).policy(8 * count), default=Action.ALLOW)
    rules: list[Rule] = []
    for place, rule in enumerate(policy.rules):
        action = rng.choices((Action.ALLOW, Action.BLOCK, Action.REJECT, Action.LOG, Action.COUNT), (8, 2, 1, 3, 3))[0]
        mode = rng.choices((Mode.ENABLED, Mode.MONITOR, Mode.DISABLED), (8, 2, 1))[0]
        changed = replace(rule, predicate=telling(rng, tried, deep), action=action, mode=mode, phase=place // 8)
        if is_enforceable(replace(policy, rules=(changed,))):
            rules.append(changed)
    return replace(policy, rules=tuple(rules))


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(12))
def test_header_rules_in_phases_decide_as_the_reference_does(lab: KernelLab, seed: int) -> None:
    rng = random.Random(seed)
    tried = test_plan_random.random_packets(rng, 250)
    compare(lab, random_policy(rng, tried, deep=False), tried, seed)


@pytest.mark.kernel
@pytest.mark.parametrize("members", [evaluate.MOST_MEMBERS, 3])
@pytest.mark.parametrize("seed", range(6))
def test_payload_rules_in_phases_decide_as_the_reference_does(
    lab: KernelLab, monkeypatch: pytest.MonkeyPatch, members: int, seed: int
) -> None:
    """With one evaluator a phase, and with several."""
    monkeypatch.setattr(evaluate, "MOST_MEMBERS", members)
    rng = random.Random(seed)
    tried = [*messages(rng, 120), *test_plan_random.random_packets(rng, 120)]
    compare(lab, random_policy(rng, tried, deep=True), tried, seed)


HERE = f'interface.in in {{"elsewhere" "{INTERFACES[0]}"}}'
WAYS = [
    "ip.ttl == 64",
    "not tcp.dstport == 80",
    "not (udp.dstport == 53 or tcp.dstport == 80)",
    'udp.payload contains "x"',
    'not udp.payload contains "x"',
    'not tcp.dstport == 80 and payload contains "x"',
    'not udp.dstport == 53 and payload contains "x"',
    'tcp.dstport == 80 or not udp.dstport == 53 or udp.payload contains "x"',
    f'udp.dstport in {{5 50..60}} and {HERE} and udp.payload contains "x"',
    f'udp.dstport in {{5 50..60}} and {HERE} and not tcp.dstport == 80 and payload contains "x"',
    f'ip.len in {{40 29..33 45..60}} and {HERE} and payload contains "x"',
    f'({HERE}) xor (ip.ttl == 1 and udp.payload contains "x" or not tcp.dstport == 80 and ip.ttl == 2)',
]
"""What may bring a packet to an allow: native tests, such with guards, payload, sets with and without names, and all of these."""


@pytest.mark.kernel
@pytest.mark.parametrize("others", ["", 'block "p" when udp.payload contains "pp"\nallow "q" when udp.payload contains "qq"\n'])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_below_an_allow_sees_its_packet_in_that_phase(lab: KernelLab, way: str, others: str) -> None:
    texts = [
        f'count "c" when {way}\nallow "a" when {way}\nlog "below" when true\n{others}log "below too" when ip.ttl == 64',
        f'log "m" when true\n{others}allow "n" when {way}\ncount "o" when true',
        'block "last" when ip.ttl == 64',
    ]
    texts[1:] = [text.replace('"p"', '"p2"').replace('"q"', '"q2"') for text in texts[1:]]
    segments = [(udp(destination=port, payload=payload), 17) for port in (53, 55, 5, 7) for payload in (b"", b"x", b"qqx", b"yy")]
    segments += [(tcp(destination=port, payload=payload), 6) for port in (53, 80) for payload in (b"", b"x")]
    compare(lab, phased(*texts), [packet for segment in segments for packet in shapes(*segment)], 0)


def shapes(segment: bytes, protocol: int) -> list[Packet]:
    """The segment in packets of every class."""
    first, later, behind = (
        bytes((kind, 0)) + word.to_bytes(2, "big") + bytes(4) for kind, word in ((protocol, 1), (protocol, 80), (60, 1))
    )
    ah, options = bytes((protocol, 4)) + bytes(22), bytes((protocol, 0, 1, 4)) + bytes(4)
    return [
        seen(data, interface)
        for interface in INTERFACES[:2]
        for data in (
            ipv4(segment, protocol), ipv4(segment, protocol, fragment=0x2000), ipv4(segment, protocol, fragment=10),
            ipv6(segment, protocol), ipv6(options + segment, 60), ipv6(first + segment, 44), ipv6(later + segment, 44),
            ipv6(ah + segment, 51), ipv6(behind + options + segment, 44), ipv6(ah[:1] + b"\4" + bytes(22) + segment, 51, hop_limit=2),
        )
    ]  # fmt: skip


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(3))
def test_maps_in_phases_decide_as_the_reference_does(lab: KernelLab, seed: int) -> None:
    """Also for packets whose ports only eBPF finds: there an allow's map is taken apart."""
    rng = random.Random(seed)
    texts = []
    for phase in range(3):
        actions = rng.choices(("allow", "block"), (3, 1), k=30)
        ports = [f'{action} "{phase} {n}" when udp.dstport == {rng.randrange(60)}' for n, action in enumerate(actions)]
        texts.append("\n".join([*ports, f'log "{phase} below" when ip']))
    policy = phased(*texts)
    tried = []
    for port in range(60):
        segment = udp(destination=port)
        tried.append(seen(ipv4(segment)))
        tried.append(seen(ipv6(bytes((17, 4)) + bytes(22) + segment, 51)))
    compare(lab, policy, tried, seed)


@pytest.mark.kernel
def test_the_deepest_chains_of_phases_are_taken(lab: KernelLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several evaluators, searches of full depth, and rules between them that count once among many alternatives."""
    monkeypatch.setattr(evaluate, "MOST_MEMBERS", 700)
    texts = []
    for phase in range(4):
        words = [f'allow "{phase} {n}" when payload contains "p{phase}w{n}."' for n in range(1400)]
        many = 'log "{}" when not udp.dstport == 7 or not tcp.dstport == 9 or ip.ttl == 3 or payload contains "l{}"'
        texts.append("\n".join([*words, many.format(f"l{phase}", phase), f'block "last {phase}" when payload contains "b{phase}."']))
    policy = phased(*texts)
    lab.install(render(plan(policy, Environment()), 1, observe=GROUP))
    payload = b"p0w0.p1w699.p2w700.p3w1399."
    names = [rule.name for rule in matched(policy, seen(ipv4(udp(payload=payload))))]
    sent = [policy.rules[int(prefix)].name for prefix in lab.send(ipv4(udp(payload=payload)), INTERFACES[0])]
    assert sent == names == ["0 0", "1 699", "2 700", "3 1399"]


@pytest.mark.kernel
def test_both_engines_of_a_replay_agree_on_phases() -> None:
    policy = phased(
        'log "dns" when udp.dstport == 53\nallow "x" when udp.payload contains "x"\nallow "y" when udp.payload contains "y"',
        'block "z" when udp.payload contains "z"\nmonitor block "all" when udp',
    )
    payloads = (b"x", b"xz", b"y", b"z", b"", b"q")
    ethernet = bytes(12) + b"\x08\x00"
    frames = [
        Frame(number, number * 1_000_000_000, ethernet + ipv4(udp(payload=payload)), 1, 14 + 28 + len(payload), "eth0")
        for number, payload in enumerate(payloads, 1)
    ]
    found = list(replay(policy, frames, "both"))
    assert [each.difference for each in found] == [None] * len(frames)
    assert [(each.record.verdict, each.record.rule) for each in found] == [
        ("allow", "x"), ("block", "z"), ("allow", "y"), ("block", "z"), ("log", "dns"), ("log", "dns"),
    ]  # fmt: skip


@pytest.mark.kernel
def test_rules_of_all_phases_are_counted_by_name() -> None:
    policy = phased(
        f'count "all" when udp.dstport == {PORT}\nallow "a" when udp.payload contains "a."\nallow "b" when udp.payload contains "b."',
        'allow "ab" when udp.payload contains "ab."',
        'block "z" when udp.payload contains "z."\nblock "y" when udp.payload contains "y."',
        head=f"tenant acme\nprotect {RECEIVER}",
    )
    with Wire() as wire:
        wire.install(render(plan(policy, Environment()), 1))
        assert wire.arrived(b"a.", b"ab.", b"a.z.", b"y.", b"q") == [b"a.", b"ab.", b"q"]
        found = {name: packets for name, (packets, _) in counted(wire).items()}
        assert found == {"all": 6, "a": 2, "b": 1, "ab": 1, "z": 1, "y": 1}
        assert wire.at(Kernel.enforced)["acme"].revision == 1
