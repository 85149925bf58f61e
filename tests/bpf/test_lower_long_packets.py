"""Packets as long as merged segments: a program attached to a packet socket on a loopback interface of its own sees them as a hook does,
from the IP header and in pieces. (BPF_PROG_TEST_RUN takes at most a page.)"""

from __future__ import annotations

import random
import select
import socket
import struct
from collections.abc import Iterator

import pytest
from generators.packets import packet, with_checksum

from bpf import compile_program, load
from bpf.search import WINDOW
from firewall.namespace import Namespace
from rules_dsl.expression import (
    And,
    Contains,
    EndsWith,
    Expression,
    FieldValue,
    Folded,
    InRanges,
    IsTrue,
    Length,
    Substring,
    Wildcard,
)
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

SO_ATTACH_BPF = 50
ETH_P = {4: 0x0800, 6: 0x86DD}


@pytest.fixture(scope="module")
def loopback() -> Iterator[Namespace]:
    with Namespace() as namespace:
        yield namespace


def verdict(namespace: Namespace, expression: Expression, data: bytes) -> bool:
    """Whether the program accepts the packet, sent over the loopback interface."""
    kind = ETH_P[data[0] >> 4]
    with load(compile_program("long", expression)) as program:
        receiver = namespace.call(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        sender = namespace.call(socket.socket, socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        with receiver, sender:
            receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("i", program.fd))
            receiver.bind(("lo", kind))
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sender.sendto(data, ("lo", kind, 0, 0, bytes(6)))
            return bool(select.select([receiver], [], [], 0.05)[0])


def udp4(payload: bytes) -> bytes:
    header = bytes([0x45, 0]) + (28 + len(payload)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17, 0, 0]) + bytes([127, 0, 0, 1] * 2)
    return with_checksum(header + bytes([0, 9, 0, 9]) + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload)


def chain6(kinds: list[int], last: int, rest: bytes) -> bytes:
    """IPv6 with a chain of 8-byte extension headers."""
    following = [*kinds[1:], last]
    chain = b"".join(bytes([after, 0, 0, 0, 0, 0, 0, 0]) for after in following)
    header = b"\x60\x00\x00\x00" + (len(chain) + len(rest)).to_bytes(2, "big") + bytes([(kinds or [last])[0], 64])
    return header + bytes(15) + b"\x01" + bytes(15) + b"\x01" + chain + rest


PAYLOAD = FieldValue(FIELDS["udp.payload"])


@pytest.mark.parametrize("place", [0, WINDOW - 2, WINDOW - 1, WINDOW, 1472, 40_000, 65_507 - 4])
def test_a_word_is_found_anywhere_in_the_longest_datagram(loopback: Namespace, place: int) -> None:
    data = udp4(bytes(place) + b"evil" + bytes(65_507 - 4 - place))
    for expression, wanted in (
        (Contains(PAYLOAD, (b"evil",)), True),
        (Contains(PAYLOAD, (b"evim",)), False),
        (Contains(Folded(PAYLOAD, upper=True), (b"\0EVIL", b"EVIL\0")), True),
        (Wildcard(PAYLOAD, (b"", b"ev", b"il", b""), strict=False), True),
        (EndsWith(PAYLOAD, b"evil"), place == 65_507 - 4),
        (Contains(Substring(PAYLOAD, place + 1, None), (b"evil",)), False),
        (InRanges(Length(PAYLOAD), ((65_507, 65_507),)), True),
    ):
        assert holds(expression, Packet(data, Place("lo"))) is wanted
        assert verdict(loopback, expression, data) is wanted


@pytest.mark.parametrize("count", [1, 7, 100, 8_000, 8_185])
def test_the_longest_chain_of_extension_headers_is_walked_to_its_end(loopback: Namespace, count: int) -> None:
    chain = [0] + [random.Random(count).choice((43, 60)) for _ in range(count - 1)]
    data = chain6(chain, 17, bytes([0, 53, 0, 53, 0, 8, 0, 0]))
    for expression, wanted in (
        (And((IsTrue(FIELDS["udp"]), InRanges(FieldValue(FIELDS["udp.dstport"]), ((53, 53),)))), True),
        (InRanges(FieldValue(FIELDS["ip.proto"]), ((17, 17),)), True),
        (InRanges(FieldValue(FIELDS["ipv6.exthdr"]), ((44, 51),)), False),
    ):
        assert holds(expression, Packet(data, Place("lo"))) is wanted
        assert verdict(loopback, expression, data) is wanted


def test_packets_in_pieces_are_judged_as_the_reference_does(loopback: Namespace) -> None:
    rng = random.Random(7)
    expression = Contains(FieldValue(FIELDS["payload"]), (b"evil", b"SIP", b"\xff\xff"))
    seen = 0
    while seen < 8:
        data = Packet(packet(rng), Place("lo")).data
        if len(data) > 3_300:
            seen += 1
            assert verdict(loopback, expression, data) == holds(expression, Packet(data, Place("lo")))
