"""The reference dissector of STUN, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.stun import dissect_stun
from rules_dsl.value import Value

ID = b"abcdefghijkl"
USERNAME = bytes.fromhex("00060005") + b"alice" + bytes(3)
SOFTWARE = bytes.fromhex("80220008") + b"coturn-4"


def message(kind: int, attributes: bytes = b"", *, length: int | None = None) -> bytes:
    stated = len(attributes) if length is None else length
    return kind.to_bytes(2, "big") + stated.to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID + attributes


def in_udp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_stun(SimpleNamespace(udp_payload=payload, tcp_payload=None))  # type: ignore[arg-type]


def in_tcp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_stun(SimpleNamespace(udp_payload=None, tcp_payload=payload))  # type: ignore[arg-type]


def field(values: Mapping[str, Value] | None, name: str) -> Value:
    assert values is not None
    return values.get(name)


def test_an_allocate_error_response() -> None:
    assert in_udp(message(0x0113, USERNAME + SOFTWARE)) == {
        "stun": True,
        "stun.type": 0x0113,
        "stun.method": 3,
        "stun.class": 0x11,
        "stun.length": 24,
        "stun.cookie": b"\x21\x12\xa4\x42",
        "stun.id": ID,
        "stun.att.type": (0x0006, 0x8022),
        "stun.att.username": b"alice",
        "stun.att.software": b"coturn-4",
    }


def test_a_message_without_attributes() -> None:
    values = in_udp(message(0x0001))
    assert field(values, "stun")
    assert field(values, "stun.att.type") is None
    assert field(values, "stun.att.username") is None


@pytest.mark.parametrize(
    ("kind", "method", "class_"), [(0x0001, 1, 0), (0x0011, 1, 1), (0x0101, 1, 0x10), (0x0111, 1, 0x11), (0x3FFF, 0x3EEF, 0x11)]
)
def test_method_and_class_share_the_type(kind: int, method: int, class_: int) -> None:
    values = in_udp(message(kind))
    assert (field(values, "stun.method"), field(values, "stun.class")) == (method, class_)


@pytest.mark.parametrize("kind", [0x4000, 0x8001, 0xC001])
def test_the_first_two_bits_are_zero(kind: int) -> None:
    assert in_udp(message(kind)) is None


def test_the_cookie_is_wanted() -> None:
    assert in_udp(message(1).replace(b"\xa4\x42", b"\xa4\x43")) is None


@pytest.mark.parametrize("length", [0, 19, 21, 0xFFFF])
def test_in_udp_the_length_is_that_of_the_datagram(length: int) -> None:
    assert in_udp(message(1, SOFTWARE, length=12)) is not None
    assert in_udp(message(1, SOFTWARE, length=length)) is None


def test_the_length_need_be_no_multiple_of_four() -> None:
    assert field(in_udp(message(1, SOFTWARE + b"\0\0")), "stun.length") == 14


def test_the_header_is_whole() -> None:
    assert [length for length in range(21) if in_udp(message(1)[:length])] == [20]
    assert [length for length in range(21) if in_tcp(message(1)[:length])] == [20]
    assert in_udp(None) is None


def test_in_tcp_a_message_may_go_on_and_others_may_follow() -> None:
    assert field(in_tcp(message(1, SOFTWARE, length=400)), "stun.length") == 400
    assert field(in_tcp(message(1, SOFTWARE) + message(3, USERNAME)), "stun.att.type") == (0x8022,)


def test_in_tcp_two_bytes_of_a_frame_may_stand_before() -> None:
    framed = b"\x00\x20" + message(0x0101, SOFTWARE)
    assert field(in_tcp(framed), "stun.type") == 0x0101
    assert field(in_tcp(framed), "stun.att.software") == b"coturn-4"
    assert in_udp(framed) is None
    assert in_tcp(b"\x00" + message(1)) is None


@pytest.mark.parametrize(
    ("cut", "types", "username"), [(0, (0x0006,), b"alice"), (3, (0x0006,), b"alice"), (4, (0x0006,), None), (9, None, None)]
)
def test_an_attribute_that_is_cut(cut: int, types: tuple[int, ...] | None, username: bytes | None) -> None:
    values = in_tcp(message(1, USERNAME)[: 32 - cut])
    assert field(values, "stun.att.type") == types
    assert field(values, "stun.att.username") == username


def test_the_first_of_several_counts() -> None:
    other = bytes.fromhex("00060004") + b"mall"
    assert field(in_udp(message(1, USERNAME + other)), "stun.att.username") == b"alice"


def test_an_attribute_is_looked_for_among_the_first_64() -> None:
    padding = bytes.fromhex("80280000")
    assert field(in_udp(message(1, padding * 63 + USERNAME)), "stun.att.username") == b"alice"
    assert field(in_udp(message(1, padding * 64 + USERNAME)), "stun.att.username") is None
