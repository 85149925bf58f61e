"""A capture shows those of a tenant's packets that an expression matches, as the reference says, and no others."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from enforcer_lab import HERE, Lab, begins
from kernel_lab import ipv4, ipv6, tcp, udp
from rule_lab import RECEIVER, SENDER, addresses

from api.enforcer.client import EnforcerUnavailable, Refused
from api.enforcer.server import Most
from api.policy_text import ProtectText
from firewall.live_capture import End, Limits, LiveCapture, LiveCaptureError
from firewall.namespace import Namespace
from rules_dsl import parse_expression
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Protect
from rules_dsl.reference import holds

pytestmark = pytest.mark.kernel

MAC = bytes.fromhex("020000000001")
DNS = bytes.fromhex("123401000001000000000000") + b"\x03www\x06tunnel\x07example\x00\x00\xff\x00\x01"
HTTP = b"GET /secret HTTP/1.1\r\nHost: tunnel.example\r\n\r\n"
PACKETS = (
    ipv4(udp(5000, 53, DNS)),
    ipv4(udp(5000, 53, DNS[:20])),
    ipv4(udp(5000, 54, b"a")),
    ipv4(udp(5000, 54, b"")),
    ipv4(tcp(payload=HTTP, flags=0x18), 6),
    ipv4(tcp(flags=0x10), 6),
    ipv4(tcp(flags=0x18, payload=b"\0"), 6),
    ipv4(tcp(flags=2, options=bytes.fromhex("020405b4")), 6),
    ipv4(udp(5000, 53, DNS), fragment=0x2000),
    ipv4(b"payload behind a fragment", fragment=10),
    ipv4(b"\x08\x00\xf7\xff" + bytes(4), 1),
    ipv4(b"x" * 30, 47),
    ipv4(udp(5000, 53, DNS), dst=0x0A000003),
    ipv4(udp(5000, 5060, b"x" * 1400)),
    ipv6(udp(5000, 53, DNS)),
    ipv6(tcp(payload=HTTP, flags=0x18), 6),
    ipv6(udp(5000, 54, b"")),
)
EXPRESSIONS = (
    "udp",
    "ip.dst == 10.0.0.2 and udp.dstport == 53",
    "ip.version == 6 and tcp.flags.push",
    "ip.len < 60",
    "ip.frag",
    "dns.qry.type == 255",
    'dns.qry.name matches r"\\.tunnel\\.example$"',
    'http.host == "tunnel.example" or http.request.uri contains "secret"',
    "tcp.payload.len == 0",
    "tcp.payload.len > 0",
    "not udp and not payload.len > 4",
    'udp.payload contains "x" and udp.payload.len > 1000',
    "not dns",
    "tcp.options.mss == 1460",
)
PADDING = (bytes(46), os.urandom(46))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_capture_is_what_the_reference_says(expression: str) -> None:
    """Of frames as they leave a tap, and of frames that an Ethernet link has padded."""
    predicate = parse_expression(expression)
    packets = [(packet, padding[: max(0, 46 - len(packet))]) for packet in PACKETS for padding in (b"", *PADDING)]
    with Namespace() as namespace:
        tap = namespace.tap("mantlet0", mac=MAC)
        try:
            with namespace.call(LiveCapture, predicate) as capture:
                for packet, padding in packets:
                    os.write(tap, MAC + b"\2" * 6 + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet + padding)
                found = list(capture.packets(Limits(seconds=0.3)))
        finally:
            os.close(tap)
    place = Place(interface_in="mantlet0")
    for version in (4, 6):  # each has a socket of its own
        wanted = [packet for packet, _ in packets if packet[0] >> 4 == version and holds(predicate, Packet(packet, place))]
        assert [each.data for each in found if each.data[0] >> 4 == version] == wanted
    assert all(each.original_length == len(each.data) and each.interface == "mantlet0" for each in found)
    assert (capture.end, capture.dropped) == (End.TIME, 0)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as made:
        yield made


def send(lab: Lab, *payloads: bytes) -> None:
    """Without a wait for their arrival."""
    with lab.wire.sender.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as source:
        for payload in payloads:
            source.sendto(payload, (RECEIVER, 4000))


def test_packets_that_the_rules_drop_are_captured_too(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    with lab.client.capture("acme", HERE, 'udp.payload contains "a"', 10, 0.5, 1 << 20) as capture:
        before = time.time_ns()
        send(lab, b"a1", b"b1", b"ba")
        found = list(capture)
    assert [each.data[28:] for each in found] == [b"a1", b"ba"]
    assert all(abs(each.timestamp_ns - before) < 5e9 and each.interface == "wire0" for each in found)
    assert (capture.reason, capture.dropped) == ("time limit", 0)


def test_each_limit_ends_a_capture(lab: Lab) -> None:
    for limits, reason, count in (
        ((2, 5.0, 1 << 20), "packet limit", 2),
        ((10, 5.0, 29 * 3), "byte limit", 3),
        ((10, 0.3, 999), "time limit", 4),
    ):
        with lab.client.capture("acme", HERE, "udp", *limits) as capture:
            send(lab, b"1", b"2", b"3", b"4")
            assert len(list(capture)) == count
        assert capture.reason == reason


def test_a_capture_is_stopped_or_left(lab: Lab) -> None:
    with lab.client.capture("acme", HERE, "udp", 100, 60.0, 1 << 20) as capture:
        send(lab, b"1")
        assert next(capture).data[28:] == b"1"
        capture.stop()
        assert list(capture) == []
        assert capture.reason == "stopped"
    with lab.client.capture("acme", HERE, "udp", 100, 60.0, 1 << 20):
        pass
    assert lab.client.status() == ()


def test_long_packets_are_cut_to_the_snap_length(lab: Lab) -> None:
    with lab.client.capture("acme", HERE, "udp", 1, 5.0, 1 << 20, snap_length=40) as capture:
        send(lab, b"x" * 100)
        (packet,) = capture
    assert (len(packet.data), packet.original_length) == (40, 128)


def test_lists_may_be_named(lab: Lab) -> None:
    with lab.client.capture("acme", HERE, "ip.src in $here", 1, 5.0, 1 << 20, lists={"here": (SENDER,)}) as capture:
        send(lab, b"x")
        assert len(list(capture)) == 1


@pytest.mark.parametrize(
    ("protect", "seen"),
    [
        (ProtectText(("10.9.0.3",)), False),
        (ProtectText(("2001:db8::/32",), ("wire0",)), True),
        (ProtectText(interfaces=("lo",)), False),
        (ProtectText(marks=(7,)), False),
        (ProtectText(marks=(0,)), True),
        (ProtectText(), True),
    ],
)
def test_only_what_a_tenant_protects_is_captured(lab: Lab, protect: ProtectText, seen: bool) -> None:
    with lab.client.capture("acme", protect, "udp", 1, 0.4, 1 << 20) as capture:
        send(lab, b"x")
        assert len(list(capture)) == seen


@pytest.mark.parametrize("protect", [ProtectText(), ProtectText(interfaces=("wire0",)), ProtectText(marks=(0,))])
def test_what_goes_to_another_tenant_is_not_seen(lab: Lab, protect: ProtectText) -> None:
    lab.client.enforce(begins("a"), 1)
    with lab.client.capture("other", protect, "udp", 1, 0.4, 1 << 20) as capture:
        send(lab, b"x")
        assert list(capture) == []


def test_another_tenants_traffic_is_refused(lab: Lab) -> None:
    lab.client.enforce(begins("a"), 1)
    with pytest.raises(Refused, match=r"other cannot protect 10\.9\.0\.0/24 .*: tenant acme protects it already"):
        lab.client.capture("other", ProtectText(("10.9.0.0/24",)), "udp", 1, 1.0, 1 << 20)


@pytest.mark.parametrize(
    ("expression", "limits", "words"),
    [
        ("udp.dstprt == 1", (1, 1.0, 1), "udp.dstprt"),
        ('interface.in == "wire0"', (1, 1.0, 1), "a capture cannot test interface.in"),
        ("udp", (0, 1.0, 1), "limits"),
        ("udp", (1, -1.0, 1), "limits"),
    ],
)
def test_what_cannot_be_captured_is_refused(lab: Lab, expression: str, limits: tuple[int, float, int], words: str) -> None:
    with pytest.raises(Refused) as refused:
        lab.client.capture("acme", HERE, expression, *limits)
    assert words in refused.value.message
    assert lab.client.status() == ()


def test_an_interface_that_is_not_there_is_told(lab: Lab) -> None:
    with pytest.raises(Refused, match="no packet can be captured at interface none0: no interface with this name"):
        lab.client.capture("acme", ProtectText(interfaces=("none0",)), "udp", 1, 1.0, 1 << 20)


def test_captures_are_bounded(tmp_path: Path) -> None:
    with Lab(tmp_path, most=Most(captures=1)) as lab:
        first = lab.client.capture("acme", HERE, "udp", 1, 20.0, 1 << 20)
        with pytest.raises(EnforcerUnavailable, match="too many captures"):
            lab.client.capture("acme", HERE, "udp", 1, 20.0, 1 << 20)
        first.close()


def test_what_finds_no_room_is_counted(lab: Lab) -> None:
    def captured() -> LiveCapture:
        return LiveCapture(parse_expression("udp.dstport == 4000"), Protect(v4=addresses(RECEIVER)), receive_bytes=4096)

    with lab.wire.receiver.call(captured) as capture:
        send(lab, *([b"x" * 1000] * 50))
        time.sleep(0.2)
        found = list(capture.packets(Limits(seconds=0.1)))
    assert 0 < len(found) < 50
    assert capture.dropped == 50 - len(found)


def test_what_this_host_sends_is_not_seen(lab: Lab) -> None:
    with lab.wire.sender.call(LiveCapture, parse_expression("udp")) as capture:
        send(lab, b"x")
        assert list(capture.packets(Limits(seconds=0.2))) == []


def test_limits_that_nothing_meets_end_in_time() -> None:
    with Namespace() as namespace, namespace.call(LiveCapture, parse_expression("udp")) as capture:
        assert list(capture.packets(Limits(packets=0))) == []
        assert capture.end is End.PACKETS
    with Namespace() as namespace, pytest.raises(LiveCaptureError, match=r"vlan\.id"):
        namespace.call(LiveCapture, parse_expression("vlan.id == 7"))
