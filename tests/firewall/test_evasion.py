"""What a rule sees of packets that are made to get past it: each statement of docs/concepts/evasion.md, by both engines."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import pytest
from rule_lab import PORT, RECEIVER, Wire

from firewall.capture import Frame
from firewall.plan import Environment, plan
from firewall.render import render
from firewall.replay import replay
from firewall.replay.admission import repair_checksum
from firewall.replay.run import EngineName
from rules_dsl import parse_policy

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "evasion.md"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true of the packets, and what is not; the first packet is the one meant, unless all are."""

    packets: tuple[bytes, ...]
    true: tuple[str, ...]
    false: tuple[str, ...] = ()


# -- packets -----------------------------------------------------------------------------------------------------------


def v4(protocol: int, rest: bytes, *, offset: int = 0, more: bool = False, options: bytes = b"", source: str = "192.0.2.1") -> bytes:
    """From 192.0.2.1 to 198.51.100.7; `offset` in units of 8 bytes."""
    head = 20 + len(options)
    addresses = ip_address(source).packed + ip_address("198.51.100.7").packed
    first = struct.pack("!BBHHHBBH", 0x40 | head // 4, 0, head + len(rest), 1, more << 13 | offset, 64, protocol, 0)
    return repair_checksum(first + addresses + options + rest)


def v6(following: int, rest: bytes, *, length: int | None = None) -> bytes:
    addresses = ip_address("2001:db8::1").packed + ip_address("2001:db8::2").packed
    return struct.pack("!IHBB", 6 << 28, len(rest) if length is None else length, following, 64) + addresses + rest


def udp(payload: bytes, *, length: int | None = None) -> bytes:
    """To port 53."""
    return struct.pack("!HHHH", 4000, 53, 8 + len(payload) if length is None else length, 0) + payload


def tcp(payload: bytes, *, options: bytes = b"", words: int | None = None, flags: int = 0x18, port: int = 80, checksum: int = 0) -> bytes:
    offset = 5 + len(options) // 4 if words is None else words
    return struct.pack("!HHIIBBHHH", 4000, port, 1, 1, offset << 4, flags, 512, checksum, 0) + options + payload


def options_header(following: int) -> bytes:
    """An IPv6 header of 8 bytes with nothing but padding."""
    return bytes([following, 0, 1, 4]) + bytes(4)


def fragment_header(following: int, *, offset: int = 0, more: bool = False) -> bytes:
    return struct.pack("!BBHI", following, 0, offset << 3 | more, 7)


def gre(packet: bytes) -> bytes:
    return b"\0\0" + (b"\x08\x00" if packet[0] < 0x50 else b"\x86\xdd") + packet


INSIDE = v4(17, udp(b"evil"), source="10.1.1.1")
VXLAN = struct.pack("!HHHH", 4000, 4789, 8 + 8 + 14 + len(INSIDE), 0) + b"\x08\0\0\0\0\0\x2a\0" + bytes(12) + b"\x08\0" + INSIDE


def client_hello(name: bytes) -> bytes:
    """A record; its extensions are 1,200 bytes of padding and then the server's name."""
    server_name = b"\0\0" + struct.pack("!HHBH", len(name) + 5, len(name) + 3, 0, len(name)) + name
    extensions = b"\0\x15\x04\xb0" + bytes(1200) + server_name
    hello = b"\x03\x03" + bytes(32) + b"\0\0\x02\x13\x01\x01\0" + struct.pack("!H", len(extensions)) + extensions
    return b"\x16\x03\x01" + struct.pack("!H", len(hello) + 4) + b"\x01" + len(hello).to_bytes(3, "big") + hello


HELLO = client_hello(b"evil.example")
REQUEST = b"GET / HTTP/1.1\r\nHost: good.example\r\nUser-Agent: evil\r\n\r\n"
QUERY = struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + b"\x04evil\x07example\0\0\x01\0\x01"
ANSWER = QUERY[:2] + b"\x81\x80\0\x01\0\x01\0\0\0\0" + QUERY[12:]
"""Without its one record."""
UNREACHABLE = b"\x03\x01\0\0" + bytes(4) + INSIDE[:28]

SEEN: dict[str, Seen] = {
    # fragments
    "Each fragment is judged by itself, as it comes: the rules stand before the place where the kernel puts packets together.": Seen(
        (v4(17, udp(b"ev" + bytes(6), length=30), more=True), v6(44, fragment_header(17, more=True) + udp(b"ev" + bytes(6), length=30))),
        ("ip.frag", "ip.frag.more"),
    ),
    "The first fragment has the transport header, and of the payload what it carries.": Seen(
        (v4(17, udp(b"evil1234", length=99), more=True), v6(44, fragment_header(17, more=True) + udp(b"evil1234", length=99))),
        ("udp.dstport == 53", 'udp.payload == "evil1234"'),
    ),
    "A later fragment has addresses and `ip.proto`, but no ports, no payload and no field of any protocol, whatever its bytes.": Seen(
        (v4(17, udp(b"evil1234"), offset=100), v6(44, fragment_header(17, offset=100) + udp(b"evil1234"))),
        ('ip.proto == "udp"', "ip.frag.offset == 800", "ip.len > 20"),
        ("udp", "udp.dstport == 53", 'payload contains "evil"', "payload.len >= 0", "bit_slice(udp, 0, 1) in {0 1}"),
    ),
    "Text that lies over two fragments is in neither of them.": Seen(
        (v4(17, udp(b"12345 evil", length=34)[:16], more=True), v4(17, b"il 1234567890", offset=2)),
        ("ip.frag",),
        ('payload contains "evil"',),
    ),
    "A first fragment may end within the TCP header (RFC 1858): then it has ports but no flags and no payload, and `tcp` is false.": Seen(
        (v4(6, tcp(b"")[:8], more=True),),
        ("tcp.dstport == 80", 'ip.proto == "tcp" and not tcp and not ip.frag.offset > 0'),
        ("tcp", "tcp.flags >= 0", "tcp.payload.len >= 0"),
    ),
    "A fragment that starts 8 bytes into the packet, to write over the flags (RFC 3128), is a later fragment like any other.": Seen(
        (v4(6, tcp(b"", flags=2)[8:], offset=1),),
        ("ip.frag.offset == 8",),
        ("tcp.flags >= 0", "tcp.dstport >= 0"),
    ),
    "An IPv6 packet with a fragment header that splits nothing (RFC 6946) has all fields, and `ip.frag` is true.": Seen(
        (v6(44, fragment_header(17) + udp(b"evil")),),
        ("ip.frag", 'udp.payload == "evil"', "ipv6.exthdr == 44"),
        ("ip.frag.more", "ip.frag.offset > 0"),
    ),
    # options and extension headers
    "IPv4 options and TCP options are stepped over: ports and payloads are found behind them.": Seen(
        (
            v4(6, tcp(b"evil", options=b"\x01" * 40), options=b"\x94\x04\0\0" + bytes(36)),
            v4(6, tcp(b"evil", options=b"\x01" * 4), options=b"\x94\x04\0\0"),
        ),
        ("ip.opt.type == 148", "tcp.dstport == 80", 'tcp.payload == "evil"'),
    ),
    "`ip.opt.type` is the first byte of the IPv4 options and no more: another option may stand before the one that is meant.": Seen(
        (v4(17, udp(b"evil"), options=b"\x01\x83\x03\x04"),),
        ("ip.opt.type == 1", "ip.hdr_len == 24"),
        ("ip.opt.type == 131",),
    ),
    "IPv6 hop-by-hop options, routing, fragment, authentication and destination options headers are walked, however many there are.": Seen(
        (
            v6(0, options_header(60) + options_header(60) * 99 + options_header(17) + udp(b"evil")),
            v6(60, options_header(43) + bytes([51, 0, 4, 0]) + bytes(4) + bytes([17, 1]) + bytes(10) + udp(b"evil")),
        ),
        ("udp.dstport == 53", 'udp.payload == "evil"', "ipv6.exthdr == 60"),
    ),
    "Any other header ends the walk: `ip.proto` is its number, and there are no ports.": Seen(
        (v6(135, options_header(17) + udp(b"evil")), v6(139, options_header(17) + udp(b"evil"))),
        ("ip.proto in {135 139}", 'payload contains "evil"'),
        ("udp", "udp.dstport == 53"),
    ),
    "In IPv4 no header is walked: behind an authentication header, protocol 51, there are no ports.": Seen(
        (v4(51, bytes([17, 4, 0, 0]) + bytes(20) + udp(b"evil")),),
        ("ip.proto == 51", 'payload contains "evil"'),
        ("udp", "udp.dstport == 53"),
    ),
    "Where the packet ends within its extension headers, `ip.proto` is absent.": Seen(
        (v6(60, options_header(60) + b"\x11"), v6(60, options_header(43) + b"\x11\0\0")),
        ("ip.version == 6 and not ip.proto in {0..255}", "ipv6.exthdr == 60"),
        ("udp.dstport >= 0", "payload.len >= 0"),
    ),
    "A TCP header that says it is shorter than 20 bytes has ports and flags, no payload, and `tcp` is false.": Seen(
        (v4(6, tcp(b"evil", words=4)),),
        ("tcp.dstport == 80", "tcp.flags == 0x18"),
        ("tcp", "tcp.payload.len >= 0", 'payload contains "evil"'),
    ),
    "A TCP header that says it is longer than the packet has no payload.": Seen(
        (v4(6, tcp(b"evil", words=15)),),
        ("tcp", "tcp.hdr_len == 60"),
        ("tcp.payload.len >= 0", 'payload contains "evil"'),
    ),
    # lengths and checksums
    "What stands in the frame behind the length that the IP header states (padding) is not there for a rule.": Seen(
        (v4(17, udp(b"good")) + b"evil", v6(17, udp(b"good")) + b"evil"),
        ('payload == "good"',),
        ('payload contains "evil"',),
    ),
    "`udp.payload` and `payload` end where the UDP header says; bytes of the IP packet behind that are in no field.": Seen(
        (v4(17, udp(b"goodevil", length=12)), v6(17, udp(b"goodevil", length=12))),
        ('udp.payload == "good"', 'payload == "good"', "ip.len > 32"),
        ('payload contains "evil"',),
    ),
    "A UDP length below 8 leaves the payload absent; `udp` is true.": Seen(
        (v4(17, udp(b"evil", length=7)), v6(17, udp(b"evil", length=0))),
        ("udp", "udp.dstport == 53", "udp.length < 8"),
        ("udp.payload.len >= 0", 'payload contains "evil"'),
    ),
    "An IPv6 packet that states no length, with hop-by-hop options behind (as for jumbo payloads), goes on to the end of the frame.": Seen(
        (v6(0, options_header(17) + udp(b"evil"), length=0),),
        ("ip.len == 40", 'udp.payload == "evil"'),
    ),
    "Nobody checks the checksum of TCP or UDP: a packet that its receiver will throw away is judged like any.": Seen(
        (v4(6, tcp(b"evil", checksum=0xDEAD)), v4(6, tcp(b"evil", checksum=0xBEEF))),
        ('tcp.payload == "evil"',),
    ),
    # one packet at a time
    "Text that lies over two segments of a TCP stream is in neither of them.": Seen(
        (v4(6, tcp(b"GET /ev")), v4(6, tcp(b"il HTTP/1.1\r\n"))),
        ("tcp.dstport == 80",),
        ('tcp.payload contains "evil"',),
    ),
    "Of a ClientHello that goes on in the next segment `tls` and `tls.truncated` are true; a `tls.sni` that is not whole is absent.": Seen(
        (v4(6, tcp(HELLO[:600])), v4(6, tcp(HELLO[:-1]))),
        ("tls", "tls.truncated", "tls.handshake.type == 1"),
        ("len(tls.sni) >= 0", 'tls.sni == "evil.example"'),
    ),
    "Of an HTTP header block that goes on there `http` and `http.truncated` are true; a line whose end is not there is absent.": Seen(
        (v4(6, tcp(REQUEST[:-6])),),
        ("http", "http.truncated", 'http.host == "good.example"'),
        ("len(http.user_agent) >= 0", 'http.header["user-agent"] == "evil"'),
    ),
    "DNS over TCP is a message that begins a segment, its 2 bytes of length first; what is cut off behind is absent.": Seen(
        (
            v4(6, tcp(len(QUERY).to_bytes(2, "big") + QUERY)),
            v4(6, tcp((len(ANSWER) + 16).to_bytes(2, "big") + ANSWER)),
        ),
        ("dns", 'dns.qry.name == "evil.example"'),
    ),
    "What follows in the next segment is no message by itself: `tls`, `http` and `dns` are false there.": Seen(
        (v4(6, tcp(HELLO[600:])), v4(6, tcp(REQUEST[-6:])), v4(6, tcp(QUERY))),
        ("tcp.payload.len > 0",),
        ("tls", "http", "dns"),
    ),
    "A first segment that is too short to show what it begins is none of them either: one byte of a ClientHello is not TLS.": Seen(
        (v4(6, tcp(HELLO[:1])), v4(6, tcp(HELLO[:4])), v4(6, tcp(REQUEST[:2])), v4(6, tcp(len(QUERY).to_bytes(2, "big")))),
        ("tcp.payload.len > 0",),
        ("tls", "tls.truncated", "http", "http.truncated", "dns"),
    ),
    "A packet may have 65,535 bytes, and is searched to its last.": Seen(
        (v4(6, tcp(bytes(65535 - 44) + b"evil")),),
        ("ip.len == 65535", 'tcp.payload contains "evil"', 'ends_with(tcp.payload, "evil")'),
    ),
    # packets in packets
    "Every field that does not say `inner` is the outermost packet's: a tunnel hides addresses, ports and payload from it.": Seen(
        (v4(47, gre(INSIDE)), v6(47, gre(INSIDE)), v4(4, INSIDE), v6(4, INSIDE), v4(17, VXLAN)),
        ("not ip.src == 10.1.1.1",),
        ("ip.src == 10.1.1.1", "udp.dstport == 53"),
    ),
    "`inner.ip.src`, `inner.dstport` and their like look into IP in IP, GRE, ERSPAN, VXLAN and GENEVE.": Seen(
        (v4(47, gre(INSIDE)), v6(47, gre(INSIDE)), v4(4, INSIDE), v6(4, INSIDE), v4(17, VXLAN)),
        ("inner", "inner.ip.src == 10.1.1.1", 'inner.ip.proto == "udp"', "inner.dstport == 53"),
    ),
    "The bytes of the packet inside are in the payload of the one outside.": Seen(
        (v4(47, gre(INSIDE)), v6(47, gre(INSIDE)), v4(4, INSIDE), v6(4, INSIDE), v4(17, VXLAN)),
        ('payload contains "evil"',),
    ),
    "Of a tunnel's packet in fragments, the first one shows what it has of the packet inside.": Seen(
        (v4(4, INSIDE[:24], more=True), v4(47, gre(INSIDE)[:32], more=True)),
        ("inner.ip.src == 10.1.1.1", "inner.dstport == 53"),
        ('payload contains "evil"',),
    ),
    "A tunnel within a tunnel is not looked into: `inner.ip.proto` says that there is one.": Seen(
        (v4(4, v4(47, gre(INSIDE), source="10.2.2.2")), v4(47, gre(v4(47, gre(INSIDE), source="10.2.2.2")))),
        ("inner.ip.src == 10.2.2.2", 'inner.ip.proto == "gre"'),
        ("inner.ip.src == 10.1.1.1", "inner.dstport == 53"),
    ),
    "Of its later fragments `inner` is false.": Seen(
        (v4(4, INSIDE, offset=100), v4(47, gre(INSIDE), offset=100)),
        ("ip.frag.offset > 0",),
        ("inner", "inner.dstport == 53", 'payload contains "evil"'),
    ),
    "An ICMP error quotes the packet that it is about, and `icmp.inner` has its addresses and ports.": Seen(
        (v4(1, UNREACHABLE),),
        ("icmp.inner.ip.src == 10.1.1.1", "icmp.inner.dstport == 53", 'icmp.inner.ip.proto == "udp"'),
        ("inner", "udp.dstport == 53"),
    ),
}
"""By the statement of the page, which is one point of a list there."""

CASES = [
    (statement, number, packet, test, wanted)
    for statement, seen in SEEN.items()
    for wanted, tests in ((True, seen.true), (False, seen.false))
    for test in tests
    for number, packet in enumerate(seen.packets)
]


@cache
def judged(engine: EngineName) -> dict[tuple[str, int, str], bool | None]:
    """What the engine says for each packet and each test; None: not judged. Each pair has an interface of its own, so that one run
    answers them all."""
    tests = list(dict.fromkeys(test for _, _, _, test, _ in CASES))
    rules = "\n".join(f'block "{number}" when interface.in == "i{number}" and ({test})' for number, test in enumerate(tests))
    frames = []
    for _, _, packet, test, _ in CASES:
        data = bytes(12) + (b"\x08\x00" if packet[0] < 0x50 else b"\x86\xdd") + packet
        frames.append(Frame(len(frames) + 1, 0, data, 1, len(data), f"i{tests.index(test)}"))
    records = [replayed.record for replayed in replay(parse_policy("tenant acme\n" + rules), frames, engine)]
    return {
        (statement, number, test): None if record.verdict is None else record.verdict == "block"
        for (statement, number, _, test, _), record in zip(CASES, records, strict=True)
    }


@pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])
@pytest.mark.parametrize("statement", SEEN)
def test_statement(statement: str, engine: EngineName) -> None:
    found = judged(engine)
    wrong = [
        f"packet {number}: {test} should be {wanted}"
        for of, number, _, test, wanted in CASES
        if of == statement and found[of, number, test] is not wanted
    ]
    assert wrong == []


def test_the_page_says_what_is_tested_and_nothing_else() -> None:
    points = re.findall(r"^\* (.*(?:\n  .*)*)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    said = [" ".join(point.split()) for point in points]
    assert sorted(said) == sorted([*SEEN, MERGED])


MERGED = "Segments that reach the rules merged (GRO, or the offload of a sender beside) are one packet: text over seams is found."


@pytest.mark.kernel
def test_merged_segments() -> None:
    policy = parse_policy('tenant acme\ncount "seam" when tcp.payload.len > 2000 and tcp.payload contains "evil"')
    seam = 1448  # an Ethernet MTU of 1,500 without IPv4's and TCP's headers and the timestamp option
    sent = bytes(seam - 2) + b"evil" + bytes(4000)
    with Wire() as wire:
        wire.install(render(plan(policy, Environment()), 1))
        listener = wire.receiver.call(socket.create_server, (RECEIVER, PORT))
        with listener, wire.sender.call(socket.create_connection, (RECEIVER, PORT)) as sender:
            receiver, _ = listener.accept()
            with receiver:
                sender.sendall(sent)
                received = b""
                while len(received) < len(sent):
                    received += receiver.recv(1 << 16)
        assert received == sent
        assert wire.counts()["seam"] > 0
