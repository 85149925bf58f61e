"""A network namespace of its own in which crafted IP packets meet nftables rules: the judge of the native lowering.

Packets are written to a TAP device, which hands them to the prerouting hook before `write` returns; rules say that they matched
through NFLOG, whose prefix is a number. Everything happens on one thread, which alone is in the namespace.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from firewall.generation import Generation
from firewall.kernel import Kernel

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
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

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
_NFNL_SUBSYS_ULOG, _NFULNL_MSG_PACKET, _NFULNL_MSG_CONFIG = 4, 0, 1  # linux/netfilter/nfnetlink_log.h
_NFULA_PREFIX = 10


def _attribute(kind: int, data: bytes) -> bytes:
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


class KernelLab:
    """`load` nft commands, then `send` packets and get the numbers that the rules logged."""

    def __init__(self, interfaces: tuple[str, ...] = ("mantlet0",)) -> None:
        self._interfaces = interfaces
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._taps: dict[str, int] = {}
        self.run(self._open)

    def run(self, action: Callable[[], T]) -> T:
        """Runs `action` on the namespace's thread."""
        return self._thread.submit(action).result()

    def _open(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace of our own: these tests need root")
        for name in self._interfaces:
            tap = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
            subprocess.run(["ip", "link", "set", name, "address", MAC.hex(":"), "up"], check=True)
            self._taps[name] = tap
        self._log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
        self._log.bind((0, 0))
        self._log.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        bind = _attribute(1, struct.pack("=B", 1))  # NFULA_CFG_CMD, NFULNL_CFG_CMD_BIND
        mode = _attribute(2, struct.pack(">IBx", 0, 1))  # NFULA_CFG_MODE, no packet bytes
        every = _attribute(5, struct.pack(">I", 1))  # NFULA_CFG_QTHRESH: no batching
        for attributes in (bind, mode + every):
            payload = struct.pack(">BBH", 0, 0, GROUP) + attributes
            kind = _NFNL_SUBSYS_ULOG << 8 | _NFULNL_MSG_CONFIG
            self._log.send(struct.pack("=IHHII", 16 + len(payload), kind, 1 | 4, 0, 0) + payload)
            error = struct.unpack_from("=i", self._log.recv(4096), 16)[0]
            if error:
                raise OSError(-error, "NFLOG cannot be bound")
        self._log.setblocking(False)

    def nft(self, text: str) -> str:
        """Runs nft commands; raises RuntimeError with nft's own words."""
        done = self.run(lambda: subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False))
        if done.returncode:
            raise RuntimeError(done.stderr[:4000] + "\n" + text[:4000])
        return done.stdout

    def load(self, text: str, entry: str) -> None:
        """Loads `text` in an empty table `inet mantlet` and sends every packet to the chain `entry`."""
        self.nft(_SURROUNDINGS + "add table inet mantlet\ndelete table inet mantlet\nadd table inet mantlet\n" + text + "\n"
                 "add chain inet mantlet lab { type filter hook prerouting priority -450; }\n"
                 f"add rule inet mantlet lab jump {entry}\n")  # fmt: skip

    def install(self, generation: Generation) -> None:
        """Puts a whole generation, with its eBPF programs, in force."""
        self.nft(_SURROUNDINGS)

        def put() -> None:
            with Kernel() as kernel:
                for tenant in kernel.enforced():
                    kernel.remove(tenant)
                kernel.install(generation)

        self.run(put)

    def send(self, packet: bytes, interface: str = "mantlet0", mark: int = 0) -> list[str]:
        """The NFLOG prefixes that the packet brought about, in order."""
        return self.run(lambda: self._send(packet, interface, mark))

    def send_all(self, packets: list[tuple[bytes, str, int]]) -> list[list[str]]:
        """As `send`, for many (packet, interface, mark)."""
        return self.run(lambda: [self._send(*packet) for packet in packets])

    def _send(self, packet: bytes, interface: str, mark: int) -> list[str]:
        kind = b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"
        os.write(self._taps[interface], MAC + b"\x02\x00" + struct.pack("=I", mark) + kind + packet)
        prefixes: list[str] = []
        while True:
            try:
                data = self._log.recv(65536)
            except BlockingIOError:
                return prefixes
            place = 0
            while place + 16 <= len(data):
                length, message = struct.unpack_from("=IH", data, place)
                if message == _NFNL_SUBSYS_ULOG << 8 | _NFULNL_MSG_PACKET:
                    prefixes.append(_prefix(data[place + 20 : place + length]))
                place += length + 3 & ~3

    def close(self) -> None:
        self.run(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._log.close()
        for tap in self._taps.values():
            os.close(tap)

    def __enter__(self) -> KernelLab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _prefix(attributes: bytes) -> str:
    place = 0
    while place + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, place)
        if kind & 0x7FFF == _NFULA_PREFIX:
            return attributes[place + 4 : place + length].rstrip(b"\0").decode()
        place += length + 3 & ~3
    return ""


# -- packets -----------------------------------------------------------------------------------------------------------


def _sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def ipv4(payload: bytes = b"", protocol: int = 17, options: bytes = b"", fragment: int = 0, **fields: int) -> bytes:
    """An IPv4 packet with a right header checksum. `fragment`: flags and offset, 16 bits; fields: tos, id, ttl, src, dst, length."""
    length = fields.get("length", 20 + len(options) + len(payload))
    head = struct.pack(
        ">BBHHHBBHII", 0x45 + len(options) // 4, fields.get("tos", 0), length, fields.get("id", 1), fragment, fields.get("ttl", 64),
        protocol, 0, fields.get("src", 0x0A000001), fields.get("dst", 0x0A000002),
    ) + options  # fmt: skip
    checksum = 0xFFFF ^ _sum(head)
    return head[:10] + struct.pack(">H", checksum) + head[12:] + payload


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


def numbered(rules: Mapping[int, str]) -> str:
    """A chain `lab.rules` in which each match text logs its number and goes on."""
    lines = ["add chain inet mantlet lab.rules"]
    lines += [f'add rule inet mantlet lab.rules {text} log prefix "{number}" group {GROUP}' for number, text in rules.items()]
    return "\n".join(lines)
