"""The reference on tunnels: IP in IP, GRE, ERSPAN, VXLAN, GENEVE, and the packet in them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Address, Value

PORTS = bytes.fromhex("0035 c001")


def v4(protocol: int, rest: bytes, *, flags: int = 0, options: bytes = b"", length: int | None = None, source: str = "10.0.0.1") -> bytes:
    """An IPv4 packet to 10.0.0.2."""
    head = 20 + len(options)
    stated = head + len(rest) if length is None else length
    return (
        bytes([0x40 + head // 4, 0]) + stated.to_bytes(2, "big") + bytes(2) + flags.to_bytes(2, "big") + bytes([9, protocol, 0, 0])
        + ip_address(source).packed + ip_address("10.0.0.2").packed + options + rest
    )  # fmt: skip


def v6(following: int, rest: bytes, *, length: int | None = None) -> bytes:
    """An IPv6 packet from 2001:db8::1 to 2001:db8::2."""
    stated = len(rest) if length is None else length
    addresses = ip_address("2001:db8::1").packed + ip_address("2001:db8::2").packed
    return b"\x60\0\0\0" + stated.to_bytes(2, "big") + bytes([following, 7]) + addresses + rest


def udp(message: bytes, port: int = 1) -> bytes:
    return bytes([0, 1]) + port.to_bytes(2, "big") + (8 + len(message)).to_bytes(2, "big") + bytes(2) + message


def frame(ether_type: int, content: bytes, *tags: int) -> bytes:
    return bytes(range(12)) + b"".join(tag.to_bytes(2, "big") + b"\x20\x05" for tag in tags) + ether_type.to_bytes(2, "big") + content


def gre(ether_type: int, content: bytes, *, flags: int = 0) -> bytes:
    words = sum(flags & bit != 0 for bit in (0x8000, 0x2000, 0x1000))
    return flags.to_bytes(2, "big") + ether_type.to_bytes(2, "big") + b"word" * words + content


def vxlan(content: bytes) -> bytes:
    return bytes.fromhex("08000000 00002a00") + content


def geneve(ether_type: int, content: bytes, *, options: bytes = b"", flags: int = 0) -> bytes:
    return bytes([len(options) // 4, flags]) + ether_type.to_bytes(2, "big") + bytes.fromhex("0000 2a00") + options + content


def get(data: bytes, protocol: str = "inner") -> dict[str, Value]:
    return dict(DISSECTORS[protocol](Packet(data, Place("eth0"))) or {})


def inner_of(data: bytes) -> Value:
    return get(data).get("inner.ip.src")


INNER4, INNER6 = v4(17, PORTS + bytes(4)), v6(6, PORTS + bytes(16))
SOURCE4, SOURCE6 = Address(4, 0x0A000001), Address(6, int(ip_address("2001:db8::1")))
FIELDS4: dict[str, Value] = {
    "inner": True,
    "inner.ip.src": SOURCE4,
    "inner.ip.dst": Address(4, 0x0A000002),
    "inner.ip.version": 4,
    "inner.ip.proto": 17,
    "inner.ip.ttl": 9,
    "inner.srcport": 53,
    "inner.dstport": 0xC001,
}
FIELDS6: dict[str, Value] = {
    "inner": True,
    "inner.ip.src": SOURCE6,
    "inner.ip.dst": Address(6, int(ip_address("2001:db8::2"))),
    "inner.ip.version": 6,
    "inner.ip.proto": 6,
    "inner.ip.ttl": 7,
    "inner.srcport": 53,
    "inner.dstport": 0xC001,
}


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        (v4(4, INNER4), FIELDS4),
        (v6(4, INNER4), FIELDS4),
        (v4(41, INNER6), FIELDS6),
        (v6(41, INNER6), FIELDS6),
        (v6(60, b"\x29\0" + bytes(6) + INNER6), FIELDS6),
        (v4(47, gre(0x0800, INNER4)), FIELDS4),
        (v6(47, gre(0x86DD, INNER6, flags=0xB000)), FIELDS6),
        (v4(47, gre(0x6558, frame(0x0800, INNER4), flags=0x2000)), FIELDS4),
        (v4(47, gre(0x88BE, frame(0x0800, INNER4))), FIELDS4),
        (v4(47, gre(0x88BE, b"\x10" + bytes(7) + frame(0x86DD, INNER6, 0x8100), flags=0x1000)), FIELDS6),
        (v4(47, gre(0x22EB, b"\x20" + bytes(11) + frame(0x0800, INNER4), flags=0x1000)), FIELDS4),
        (v4(47, gre(0x22EB, b"\x20" + bytes(10) + b"\x01" + bytes(8) + frame(0x0800, INNER4), flags=0x1000)), FIELDS4),
        (v4(17, udp(vxlan(frame(0x0800, INNER4)), 4789)), FIELDS4),
        (v6(17, udp(vxlan(frame(0x86DD, INNER6, 0x88A8, 0x8100)), 9)), FIELDS6),
        (v4(17, udp(geneve(0x6558, frame(0x86DD, INNER6)), 6081)), FIELDS6),
        (v4(17, udp(geneve(0x0800, INNER4, options=bytes(12)), 9)), FIELDS4),
    ],
)
def test_tunnels(outer: bytes, expected: dict[str, Value]) -> None:
    assert get(outer) == expected


@pytest.mark.parametrize(
    "outer",
    [
        v4(17, udp(INNER4)),
        v4(6, INNER4),
        v4(4, INNER6),
        v4(41, INNER4),
        v4(4, INNER4, flags=1),  # a later fragment
        v4(47, gre(0x86DD, INNER4)),
        v4(47, gre(0x8847, INNER4)),
        v4(47, gre(0x0800, INNER4, flags=1)),  # version 1, of PPTP
        v4(47, gre(0x0800, INNER4, flags=0x4000)),  # a routing field
        v4(47, gre(0x88BE, b"\x20" + bytes(7) + frame(0x0800, INNER4), flags=0x1000)),
        v4(47, gre(0x6558, frame(0x0800, INNER4, 0x8100, 0x8100, 0x8100))),
        v4(47, gre(0x6558, frame(0x0806, bytes.fromhex("00010800") + bytes(24)))),
        v4(47, gre(0x6558, bytes(13))),
    ],
)
def test_no_packet_in_a_tunnel(outer: bytes) -> None:
    assert get(outer) == {}


def test_the_inner_ip_header_must_be_there() -> None:
    assert inner_of(v4(4, v4(17, b"", length=20))) == SOURCE4
    assert inner_of(v4(4, v4(17, b"", length=20)[:19])) is None
    assert inner_of(v4(4, v4(17, b"", length=19))) is None
    assert inner_of(v4(4, b"\x44" + INNER4[1:])) is None
    assert inner_of(v4(4, v4(17, b"", options=bytes(8), length=28)[:20])) == SOURCE4  # its options are cut off
    assert inner_of(v4(4, v4(17, b"", options=bytes(8), length=27))) is None
    assert inner_of(v4(41, INNER6[:40])) == SOURCE6
    assert inner_of(v4(41, INNER6[:39])) is None


def test_the_inner_packet_ends_where_it_says() -> None:
    whole = v4(4, v4(17, PORTS, length=24))
    cut = v4(4, v4(17, PORTS, length=22))
    assert (get(whole).get("inner.srcport"), get(whole).get("inner.dstport")) == (53, 0xC001)
    assert (get(cut).get("inner.srcport"), get(cut).get("inner.dstport")) == (53, None)
    assert get(v4(41, v6(17, PORTS, length=2))).get("inner.dstport") is None
    assert get(v4(41, v6(17, PORTS, length=0))).get("inner.srcport") is None
    assert get(v4(41, v6(0, b"\x11\0" + bytes(6) + PORTS, length=0))).get("inner.dstport") == 0xC001  # a jumbo payload


def test_the_inner_packet_has_fragments_and_extension_headers_of_its_own() -> None:
    later = get(v4(4, v4(17, PORTS, flags=1)))
    assert later["inner.ip.proto"] == 17
    assert "inner.srcport" not in later
    chain = b"\x2c\0" + bytes(6) + b"\x84\0\0\x01" + bytes(4)  # hop-by-hop options, a first fragment, SCTP
    assert get(v4(41, v6(0, chain + PORTS)))["inner.ip.proto"] == 132
    assert get(v4(41, v6(0, chain + PORTS)))["inner.srcport"] == 53
    cut = get(v4(41, v6(0, chain[:11])))
    assert "inner.ip.proto" not in cut
    assert cut["inner.ip.ttl"] == 7
    assert get(v4(41, v6(44, b"\x11\0\0\x08" + bytes(4) + PORTS))) == {
        **{name: FIELDS6[name] for name in ("inner", "inner.ip.src", "inner.ip.dst", "inner.ip.version", "inner.ip.ttl")},
        "inner.ip.proto": 17,
    }


def test_only_the_first_tunnel_is_looked_into() -> None:
    twice = get(v4(4, v4(4, INNER4, source="10.9.9.9")))
    assert twice["inner.ip.src"] == Address(4, 0x0A090909)
    assert twice["inner.ip.proto"] == 4
    assert "inner.srcport" not in twice


def test_vxlan() -> None:
    message = vxlan(frame(0x0800, INNER4))
    assert get(v4(17, udp(message)), "vxlan") == {"vxlan": True, "vxlan.vni": 42}
    arp = vxlan(frame(0x0806, bytes.fromhex("00010800")))
    assert get(v4(17, udp(arp)), "vxlan") == {"vxlan": True, "vxlan.vni": 42}
    assert get(v4(17, udp(arp)), "inner") == {}
    for wrong in (b"\x09" + message[1:], message[:1] + b"\x01" + message[2:], message[:7] + b"\x01" + message[8:], message[:41], arp[:-1]):
        assert get(v4(17, udp(wrong)), "vxlan") == {}


def test_to_the_port_of_vxlan_any_frame_is_one() -> None:
    spanning_tree = vxlan(frame(0x0027, bytes(40)))
    assert get(v4(17, udp(spanning_tree)), "vxlan") == {}
    for port in (4789, 8472):
        assert get(v4(17, udp(spanning_tree, port)), "vxlan") == {"vxlan": True, "vxlan.vni": 42}
        assert get(v4(17, udp(spanning_tree, port)), "inner") == {}
        assert get(v4(17, udp(b"\x88\x00\x12\x34" + vxlan(b"")[4:], port)), "vxlan")["vxlan"]  # a group policy
        assert get(v4(17, udp(b"\xf7" + spanning_tree[1:], port)), "vxlan") == {}
        assert get(v4(17, udp(spanning_tree[:7], port)), "vxlan") == {}


def test_geneve() -> None:
    message = geneve(0x6558, frame(0x0800, INNER4), options=bytes(8), flags=0xC0)
    assert get(v4(17, udp(message)), "geneve") == {"geneve": True, "geneve.vni": 42}
    assert get(v4(17, udp(geneve(0x86DD, INNER6))), "geneve") == {"geneve": True, "geneve.vni": 42}
    assert get(v4(17, udp(geneve(0x6558, frame(0x0806, bytes.fromhex("00010800"))))), "geneve")["geneve"]
    for wrong in (
        b"\x42" + message[1:],
        b"\x03" + message[1:],
        message[:1] + b"\x01" + message[2:],
        message[:7] + b"\x01" + message[8:],
        message[:2] + b"\x88\x47" + message[4:],
        message[:15],
    ):
        assert get(v4(17, udp(wrong)), "geneve") == {}


def test_to_the_port_of_geneve_any_protocol_is_one() -> None:
    message = geneve(0x8847, b"", options=bytes(4), flags=1)
    assert get(v4(17, udp(message)), "geneve") == {}
    assert get(v4(17, udp(message, 6081)), "geneve") == {"geneve": True, "geneve.vni": 42}
    assert get(v4(17, udp(b"\x41" + message[1:], 6081)), "geneve") == {}
    assert get(v4(17, udp(message[:11], 6081)), "geneve") == {}
