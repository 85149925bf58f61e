"""A network namespace of its own in which crafted IP packets meet the rules of a generation: the judge of the plan and its rendering.

Packets are written to a TAP device, which hands them to the prerouting hook before `write` returns; rules say that they matched
through NFLOG, whose prefix is a number.
"""

from __future__ import annotations

import os
import struct
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from generators.packets import with_checksum

from firewall import nft
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from firewall.replay.nflog import LogReader

GROUP = 7
"""NFLOG group."""
MAC = bytes.fromhex("020000000001")

_SURROUNDINGS = """
add table inet lab
delete table inet lab
add table inet lab
add chain inet lab before { type filter hook prerouting priority -451; }
add rule inet lab before meta mark set @ll,64,32
add chain inet lab after { type filter hook prerouting priority -449; policy drop; }
"""
"""A packet's mark is the last four bytes of its source MAC address, in the machine's order: nft 1.0.6 turns nothing round here.
What the rules let through is dropped behind them."""


class KernelLab:
    """`install` a generation, then `send` packets and get the numbers that its rules logged. A context manager."""

    def __init__(self, interfaces: tuple[str, ...] = ("mantlet0",)) -> None:
        self._interfaces = interfaces

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._namespace = opened.enter_context(Namespace())
            self._taps = {name: self._namespace.tap(name, mac=MAC) for name in self._interfaces}
            for tap in self._taps.values():
                opened.callback(os.close, tap)
            self._log = opened.enter_context(self._namespace.call(LogReader, GROUP))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    def install(self, generation: Generation) -> None:
        """Puts a whole generation, with its eBPF programs, in force."""

        def put() -> None:
            nft.run(_SURROUNDINGS)
            with Kernel() as kernel:
                for tenant in kernel.enforced():
                    kernel.remove(tenant)
                kernel.install(generation)

        self._namespace.call(put)

    def send(self, packet: bytes, interface: str = "mantlet0", mark: int = 0) -> list[str]:
        """The NFLOG prefixes that the packet brought about, in order. What the kernel itself sends meets the rules too (an ICMP error
        over loopback), and is known by its address."""
        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        source = b"\x02\x00" + struct.pack("=I", mark)
        os.write(self._taps[interface], MAC + source + kind + packet)
        return [prefix.rstrip(b"\0").decode() for address, prefix in self._log.read() if address == source]

    def send_all(self, packets: list[tuple[bytes, str, int]]) -> list[list[str]]:
        """As `send`, for many (packet, interface, mark)."""
        return [self.send(*packet) for packet in packets]


# -- packets -----------------------------------------------------------------------------------------------------------


def ipv4(payload: bytes = b"", protocol: int = 17, options: bytes = b"", fragment: int = 0, **fields: int) -> bytes:
    """An IPv4 packet with a right header checksum. `fragment`: flags and offset, 16 bits; fields: tos, id, ttl, src, dst, length."""
    length = fields.get("length", 20 + len(options) + len(payload))
    head = struct.pack(
        ">BBHHHBBHII", 0x45 + len(options) // 4, fields.get("tos", 0), length, fields.get("id", 1), fragment, fields.get("ttl", 64),
        protocol, 0, fields.get("src", 0x0A000001), fields.get("dst", 0x0A000002),
    ) + options  # fmt: skip
    return with_checksum(head) + payload


V6_SOURCE, V6_DESTINATION = 0x20010DB8 << 96 | 1, 0x20010DB8 << 96 | 2


def ipv6(payload: bytes = b"", next_header: int = 17, **fields: int) -> bytes:
    """An IPv6 packet; fields: traffic_class, flow, hop_limit, src, dst."""
    word = 6 << 28 | fields.get("traffic_class", 0) << 20 | fields.get("flow", 0)
    head = struct.pack(">IHBB", word, len(payload), next_header, fields.get("hop_limit", 64))
    return head + fields.get("src", V6_SOURCE).to_bytes(16, "big") + fields.get("dst", V6_DESTINATION).to_bytes(16, "big") + payload


def udp(source: int = 1000, destination: int = 53, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload) if length is None else length, 0) + payload


def tcp(source: int = 1000, destination: int = 80, flags: int = 2, payload: bytes = b"", options: bytes = b"", **fields: int) -> bytes:
    """`options` is a multiple of 4 bytes long; fields: seq, ack, window, offset (of the data, in words)."""
    offset = fields.get("offset", 5 + len(options) // 4)
    return struct.pack(
        ">HHIIBBHHH", source, destination, fields.get("seq", 0), fields.get("ack", 0), offset << 4, flags, fields.get("window", 0), 0, 0
    ) + options + payload  # fmt: skip
