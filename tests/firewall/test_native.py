"""Every nft match that the lowering makes says exactly its test: text, and verdicts of the kernel against the reference."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from generators.expressions import Expressions
from generators.packets import packets
from generators.pools import INTERFACES, MARKS
from kernel_lab import GROUP, KernelLab, ipv4, ipv6, tcp, udp

from firewall.match import Match, PacketClass
from firewall.native import match_text, native
from firewall.plan import Environment, Node, plan
from firewall.render import render
from firewall.replay.admission import refusal
from rules_dsl import parse_expression
from rules_dsl.expression import Expression, Not
from rules_dsl.fields import FIELDS, Field, Type
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy, Rule
from rules_dsl.reference import holds

VLAN_INTERFACES = {"eth0.10": 10, "eth0.100.200": 100}
NODE = Node("ams1", "weur")


@pytest.fixture(scope="module")
def lab() -> Iterator[KernelLab]:
    with KernelLab((*INTERFACES, *VLAN_INTERFACES)) as opened:
        yield opened


def text(expression: str, packets: PacketClass = PacketClass.IP4) -> str:
    """nft's words for a single test; `not native` where it has none."""
    test = parse_expression(expression)
    answer = native(test, packets, VLAN_INTERFACES)  # type: ignore[arg-type]
    if isinstance(answer, str):
        return "not native"
    return str(answer) if isinstance(answer, bool) else " ".join(match_text(match) for match in answer)


@pytest.mark.parametrize(
    ("expression", "packets", "words"),
    [
        ("ip.src == 10.0.0.1", PacketClass.IP4, "ip saddr == 10.0.0.1"),
        ("ip.dst in {10.0.0.0/8 192.0.2.1}", PacketClass.IP4, "ip daddr { 10.0.0.0-10.255.255.255, 192.0.2.1 }"),
        ("ip.dst == 2001:db8::/32", PacketClass.IP6, "ip6 daddr == 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("ip.src == 10.0.0.1", PacketClass.IP6, "False"),
        ("ip.src in {0.0.0.0/0}", PacketClass.IP4, "True"),
        ("ip.proto == 6", PacketClass.IP6, "meta l4proto == 6"),
        ("ip.proto == 6", PacketClass.IP6_ODD, "not native"),
        ("ip.proto >= 58", PacketClass.IP6_LATER, "meta l4proto == 58-255"),
        ("ip.len > 100", PacketClass.IP6, "ip6 length == 61-65535"),
        ("ip.hdr_len > 20", PacketClass.IP4, "@nh,0,8 & 0xf == 0x6-0xf"),
        ("ip.dscp == 46", PacketClass.IP6, "@nh,0,16 & 0xfc0 == 0xb80"),
        ("ip.opt.type == 148", PacketClass.IP4, "@nh,0,8 & 0x0f == 0x6-0xf @nh,160,8 == 0x94"),
        ("ip.frag", PacketClass.IP4, "@nh,48,16 & 0x3fff != 0x0"),
        ("ip.frag", PacketClass.IP6, "exthdr frag exists"),
        ("ip.frag.offset >= 100", PacketClass.IP6_LATER, "frag frag-off == 13-8191"),
        ("ipv6.exthdr == 60", PacketClass.IP6, "exthdr dst exists"),
        ("ipv6.exthdr == 51", PacketClass.IP6_ODD, "not native"),
        ("tcp.dstport == 80", PacketClass.IP4, "tcp dport == 80"),
        ("tcp.dstport in {0..65535}", PacketClass.IP4, "tcp dport == 0-65535"),
        ("tcp.flags.syn", PacketClass.IP4, "@th,104,8 & 0x2 != 0x0"),
        ("tcp.flags & 0x12", PacketClass.IP4, "@th,104,8 & 0x12 != 0x0"),
        ("tcp", PacketClass.IP4, "@th,96,8 == 0x50-0xff @th,152,8 & 0x0 == 0x0"),
        ("udp", PacketClass.IP4, "@th,56,8 & 0x0 == 0x0"),
        ("tcp.hdr_len > 20", PacketClass.IP4, "@th,96,8 & 0xf0 == 0x60-0xf0"),
        ("bit_slice(tcp, 103, 105) == 2", PacketClass.IP4, "@th,96,16 & 0x180 == 0x100"),
        ("meta.mark in {1..5}", PacketClass.IP4, "meta mark == 0x1-0x5"),
        ('interface.in == "eth0"', PacketClass.IP4, 'iifname == "eth0"'),
        ('starts_with(interface.in, "eth")', PacketClass.IP4, 'iifname == "eth*"'),
        ('interface.in strict wildcard "eth*"', PacketClass.IP4, 'iifname == "eth*"'),
        ('interface.in contains "th"', PacketClass.IP4, "not native"),
        ('interface.in == "a-name-longer-than-15"', PacketClass.IP4, "False"),
        ("vlan.id == 100", PacketClass.IP4, 'iifname == "eth0.100.200"'),
        ("vlan.id == 7", PacketClass.IP4, "False"),
        ('tcp.payload contains "x"', PacketClass.IP4, "not native"),
        ("tcp.payload.len > 0", PacketClass.IP4, "not native"),
    ],
)
def test_words(expression: str, packets: PacketClass, words: str) -> None:
    assert text(expression, packets) == words


def test_a_negated_match() -> None:
    assert match_text(Match("ip ttl", ((1, 5), (9, 9)), negated=True)) == "ip ttl != { 1-5, 9 }"


# -- in the kernel


def random_packets(rng: random.Random, count: int) -> list[Packet]:
    found: list[Packet] = []
    for data in packets(rng, 2 * count):
        if refusal(data) is None:
            name = rng.choice((*INTERFACES, *VLAN_INTERFACES))
            place = Place(name, None, rng.choice(MARKS), VLAN_INTERFACES.get(name), NODE.name, NODE.region)
            found.append(Packet(data, place))
    return found[:count]


def disagreements(lab: KernelLab, predicates: list[Expression], tried: list[Packet]) -> list[str]:
    rules = tuple(Rule(f"{n}", Action.COUNT, Mode.ENABLED, each, "") for n, each in enumerate(predicates))
    lab.install(render(plan(Policy("acme", rules), Environment(NODE, VLAN_INTERFACES)), 1, observe=GROUP))
    found = []
    for packet, prefixes in zip(
        tried, lab.send_all([(each.data, each.place.interface_in or "", each.place.mark) for each in tried]), strict=True
    ):
        assert prefixes[-1:] == ["default"], packet.data.hex()
        hits = set(prefixes)
        found += [f"{each} {packet.data.hex()}" for n, each in enumerate(predicates) if (str(n) in hits) != holds(each, packet)]
    return found


def has_native_form(field: Field) -> bool:
    """Fields that nft can load in some class of packets."""
    return bool(field.at) or (field.type is not Type.BYTES and field.group in ("ip", "place", "l4") and not field.name.endswith(".len"))


@pytest.mark.kernel
@pytest.mark.parametrize("group", ["address", "ip", "l4", "place"])
def test_every_field_and_its_opposite(lab: KernelLab, group: str) -> None:
    """Each field with boundary values and with values that the packets have, plain and negated, over packets of every kind."""
    rng = random.Random(group)
    tried = random_packets(rng, 250)
    source = Expressions(rng, near=tried)
    wanted = [field for field in source.fields if field.group == group and has_native_form(field)]
    predicates: list[Expression] = []
    for field in wanted:
        for _ in range(5):
            test = source.test_of(field)
            predicates += [test, Not(test)]
    assert not disagreements(lab, predicates, tried)


EDGES = """
tcp.dstport in {0..65535}; not tcp.dstport in {0..65535}; udp.srcport >= 0; icmp.type in {0..255}; esp.spi >= 0; tcp.seq >= 0
meta.mark >= 0; meta.mark == 0xffffffff; meta.mark in {1..0xfffffffe}; ip.id in {0..65535}; ip.ttl >= 0; ip.ttl < 255; ip.ttl == 0
ip.src in {0.0.0.0/0}; ip.src in {::/0}; not ip.src in {0.0.0.0/0}; ip.dst == 255.255.255.255; ip.dst in {0.0.0.0/1 128.0.0.0/1}
ip.frag.offset >= 0; ip.frag.offset == 65528; ip.frag.offset == 0; not ip.frag.offset == 0; ip.frag; not ip.frag; ip.frag.more
ip.proto in {0..255}; not ip.proto in {0..255}; ip.proto == 59; ip.proto == 44; ip.proto == 51; ip.proto == 6; ip.proto != 17
ipv6.exthdr in {0..255}; not ipv6.exthdr >= 44; ipv6.exthdr == 51; ipv6.exthdr == 60; all(ipv6.exthdr == 44)
bit_slice(ip, 2040, 2072) >= 0; bit_slice(tcp, 2040, 2048) >= 0; bit_slice(tcp, 0, 32) > 0x500000; bit_slice(ip, 300, 321) >= 0
tcp; not tcp; udp; icmp; icmpv6; sctp; gre; esp; not icmp; ip.flags.df; ip.opt.type >= 0; ip.hdr_len >= 24; ip.len in {20..28}
ip.checksum.valid; tcp.dstport == 80 and udp.dstport == 80; tcp.dstport == 80 or udp.dstport == 80; tcp.dstport == 80 xor ip.ttl == 64
ip.proto != 6 and udp.dstport == 53; ip.proto == 17 and udp.dstport == 53; ip.proto == 6 and udp.dstport == 53; tcp.flags & 2
tcp.dstport == 80 and not tcp.flags.syn; tcp.flags.syn and tcp.dstport != 80; tcp.dstport == 80 and tcp.srcport != 1000
tcp and tcp.window != 0; not tcp.flags.ack and tcp.dstport == 80; udp and udp.length != 8; tcp.dstport != 80 and tcp.srcport != 1000
"""


def special_packets() -> list[bytes]:
    """Packets at the edges of what nft and the reference could see differently: cuts byte by byte, fragments, extension headers."""

    def after(kind: int, header: bytes, *rest: bytes) -> bytes:
        return ipv6(header + b"".join(rest), kind)

    def fragment(following: int, offset: int = 0, more: int = 0) -> bytes:
        return bytes([following, 0]) + (offset << 3 | more).to_bytes(2, "big") + bytes(4)

    def extension(following: int) -> bytes:
        return bytes([following, 0, 1, 4, 0, 0, 0, 0])

    def authentication(following: int) -> bytes:
        return bytes([following, 4, 0, 0]) + bytes(20)

    segment, datagram = tcp(destination=80), udp(destination=53)
    found = [ipv4(segment[:end], 6) for end in range(21)] + [ipv6(segment[:end], 6) for end in range(21)]
    found += [ipv4(datagram[:end], 17, fragment=flags) for end in range(9) for flags in (0, 0x2000, 1, 0x1FFF, 0x4000)]
    found += [ipv4(segment, 6, options=bytes([148, 4, 0, 0])), ipv4(segment, 6, options=bytes(40)), ipv4(b"", 59), ipv6(b"", 59)]
    found += [ipv4(segment, 6, src=0, dst=0xFFFFFFFF), ipv4(segment, 6, ttl=0), ipv4(segment, 6, ttl=255), ipv6(segment, 6, hop_limit=0)]
    for following, data in ((6, segment), (17, datagram), (59, b""), (60, extension(6) + segment), (44, fragment(6) + segment)):
        for offset in (0, 1, 8191):
            found += [after(44, fragment(following, offset, 1), data), after(44, fragment(following, offset), data)]
            found.append(after(60, extension(44), fragment(following, offset), data))
            found.append(after(51, authentication(44), fragment(following, offset), data))
            found.append(after(44, fragment(44), fragment(following, offset), data))
            found.append(after(44, fragment(60), extension(44), fragment(following, offset), data))
        found += [after(51, authentication(following), data), after(44, fragment(51), authentication(following), data)]
    found += [after(44, fragment(6)[:end]) for end in range(9)] + [after(51, authentication(6)[:end]) for end in (0, 1, 2, 8)]
    found += [after(60, extension(6)[:end]) for end in range(9)] + [after(43, bytes([6, 0, 4, 0])[:end]) for end in range(5)]
    return found


@pytest.mark.kernel
def test_edges(lab: KernelLab) -> None:
    tried = [
        Packet(data, Place("eth0", None, mark, None, NODE.name, NODE.region)) for data in special_packets() for mark in (0, 0xFFFFFFFF)
    ]
    assert all(refusal(packet.data) is None for packet in tried)
    assert not disagreements(lab, [parse_expression(each) for line in EDGES.split("\n") for each in line.split("; ") if each], tried)


def test_the_catalogue_has_no_field_without_a_test() -> None:
    """`test_every_field_and_its_opposite` goes by group."""
    assert {field.group for field in FIELDS.values()} - {"protocol"} == {"address", "ip", "l4", "place"}
