"""Capturing packets as they arrive at this host: those of what a tenant protects that an expression matches, chosen in the kernel.

Packet sockets (packet(7)) of type SOCK_DGRAM, one for IPv4 and one for IPv6, see what the IP layer is about to see: a packet once,
with the name of the interface that it came by, behind its VLAN's, before any rule of nftables. The expression runs as an eBPF
program at the socket, so that nothing else is copied. What this host sends is not seen."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Final, NamedTuple, Self

from bpf import LoweringError, compile_program, load
from firewall.dispatch import Claim, Kind, claims
from firewall.netlink import text_of
from firewall.plan import Environment, Node
from firewall.plan.fold import FALSE, conjunction, disjunction, fold_place, negation
from rules_dsl import expression as ex
from rules_dsl.expression import Expression, FieldValue, InAddresses, InRanges
from rules_dsl.fields import FIELDS, PROTOCOL_OF
from rules_dsl.policy import Hook, Protect
from rules_dsl.ranges import merged

SNAP_LENGTH: Final = 262_144
"""Bytes of a packet that are kept where no other number is asked for: all (libpcap's MAXIMUM_SNAPLEN)."""
RECEIVE_BYTES: Final = 16 << 20
"""What may wait to be read, of each socket; the kernel drops (and counts) what comes beyond."""

SO_ATTACH_BPF, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 50, 33, 35
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
PACKET_OTHERHOST: Final = 3
"""A frame for another host, which only a promiscuous interface takes in; the IP layer drops it."""
SHORTEST_ETHERNET: Final = 46
"""Bytes of a packet that an Ethernet frame holds at least; a shorter one has padding behind it, which the IP layer cuts off."""

_AUXDATA = struct.Struct("=IIIHHHH")
"""struct tpacket_auxdata of linux/if_packet.h: status, len, snaplen, mac, net, vlan_tci, vlan_tpid."""
_TIME = struct.Struct("=qq")


class LiveCaptureError(Exception):
    """A capture that cannot be made: one line that says why."""


class LivePacket(NamedTuple):
    timestamp_ns: int
    """Of its arrival, nanoseconds since 1970-01-01 UTC."""
    data: bytes
    """From the IP header on, at most the snap length."""
    original_length: int
    """Bytes of the whole packet, from its IP header on."""
    interface: str


class End(Enum):
    """Why a capture ended."""

    PACKETS = "packet limit"
    TIME = "time limit"
    BYTES = "byte limit"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Limits:
    packets: int | None = None
    seconds: float | None = None
    bytes: int | None = None
    """Of packets as they are kept; the one that exceeds it is not delivered."""


UNLIMITED: Final = Limits()


class LiveCapture:
    """Captures from its making on. A context manager.

    `protect` is the tenant's own, and `others` what is dispatched to other tenants before it (`Kernel.enforced`). A mark is the one that
    the packet has on arrival. Needs CAP_NET_RAW, and CAP_BPF for the program. Raises LiveCaptureError, bpf.VerifierError, bpf.BpfError."""

    def __init__(
        self,
        expression: Expression,
        protect: Protect = Protect(),  # noqa: B008 (frozen)
        others: Iterable[Claim] = (),
        *,
        node: Node = Node(),  # noqa: B008 (frozen)
        snap_length: int = SNAP_LENGTH,
        receive_bytes: int = RECEIVE_BYTES,
    ) -> None:
        self.dropped = 0
        """Packets that matched and found no room; known when `packets` ends."""
        self.end: End | None = None
        self._snap_length = snap_length
        self._watches: dict[socket.socket, _Watch] = {}
        expression = fold_place(expression, Hook.PREROUTING, Environment(node, {}))
        widened = _widened(expression)
        self._is_widened = widened is not expression
        with ExitStack() as opened:
            try:
                self._judge = opened.enter_context(load(compile_program("capture", expression)))
                for watch in _watches(protect, tuple(others)):
                    predicate = conjunction([watch.traffic, widened])
                    if predicate != FALSE:
                        program = opened.enter_context(
                            load(compile_program("capture", predicate, answer=max(snap_length, SHORTEST_ETHERNET)))
                        )
                        for protocol in (ETH_P_IP, ETH_P_IPV6):
                            packets = opened.enter_context(_socket(watch.interface, protocol, program.fd, receive_bytes))
                            self._watches[packets] = watch
            except LoweringError as error:
                raise LiveCaptureError(_reason(error)) from error
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    def packets(self, limits: Limits = UNLIMITED, *, stop: int | None = None) -> Iterator[LivePacket]:
        """The packets, as they come, up to a limit, or until the file descriptor `stop` is readable; `end` then says why. To be
        called once."""
        return (packet for packet in self.arriving(limits, stop=stop) if packet is not None)

    def arriving(
        self, limits: Limits = UNLIMITED, *, stop: int | None = None, idle: float | None = None
    ) -> Generator[LivePacket | None, None, None]:
        """As `packets`, with a None whenever nothing has come for `idle` seconds."""
        deadline = None if limits.seconds is None else time.monotonic() + limits.seconds
        poll = select.poll()
        sockets = {watched.fileno(): watched for watched in self._watches}
        for file in (*sockets, *(() if stop is None else (stop,))):
            poll.register(file, select.POLLIN)
        count = octets = 0
        try:
            while self.end is None:
                if limits.packets is not None and count >= limits.packets:
                    self.end = End.PACKETS
                    break
                waits = [each for each in (idle, None if deadline is None else deadline - time.monotonic()) if each is not None]
                ready = [file for file, _ in poll.poll(max(0, int(min(waits) * 1000) + 1) if waits else None)]
                if stop in ready:
                    self.end = End.STOPPED
                elif deadline is not None and time.monotonic() >= deadline:
                    self.end = End.TIME
                elif not ready:
                    yield None
                for file in ready:
                    packet = None if self.end or file == stop else self._receive(sockets[file])
                    if packet is None:
                        continue
                    if limits.packets is not None and count >= limits.packets:
                        self.end = End.PACKETS
                    elif limits.bytes is not None and octets + len(packet.data) > limits.bytes:
                        self.end = End.BYTES
                    else:
                        count += 1
                        octets += len(packet.data)
                        yield packet
        finally:
            self.dropped += sum(struct.unpack("=II", each.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1] for each in sockets.values())

    def _receive(self, packets: socket.socket) -> LivePacket | None:
        try:
            data, told, _, (interface, _, kind, *_) = packets.recvmsg(max(self._snap_length, SHORTEST_ETHERNET), 256, socket.MSG_DONTWAIT)
        except OSError:  # nothing there after all, or its interface has gone
            return None
        watch = self._watches[packets]
        if kind == PACKET_OTHERHOST or interface in watch.not_from:
            return None
        time_ns, length = 0, len(data)
        for level, what, body in told:
            if (level, what) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIME.unpack(body)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif (level, what) == (SOL_PACKET, PACKET_AUXDATA):
                length = _AUXDATA.unpack(body)[1]
        whole = _ip_length(data)
        if whole is not None and whole < length:
            data, length = data[:whole], whole
        if self._is_widened and length < SHORTEST_ETHERNET and self._judge.run(data) == 0:
            return None
        return LivePacket(time_ns, data[: self._snap_length], length, interface)


@dataclass(frozen=True, slots=True)
class _Watch:
    """Packets to look at: by one interface or any, but not by those of `not_from`."""

    interface: str | None
    traffic: Expression
    not_from: frozenset[str] = frozenset()


def _socket(interface: str | None, protocol: int, program: int, receive_bytes: int) -> socket.socket:
    """A packet socket on which the program, a file descriptor, chooses. Raises LiveCaptureError."""
    packets = None
    try:
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, struct.pack("=i", program))
        packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        packets.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        packets.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_bytes)
        _bind(packets, 0 if interface is None else socket.if_nametoindex(interface), protocol)
    except OSError as error:
        if packets is not None:
            packets.close()
        place = "" if interface is None else f" at interface {interface}"
        raise LiveCaptureError(f"no packet can be captured{place}: {error.strerror or error}") from error
    return packets


def _bind(packets: socket.socket, interface: int, protocol: int) -> None:
    """From here on packets come: without a protocol none does. (`socket.bind` cannot say "any interface", number 0.)"""
    libc = ctypes.CDLL(None, use_errno=True)
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(protocol), interface, 0, 0, 0)  # struct sockaddr_ll
    if libc.bind(packets.fileno(), address, len(address)):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _widened(expression: Expression) -> Expression:
    """What the kernel delivers: also packets that padding makes look longer, where that may make a difference."""
    if any(map(_asks_length, ex.tests_of(expression))):
        return disjunction([expression, InRanges(FieldValue(FIELDS["ip.len"]), ((0, SHORTEST_ETHERNET - 1),))])
    return expression


def _asks_length(test: ex.Test) -> bool:
    root = ex.root_of(ex.operand_of(test))
    if isinstance(root, ex.BitSlice):
        return True
    return root.field.name in PROTOCOL_OF or root.field.name in ("payload", "payload.len", "tcp.payload", "tcp.payload.len")


def _watches(protect: Protect, others: tuple[Claim, ...]) -> Iterator[_Watch]:
    """As dispatch does it (firewall/dispatch.py): destination addresses go first, then interfaces, then marks."""
    own = _to(protect.v4, protect.v6)
    yield _Watch(None, own)
    behind = conjunction([negation(own), negation(_to(_ranges(others, Kind.V4), _ranges(others, Kind.V6)))])
    for name in protect.interfaces:
        yield _Watch(name, behind)
    taken = frozenset({*protect.interfaces, *(text_of(each.first) for each in others if each.kind is Kind.INTERFACE)})
    mine = tuple(claim for claim in claims(Hook.PREROUTING, protect) if claim.kind is Kind.MARK)
    yield _Watch(None, conjunction([_marked(mine), behind]), taken)
    if protect.everything:
        yield _Watch(None, conjunction([negation(_marked(others)), behind]), taken)


def _to(v4: ex.Ranges, v6: ex.Ranges) -> Expression:
    return InAddresses(FieldValue(FIELDS["ip.dst"]), v4, v6) if v4 or v6 else FALSE


def _ranges(found: Iterable[Claim], kind: Kind) -> ex.Ranges:
    return merged((int.from_bytes(each.first), int.from_bytes(each.last)) for each in found if each.kind is kind)


def _marked(found: Iterable[Claim]) -> Expression:
    numbers = merged((mark, mark) for each in found if each.kind is Kind.MARK for mark in struct.unpack("=I", each.first))
    return InRanges(FieldValue(FIELDS["meta.mark"]), numbers) if numbers else FALSE


def _reason(error: LoweringError) -> str:
    root = ex.root_of(ex.operand_of(error.test))
    if isinstance(root, FieldValue) and root.field.group == "place":
        return f"a capture cannot test {root.field.name}"
    return f"the expression cannot run at a capture: {error.reason}"


def _ip_length(data: bytes) -> int | None:
    """The packet's length by its own header; None where that says nothing (a jumbogram, or a header that is cut)."""
    if data[:1] and data[0] >> 4 == 4 and len(data) >= 20:
        return int.from_bytes(data[2:4]) or None
    if len(data) >= 40 and data[0] >> 4 == 6 and any(data[4:6]):
        return 40 + int.from_bytes(data[4:6])
    return None
