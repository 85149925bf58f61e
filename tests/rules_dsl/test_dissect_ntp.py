"""The reference on messages of NTP."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

SERVER = bytes.fromhex("240203e9 00000123 00000321 c0000201") + bytes(24) + b"\xe9\1\2\3\4\5\6\7"
CLIENT = b"\x23" + bytes(47)
READ_VARIABLES = bytes.fromhex("160200010000000000000000")
ANSWER = bytes.fromhex("1682000106150000 0000 0005") + b"leap=" + bytes(3)
MONLIST = bytes.fromhex("1700032a00000000")
MONITORED = bytes.fromhex("d700032a00060048") + bytes(432)


def get(payload: bytes) -> dict[str, Value] | None:
    datagram = bytes(4) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    packet = b"\x45\0" + (20 + len(datagram)).to_bytes(2) + bytes(4) + b"\x40\x11" + bytes(10) + datagram
    values = DISSECTORS["ntp"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def changed(message: bytes, place: int, byte: int) -> bytes:
    return message[:place] + bytes([byte]) + message[place + 1 :]


def test_a_server_answers() -> None:
    assert get(SERVER) == {
        "ntp": True, "ntp.version": 4, "ntp.mode": 4, "ntp.leap": 0, "ntp.stratum": 2, "ntp.poll": 3, "ntp.refid": b"\xc0\0\2\1",
        "ntp.response": False, "ntp.monlist": False,
    }  # fmt: skip


def test_a_request_of_control_has_an_opcode_and_no_stratum() -> None:
    assert get(READ_VARIABLES) == {
        "ntp": True, "ntp.version": 2, "ntp.mode": 6, "ntp.leap": 0, "ntp.ctrl.opcode": 2, "ntp.response": False, "ntp.monlist": False,
    }  # fmt: skip


def test_a_response_of_control() -> None:
    values = get(ANSWER)
    assert values is not None
    assert values["ntp.response"] is True
    assert values["ntp.ctrl.opcode"] == 2
    assert get(changed(ANSWER, 8, 0x3F)) is not None
    assert get(changed(ANSWER, 8, 0x40)) is None


def test_a_request_for_the_monitored_hosts() -> None:
    assert get(MONLIST) == {
        "ntp": True,
        "ntp.version": 2,
        "ntp.mode": 7,
        "ntp.request_code": 42,
        "ntp.response": False,
        "ntp.monlist": True,
    }


def test_their_list_is_a_response() -> None:
    assert get(MONITORED) == {
        "ntp": True,
        "ntp.version": 2,
        "ntp.mode": 7,
        "ntp.request_code": 42,
        "ntp.response": True,
        "ntp.monlist": False,
    }


@pytest.mark.parametrize("message", [SERVER, CLIENT, READ_VARIABLES, MONLIST])
def test_one_byte_less_is_no_message(message: bytes) -> None:
    assert get(message) is not None
    assert get(message[:-1]) is None


@pytest.mark.parametrize("first", [0x03, 0x2B, 0x3B, 0x20])
def test_versions_are_1_to_4_and_modes_are_not_0(first: int) -> None:
    assert get(changed(CLIENT, 0, first)) is None


@pytest.mark.parametrize(("place", "good", "bad"), [
    (1, 16, 17), (2, 24, 25), (2, 0xF8, 0xF7), (3, 32, 33), (3, 0xC0, 0xBF), (4, 0xFF, 0xFE), (4, 0, 1), (8, 0, 1),
])  # fmt: skip
def test_bounds_of_the_header(place: int, good: int, bad: int) -> None:
    assert get(changed(SERVER, place, good)) is not None
    assert get(changed(SERVER, place, bad)) is None


@pytest.mark.parametrize("extra", [4, 20, 24, 72])
def test_a_code_of_authentication_may_follow(extra: int) -> None:
    assert get(CLIENT + b"\xff" * extra) is not None


def test_more_than_that_must_be_an_extension_field() -> None:
    assert get(CLIENT + b"\xff" * 76) is None
    assert get(CLIENT + b"\1\4\0\x24" + bytes(72)) is not None
    assert get(CLIENT + b"\1\4\0\x4c" + bytes(72)) is not None
    assert get(CLIENT + b"\1\4\0\x50" + bytes(72)) is None
    assert get(CLIENT + b"\1\4\0\x0c" + bytes(72)) is None
    assert get(CLIENT + b"\1\4\0\x25" + bytes(72)) is None


def test_a_control_message_has_its_data_and_little_more() -> None:
    assert get(changed(ANSWER, 11, 8)) is not None
    assert get(changed(ANSWER, 11, 9)) is None
    assert get(READ_VARIABLES + bytes(27)) is not None
    assert get(READ_VARIABLES + bytes(28)) is None


@pytest.mark.parametrize(("place", "byte"), [(1, 0x0D), (1, 0x1E), (1, 0x42), (1, 0x22), (5, 1), (9, 1)])
def test_what_a_control_request_has_not(place: int, byte: int) -> None:
    assert get(changed(READ_VARIABLES, place, byte)) is None


@pytest.mark.parametrize(("place", "byte"), [(2, 0), (2, 1), (2, 4), (4, 0x10), (6, 0x10)])
def test_what_a_private_request_has_not(place: int, byte: int) -> None:
    assert get(changed(MONLIST, place, byte)) is None


def test_private_items_take_at_most_500_bytes() -> None:
    assert get(changed(MONITORED, 5, 7)) is None


def test_the_hello_of_dtls_is_no_ntp() -> None:
    assert get(bytes.fromhex("16feff0000000000000000009d0100009100000000000000910000") + bytes(120)) is None
    assert get(bytes.fromhex("17010000000000000000d4") + bytes(82)) is None
