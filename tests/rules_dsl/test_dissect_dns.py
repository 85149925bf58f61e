"""The reference on messages of DNS."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

NAME = b"\3WWW\7example\3com\0"
QUESTION = NAME + bytes.fromhex("0001 0001")
ANSWER = bytes.fromhex("c00c 0001 0001 0000012c 0004 c6336407")
OPT = bytes.fromhex("00 0029 04d0 00 00 8000 0000")


def header(*counts: int, flags: int = 0x0100) -> bytes:
    padded = (*counts, 0, 0, 0, 0)[:4]
    return b"\x12\x34" + flags.to_bytes(2, "big") + b"".join(count.to_bytes(2, "big") for count in padded)


def ipv4(protocol: int, data: bytes) -> bytes:
    return b"\x45\0" + (20 + len(data)).to_bytes(2, "big") + bytes(4) + bytes([64, protocol]) + bytes(10) + data


def dissected(data: bytes) -> dict[str, Value]:
    return dict(DISSECTORS["dns"](Packet(data, Place("eth0"))) or {})


def get(message: bytes, *, stated: int | None = None) -> dict[str, Value]:
    """Over UDP, whose length is `stated` or the message's."""
    length = 8 + (len(message) if stated is None else stated)
    return dissected(ipv4(17, b"\xc0\0\x13\x88" + length.to_bytes(2, "big") + bytes(2) + message))


def get_tcp(payload: bytes) -> dict[str, Value]:
    return dissected(ipv4(6, b"\xc0\0\x13\x88" + bytes(8) + b"\x50\x18" + bytes(6) + payload))


def test_a_query() -> None:
    assert get(header(1) + QUESTION) == {
        "dns": True,
        "dns.id": 0x1234,
        "dns.qr": False,
        "dns.opcode": 0,
        "dns.tc": False,
        "dns.rd": True,
        "dns.ad": False,
        "dns.cd": False,
        "dns.count.queries": 1,
        "dns.count.answers": 0,
        "dns.count.auth_rr": 0,
        "dns.count.add_rr": 0,
        "dns.qry.name": (b"www.example.com",),
        "dns.qry.name.len": (15,),
        "dns.count.labels": (3,),
        "dns.qry.type": (1,),
        "dns.qry.class": (1,),
        "dns.edns": False,
    }


def test_a_response_with_an_answer_and_edns() -> None:
    values = get(header(1, 1, 0, 1, flags=0x85B3) + QUESTION + ANSWER + OPT)
    assert {name: values[name] for name in ("dns.qr", "dns.aa", "dns.ra", "dns.ad", "dns.cd", "dns.rcode")} == {
        "dns.qr": True,
        "dns.aa": True,
        "dns.ra": True,
        "dns.ad": True,
        "dns.cd": True,
        "dns.rcode": 3,
    }
    assert values["dns.resp.name"] == (b"www.example.com", b"")
    assert values["dns.resp.type"] == (1, 41)
    assert values["dns.resp.class"] == (1,)
    assert values["dns.resp.ttl"] == (300,)
    assert values["dns.edns"] is True
    assert (values["dns.edns.payload_size"], values["dns.edns.version"], values["dns.edns.do"]) == (1232, 0, True)


def test_the_header_of_an_update_counts_other_sections() -> None:
    values = get(header(1, flags=0x2800) + QUESTION)
    assert (values["dns.count.zones"], values["dns.count.prerequisites"], values["dns.count.updates"]) == (1, 0, 0)
    assert "dns.count.queries" not in values


def test_several_questions_with_a_pointer() -> None:
    values = get(header(2) + QUESTION + b"\3ftp\xc0\x10" + bytes.fromhex("00ff 8001"))
    assert values["dns.qry.name"] == (b"www.example.com", b"ftp.example.com")
    assert values["dns.qry.type"] == (1, 255)
    assert values["dns.qry.class"] == (1, 1)


def test_the_root_is_the_empty_text() -> None:
    values = get(header(1) + b"\0\0\2\0\1")
    assert (values["dns.qry.name"], values["dns.qry.name.len"], values["dns.count.labels"]) == ((b"",), (0,), (0,))


def test_a_response_of_mdns_has_no_question() -> None:
    record = b"\5_http\4_tcp\5local\0" + bytes.fromhex("000c 8001 00000078 0002 c00c")
    values = get(header(0, 1, flags=0x8400) + record)
    assert values["dns.resp.name"] == (b"_http._tcp.local",)
    assert values["dns.resp.class"] == (1,)
    assert "dns.qry.name" not in values


@pytest.mark.parametrize("opcode", range(16))
def test_opcodes(opcode: int) -> None:
    assert bool(get(header(1, flags=opcode << 11) + QUESTION)) is (opcode in (0, 1, 2, 4, 5))


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 253, 254, 255, 256, 0x8001, 0x80FF])
def test_classes(number: int) -> None:
    assert bool(get(header(1) + NAME + b"\0\1" + number.to_bytes(2, "big"))) is (number in (1, 3, 4, 254, 255, 0x8001, 0x80FF))


@pytest.mark.parametrize("counts", [(6,), (1, 2), (1, 0, 2), (1, 0, 0, 2)])
def test_what_the_header_counts_has_room_in_the_stated_length(counts: tuple[int, ...]) -> None:
    message = header(*counts) + QUESTION
    needed = 12 + 5 * counts[0] + 11 * sum(counts[1:])
    assert needed > len(message)
    assert not get(message, stated=needed - 1)
    assert get(message, stated=needed)


def test_a_truncated_message_may_lack_its_records() -> None:
    assert get(header(1, 5, flags=0x8200) + QUESTION)["dns.tc"] is True


@pytest.mark.parametrize("cut", range(len(header(1) + QUESTION)))
def test_a_message_without_its_whole_first_question_is_none(cut: int) -> None:
    assert get((header(1) + QUESTION)[:cut], stated=200) == {}


@pytest.mark.parametrize("cut", range(1, len(ANSWER) + 1))
def test_a_cut_record_is_none(cut: int) -> None:
    values = get((header(1, 1, flags=0x8000) + QUESTION + ANSWER)[:-cut], stated=200)
    assert values["dns"] is True
    assert "dns.resp.type" not in values


def test_a_response_that_counts_nothing_is_the_header_alone() -> None:
    assert get(header(flags=0x8001))["dns.rcode"] == 1
    assert not get(header())
    assert not get(header(flags=0x8001) + b"\0")


@pytest.mark.parametrize("kind", [32, 33])
def test_netbios_is_no_dns(kind: int) -> None:
    tail = b"\0" + kind.to_bytes(2, "big") + b"\0\1"
    assert not get(header(1) + b"\x20" + b"CK" + b"A" * 30 + tail)
    assert get(header(1) + b"\x20" + b"ck" + b"A" * 30 + tail)
    assert get(header(1) + b"\x1f" + b"CK" + b"A" * 29 + tail)


def test_a_name_of_255_bytes() -> None:
    labels = (b"\x3f" + b"q" * 63) * 3
    for last, valid in ((61, True), (62, False)):
        name = labels + bytes([last]) + b"q" * last + b"\0"
        assert bool(get(header(1) + name + b"\0\1\0\1")) is valid
        if valid:
            assert get(header(1) + name + b"\0\1\0\1")["dns.qry.name.len"] == (253,)


@pytest.mark.parametrize("pointer", [b"\xc0\x21", b"\xc0\x22", b"\xc0\x00", b"\xc0\x0b", b"\xff\xff"])
def test_a_pointer_forward_to_itself_or_into_the_header_makes_no_name(pointer: bytes) -> None:
    values = get(header(2) + QUESTION + pointer + b"\0\2\0\1")
    assert values["dns.qry.name"] == (b"www.example.com",)
    assert values["dns.qry.type"] == (1, 2)


@pytest.mark.parametrize(("pointers", "names"), [(16, (b"", b"www.example.com")), (17, (b"",))])
def test_sixteen_pointers_are_followed(pointers: int, names: tuple[bytes, ...]) -> None:
    first = 12 + len(QUESTION) + 11  # the first record's data: each pointer leads to the one before it
    chain = [b"\xc0\x0c", *((0xC000 | first + 2 * index).to_bytes(2, "big") for index in range(pointers - 1))]
    data = b"".join(chain[:-1])
    record = bytes.fromhex("00 0010 0001 00000000") + len(data).to_bytes(2, "big") + data
    message = header(1, 2, flags=0x8000) + QUESTION + record + chain[-1] + bytes.fromhex("0001 0001 00000005 0000")
    assert get(message)["dns.resp.name"] == names


def test_at_most_sixteen_are_looked_at_and_edns_is_found_behind_them() -> None:
    record = b"\1r\0\0\1\0\1\0\0\0\0\0\0"
    values = get(header(17, 20, 0, 1, flags=0x8000) + b"\1q\0\0\1\0\1" * 17 + record * 20 + OPT)
    assert values["dns.qry.name"] == (b"q",) * 16
    assert values["dns.resp.type"] == (1,) * 16
    assert values["dns.edns"] is True


def test_over_tcp_behind_a_length() -> None:
    message = header(1, 1, flags=0x8000) + QUESTION + ANSWER
    length = len(message).to_bytes(2, "big")
    assert get_tcp(length + message)["dns.resp.type"] == (1,)
    assert get_tcp(length + message + b"\0\x20more")["dns.resp.type"] == (1,)
    assert "dns.resp.type" not in get_tcp(length + message[:-1])
    assert not get_tcp(message)
    assert not get_tcp(length[:1])


def test_a_message_is_cut_at_its_length_over_tcp() -> None:
    message = header(1) + QUESTION
    assert not get_tcp((len(message) - 1).to_bytes(2, "big") + message)
