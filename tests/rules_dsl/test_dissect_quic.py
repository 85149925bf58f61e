"""The reference's reading of QUIC's long headers: packets written by hand, the bounds of what counts, and cut datagrams."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

DCID, SCID = bytes.fromhex("8394c8f03e515708"), bytes.fromhex("f067a5502a4262b5")
SEALED = b"\x11" + bytes(17)
"""A length and as many bytes: the fewest there can be."""


def dissect(payload: bytes, protocol: int = 17) -> dict[str, Value] | None:
    """The fields of a datagram with that payload; None where it has no QUIC."""
    datagram = bytes([0, 1, 1, 0xBB]) + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
    header = b"\x45\x00" + (20 + len(datagram)).to_bytes(2, "big") + bytes(4) + bytes([64, protocol]) + bytes(10)
    values = DISSECTORS["quic"](Packet(header + datagram, Place("eth0")))
    return None if values is None else dict(values)


def found(payload: bytes) -> dict[str, Value]:
    values = dissect(payload)
    assert values is not None
    return values


def long(first: int, rest: bytes, *, version: int = 1, dcid: bytes = DCID, scid: bytes = b"") -> bytes:
    return bytes([first]) + version.to_bytes(4, "big") + bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + rest


def test_an_initial_packet_of_a_client() -> None:
    """RFC 9001 appendix A.2: no token, 1182 bytes."""
    assert found(long(0xC0, b"\x00\x44\x9e" + bytes(1182))) == {
        "quic": True,
        "quic.header_form": 1,
        "quic.fixed_bit": True,
        "quic.version": 1,
        "quic.dcil": 8,
        "quic.dcid": DCID,
        "quic.scil": 0,
        "quic.long.packet_type": (0,),
        "quic.token_length": 0,
        "quic.length": 1182,
    }


def test_a_retry_packet() -> None:
    """RFC 9001 appendix A.4: a token and the 16 bytes of the tag."""
    values = found(bytes.fromhex("ff000000010008f067a5502a4262b5746f6b656e04a265ba2eff4d829058fb3f0f2496ba"))
    assert values["quic.long.packet_type"] == (3,)
    assert values["quic.scid"] == SCID
    assert not {"quic.dcid", "quic.length", "quic.token_length"} & set(values)
    assert dissect(long(0xF0, bytes(16))) is not None
    assert dissect(long(0xF0, bytes(15))) is None


def test_the_types_of_version_2() -> None:
    """RFC 9369 section 3.2."""
    for first, kind in ((0xD0, 1), (0xE0, 2), (0xF0, 3), (0xC0, 0)):
        values = found(long(first, (b"\x00" if kind == 1 else b"") + SEALED, version=0x6B3343CF))
        assert values["quic.long.packet_type_v2"] == (kind,)
        assert ("quic.token_length" in values) is (kind == 1)
        assert ("quic.length" in values) is (kind != 0)
        assert "quic.long.packet_type" not in values


def test_packets_of_one_datagram() -> None:
    initial, handshake = long(0xC0, b"\x03abc" + SEALED), long(0xE0, b"\x40\x20" + bytes(32))
    values = found(initial + handshake + b"\x40" + bytes(30))
    assert values["quic.long.packet_type"] == (0, 2)
    assert (values["quic.token_length"], values["quic.length"]) == (3, 17)
    assert found(initial + long(0xE0, SEALED, version=0xFF00001D))["quic.long.packet_type"] == (0,)


def test_a_version_negotiation() -> None:
    values = found(long(0x80, bytes.fromhex("1a2a3a4a 00000001 51303436"), version=0, scid=SCID))
    assert values["quic.supported_version"] == (0x1A2A3A4A, 1, 0x51303436)
    assert values["quic.version"] == 0
    assert "quic.fixed_bit" not in values
    assert "quic.long.packet_type" not in values


@pytest.mark.parametrize("offer", ["", "000001", "0000000100", "00000002", "00000000 51303436", "01000000 0100"])
def test_what_is_no_version_negotiation(offer: str) -> None:
    assert dissect(long(0x80, bytes.fromhex(offer), version=0)) is None


@pytest.mark.parametrize(
    "version", [1, 0x6B3343CF, 0x709A50C4, 0xFF000016, 0xFF0000FF, 0x0A0A0A0A, 0xFAEADACA, 0xFACEB001, 0xFACEB00E, 0x51303530, 0x54303531]
)
def test_versions_that_are_known(version: int) -> None:
    assert dissect(long(0xE0, SEALED, version=version)) is not None


@pytest.mark.parametrize("version", [0, 2, 0x6B3343CE, 0xFF000015, 0xFF000100, 0x0A0A0A0B, 0xFACEB003, 0x51303436, 0x51303433, 0xFFFFFFFF])
def test_versions_that_are_not(version: int) -> None:
    assert dissect(long(0xE0, SEALED, version=version)) is None


def test_a_short_header_is_none() -> None:
    assert dissect(long(0x60, SEALED)) is None


def test_the_fixed_bit_may_be_0() -> None:
    """RFC 9287."""
    assert found(long(0xA0, SEALED))["quic.fixed_bit"] is False


def test_connection_ids_have_at_most_20_bytes() -> None:
    assert found(long(0xE0, SEALED, dcid=bytes(20), scid=bytes(20)))["quic.scil"] == 20
    assert dissect(long(0xE0, SEALED, dcid=bytes(21))) is None
    assert dissect(long(0xE0, SEALED, scid=bytes(21))) is None


@pytest.mark.parametrize("length", ["13", "4013", "80000013", "c000000000000013"], ids=["1", "2", "4", "8"])
def test_a_length_has_1_to_8_bytes(length: str) -> None:
    assert found(long(0xE0, bytes.fromhex(length) + bytes(19)))["quic.length"] == 19
    assert dissect(long(0xE0, bytes.fromhex(length) + bytes(18))) is None


def test_a_packet_has_a_number_and_a_tag() -> None:
    assert dissect(long(0xE0, SEALED)) is not None
    assert dissect(long(0xE0, b"\x10" + bytes(16))) is None


def test_the_token_lies_in_the_datagram() -> None:
    assert found(long(0xC0, b"\x40\x05token" + SEALED))["quic.token_length"] == 5
    assert dissect(long(0xC0, b"\x40\xff" + bytes(100))) is None


def test_a_cut_packet_is_none() -> None:
    whole = long(0xC0, b"\x03abc" + SEALED, scid=SCID)
    assert dissect(whole) is not None
    assert [length for length in range(len(whole)) if dissect(whole[:length]) is not None] == []


def test_quic_over_tcp_is_none() -> None:
    assert dissect(long(0xE0, SEALED), protocol=6) is None
