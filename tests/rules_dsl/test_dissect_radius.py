"""The reference dissector of RADIUS, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.radius import dissect_radius
from rules_dsl.value import Address, Value

USER = b"\x01\x07alice"
NAS = b"\x04\x06\xc0\x00\x02\x01"


def message(attributes: bytes = b"", *, code: int = 1, length: int | None = None) -> bytes:
    stated = 20 + len(attributes) if length is None else length
    return bytes([code, 7]) + stated.to_bytes(2, "big") + b"authenticator..." + attributes


def radius(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_radius(SimpleNamespace(udp_payload=payload))  # type: ignore[arg-type]


def field(attributes: bytes, name: str) -> Value:
    values = radius(message(attributes))
    assert values is not None
    return values.get(name)


def test_an_access_request() -> None:
    assert radius(message(USER + NAS)) == {
        "radius": True,
        "radius.code": 1,
        "radius.id": 7,
        "radius.length": 33,
        "radius.user_name": b"alice",
        "radius.nas_ip": Address(4, 0xC0000201),
    }


def test_a_message_without_attributes() -> None:
    assert radius(message(code=5)) == {"radius": True, "radius.code": 5, "radius.id": 7, "radius.length": 20}


def test_codes_are_those_that_are_assigned() -> None:
    known = [*range(1, 14), *range(21, 28), *range(29, 35), *range(40, 46), 50, 51, 52]
    assert [code for code in range(256) if radius(message(code=code))] == known


@pytest.mark.parametrize("length", [0, 19, 20, 26, 28, 65535])
def test_the_length_is_that_of_the_datagram(length: int) -> None:
    assert radius(message(USER)) is not None
    assert radius(message(USER, length=length)) is None


def test_bytes_behind_the_message() -> None:
    assert radius(message(USER) + b"\0") is None


def test_the_header_is_whole() -> None:
    assert radius(None) is None
    assert [length for length in range(20) if radius(message(length=length)[:length])] == []


def test_at_most_4096_bytes() -> None:
    assert radius(message(b"\x2c\x02" * 2038)) is not None
    assert radius(message(b"\x2c\x02" * 2039)) is None


@pytest.mark.parametrize("attributes", [b"\x01", b"\x01\x00", b"\x01\x01", b"\x01\x08alice", b"\x01\x06alice", USER + b"\x01"])
def test_attributes_fill_the_message(attributes: bytes) -> None:
    assert radius(message(attributes)) is None


def test_the_first_of_several_counts() -> None:
    assert field(USER + b"\x01\x03b", "radius.user_name") == b"alice"
    assert field(b"\x04\x05\x0a\x00\x00" + NAS, "radius.nas_ip") is None


@pytest.mark.parametrize(("attribute", "value"), [(b"\x01\x02", b""), (b"\x01\x04a\x00", b"a\x00"), (b"\x02\x03a", None)])
def test_user_names(attribute: bytes, value: bytes | None) -> None:
    assert field(attribute, "radius.user_name") == value


@pytest.mark.parametrize("attribute", [b"\x04\x02", b"\x04\x05\x0a\x00\x00", b"\x04\x07\x0a\x00\x00\x01\x00"])
def test_an_address_has_four_bytes(attribute: bytes) -> None:
    assert field(attribute, "radius.nas_ip") is None
