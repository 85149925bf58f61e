"""The reference dissector of SNMP, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.snmp import dissect_snmp
from rules_dsl.value import Value

GET = bytes.fromhex("3026 020101 0406") + b"public" + bytes.fromhex("a019 02022b67 020100 020100 300d300b06072b060102010101 0500")
"""SNMPv2c, a request of id 0x2b67."""

BINDINGS = bytes.fromhex("3000")


def element(tag: int, *contents: bytes) -> bytes:
    joined = b"".join(contents)
    length = len(joined)
    return bytes([tag, length] if length < 0x80 else [tag, 0x82, length >> 8, length & 0xFF]) + joined


def integer(number: int) -> bytes:
    return element(0x02, number.to_bytes(4, "big", signed=True))


def octets(data: bytes) -> bytes:
    return element(0x04, data)


def community(version: int, pdu: bytes, name: bytes = b"public") -> bytes:
    return element(0x30, element(0x02, bytes([version])), octets(name), pdu)


def pdu(tag: int, request: int = 7, status: int = 2) -> bytes:
    return element(tag, integer(request), integer(status), integer(0), BINDINGS)


def version_3(data: bytes, *, flags: bytes = b"\x04", model: int = 3, user: bytes = b"admin") -> bytes:
    header = element(0x30, integer(4242), integer(65507), octets(flags), integer(model))
    parameters = octets(element(0x30, octets(b"engine"), integer(1), integer(2), octets(user), octets(b""), octets(b"")))
    return element(0x30, element(0x02, b"\x03"), header, parameters, data)


def scoped(inner: bytes) -> bytes:
    return element(0x30, octets(b"engine"), octets(b""), inner)


def snmp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_snmp(SimpleNamespace(udp_payload=payload, tcp_payload=None))  # type: ignore[arg-type]


def field(payload: bytes, name: str) -> Value:
    values = snmp(payload)
    assert values is not None
    return values.get(name)


def test_a_get_of_version_2c() -> None:
    assert snmp(GET) == {
        "snmp": True,
        "snmp.version": 1,
        "snmp.community": b"public",
        "snmp.pdu_type": 0,
        "snmp.request_id": 0x2B67,
        "snmp.error_status": 0,
    }


def test_a_report_of_version_3() -> None:
    assert snmp(version_3(scoped(pdu(0xA8)))) == {
        "snmp": True,
        "snmp.version": 3,
        "snmp.msgID": 4242,
        "snmp.msgUserName": b"admin",
        "snmp.pdu_type": 8,
        "snmp.request_id": 7,
        "snmp.error_status": 2,
    }


def test_an_encrypted_message_of_version_3() -> None:
    assert snmp(version_3(octets(b"secret"), flags=b"\x07")) == {
        "snmp": True, "snmp.version": 3, "snmp.msgID": 4242, "snmp.msgUserName": b"admin",
    }  # fmt: skip


def test_over_tcp() -> None:
    assert dissect_snmp(SimpleNamespace(udp_payload=None, tcp_payload=GET)) == snmp(GET)  # type: ignore[arg-type]


def test_a_trap_of_version_1_has_no_request_id() -> None:
    assert snmp(community(0, element(0xA4, element(0x06, b"\x2b"), element(0x40, bytes(4)), integer(6), integer(1)))) == {
        "snmp": True, "snmp.version": 0, "snmp.community": b"public", "snmp.pdu_type": 4,
    }  # fmt: skip


def test_a_get_bulk_has_no_error_status() -> None:
    values = snmp(community(1, pdu(0xA5)))
    assert values is not None
    assert values["snmp.request_id"] == 7
    assert "snmp.error_status" not in values


def test_versions() -> None:
    assert [version for version in range(256) if snmp(community(version, pdu(0xA0)))] == [0, 1]
    assert snmp(version_3(scoped(pdu(0xA0))).replace(b"\x02\x01\x03\x30", b"\x02\x01\x02\x30", 1)) is None


def test_pdus() -> None:
    assert [tag for tag in range(256) if snmp(community(1, pdu(tag)))] == list(range(0xA0, 0xA9))


def test_a_message_is_whole() -> None:
    assert snmp(None) is None
    assert [length for length in range(len(GET) + 1) if snmp(GET[:length])] == [len(GET)]
    assert snmp(GET + b"behind") == snmp(GET)


def test_an_element_lies_in_the_one_that_holds_it() -> None:
    for place in (1, 6, 14):  # the lengths of the message, the community and the PDU
        assert snmp(GET[:place] + bytes([GET[place] + 30]) + GET[place + 1 :] + bytes(10)) is None


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_long_forms_of_length(size: int) -> None:
    assert snmp(bytes([0x30, 0x80 | size]) + (38).to_bytes(size, "big") + GET[2:]) == snmp(GET)


@pytest.mark.parametrize("length", [b"\x80", b"\x85\x00\x00\x00\x00\x26", b"\xff", b"\x81", b"\x84\x00\x00\x00"])
def test_lengths_that_are_none(length: bytes) -> None:
    assert snmp(b"\x30" + length + GET[2:]) is None


@pytest.mark.parametrize(
    ("contents", "number"),
    [(b"\x7f", 127), (b"\xff", 0xFFFFFFFF), (b"\x80\x00", 0xFFFF8000), (b"\x7f\xff\xff\xff", 0x7FFFFFFF),
     (b"\x00\xff\xff\xff\xff", 0xFFFFFFFF), (b"\x01\x00\x00\x00\x00", None), (b"", None), (bytes(6), None)],
)  # fmt: skip
def test_integers(contents: bytes, number: int | None) -> None:
    assert field(community(1, element(0xA0, element(0x02, contents), integer(0), integer(0))), "snmp.request_id") == number


def test_a_long_community() -> None:
    assert field(community(0, pdu(0xA1), b"c" * 300), "snmp.community") == b"c" * 300


def test_what_of_version_3_makes_it_valid_and_what_not() -> None:
    assert snmp(version_3(scoped(pdu(0xA0)), flags=b"")) is None
    assert snmp(version_3(scoped(pdu(0xA0)), flags=b"\0\0")) is None
    assert snmp(version_3(pdu(0xA0))) is None
    assert field(version_3(scoped(integer(1))), "snmp.pdu_type") is None
    assert field(version_3(scoped(pdu(0xA0)), model=4), "snmp.msgUserName") is None
