"""The reference dissector of DHCP, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.dhcp import dissect_dhcp
from rules_dsl.value import Address, Value

COOKIE = bytes.fromhex("63825363")


def message(options: bytes = b"", *, op: int = 1, hardware: tuple[int, int] = (1, 6), cookie: bytes = COOKIE) -> bytes:
    head = bytes((op, *hardware, 2)) + bytes.fromhex("deadbeef 0108 8000 0a000001 0a000002 0a000003 0a000004 020000000001")
    return head + bytes(10 + 64 + 128) + cookie + options


def dhcp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_dhcp(SimpleNamespace(udp_payload=payload))  # type: ignore[arg-type]


def field(options: bytes, name: str) -> Value:
    values = dhcp(message(options))
    assert values is not None
    return values.get(name)


def test_a_request() -> None:
    options = b"\x35\x01\x03\x00\x00\x32\x04\x0a\x00\x00\x07\x0c\x04host\x3c\x08MSFT 5.0\xff\x00\x00"
    assert dhcp(message(options)) == {
        "dhcp": True,
        "dhcp.op": 1,
        "dhcp.hw.type": 1,
        "dhcp.hw.mac_addr": bytes.fromhex("020000000001"),
        "dhcp.hops": 2,
        "dhcp.id": 0xDEADBEEF,
        "dhcp.secs": 0x0108,
        "dhcp.ip.client": Address(4, 0x0A000001),
        "dhcp.ip.your": Address(4, 0x0A000002),
        "dhcp.ip.server": Address(4, 0x0A000003),
        "dhcp.ip.relay": Address(4, 0x0A000004),
        "dhcp.option.type": (53, 50, 12, 60),
        "dhcp.option.dhcp": 3,
        "dhcp.option.hostname": b"host",
        "dhcp.option.vendor_class_id": b"MSFT 5.0",
        "dhcp.option.requested_ip_address": Address(4, 0x0A000007),
    }


def test_the_fixed_part_is_whole() -> None:
    assert dhcp(None) is None
    assert [length for length in range(241) if dhcp(message()[:length])] == [240]


def test_operation_codes() -> None:
    assert [op for op in range(256) if dhcp(message(op=op))] == [1, 2]


def test_the_hardware_address_has_at_most_16_bytes() -> None:
    assert [length for length in range(256) if dhcp(message(hardware=(1, length)))] == list(range(17))


def test_bootp_without_the_cookie_is_no_dhcp() -> None:
    assert dhcp(message(cookie=bytes(4))) is None
    assert dhcp(message(cookie=bytes.fromhex("63825362"))) is None


@pytest.mark.parametrize(("hardware", "there"), [((1, 6), True), ((6, 6), True), ((7, 6), False), ((1, 5), False), ((1, 16), False)])
def test_only_the_addresses_of_ieee_802_are_mac_addresses(hardware: tuple[int, int], there: bool) -> None:
    values = dhcp(message(hardware=hardware))
    assert values is not None
    assert ("dhcp.hw.mac_addr" in values) is there


def test_no_options() -> None:
    for options in (b"", b"\xff", b"\x00\x00", b"\xff\x35\x01\x01", b"\x35", b"\x35\x01", b"\x0c\x02a"):
        assert field(options, "dhcp.option.type") is None
        assert field(options, "dhcp.option.dhcp") is None


def test_options_end_at_one_that_is_not_whole() -> None:
    assert field(b"\x35\x01\x01\x0c\x05host", "dhcp.option.type") == (53,)
    assert field(b"\x35\x01\x01\x0c\x04host", "dhcp.option.type") == (53, 12)


def test_the_first_of_several_counts() -> None:
    assert field(b"\x0c\x01a\x0c\x01b", "dhcp.option.hostname") == b"a"


@pytest.mark.parametrize(("option", "value"), [(b"\x0c\x03a\x00b", b"a"), (b"\x0c\x01\x00", b""), (b"\x0c\x00", b"")])
def test_text_goes_to_the_first_nul(option: bytes, value: bytes) -> None:
    assert field(option, "dhcp.option.hostname") == value


@pytest.mark.parametrize("option", [b"\x35\x00", b"\x35\x02\x01\x02", b"\x32\x03\x0a\x00\x00", b"\x32\x05\x0a\x00\x00\x01\x00"])
def test_an_option_of_another_length_than_its_type_has(option: bytes) -> None:
    assert field(option, "dhcp.option.type") == (option[0],)
    assert field(option, "dhcp.option.dhcp") is None
    assert field(option, "dhcp.option.requested_ip_address") is None


def test_options_are_read_in_the_first_2048_bytes() -> None:
    assert field(bytes(2045) + b"\x35\x01\x05", "dhcp.option.dhcp") == 5
    assert field(bytes(2046) + b"\x35\x01\x05", "dhcp.option.dhcp") is None
