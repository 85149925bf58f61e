"""The reference on messages of memcached."""

from __future__ import annotations

import struct

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

FRAME = b"\0\1\0\0\0\1\0\0"


def tcp(payload: bytes) -> dict[str, Value] | None:
    return get(6, bytes(12) + b"\x50\x18" + bytes(6) + payload)


def udp(payload: bytes) -> dict[str, Value] | None:
    return get(17, bytes(4) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload)


def get(protocol: int, transport: bytes) -> dict[str, Value] | None:
    packet = b"\x45\0" + (20 + len(transport)).to_bytes(2) + bytes(4) + bytes([64, protocol]) + bytes(10) + transport
    values = DISSECTORS["memcached"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def binary(magic: int = 0x80, key: bytes = b"Hello", *, extras: int = 0, body: int | None = None, data_type: int = 0) -> bytes:
    body = len(key) + extras if body is None else body
    return struct.pack("!BBHBBHIIQ", magic, 1, len(key), extras, data_type, 0, body, 0, 0) + bytes(extras) + key


@pytest.mark.parametrize(("line", "key"), [
    (b"get user:42 b", b"user:42"), (b"gets k", b"k"), (b"gat 60 k j", b"k"), (b"set k 0 -1 5 noreply", b"k"), (b"cas k 0 0 5 77", b"k"),
    (b"delete k", b"k"), (b"delete k 0 noreply", b"k"), (b"incr noreply 1", b"noreply"), (b"touch k -1", b"k"), (b"mg k t v", b"k"),
    (b"ms k 2 T0", b"k"), (b"get  k ", b"k"),
])  # fmt: skip
def test_commands_with_a_key(line: bytes, key: bytes) -> None:
    assert tcp(line + b"\r\n") == {"memcached": True, "memcached.command": line.partition(b" ")[0], "memcached.key": key}


@pytest.mark.parametrize("line", [b"stats", b"stats items", b"version", b"flush_all", b"flush_all 0 noreply", b"verbosity 1"])
def test_commands_without_a_key(line: bytes) -> None:
    assert tcp(line + b"\n") == {"memcached": True, "memcached.command": line.partition(b" ")[0]}


def test_responses() -> None:
    assert tcp(b"VALUE k 0 5\r\nhello\r\nEND\r\n") == {"memcached": True, "memcached.response": b"VALUE", "memcached.key": b"k"}
    assert tcp(b"STAT pid 1\r\n") == {"memcached": True, "memcached.response": b"STAT"}
    assert tcp(b"STORED\r\n") == {"memcached": True, "memcached.response": b"STORED"}
    assert tcp(b"SERVER_ERROR out of memory\r\n") == {"memcached": True, "memcached.response": b"SERVER_ERROR"}


@pytest.mark.parametrize("line", [
    b"get", b"get ", b" get k", b"GET k", b"get k\tj", b"get k\x7f", b"gat k", b"set k 0 0", b"set k 0 0 x", b"set k 0 0 5 yes",
    b"cas k 0 0 5", b"incr k", b"incr k -1", b"touch k", b"version 1", b"VALUE k 0", b"STAT", b"END 1", b"ERROR", b"OK", b"quit", b"",
    b"ms k",
])  # fmt: skip
def test_what_is_no_line_of_it(line: bytes) -> None:
    assert tcp(line + b"\r\n") is None


def test_the_line_is_whole() -> None:
    assert tcp(b"get k\r") is None
    assert tcp(b"get k\r\r\n") is None


def test_udp_has_a_frame_header() -> None:
    assert udp(FRAME + b"stats\r\n") == {"memcached": True, "memcached.command": b"stats"}
    assert udp(b"stats\r\n") is None
    assert tcp(FRAME + b"stats\r\n") is None


@pytest.mark.parametrize("frame", [b"\0\1\0\1\0\2\0\0", b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\1\0\1", FRAME[:7]])
def test_what_is_no_first_datagram(frame: bytes) -> None:
    assert udp(frame + b"stats\r\n") is None


def test_binary() -> None:
    assert tcp(binary()) == {"memcached": True, "memcached.magic": 0x80, "memcached.opcode": 1, "memcached.key": b"Hello"}
    assert udp(FRAME + binary(0x81, b"")) == {"memcached": True, "memcached.magic": 0x81, "memcached.opcode": 1}
    assert tcp(binary(extras=8)) == {"memcached": True, "memcached.magic": 0x80, "memcached.opcode": 1, "memcached.key": b"Hello"}


def test_a_key_that_is_not_whole_is_absent() -> None:
    assert tcp(binary()[:-1]) == {"memcached": True, "memcached.magic": 0x80, "memcached.opcode": 1}


def test_what_is_not_binary() -> None:
    assert tcp(binary()[:23]) is None
    assert tcp(binary(0x82)) is None
    assert tcp(binary(key=b"k" * 250)) is not None
    assert tcp(binary(key=b"k" * 251)) is None
    assert tcp(binary(extras=32)) is not None
    assert tcp(binary(extras=33)) is None
    assert tcp(binary(body=4)) is None
    assert tcp(binary(data_type=1)) is None
