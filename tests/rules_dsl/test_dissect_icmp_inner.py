"""The reference on the packets that ICMP errors quote."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Address, Value

QUOTED4 = bytes.fromhex("4500 05dc 0001 4000 01 11 0000 0a000001 c6336407") + bytes.fromhex("c000 0035 05c8 0000")
"""28 bytes of a packet of 1,500: UDP from 10.0.0.1 port 49152 to 198.51.100.7 port 53, TTL 1."""
QUOTED6 = (
    bytes.fromhex("60000000 05b4 06 03") + ip_address("2001:db8::1").packed + ip_address("2001:db8::2").packed + bytes.fromhex("01bb c001")
)


def error4(kind: int, quoted: bytes, *, flags: int = 0) -> bytes:
    message = bytes([kind, 1]) + bytes(6) + quoted
    return b"\x45\0" + (20 + len(message)).to_bytes(2, "big") + bytes(2) + flags.to_bytes(2, "big") + b"\x40\x01\0\0" + bytes(8) + message


def error6(kind: int, quoted: bytes) -> bytes:
    message = bytes([kind, 0]) + bytes(6) + quoted
    return b"\x60\0\0\0" + len(message).to_bytes(2, "big") + b"\x3a\x40" + bytes(31) + b"\x01" + message


def get(data: bytes) -> dict[str, Value]:
    return dict(DISSECTORS["icmp.inner"](Packet(data, Place("eth0"))) or {})


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_icmp(kind: int) -> None:
    assert get(error4(kind, QUOTED4)) == {
        "icmp.inner": True,
        "icmp.inner.ip.src": Address(4, 0x0A000001),
        "icmp.inner.ip.dst": Address(4, 0xC6336407),
        "icmp.inner.ip.proto": 17,
        "icmp.inner.ip.ttl": 1,
        "icmp.inner.srcport": 49152,
        "icmp.inner.dstport": 53,
    }


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_icmpv6(kind: int) -> None:
    assert get(error6(kind, QUOTED6)) == {
        "icmp.inner": True,
        "icmp.inner.ip.src": Address(6, int(ip_address("2001:db8::1"))),
        "icmp.inner.ip.dst": Address(6, int(ip_address("2001:db8::2"))),
        "icmp.inner.ip.proto": 6,
        "icmp.inner.ip.ttl": 3,
        "icmp.inner.srcport": 443,
        "icmp.inner.dstport": 49153,
    }


@pytest.mark.parametrize(
    "packet",
    [
        *(error4(kind, QUOTED4) for kind in (0, 1, 2, 6, 8, 13)),
        *(error6(kind, QUOTED6) for kind in (0, 5, 128, 137)),
        error4(3, QUOTED6),
        error6(1, QUOTED4 + bytes(40)),
        error4(3, b"\x44" + QUOTED4[1:]),
        error4(3, QUOTED4, flags=1),
        error4(3, b""),
    ],
)
def test_nothing_is_quoted(packet: bytes) -> None:
    assert get(packet) == {}


def test_what_is_cut_off_is_absent() -> None:
    assert get(error4(3, QUOTED4[:19])) == {}
    assert "icmp.inner.srcport" not in get(error4(3, QUOTED4[:21]))
    assert get(error4(3, QUOTED4[:22]))["icmp.inner.srcport"] == 49152
    assert "icmp.inner.dstport" not in get(error4(3, QUOTED4[:23]))
    assert get(error4(3, QUOTED4[:24]))["icmp.inner.dstport"] == 53
    assert get(error6(1, QUOTED6[:39])) == {}
    assert get(error6(1, QUOTED6[:40]))["icmp.inner.ip.proto"] == 6


def test_the_ports_stand_behind_the_quoted_options() -> None:
    quoted = b"\x47" + QUOTED4[1:20] + bytes(8) + b"\x00\x07\x00\x08"
    assert get(error4(3, quoted))["icmp.inner.dstport"] == 8
    cut = get(error4(3, quoted[:24]))
    assert cut["icmp.inner.ip.proto"] == 17
    assert "icmp.inner.srcport" not in cut


@pytest.mark.parametrize("length", [b"\x00\x00", b"\x00\x08", b"\xdc\x05", b"\xff\xff"])
def test_the_quoted_length_is_not_looked_at(length: bytes) -> None:
    assert get(error4(3, QUOTED4[:2] + length + QUOTED4[4:]))["icmp.inner.dstport"] == 53
    assert get(error6(1, QUOTED6[:4] + length + QUOTED6[6:]))["icmp.inner.dstport"] == 49153


def test_a_quoted_later_fragment_has_no_ports() -> None:
    fields = get(error4(11, QUOTED4[:6] + b"\x00\x10" + QUOTED4[8:]))
    assert fields["icmp.inner.ip.proto"] == 17
    assert "icmp.inner.srcport" not in fields


def test_quoted_extension_headers_are_walked_as_far_as_they_go() -> None:
    quoted = QUOTED6[:6] + b"\x00" + QUOTED6[7:40] + b"\x3c\x00" + bytes(6) + b"\x84\x00" + bytes(6) + b"\x00\x01\x00\x02"
    assert get(error6(3, quoted))["icmp.inner.ip.proto"] == 132
    assert get(error6(3, quoted))["icmp.inner.dstport"] == 2
    cut = get(error6(3, quoted[:49]))
    assert cut["icmp.inner"] is True
    assert "icmp.inner.ip.proto" not in cut
