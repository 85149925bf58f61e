"""The reference on messages of TFTP."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value


def get(payload: bytes) -> dict[str, Value] | None:
    datagram = bytes(4) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    packet = b"\x45\0" + (20 + len(datagram)).to_bytes(2) + bytes(4) + b"\x40\x11" + bytes(10) + datagram
    values = DISSECTORS["tftp"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def test_a_read_request() -> None:
    assert get(b"\0\1rfc1350.txt\0octet\0") == {
        "tftp": True, "tftp.opcode": 1, "tftp.file": b"rfc1350.txt", "tftp.source_file": b"rfc1350.txt", "tftp.type": b"octet",
    }  # fmt: skip


def test_a_write_request_with_options() -> None:
    assert get(b"\0\2zz.bin\0NetASCII\0blksize\x001468\0") == {
        "tftp": True, "tftp.opcode": 2, "tftp.file": b"zz.bin", "tftp.destination_file": b"zz.bin", "tftp.type": b"NetASCII",
    }  # fmt: skip


def test_the_file_name_may_be_empty() -> None:
    values = get(b"\0\1\0octet\0")
    assert values is not None
    assert values["tftp.file"] == b""


@pytest.mark.parametrize(
    "payload", [b"\0\1a\0octet", b"\0\1a\0octets\0", b"\0\1a\0\0", b"\0\1a\0", b"\0\1octet\0", b"\1\1a\0octet\0", b"\0\7a\0octet\0"]
)
def test_what_is_no_request(payload: bytes) -> None:
    assert get(payload) is None


def test_a_full_block() -> None:
    assert get(b"\0\3\0\x07" + bytes(512)) == {"tftp": True, "tftp.opcode": 3, "tftp.block": 7}


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1468])
def test_data_of_other_sizes_have_no_mark(size: int) -> None:
    assert get(b"\0\3\0\x07" + bytes(size)) is None


def test_an_acknowledgement_is_four_bytes() -> None:
    assert get(b"\0\4\xff\xff") == {"tftp": True, "tftp.opcode": 4, "tftp.block": 0xFFFF}
    assert get(b"\0\4\xff") is None
    assert get(b"\0\4\xff\xff\0") is None


def test_an_error() -> None:
    assert get(b"\0\5\0\1File not found\0") == {"tftp": True, "tftp.opcode": 5, "tftp.error.code": 1}
    assert get(b"\0\5\0\x08\0") == {"tftp": True, "tftp.opcode": 5, "tftp.error.code": 8}


@pytest.mark.parametrize("payload", [b"\0\5\0\x09x\0", b"\0\5\1\1x\0", b"\0\5\0\1x", b"\0\5\0\1x\0y\0", b"\0\5\0\1"])
def test_what_is_no_error(payload: bytes) -> None:
    assert get(payload) is None


def test_an_option_acknowledgement() -> None:
    assert get(b"\0\6blksize\x001468\0tsize\0\0") == {"tftp": True, "tftp.opcode": 6}


@pytest.mark.parametrize(
    "payload", [b"\0\6blksize\x001468", b"\0\6blksize\0", b"\0\6\0\0", b"\0\6a b\0c\0", b"\0\6a\0\x1f\0", b"\0\6a\0b\0c\0"]
)
def test_what_is_no_option_acknowledgement(payload: bytes) -> None:
    assert get(payload) is None
