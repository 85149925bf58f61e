"""Replay: what is judged and what is not, by the reference and by the kernel; the kernel engine's own ways; records."""

import json
import os
import random
import resource
import struct
import subprocess
from collections.abc import Iterator

import pytest
from generators.expressions import Expressions
from generators.packets import damaged, packets
from judge.corpus import CORPUS

from firewall.capture import CaptureError, Frame, read
from firewall.capture_write import write_pcap
from firewall.generation import Generation
from firewall.plan import Node
from firewall.replay import Options, Record, Replayed, replay, write_pcapng
from firewall.replay.admission import repair_checksum
from firewall.replay.arrival import arrival_of
from firewall.replay.kernel_engine import EngineUnavailableError, KernelEngine, compiled
from firewall.replay.record import TABLE_HEAD, Fate
from firewall.replay.run import BATCH, EngineName
from rules_dsl import DiagnosticError, parse_policy
from rules_dsl.policy import Policy, Protect

engines = pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])

ETHERNET_V4, ETHERNET_V6 = bytes(12) + b"\x08\x00", bytes(12) + b"\x86\xdd"


def udp(port: int = 53, payload: bytes = b"", *, source: str = "0a000001", destination: str = "c0000201", ttl: int = 64) -> bytes:
    """An IPv4 packet."""
    length = 28 + len(payload)
    head = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, ttl, 17, 0) + bytes.fromhex(source + destination)
    return repair_checksum(head + struct.pack("!HHHH", 1000, port, length - 20, 0) + payload)


def udp6(port: int = 53, *, source: int = 2) -> bytes:
    addresses = bytes(15) + bytes([source]) + bytes.fromhex("20010db8") + bytes(12)
    return struct.pack("!IHBB", 6 << 28, 8, 17, 64) + addresses + struct.pack("!HHHH", 1000, port, 8, 0)


def capture(*frames: bytes | Frame, link_type: int = 1, interface: str = "eth0") -> list[Frame]:
    """Numbered frames; bytes become frames of that link type."""
    made = (frame if isinstance(frame, Frame) else Frame(0, 0, frame, link_type, len(frame), interface) for frame in frames)
    return [frame._replace(number=number) for number, frame in enumerate(made, 1)]


def frame(data: bytes, link_type: int = 1, *, interface: str = "eth0", original: int | None = None) -> Frame:
    return Frame(0, 0, data, link_type, len(data) if original is None else original, interface)


def fates(policy: Policy | str, frames: list[Frame], engine: EngineName, options: Options | None = None) -> list[Fate]:
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    return [replayed.record.fate for replayed in replay(policy, frames, engine, options or Options())]


# -- what the two engines have in common -------------------------------------------------------------------------------


@engines
def test_each_action_gives_its_verdict_and_outcome(engine):
    policy = """
        tenant acme
        count         "counted"  when udp
        log           "logged"   when udp.dstport == 1
        monitor block "watched"  when udp.dstport in {1 2}
        disabled block "off"     when udp
        allow         "allowed"  when udp.dstport == 3
        block         "blocked"  when udp.dstport == 4
        reject        "rejected" when udp.dstport == 5
        block         "never"    when udp.dstport == 4
    """
    frames = capture(*(ETHERNET_V4 + udp(port) for port in (1, 2, 3, 4, 5, 6)), ETHERNET_V6 + udp6(4))
    assert fates(policy, frames, engine) == [
        Fate("log", "passed", "logged"),
        Fate("block", "passed", "watched"),
        Fate("allow", "passed", "allowed"),
        Fate("block", "dropped", "blocked"),
        Fate("reject", "rejected", "rejected"),
        Fate("default", "passed", None),
        Fate("block", "dropped", "blocked"),
    ]


@engines
@pytest.mark.parametrize(("default", "outcome"), [("allow", "passed"), ("block", "dropped"), ("reject", "rejected")])
def test_default(engine, default, outcome):
    assert fates(f"tenant acme\ndefault {default}", capture(udp(), udp6(), link_type=101), engine) == 2 * [Fate("default", outcome, None)]


@engines
@pytest.mark.parametrize("hook", ["forward", "input", "output"])
def test_rules_of_another_hook_are_judged_at_prerouting(engine, hook):
    assert fates(f'tenant acme\nhook {hook}\nblock "all" when ip', capture(udp(), link_type=101), engine) == [
        Fate("block", "dropped", "all")
    ]


@engines
def test_frames_that_no_rule_sees_are_not_judged_and_say_why(engine):
    short = ETHERNET_V4 + udp(53, bytes(100))
    frames = capture(
        ETHERNET_V4[:12] + b"\x08\x06" + bytes(28),
        frame(udp(), 105),
        frame(short[:60], original=len(short)),
        frame(ETHERNET_V4 + udp()[:10], original=42),
        ETHERNET_V4 + udp()[:-1],
        ETHERNET_V4 + udp6(),
        ETHERNET_V6 + udp6(source=1),
        b"",
    )
    found = fates("tenant acme\nblock when true", frames, engine)
    assert {(fate.verdict, fate.outcome, fate.rule) for fate in found} == {(None, "not judged", None)}
    assert [fate.reason for fate in found] == [
        "ARP, not IP",
        "link type 105 (IEEE 802.11) is not supported",
        "cut by the capture: 82 bytes of the frame are missing",
        "cut by the capture: 18 bytes of the frame are missing",
        "the kernel drops it: the IPv4 total length is 28 bytes, the frame holds 27",
        "IPv4 by its link header, version 6 by its own: the kernel drops it",
        "the kernel drops it: the IPv6 source is the loopback address",
        "cut inside its link header (0 bytes captured)",
    ]


@engines
def test_broken_ipv4_checksums_are_repaired(engine):
    broken = bytearray(udp())
    broken[10:12] = b"\xde\xad"
    options = bytearray(repair_checksum(b"\x46\0\0\x20" + udp()[4:20] + b"\x94\4\0\0" + udp()[20:]))
    options[11] ^= 1
    frames = capture(bytes(broken), bytes(options), link_type=101)
    assert fates('tenant acme\nblock "right" when ip.checksum.valid', frames, engine) == 2 * [Fate("block", "dropped", "right")]


@engines
def test_only_protected_traffic_is_judged(engine):
    policy = """
        tenant acme
        protect 192.0.2.0/25 2001:db8::/64
        block "all" when ip
    """
    outside = Fate(None, "not judged", None, "outside what these rules protect")
    inside = Fate("block", "dropped", "all")
    packets_ = (udp(destination="c000027f"), udp(destination="c0000280"), udp6(), udp6()[:24] + b"\x20\x02" + udp6()[26:])
    assert fates(policy, capture(*packets_, link_type=101), engine) == [inside, outside, inside, outside]


@engines
def test_protected_interfaces_and_marks(engine):
    frames = capture(frame(udp(), 101, interface="wan0"), frame(udp(), 101, interface="lan0"))
    inside, outside = Fate("block", "dropped", "all"), Fate(None, "not judged", None, "outside what these rules protect")
    by_interface = 'tenant acme\nprotect interface "wan0"\nblock "all" when ip'
    assert fates(by_interface, frames, engine) == [inside, outside]
    by_mark = 'tenant acme\nprotect mark 0x10\nblock "all" when ip'
    assert fates(by_mark, frames, engine) == [outside, outside]
    assert fates(by_mark, frames, engine, Options(mark=0x10)) == [inside, inside]


@engines
def test_the_place_of_a_packet(engine):
    policy = """
        tenant acme
        block "node"      when cf.colo.name == "fra1" and cf.colo.region == "EU" and udp.dstport == 1
        block "mark"      when meta.mark == 0x2a and udp.dstport == 2
        block "interface" when interface.in == "lo"
        block "inner"     when interface.in == "wan0.10.20"
        block "vlan"      when vlan.id == 10
        block "untagged"  when not vlan.id in {0..4095}
    """
    tag = struct.pack("!HH", 0x8100, 10)
    frames = capture(
        ETHERNET_V4 + udp(1),
        ETHERNET_V4 + udp(2),
        frame(ETHERNET_V4 + udp(3), interface="lo"),
        frame(bytes(12) + tag + b"\x08\x00" + udp(3), interface="wan0"),
        frame(bytes(12) + tag + b"\x81\x00\x00\x14\x08\x00" + udp(3), interface="wan0"),
        frame(bytes(12) + b"\x81\x00\x00\x14" + b"\x08\x00" + udp(3), interface="wan0"),
        frame(ETHERNET_V4 + udp(3), interface="a name that is no interface's"),
    )
    found = fates(policy, frames, engine, Options(Node("fra1", "EU"), mark=42))
    assert [fate.rule for fate in found] == ["node", "mark", "interface", "vlan", "inner", None, "untagged"]


@engines
def test_link_types_and_padding(engine):
    v4, v6 = udp(7), udp6(7)
    frames = capture(
        ETHERNET_V4 + v4 + b"evil evil evil",
        frame(v4, 101),
        frame(v6, 229),
        frame(b"\2\0\0\0" + v4, 0),
        frame(b"\0\0\0\x1e" + v6, 108),
        frame(bytes(14) + b"\x08\x00" + v4, 113),
        frame(b"\x86\xdd" + bytes(18) + v6, 276),
    )
    policy = 'tenant acme\nblock "padding" when payload contains "evil"\nallow "port" when udp.dstport == 7 and payload.len == 0'
    assert fates(policy, frames, engine) == 7 * [Fate("allow", "passed", "port")]


@engines
def test_more_frames_than_a_batch_keep_their_order(engine):
    frames = capture(*(udp(number % 7) for number in range(2 * BATCH + 5)), link_type=101)
    policy = parse_policy('tenant acme\nblock "three" when udp.dstport == 3\nlog "five" when udp.dstport == 5')
    records = [replayed.record for replayed in replay(policy, frames, engine)]
    assert [record.frame for record in records] == list(range(1, 2 * BATCH + 6))
    assert [record.rule for record in records] == [{3: "three", 5: "five"}.get(number % 7) for number in range(2 * BATCH + 5)]


@engines
def test_a_cut_capture_is_judged_up_to_the_cut(engine, tmp_path):
    path = tmp_path / "x.pcap"
    write_pcap(path, capture(udp(1), udp(2), udp(3), link_type=101), link_type=101)
    path.write_bytes(path.read_bytes()[:-5])
    for test in ("udp.dstport == 2", "udp.dstport == 2 and not vlan.id == 3"):  # the second reads the capture twice
        found: list[Replayed] = []
        with pytest.raises(CaptureError, match="cut in a frame: 23 of 28 bytes are there, at byte 112, frame 3"):
            take(replay(parse_policy(f"tenant acme\nblock when {test}"), path, engine), found)
        assert [replayed.record.verdict for replayed in found] == ["default", "block"]


def take(replayed: Iterator[Replayed], found: list[Replayed]) -> None:
    """What comes before an error is in `found`."""
    for one in replayed:
        found.append(one)


@engines
def test_what_cannot_be_enforced_yet_is_refused(engine):
    with pytest.raises(DiagnosticError, match="E09"):
        fates('tenant acme\nblock "state" when ct.state == "new"', capture(udp(), link_type=101), engine)


def test_a_capture_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(CaptureError, match=r"x\.pcap: cannot be opened: no such file or directory"):
        list(replay(Policy("acme", ()), tmp_path / "x.pcap", "reference"))


# -- the kernel engine -------------------------------------------------------------------------------------------------

REPORTS = 'add chain inet mantlet acme.r1.entry\nadd rule inet mantlet acme.r1.entry log prefix "{}" group 1 {}\n'


def by_hand(policy: Policy, nft: str) -> Generation:
    return Generation(policy.tenant, 1, "acme.r1", "acme.r1.entry", policy.hook, Protect(), nft)


@pytest.mark.kernel
def test_the_verdict_is_the_kernels():
    """Rules in the kernel that say something else than the policy: the kernel engine tells what they say."""
    policy = parse_policy('tenant acme\nblock "a" when udp.dstport == 1\nallow "b" when udp.dstport == 2')
    arrivals = [arrival_of(one) for one in capture(udp(1), udp(2), udp(3), link_type=101)]
    with KernelEngine(policy, by_hand(policy, REPORTS.format(1, "accept"))) as engine:
        assert engine.judge(arrivals) == 3 * [Fate("allow", "passed", "b")]


@pytest.mark.kernel
def test_a_packet_that_vanishes_without_a_reason_says_so():
    policy = Policy("acme", ())
    nft = "add chain inet mantlet acme.r1.entry\nadd rule inet mantlet acme.r1.entry drop\n"
    with KernelEngine(policy, by_hand(policy, nft)) as engine:
        assert engine.judge([arrival_of(one) for one in capture(udp(), link_type=101)]) == [
            Fate(None, "not judged", None, "the kernel dropped it before any rule, reason unknown")
        ]


@pytest.mark.kernel
def test_an_incomplete_report_is_a_fault_and_no_verdict():
    policy = parse_policy('tenant acme\nlog "a" when udp')
    with KernelEngine(policy, by_hand(policy, REPORTS.format(0, "accept"))) as engine, pytest.raises(AssertionError):
        engine.judge([arrival_of(one) for one in capture(udp(), link_type=101)])


@pytest.mark.kernel
def test_reports_that_get_lost_are_asked_for_again_in_smaller_batches():
    policy = parse_policy("tenant acme\n" + "".join(f'log "rule {n}" when udp.dstport >= {n}\n' for n in range(8)))
    arrivals = [arrival_of(one) for one in capture(*(udp(n % 9) for n in range(1000)), link_type=101)]
    generation = compiled(policy, Node(), {})
    with KernelEngine(policy, generation) as engine:
        expected = engine.judge(arrivals)
    with KernelEngine(policy, generation, receive_bytes=60_000) as engine:
        assert engine.judge(arrivals) == expected


@pytest.mark.kernel
def test_a_packet_of_the_greatest_length():
    great = udp(9, bytes(65535 - 36) + b"the end!")
    policy = parse_policy('tenant acme\nblock "end" when ip.len == 65535 and payload contains "the end!"')
    assert fates(policy, capture(ETHERNET_V4 + great), "both") == [Fate("block", "dropped", "end")]


@pytest.mark.kernel
def test_a_capture_may_have_more_interfaces_than_a_process_files():
    names = [f"eth{number}" for number in (*range(90), *range(90))]
    frames = capture(*(frame(ETHERNET_V4 + udp(), interface=name) for name in names))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 40, limits[1]))
    try:
        found = fates('tenant acme\nblock "89" when interface.in == "eth89"', frames, "kernel")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [index for index, fate in enumerate(found) if fate.rule == "89"] == [89, 179]


@engines
def test_an_interface_named_like_a_vlan_is_that_vlan(engine):
    policy = 'tenant acme\nblock "10" when interface.in == "eth0.10" and vlan.id == 10\nblock "other" when vlan.id > 0'
    tagged = ETHERNET_V4[:12] + b"\x81\x00\x00\x0a\x08\x00" + udp()
    frames = capture(
        frame(ETHERNET_V4 + udp(), interface="eth0.10"), tagged, ETHERNET_V4 + udp(), frame(ETHERNET_V4 + udp(), interface="eth0.11")
    )
    assert [fate.rule for fate in fates(policy, frames, engine)] == ["10", "10", None, "other"]


@engines
@pytest.mark.parametrize("name", ["all", "default", "lo", "any", "%d", "eth0:1", "mantlet~end", "é", "a/b", "x" * 40])
def test_any_name_of_an_interface_does(engine, name):
    assert fates("tenant acme", capture(udp(), link_type=101, interface=name), engine) == [Fate("default", "passed", None)]


@pytest.mark.kernel
def test_the_hosts_namespace_is_left_alone():
    def interfaces() -> str:
        return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout

    before, inside = interfaces(), os.readlink("/proc/self/ns/net")
    for _ in replay(parse_policy("tenant acme\nblock when payload.len > 3"), capture(udp(), link_type=101), "kernel"):
        assert interfaces() == before
        assert os.readlink("/proc/self/ns/net") == inside


@pytest.mark.kernel
def test_without_root_the_kernel_engine_says_what_it_needs():
    os.seteuid(65534)
    try:
        with pytest.raises(EngineUnavailableError) as raised:
            fates("tenant acme", capture(udp(), link_type=101), "kernel")
    finally:
        os.seteuid(0)
    assert str(raised.value) == (
        "the kernel engine cannot run here: no network namespace of its own: Operation not permitted (needs root, or CAP_SYS_ADMIN)"
    )


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_both_engines_agree_on_random_policies_and_damaged_packets():
    rng = random.Random(20)
    for _ in range(6):
        whole = packets(rng, 250, padding=True, longest=2000)
        data = [damaged(rng, packet) if rng.random() < 0.3 else packet for packet in whole]
        frames = capture(*(frame(one, 101) for one in data))
        policy = Expressions(rng, place=False).policy(8)
        assert [str(replayed.difference) for replayed in replay(policy, frames, "both") if replayed.difference] == []


@pytest.mark.kernel
def test_both_engines_agree_on_captures_of_the_corpus():
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is missing")
    policy = parse_policy("""
        tenant acme
        log    "dns"      when udp.dstport == 53
        block  "words"    when udp.payload contains "google" or tcp.payload contains "GET"
        block  "fragment" when ip.frag and ip.len > 100
        allow  "vlan"     when vlan.id in {100..300}
        allow  "web"      when tcp.dstport in {80 443} and tcp.flags.ack
        reject "short"    when payload.len < 20
        default block
    """)
    seen = set()
    for path in sorted(CORPUS.glob("*/*.pcap*"))[::16]:
        for _, record, difference in replay(policy, path, "both"):
            assert difference is None, f"{path}: {difference}"
            seen.add(record.rule)
    assert len(seen) > 4


# -- records -----------------------------------------------------------------------------------------------------------


def test_a_judged_record_as_json_has_exactly_these_keys():
    record = Record(3, Fate("block", "dropped", "DNS ANY"), "kernel")
    assert record.as_json() == '{"frame": 3, "verdict": "block", "outcome": "dropped", "rule": "DNS ANY", "engine": "kernel"}'
    record = Record(4, Fate("default", "passed", None), "both")
    assert json.loads(record.as_json()) == {"frame": 4, "verdict": "default", "outcome": "passed", "rule": None, "engine": "both"}


def test_a_record_that_was_not_judged_as_json_has_a_reason():
    record = Record(3, Fate(None, "not judged", None, 'ARP, "not" IP'), "reference")
    assert json.loads(record.as_json()) == {
        "frame": 3, "verdict": None, "outcome": "not judged", "rule": None, "engine": "reference", "reason": 'ARP, "not" IP',
    }  # fmt: skip


def test_the_table():
    rows = [
        Record(1, Fate("block", "dropped", "DNS ANY"), "kernel").as_row(),
        Record(20, Fate("default", "passed", None), "kernel").as_row(),
        Record(300, Fate(None, "not judged", None, "ARP, not IP"), "kernel").as_row(),
    ]
    assert "\n".join([TABLE_HEAD, *rows]) == (
        "   frame  verdict  outcome     rule\n"
        '       1  block    dropped     "DNS ANY"\n'
        "      20  default  passed      (default)\n"
        "     300  -        not judged  ARP, not IP"
    )


def test_pcapng_output_has_the_verdict_as_packet_comment(tmp_path):
    path = tmp_path / "x.pcapng"
    frames = capture(ETHERNET_V4 + udp(53), ETHERNET_V4 + udp(54), bytes(12) + b"\x08\x06" + bytes(28), frame(udp(), 101, interface="tun0"))
    replayed = list(replay(parse_policy('tenant acme\nblock "dns" when udp.dstport == 53'), frames, "reference"))
    write_pcapng(path, frames, (one.record for one in replayed))
    assert list(read(path)) == frames
    try:
        shown = subprocess.run(["tshark", "-r", path, "-T", "fields", "-e", "frame.comment"], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("tshark is not installed")
    assert shown.stdout.splitlines() == [
        'mantlet: block by "dns", dropped (reference)',
        "mantlet: by default, passed (reference)",
        "mantlet: not judged, ARP, not IP",
        'mantlet: block by "dns", dropped (reference)',
    ]
