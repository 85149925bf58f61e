"""The reference decoder against packets written out byte by byte, with values worked out by hand."""

from __future__ import annotations

import random

import pytest
from generators.packets import damaged, packet

from rules_dsl.fields import FIELDS, Field, Header, Type
from rules_dsl.packet import Address, Packet, Place, Value

PLACE = Place("eth0")

V4 = bytes.fromhex("45b90034 12344000 400600b0 c0000201 c6336407")
"""20 bytes of IPv4: DSCP 46, ECN 1, total length 52, id 0x1234, DF, TTL 64, TCP, 192.0.2.1 to 198.51.100.7. The checksum is wrong."""

TCP = bytes.fromhex("d431 01bb 00000001 fffffffe 6012 7210 abcd 0000 020405b4") + b"GET / HT"
"""24 bytes of TCP (54321 to 443, SYN and ACK, MSS 1460) and 8 of payload."""

V6 = bytes.fromhex("62e12345 0010 11 07") + bytes.fromhex("20010db8000000000000000000000001") + bytes.fromhex("fe80" + "00" * 13 + "09")
"""40 bytes of IPv6: traffic class 0x2e (DSCP 11, ECN 2), flow 0x12345, payload length 16, UDP, hop limit 7."""

UDP = bytes.fromhex("0035 3039 0010 0000") + b"\x00\x01evil\x00\x00"


def get(name: str, data: bytes, place: Place = PLACE) -> Value:
    return Packet(data, place).value(FIELDS[name])


def v4(protocol: int, rest: bytes, *, flags: int = 0, options: bytes = b"") -> bytes:
    header = bytes([0x45 + len(options) // 4, 0]) + (20 + len(options) + len(rest)).to_bytes(2, "big")
    return header + b"\x00\x01" + flags.to_bytes(2, "big") + bytes([64, protocol, 0, 0]) + bytes(8) + options + rest


def v6(next_header: int, rest: bytes) -> bytes:
    return b"\x60\x00\x00\x00" + len(rest).to_bytes(2, "big") + bytes([next_header, 64]) + bytes(31) + b"\x01" + rest


def fragment(following: int, offset: int, *, more: bool = False) -> bytes:
    return bytes([following, 0]) + (offset | more).to_bytes(2, "big") + b"\x11\x22\x33\x44"


def extension(following: int, blocks: int = 0) -> bytes:
    return bytes([following, blocks]) + bytes(6 + 8 * blocks)


def authentication(following: int, words: int) -> bytes:
    return bytes([following, words]) + bytes(words * 4 + 6)


# -- the whole of two packets ------------------------------------------------------------------------------------------

IPV4_TCP: dict[str, Value] = {
    "ip.src": Address(4, 0xC0000201),
    "ip.dst": Address(4, 0xC6336407),
    "ip": True,
    "ip.version": 4,
    "ip.proto": 6,
    "ip.len": 52,
    "ip.hdr_len": 20,
    "ip.opt.type": None,
    "ip.ttl": 64,
    "ip.id": 0x1234,
    "ip.dscp": 46,
    "ip.ecn": 1,
    "ip.frag": False,
    "ip.frag.offset": 0,
    "ip.frag.more": False,
    "ip.flags.df": True,
    "ip.checksum.valid": False,
    "ipv6.flow": None,
    "ipv6.exthdr": None,
    "tcp": True,
    "tcp.srcport": 54321,
    "tcp.dstport": 443,
    "tcp.seq": 1,
    "tcp.ack": 0xFFFFFFFE,
    "tcp.hdr_len": 24,
    "tcp.flags": 0x12,
    "tcp.flags.cwr": False,
    "tcp.flags.ecn": False,
    "tcp.flags.urg": False,
    "tcp.flags.ack": True,
    "tcp.flags.push": False,
    "tcp.flags.reset": False,
    "tcp.flags.syn": True,
    "tcp.flags.fin": False,
    "tcp.window": 0x7210,
    "tcp.options.mss": 1460,
    "tcp.payload": b"GET / HT",
    "tcp.payload.len": 8,
    "payload": b"GET / HT",
    "http": True,
    "http.request": True,
    "http.response": False,
    "http.method": b"GET",
    "http.truncated": True,
    "payload.len": 8,
    "udp": False,
    "icmp": False,
    "icmpv6": False,
    "sctp": False,
    "gre": False,
    "esp": False,
}

IPV6_UDP: dict[str, Value] = {
    "ip.src": Address(6, 0x20010DB8000000000000000000000001),
    "ip.dst": Address(6, 0xFE800000000000000000000000000009),
    "ip": True,
    "ip.version": 6,
    "ip.proto": 17,
    "ip.len": 56,
    "ip.hdr_len": 40,
    "ip.ttl": 7,
    "ip.dscp": 11,
    "ip.ecn": 2,
    "ip.frag": False,
    "ip.checksum.valid": False,
    "ipv6.flow": 0x12345,
    "udp": True,
    "udp.srcport": 53,
    "udp.dstport": 12345,
    "udp.length": 16,
    "udp.payload": b"\x00\x01evil\x00\x00",
    "udp.payload.len": 8,
    "payload": b"\x00\x01evil\x00\x00",
    "payload.len": 8,
    "tcp": False,
    "icmp": False,
    "icmpv6": False,
    "sctp": False,
    "gre": False,
    "esp": False,
}

BY_PLACE = {field.name for field in FIELDS.values() if field.group == "place"}
RESOLVED = {"ip.src.country", "ip.dst.country", "ip.geoip.country", "ip.src.asnum", "ip.dst.asnum", "ct.state", "ct.direction"}


@pytest.mark.parametrize("name", sorted(set(FIELDS) - BY_PLACE - RESOLVED))
def test_every_field_of_an_ipv4_tcp_packet(name: str) -> None:
    assert get(name, V4 + TCP) == IPV4_TCP.get(name)


@pytest.mark.parametrize("name", sorted(set(FIELDS) - BY_PLACE - RESOLVED))
def test_every_field_of_an_ipv6_udp_packet(name: str) -> None:
    assert get(name, V6 + UDP) == IPV6_UDP.get(name)


@pytest.mark.parametrize("name", sorted(RESOLVED))
def test_a_field_that_is_resolved_before_is_refused(name: str) -> None:
    with pytest.raises(AssertionError, match="before any packet is judged"):
        get(name, V4 + TCP)


def test_fields_of_the_place() -> None:
    place = Place("eth0", "eth1", 0xFFFFFFFF, 100, "ams1", "weur")
    values = {name: get(name, V4 + TCP, place) for name in BY_PLACE - RESOLVED}
    assert values == {
        "interface.in": b"eth0",
        "interface.out": b"eth1",
        "meta.mark": 0xFFFFFFFF,
        "vlan.id": 100,
        "cf.colo.name": b"ams1",
        "cf.colo.region": b"weur",
    }


def test_the_plainest_place() -> None:
    assert [get(name, V4, PLACE) for name in ("interface.out", "meta.mark", "vlan.id", "cf.colo.name")] == [None, 0, None, b""]


# -- the packet's bounds -----------------------------------------------------------------------------------------------


def test_bytes_behind_the_ip_length_are_cut_off() -> None:
    assert get("payload", V4 + TCP + b"padding") == b"GET / HT"
    assert get("payload", V6 + UDP + b"padding") == UDP[8:]


def test_options_without_a_length_leave_the_packet_whole() -> None:
    data = V6[:4] + b"\x00\x00\x00\x40" + V6[8:] + b"\x11\x00\x01\x04\x00\x00\x00\x00" + UDP
    assert get("udp.payload", data) == UDP[8:]
    assert get("ip.len", data) == 40


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x55" + V4[1:]])
def test_what_is_no_ip_packet_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="version 4 or 6"):
        Packet(data, PLACE)


def test_a_field_is_there_up_to_the_byte_that_ends_it() -> None:
    for length in range(21):
        whole = v4(6, TCP[:length])
        assert (get("tcp.dstport", whole) is None) == (length < 4)
        assert (get("tcp.flags", whole) is None) == (length < 14)
        assert (get("tcp.hdr_len", whole) is None) == (length < 13)
        assert get("tcp", whole) is (length >= 20)


def test_no_damage_raises() -> None:
    rng = random.Random(3)
    asked = [field for field in FIELDS.values() if field.name not in RESOLVED]
    for _ in range(3000):
        data = damaged(rng, packet(rng, padding=True))
        if data and data[0] >> 4 in (4, 6):
            decoded = Packet(data, PLACE)
            for field in asked:
                assert_of_type(field, decoded.value(field))


def assert_of_type(field: Field, value: Value) -> None:
    if value is None:
        return
    if field.multiple:
        assert isinstance(value, tuple)
        assert value
        return
    match field.type:
        case Type.BOOL:
            assert isinstance(value, bool)
        case Type.INT:
            assert isinstance(value, int)
            assert 0 <= value <= field.maximum
        case Type.ADDRESS:
            assert isinstance(value, Address)
        case Type.BYTES:
            assert isinstance(value, bytes)


# -- IPv4 --------------------------------------------------------------------------------------------------------------


def test_the_transport_header_follows_the_options() -> None:
    data = v4(17, UDP, options=b"\x94\x04\x00\x00" + bytes(36))
    assert (get("ip.hdr_len", data), get("ip.opt.type", data), get("udp.srcport", data)) == (60, 0x94, 53)


def test_the_checksum_of_rfc_1071() -> None:
    right = bytes.fromhex("45000073 00004000 4011b861 c0a80001 c0a800c7") + bytes(95)
    assert get("ip.checksum.valid", right) is True
    assert get("ip.checksum.valid", right[:8] + b"\x41" + right[9:]) is False


@pytest.mark.parametrize(
    ("flags", "is_fragment", "offset", "more", "has_ports"),
    [
        (0x0000, False, 0, False, True),
        (0x4000, False, 0, False, True),
        (0x8000, False, 0, False, True),
        (0x2000, True, 0, True, True),
        (0x0001, True, 8, False, False),
        (0x3FFF, True, 65528, True, False),
    ],
)
def test_fragments_of_ipv4(flags: int, is_fragment: bool, offset: int, more: bool, has_ports: bool) -> None:
    data = v4(17, UDP, flags=flags)
    assert [get(name, data) for name in ("ip.frag", "ip.frag.offset", "ip.frag.more")] == [is_fragment, offset, more]
    assert get("ip.proto", data) == 17
    assert (get("udp.srcport", data) is not None) is has_ports
    assert get("udp", data) is has_ports
    assert (get("payload", data) is not None) is has_ports


def test_ipv6_headers_are_not_walked_in_ipv4() -> None:
    data = v4(51, authentication(17, 1) + UDP)
    assert (get("ip.proto", data), get("udp", data), get("ipv6.exthdr", data)) == (51, False, None)
    assert get("payload", data) == authentication(17, 1) + UDP


# -- IPv6 --------------------------------------------------------------------------------------------------------------


def test_each_extension_header_has_its_length() -> None:
    chain = extension(43) + extension(60, 1) + extension(44, 2) + fragment(51, 0) + authentication(17, 4)
    data = v6(0, chain + UDP)
    assert get("ipv6.exthdr", data) == (0, 43, 60, 44, 51)
    assert (get("ip.proto", data), get("udp.srcport", data), get("udp.payload", data)) == (17, 53, UDP[8:])
    assert [get(name, data) for name in ("ip.frag", "ip.frag.offset", "ip.frag.more")] == [True, 0, False]


def test_a_long_chain_is_walked_to_its_end() -> None:
    data = v6(60, extension(60) * 99 + extension(17) + UDP)
    assert (get("udp.dstport", data), get("ipv6.exthdr", data)) == (12345, (60,) * 100)


def test_a_first_fragment_has_ports_and_a_later_one_none() -> None:
    first, later = v6(44, fragment(17, 0, more=True) + UDP), v6(44, fragment(17, 8) + UDP)
    assert [get(name, first) for name in ("ip.proto", "ip.frag", "ip.frag.more", "udp.srcport")] == [17, True, True, 53]
    assert [get(name, later) for name in ("ip.proto", "ip.frag", "ip.frag.offset", "udp.srcport")] == [17, True, 8, None]
    assert get("payload", later) is None


@pytest.mark.parametrize("following", [0, 43, 44, 51, 60])
def test_a_later_fragment_that_goes_on_with_an_extension_header_has_no_protocol(following: int) -> None:
    data = v6(44, fragment(following, 8) + UDP)
    assert (get("ip.proto", data), get("ipv6.exthdr", data)) == (None, (44,))


def test_a_later_fragment_of_no_next_header_says_so() -> None:
    assert get("ip.proto", v6(44, fragment(59, 8) + UDP)) == 59


def test_the_first_fragment_header_counts() -> None:
    data = v6(44, fragment(44, 0, more=True) + fragment(17, 16))
    assert [get(name, data) for name in ("ip.frag.offset", "ip.frag.more", "udp", "ipv6.exthdr")] == [0, True, False, (44, 44)]


def test_no_next_header_is_a_protocol_of_its_own() -> None:
    data = v6(60, extension(59) + b"rest")
    assert (get("ip.proto", data), get("payload", data)) == (59, b"rest")


@pytest.mark.parametrize(
    ("kind", "needed"), [(0, 2), (43, 4), (44, 4), (51, 2), (60, 2)], ids=["hop-by-hop", "routing", "fragment", "ah", "destination"]
)
def test_a_chain_that_is_cut_has_no_protocol(kind: int, needed: int) -> None:
    header = fragment(17, 0) if kind == 44 else extension(17)
    cut, enough = v6(kind, header[: needed - 1]), v6(kind, header[:needed])
    assert (get("ip.proto", cut), get("ipv6.exthdr", cut), get("ip.frag", cut)) == (None, None, False)
    assert (get("ip.proto", enough), get("ipv6.exthdr", enough), get("ip.frag", enough)) == (17, (kind,), kind == 44)


def test_a_last_header_past_the_packet_s_end_leaves_no_payload() -> None:
    data = v6(60, bytes([253, 1]) + bytes(6))
    assert (get("ip.proto", data), get("payload", data)) == (253, None)
    assert get("payload", v6(60, extension(253))) == b""


def test_a_transport_header_past_65535_bytes_is_not_found() -> None:
    blocks = (65520 - 40) // 8  # up to the last extension header, at 65520
    chain = extension(60, 255) * (blocks // 256) + extension(60, blocks % 256 - 1)
    assert get("ip.proto", v6(60, chain + b"\x11\x00" + bytes(6))) == 17
    assert get("ip.proto", v6(60, chain + b"\x11\x01" + bytes(6))) is None


# -- transport ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "is_tcp", "payload"), [(0, False, None), (4, False, None), (5, True, TCP[20:]), (8, True, b""), (9, True, None)]
)
def test_tcp_by_its_data_offset(offset: int, is_tcp: bool, payload: bytes | None) -> None:
    data = v4(6, TCP[:12] + bytes([offset << 4]) + TCP[13:])
    assert (get("tcp", data), get("tcp.hdr_len", data), get("tcp.payload", data)) == (is_tcp, offset * 4, payload)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ("020405b4", 1460),
        ("01010204 ffff0000", 65535),
        ("00020405 b4000000", None),
        ("02030502 040218 00", 0x218),
        ("03030702 04000000", 0),
        ("02020204 05b40000", 1460),
        ("1e000204 05b40000", None),
        ("1e010204 05b40000", None),
        ("1eff0204 05b40000", None),
        ("01010102", None),
        ("01020405", None),
        ("02050504 0205b400", None),
        ("0101 0204 05b4 0204 0001 0000", 1460),
    ],
)
def test_the_maximum_segment_size_among_the_options(options: str, value: int | None) -> None:
    content = bytes.fromhex(options)
    header = TCP[:12] + bytes([(5 + len(content) // 4) << 4]) + TCP[13:20] + content
    assert get("tcp.options.mss", v4(6, header)) == value
    assert get("tcp.options.mss", v4(6, header[:-1])) is None


@pytest.mark.parametrize(
    ("length", "payload"), [(0, None), (7, None), (8, b""), (9, b"\x00"), (16, UDP[8:]), (17, UDP[8:]), (65535, UDP[8:])]
)
def test_udp_payload_by_its_length(length: int, payload: bytes | None) -> None:
    data = v4(17, UDP[:4] + length.to_bytes(2, "big") + UDP[6:])
    assert (get("udp", data), get("udp.payload", data)) == (True, payload)
    assert get("udp.payload.len", data) == (None if payload is None else len(payload))


@pytest.mark.parametrize(("protocol", "name", "length"), [(1, "icmp", 8), (50, "esp", 8), (132, "sctp", 12), (47, "gre", 4)])
def test_bare_names_need_the_whole_fixed_header(protocol: int, name: str, length: int) -> None:
    assert get(name, v4(protocol, bytes(length))) is True
    assert get("payload", v4(protocol, bytes(length))) == b""
    assert get("payload", v4(protocol, bytes(length) + b"x")) == b"x"
    assert get(name, v4(protocol, bytes(length - 1))) is False
    assert get("payload", v4(protocol, bytes(length - 1))) is None


def test_each_icmp_belongs_to_one_family() -> None:
    icmp = b"\x08\x01" + bytes(6) + b"ping"
    assert [get(name, v4(1, icmp)) for name in ("icmp", "icmp.type", "icmp.code", "payload")] == [True, 8, 1, b"ping"]
    assert [get(name, v6(58, icmp)) for name in ("icmpv6", "icmpv6.type", "icmpv6.code", "payload")] == [True, 8, 1, b"ping"]
    assert [get(name, v6(1, icmp)) for name in ("icmp", "icmp.type", "icmpv6.type", "payload")] == [False, None, None, icmp]
    assert [get(name, v4(58, icmp)) for name in ("icmpv6", "icmpv6.type", "icmp.type", "payload")] == [False, None, None, icmp]


@pytest.mark.parametrize(
    ("flags", "length"),
    [(0, 4), (0x8000, 8), (0x4000, 8), (0xC000, 8), (0x2000, 8), (0x1000, 8), (0x3000, 12), (0xB000, 16), (0xF000, 16), (0x0FFF, 4)],
)
def test_gre_by_its_flags(flags: int, length: int) -> None:
    header = flags.to_bytes(2, "big") + b"\x86\xdd" + bytes(12)
    assert get("gre.proto", v4(47, header[:length])) == 0x86DD
    assert get("payload", v4(47, header[:length] + b"x")) == b"x"
    assert get("payload", v4(47, header[:length])) == b""
    assert get("payload", v4(47, header[: length - 1])) is None


def test_sctp_and_esp() -> None:
    assert [get(name, v4(132, UDP + bytes(4))) for name in ("sctp.srcport", "sctp.dstport")] == [53, 12345]
    assert get("esp.spi", v4(50, b"\xff\x00\x00\x01")) == 0xFF000001


# -- bit slices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "start", "end", "value"),
    [
        (Header.IP, 0, 4, 4),
        (Header.IP, 4, 8, 5),
        (Header.IP, 8, 14, 46),
        (Header.IP, 7, 9, 0b11),
        (Header.IP, 16, 48, 0x00341234),
        (Header.IPV4, 17, 49, 0x00341234 << 1),
        (Header.IPV6, 0, 4, None),
        (Header.TCP, 3, 19, (0xD431 << 3 | 0) & 0xFFFF),
        (Header.TCP, 160, 192, 0x020405B4),
        (Header.TCP, 192, 216, int.from_bytes(b"GET", "big")),
        (Header.TCP, 255, 256, 0),
        (Header.TCP, 256, 257, None),
        (Header.TCP, 250, 257, None),
        (Header.UDP, 0, 1, None),
    ],
)
def test_bit_slices(header: Header, start: int, end: int, value: int | None) -> None:
    assert Packet(V4 + TCP, PLACE).bits(header, start, end) == value


def test_a_bit_slice_needs_no_whole_header() -> None:
    assert Packet(v4(6, b"\x01\x02"), PLACE).bits(Header.TCP, 8, 16) == 2
    assert Packet(v4(6, b"\x01\x02", flags=1), PLACE).bits(Header.TCP, 8, 16) is None
