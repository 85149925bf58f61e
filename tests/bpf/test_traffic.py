"""The generator in the kernel: every frame arrives at the prerouting hook, as the trace has it. Works in a network namespace of its own."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bpf.libbpf import BpfError
from bpf.traffic import one_packet, trace

pytestmark = pytest.mark.kernel

RULES = """
table inet seen {
    chain pre {
        type filter hook prerouting priority -450; policy accept;
        udp dport 1000 counter comment "1000"
        udp dport 1001 counter comment "1001"
        udp dport 1002 counter comment "1002"
        ip6 nexthdr 59 counter comment "ipv6"
        ip ttl 64 counter comment "ttl"
        drop
    }
}
"""


def _udp(port: int, payload: bytes = b"") -> bytes:
    """IPv4 and UDP with a right header checksum."""
    header = bytearray(struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(payload), 1, 0, 64, 17, 0, 0xC0000201, 0xC0000202))
    total = sum(struct.unpack(">10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF)
    return bytes(header) + struct.pack(">HHHH", 5000, port, 8 + len(payload), 0) + payload


IPV6 = bytes.fromhex("6000000000003b40" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002")


@pytest.fixture
def inside() -> Iterator[Callable[[Callable[[], None]], None]]:
    """Runs a function on a thread of a network namespace with a veth pair `va`, `vb` and the counting rules."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(_enter).result()
        yield lambda action: thread.submit(action).result()


def _enter() -> None:
    assert threading.current_thread() is not threading.main_thread()
    assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET
    for command in ("link add va type veth peer name vb", "link set va up", "link set vb up", "address add 192.0.2.2/24 dev va"):
        subprocess.run(["ip", *command.split()], check=True)
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)


def _counted() -> dict[str, int]:
    """Packets by the rules' comments."""
    listed = subprocess.run(["nft", "list", "table", "inet", "seen"], capture_output=True, text=True, check=True).stdout
    words = [line.split() for line in listed.splitlines() if "comment" in line]
    return {row[-1].strip('"'): int(row[row.index("packets") + 1]) for row in words}


def test_one_packet_arrives_as_often_as_sent(inside: Callable[[Callable[[], None]], None]) -> None:
    def act() -> None:
        with one_packet("va", _udp(1000)) as traffic:
            burst = traffic.send(10_000)
        assert _counted() == {"1000": 10_000, "1001": 0, "1002": 0, "ipv6": 0, "ttl": 10_000}
        assert burst.packets == 10_000
        assert 50 < burst.per_packet < 100_000

    inside(act)


def test_a_trace_goes_round_and_mixes_families(inside: Callable[[Callable[[], None]], None]) -> None:
    def act() -> None:
        with trace("va", [_udp(1000), _udp(1001), _udp(1000), IPV6, _udp(1002)]) as traffic:
            traffic.send(1000)
            traffic.send(5)
        assert _counted() == {"1000": 402, "1001": 201, "1002": 201, "ipv6": 201, "ttl": 804}

    inside(act)


def test_a_trace_carries_the_rest(inside: Callable[[Callable[[], None]], None]) -> None:
    def act() -> None:
        rest = bytes(1000)
        with trace("va", [_udp(1000, bytes(36) + rest)], rest) as traffic:
            traffic.send(64)
        assert _counted()["1000"] == 64

    inside(act)


def test_a_trace_holds_whole_packets(inside: Callable[[Callable[[], None]], None]) -> None:
    def act() -> None:
        payloads = [bytes(500) + bytes([number]) + bytes(11) for number in range(3)]
        subprocess.run(["nft", "insert rule inet seen pre @ih,4000,8 0x02 counter comment third"], check=True)
        with trace("va", [_udp(1000, payload) for payload in payloads], held=544) as traffic:
            traffic.send(300)
        assert _counted()["1000"] == 300
        assert _counted()["third"] == 100

    inside(act)


def test_an_unknown_interface_is_named(inside: Callable[[Callable[[], None]], None]) -> None:
    def act() -> None:
        with pytest.raises(BpfError, match="find the interface nowhere: No such device"):
            one_packet("nowhere", _udp(1000))

    inside(act)
