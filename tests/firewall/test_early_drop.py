"""Early drop says what nftables says, only sooner: the same frames with and without it have the same verdicts and the same counts."""

from __future__ import annotations

import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from early_lab import INTERFACE, MAC, EarlyLab, frame
from generators.packets import damaged, packet
from generators.pools import PORTS, V4_ADDRESSES, V6_ADDRESSES
from kernel_lab import ipv4, ipv6, tcp, udp
from rule_lab import PORT, RECEIVER, RECEIVER6, SENDER, SENDER6, Wire

from bpf import xdp
from bpf.program import load
from bpf.traffic import _pass_image
from bpf.xdp import Mode
from firewall import nft
from firewall.kernel import Kernel
from firewall.plan import Environment, plan
from firewall.plan.early_drop import fronts
from firewall.render import render
from firewall.replay import replay
from rules_dsl import load_policy, parse_policy
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Outcome, Policy
from rules_dsl.reference import judge

pytestmark = pytest.mark.kernel

PROTECT = (
    "protect 10.0.0.0/8 192.0.2.0/24 198.51.100.7 203.0.113.9 224.0.0.0/4 255.255.255.255 2001:db8::/32 ff00::/8 fe80::/10",
    "protect 0.0.0.0/0 ::/0",
)


def text(rng: random.Random, count: int) -> str:
    """Rules of which many are boxes, and some are more."""
    lines = ["tenant acme", rng.choice(PROTECT), f"default {rng.choice(('allow', 'allow', 'block'))}"]
    for number in range(count):
        action = rng.choices(("block", "allow", "count", "monitor block", "disabled block"), (12, 4, 1, 1, 1))[0]
        lines.append(f'{action} "{number}" when {condition(rng, is_deep=rng.random() < number / count)}')
    return "\n".join(lines) + "\n"


def condition(rng: random.Random, *, is_deep: bool) -> str:
    deep = rng.choice(("ip.src != 10.0.0.1", "not ip.dst in { 192.0.2.0/25 }", "ip.ttl < 65", 'udp.payload contains "a"', "dns"))
    plain = rng.sample(
        (
            f"ip.src in {{ {addresses(rng)} }}",
            f"ip.dst in {{ {addresses(rng)} }}",
            f"{rng.choice(('tcp', 'udp'))}.{rng.choice(('srcport', 'dstport'))} in {{ {ports(rng)} }}",
            rng.choice(("tcp", "udp", "icmp", "icmpv6", "ip.proto == 17", "ip.proto in { 1 6 58 }", 'ip.proto == "gre"', "sctp")),
        ),
        rng.choice((1, 1, 2)),
    )
    return " and ".join([*plain, *[deep] * is_deep])


def addresses(rng: random.Random) -> str:
    found = []
    for _ in range(rng.randint(1, 3)):
        if rng.random() < 0.5:
            low, high = sorted(rng.choices(V4_ADDRESSES, k=2))
            found.append(f"{socket.inet_ntoa(low.to_bytes(4, 'big'))}..{socket.inet_ntoa(high.to_bytes(4, 'big'))}")
        else:
            six = rng.choice(V6_ADDRESSES).to_bytes(16, "big")
            found.append(socket.inet_ntop(socket.AF_INET6, six))
    return " ".join(found)


def ports(rng: random.Random) -> str:
    low, high = sorted(rng.choices(PORTS, k=2))
    return f"{low}..{high}" if rng.random() < 0.7 else str(low)


def frames(rng: random.Random, count: int) -> Iterator[bytes]:
    """IPv4 and IPv6 with options, extension headers, fragments, cut headers and padding; damaged ones; other Ethernet types, VLAN tags,
    other hosts' frames."""
    for _ in range(count):
        data = near(rng) if rng.random() < 0.5 else packet(rng, padding=True, longest=1400)
        match rng.randrange(12):
            case 0:
                yield frame(damaged(rng, data))
            case 1:
                yield frame(data, to=rng.choice((b"\xff" * 6, b"\x33\x33\0\0\0\1", b"\2\0\0\0\0\7")))
            case 2:
                kind = b"\x08\x00" if data[0] >> 4 == 4 else b"\x86\xdd"
                yield frame(data, kind=rng.choice((b"\x81\x00", b"\x88\xa8")) + struct.pack(">H", rng.choice((0, 7))) + kind)
            case 3:
                yield frame(data, kind=rng.choice((b"\x08\x06", b"\x08\x00", b"\x86\xdd", b"\x88\xb5")))
            case 4:
                yield frame(data[: rng.randrange(len(data))])
            case _:
                yield frame(data)


def near(rng: random.Random) -> bytes:
    """A packet that the rules may know."""
    content = rng.choice((udp, tcp))(rng.choice(PORTS), rng.choice(PORTS))
    if rng.random() < 0.3:
        content = content[: rng.randrange(len(content))]
    number = rng.choice((6, 17, 17, 1, 47, 58, 132))
    if rng.random() < 0.6:
        fragment = rng.choice((0, 0, 0, 0x2000, 0x4000, 0x2001, 0x00FF))
        return ipv4(content, number, fragment=fragment, src=rng.choice(V4_ADDRESSES), dst=rng.choice(V4_ADDRESSES))
    return ipv6(content, number, src=rng.choice(V6_ADDRESSES), dst=rng.choice(V6_ADDRESSES))


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("seed", range(4))
def test_same_verdicts_and_same_counts(seed: int, mode: Mode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xdp, "_FLAGS", {mode: xdp._FLAGS[mode]})
    rng = random.Random(seed)
    with EarlyLab() as late, EarlyLab() as early:
        dropped = 0
        for _ in range(6):
            said = text(rng, rng.choice((3, 8, 30)))
            late.install(parse_policy(said))
            early.install(parse_policy(f"early_drop {INTERFACE}\n{said}"))
            for sent in frames(rng, 300):
                assert early.passes(sent) == late.passes(sent), f"{sent.hex()}\n{said}"
            assert early.counters() == late.counters(), said
            if early.modes("acme"):
                assert early.modes("acme") == [(INTERFACE, mode.value)]
                dropped += early.dropped_early("acme")
        assert dropped > 50


def test_the_verdicts_are_the_reference_s() -> None:
    rng = random.Random(11)
    with EarlyLab() as lab:
        seen = 0
        for _ in range(6):
            policy = parse_policy(f"early_drop {INTERFACE}\n{text(rng, 12)}")
            lab.install(policy)
            for _ in range(200):
                data = near(rng)
                wanted = reference(policy, data)
                if wanted is not None:
                    assert lab.passes(frame(data)) == (wanted is Outcome.PASSED), data.hex()
                    seen += 1
        assert seen > 300


def reference(policy: Policy, data: bytes) -> Outcome | None:
    """None where the rules do not see the packet."""
    one = Packet(data, Place(INTERFACE))
    address = int.from_bytes(data[16:20] if one.version == 4 else data[24:40], "big")
    ranges = policy.protect.v4 if one.version == 4 else policy.protect.v6
    return judge(policy, one).outcome if any(low <= address <= high for low, high in ranges) else None


BLOCKS = 'tenant acme\n{}protect 10.0.0.0/8 2001:db8::/32\nblock "bad" when ip.src in {{ 10.0.0.1 2001:db8::1 }}\n'
NAMED = BLOCKS.format(f"early_drop {INTERFACE}\n")


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame(ipv4(udp())), id="plain"),
        pytest.param(frame(ipv6(udp())), id="plain IPv6"),
        pytest.param(frame(ipv4(udp()) + bytes(40)), id="padded"),
        pytest.param(frame(ipv4(bytes(8), fragment=100)), id="later fragment"),
        pytest.param(frame(ipv4()), id="header alone"),
        pytest.param(frame(ipv6()), id="IPv6 header alone"),
    ],
)
def test_what_is_dropped_early(sent: bytes) -> None:
    with EarlyLab() as lab:
        lab.install(parse_policy(NAMED))
        assert not lab.passes(sent)
        assert lab.dropped_early("acme") == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(frame(ipv4(udp()), to=b"\2\0\0\0\0\7"), id="to another host"),
        pytest.param(frame(ipv4(udp()), to=b"\xff" * 6), id="broadcast"),
        pytest.param(frame(ipv4(udp(), options=b"\1\1\1\0")), id="options"),
        pytest.param(frame(ipv4(udp())[:10] + b"\0\0" + ipv4(udp())[12:]), id="bad checksum"),
        pytest.param(frame(ipv4(udp(), length=200)), id="length beyond the frame"),
        pytest.param(frame(ipv4(udp(), length=19)), id="length below the header"),
        pytest.param(frame(ipv6(b"\x11\0\0\0\0\0\0\0" + udp(), 0)), id="extension header"),
        pytest.param(frame(ipv6(b"\x11\0\0\0\0\0\0\0" + udp(), 44)), id="IPv6 fragment"),
        pytest.param(frame(ipv6(udp(), src=0xFF02 << 112 | 1)), id="from a group"),
        pytest.param(frame(ipv6(udp(), src=1)), id="from the loopback address"),
        pytest.param(frame(ipv4(udp(), dst=0x0B000001)), id="to an address that is not protected"),
        pytest.param(frame(ipv4(udp()), kind=b"\x81\x00\x00\x07\x08\x00"), id="VLAN tag"),
        pytest.param(frame(ipv4(udp()), kind=b"\x86\xdd"), id="IPv4 that calls itself IPv6"),
        pytest.param(frame(ipv4(udp()))[:20], id="cut"),
    ],
)
def test_what_is_left_to_the_kernel_and_nftables(sent: bytes) -> None:
    with EarlyLab() as lab:
        lab.install(parse_policy(NAMED))
        lab.passes(sent)
        assert lab.dropped_early("acme") == 0


def test_the_default_is_dropped_early_where_all_rules_are_known() -> None:
    policy = parse_policy(f'early_drop {INTERFACE}\nprotect 10.0.0.0/8\ntenant acme\nallow "dns" when udp.dstport == 53\ndefault block\n')
    assert [front.with_default for front in fronts(policy, Environment())] == [True, True]
    with EarlyLab() as lab:
        lab.install(policy)
        assert [lab.passes(frame(ipv4(udp(1, port)))) for port in (53, 54)] == [True, False]
        assert lab.counters() == {"dns": (1, 28)}


def test_the_example_judges_its_capture_as_the_reference_does() -> None:
    path = Path(__file__).parents[2] / "examples/early-drop.rules"
    policy = replace(load_policy(path), early_drop=(INTERFACE,))
    with EarlyLab() as lab:
        lab.install(policy)
        for entry in replay(policy, path.with_suffix(".pcap"), "reference"):
            assert lab.passes(frame(entry.frame.data[14:])) == (entry.record.outcome == Outcome.PASSED.value), entry.record
        assert lab.dropped_early("shop") == 4  # the default is not counted


def test_rules_behind_one_that_may_concern_every_packet_are_not_judged_early() -> None:
    policy = parse_policy(
        f'early_drop {INTERFACE}\nprotect 10.0.0.0/8\nblock "first" when ip.src == 10.0.0.1\nlog "dns" when dns and ip.ttl > 3\n'
        'block "second" when tcp\ncount "any" when ip.ttl < 5\nblock "third" when udp\n'
    )
    front, _ = fronts(policy, Environment())
    assert [rule.name for _, rule in front.members] == ["first", "second"]
    assert front.end == '"any" may concern every packet'


def test_counts_go_on_over_changes_and_when_the_rules_go() -> None:
    with EarlyLab() as lab:
        for expected, said in enumerate((NAMED, BLOCKS.format(""), NAMED, NAMED + 'block "tcp" when tcp\n'), 1):
            lab.install(parse_policy(said))
            assert not lab.passes(frame(ipv4(udp())))
            assert lab.counters() == {"bad": (expected, 28 * expected)}
        lab.install(parse_policy(NAMED.replace('"bad"', '"worse"')))
        assert lab.counters() == {}


def test_nothing_is_left_at_the_interface_when_the_tenant_goes() -> None:
    with EarlyLab() as lab:
        lab.install(parse_policy(NAMED))
        lab.namespace.call(lab.kernel.remove, "acme")
        assert lab.passes(frame(ipv4(udp())))
        lab.install(parse_policy(BLOCKS.format("")))
        assert not (lab.kernel._pins.root / "_early").exists()


def test_a_sweep_takes_away_what_nftables_does_not_enforce_any_more() -> None:
    with EarlyLab() as lab:
        lab.install(parse_policy(NAMED))
        lab.namespace.call(nft.run, "delete table inet mantlet\n")
        lab.namespace.call(lab.kernel.sweep)
        assert lab.passes(frame(ipv4(udp())))


def test_another_s_xdp_program_stays_and_nftables_goes_on() -> None:

    with EarlyLab() as lab, ExitStack() as stack:
        program = stack.enter_context(load(_pass_image()))
        link = lab.namespace.call(xdp.attach, program, lab.namespace.call(socket.if_nametoindex, INTERFACE))
        lab.install(parse_policy(NAMED))
        assert lab.modes("acme") == [(INTERFACE, "another XDP program is there")]
        assert not lab.passes(frame(ipv4(udp())))
        assert lab.counters() == {"bad": (1, 28)}
        link.close()
        lab.namespace.call(lab.kernel.sweep)
        assert lab.modes("acme") == [(INTERFACE, "native")]


def test_an_interface_that_is_not_there_is_told_and_taken_up_when_it_comes() -> None:

    with EarlyLab() as lab:
        lab.install(parse_policy(BLOCKS.format("early_drop later0\n")))
        assert lab.modes("acme") == [("later0", "there is no such interface")]
        tap = lab.namespace.tap("later0", mac=MAC)
        lab.namespace.call(lab.kernel.sweep)
        assert lab.modes("acme") == [("later0", "native")]
        os.close(tap)
        assert lab.modes("acme") == [("later0", "there is no such interface")]
        lab.namespace.call(lab.kernel.sweep)


def test_each_tenant_has_its_own_rules_at_one_interface() -> None:
    with EarlyLab() as lab:
        other = "tenant other\n" + f'early_drop {INTERFACE}\nprotect 192.0.2.0/24\nblock "udp" when udp\n'
        lab.install(parse_policy(NAMED))
        lab.install(parse_policy(other))
        both = [ipv4(udp(), dst=0xC0000205), ipv4(udp(), src=9), ipv4(udp())]
        assert [lab.passes(frame(each)) for each in both] == [False, True, False]
        assert lab.counters() == {"udp": (1, 28), "bad": (1, 28)}
        assert lab.dropped_early("other") == 1
        lab.namespace.call(lab.kernel.remove, "other")
        assert [lab.passes(frame(each)) for each in both] == [True, True, False]


def test_frames_over_a_wire_are_dropped_in_the_driver() -> None:
    said = (
        f"tenant acme\nearly_drop wire0\nprotect {RECEIVER} {RECEIVER6}\n"
        f'block "bad" when udp.dstport == {PORT} and ip.src in {{ {SENDER} {SENDER6} }}\n'
    )
    with Wire() as wire:
        wire.install(render(plan(parse_policy(said), Environment()), 1))
        assert wire.arrived(b"a", b"b") == []
        assert wire.arrived(b"c", version=6) == []
        assert wire.counts() == {"bad": 5}
        assert [each.mode for each in wire.at(Kernel.early_drop, "acme")] == [Mode.NATIVE]
