"""The reference on messages of CLDAP."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

ROOT_DSE = bytes.fromhex("3025 020101 6320 0400 0a0100 0a0100 020100 020100 010100 870b") + b"objectclass" + b"\x30\0"
ENTRY = bytes.fromhex("30840000000d 020101 648400000004 04003000")
DONE = bytes.fromhex("3011 020200ff 658400000007 0a0100 0400 0400")


def get(payload: bytes) -> dict[str, Value] | None:
    datagram = bytes(4) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    packet = b"\x45\0" + (20 + len(datagram)).to_bytes(2) + bytes(4) + b"\x40\x11" + bytes(10) + datagram
    values = DISSECTORS["cldap"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def test_the_query_of_the_root() -> None:
    assert get(ROOT_DSE) == {"cldap": True, "cldap.message_id": 1, "cldap.operation": (3,)}


def test_several_messages() -> None:
    assert get(ENTRY + DONE) == {"cldap": True, "cldap.message_id": 1, "cldap.operation": (4, 5)}
    assert get(DONE + ENTRY) == {"cldap": True, "cldap.message_id": 255, "cldap.operation": (5, 4)}


def test_what_follows_and_is_no_message_ends_the_list() -> None:
    assert get(ENTRY + b"\0" + DONE) == {"cldap": True, "cldap.message_id": 1, "cldap.operation": (4,)}


def test_a_message_may_go_on_beyond_the_payload() -> None:
    assert get(ROOT_DSE[:7]) == {"cldap": True, "cldap.message_id": 1, "cldap.operation": (3,)}
    assert get(ROOT_DSE[:6]) is None
    assert get(ENTRY[:-1]) == {"cldap": True, "cldap.message_id": 1, "cldap.operation": (4,)}
    assert get(ENTRY[:14]) is None


@pytest.mark.parametrize("tag", [0x63, 0x64, 0x65, 0x73, 0x50])
def test_operations(tag: int) -> None:
    assert get(bytes([0x30, 5, 2, 1, 7, tag, 0])) == {"cldap": True, "cldap.message_id": 7, "cldap.operation": (tag & 0x1F,)}


@pytest.mark.parametrize("payload", [
    "", "30", "3105 020107 6300", "3005 020107 6000", "3005 020107 0400", "3005 030107 6300", "3004 0200 6300", "3009 02050000000001 6300",
    "3005 020107 6301", "3004 020107 6300", "3080 020107 6300", "3085 020107 6300", "3005 020107 6380",
])  # fmt: skip
def test_what_is_none(payload: str) -> None:
    assert get(bytes.fromhex(payload)) is None


def test_numbers_of_four_bytes() -> None:
    assert get(bytes.fromhex("3008 0204 7fffffff 6300")) == {"cldap": True, "cldap.message_id": 0x7FFFFFFF, "cldap.operation": (3,)}
