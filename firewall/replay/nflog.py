"""Reads what nftables' `log group N` says of packets: a small reader of nfnetlink_log.

Only a message's prefix and the packet's source MAC address are read, and the kernel is told to send no packet bytes. Formats:
linux/netfilter/nfnetlink_log.h, linux/netfilter/nfnetlink.h, linux/netlink.h; the order of attributes is that of
net/netfilter/nfnetlink_log.c, and found out anew for each length of message.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from types import TracebackType
from typing import Final, Self

from firewall.netlink import F_ACK, F_REQUEST, NETLINK_NETFILTER, NLMSG_ERROR, attribute

_SUBSYSTEM_ULOG: Final = 4
_MESSAGE_PACKET, _MESSAGE_CONFIG = _SUBSYSTEM_ULOG << 8, _SUBSYSTEM_ULOG << 8 | 1

_CONFIG_COMMAND, _CONFIG_MODE, _CONFIG_BUFFER_SIZE, _CONFIG_THRESHOLD = 1, 2, 3, 5
_COMMAND_BIND: Final = 1
_COPY_META: Final = 1
"""No byte of the packet's payload is copied."""
_ATTRIBUTE_PREFIX, _ATTRIBUTE_HARDWARE_ADDRESS = 10, 8

RECEIVE_BYTES: Final = 64 << 20
"""Room for reports that wait: half a million of them."""
_MESSAGES_BYTES: Final = 16_384
"""Size of the buffer in which the kernel gathers `threshold` messages of about 110 bytes before it sends them."""

_HEAD = struct.Struct("=IH22xH").unpack_from
"""Length and type of a message, and the length of its second attribute, the prefix: behind the netlink header (16 bytes),
nfgenmsg (4) and NFULA_PACKET_HDR (8)."""
_ETHERNET_ADDRESS: Final = int.from_bytes(struct.pack("=HH", 16, _ATTRIBUTE_HARDWARE_ADDRESS) + b"\0\6\0\0")
"""What stands in front of an Ethernet address: attribute header, address length (big-endian), padding; the 8 bytes as a number."""


class LogUnavailableError(Exception):
    """The kernel has no nfnetlink_log, or refuses it; the message says what to do."""


class LogOverrunError(Exception):
    """Reports were lost, because more waited than the socket holds."""


class LogReader:
    """The reports of one NFLOG group in the network namespace of the calling thread, as (source MAC, prefix).

    The kernel sends reports when `threshold` have gathered (or a second has passed): whoever wants the last ones at once sends
    `threshold` packets more that are logged. Raises LogUnavailableError."""

    def __init__(self, group: int, *, threshold: int = 1, receive_bytes: int = RECEIVE_BYTES) -> None:
        self._mac_places: dict[int, int] = {}  # length of a message -> offset of the address
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        except OSError as error:
            raise LogUnavailableError(f"no netlink socket for netfilter: {error.strerror}") from error
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, 33, receive_bytes)  # SO_RCVBUFFORCE (asm-generic/socket.h)
            self._socket.bind((0, 0))
            self._configure(group, attribute(_CONFIG_COMMAND, bytes([_COMMAND_BIND])))
            self._configure(
                group,
                attribute(_CONFIG_MODE, struct.pack(">IBx", 0, _COPY_META))
                + attribute(_CONFIG_BUFFER_SIZE, struct.pack(">I", _MESSAGES_BYTES))
                + attribute(_CONFIG_THRESHOLD, struct.pack(">I", threshold)),
            )
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            advice = " (modprobe nfnetlink_log)" if error.errno in (errno.EINVAL, errno.EOPNOTSUPP) else ""
            raise LogUnavailableError(f"nfnetlink_log: {os.strerror(error.errno or 0).lower()}{advice}") from error

    def _configure(self, group: int, attributes: bytes) -> None:
        body = struct.pack(">BBH", socket.AF_UNSPEC, 0, group) + attributes
        self._socket.send(struct.pack("=IHHII", 16 + len(body), _MESSAGE_CONFIG, F_REQUEST | F_ACK, 0, 0) + body)
        answer = self._socket.recv(4096)
        kind, code = struct.unpack_from("=H10xi", answer, 4)
        assert kind == NLMSG_ERROR
        if code:
            raise OSError(-code, os.strerror(-code))

    def read(self) -> list[tuple[bytes, bytes]]:
        """All reports that wait, oldest first: (6 bytes of source MAC address, prefix with its final NUL). Does not block.

        Raises LogOverrunError where some were lost since the last call; the others are then gone too."""
        return self.gather(0, [])

    def gather(self, first: int, prefixes: list[bytes]) -> list[tuple[bytes, bytes]]:
        """As `read`, but the prefix of a report with the source address (as an integer) `first` + i is appended to `prefixes[i]`;
        what is returned are the others, those of higher addresses. Reports of lower addresses are dropped."""
        others: list[tuple[bytes, bytes]] = []
        receive = self._socket.recv
        overrun: OSError | None = None
        while True:
            try:
                data = receive(1 << 18)
            except BlockingIOError:
                if overrun is not None:
                    raise LogOverrunError from overrun
                return others
            except OSError as error:
                # The kernel tells of a loss once, and of no further one until all has been read (net/netlink/af_netlink.c,
                # netlink_overrun).
                if error.errno != errno.ENOBUFS:
                    raise
                overrun = error
                continue
            self._parse(data, first, prefixes, others)

    def _parse(self, data: bytes, first: int, prefixes: list[bytes], others: list[tuple[bytes, bytes]]) -> None:
        """Sorts in the reports of one datagram of messages."""
        places, count, at = self._mac_places, len(prefixes), 0
        end = len(data) - 30  # NLMSG_DONE, which ends a batch, is shorter than any report
        number = int.from_bytes
        origin = (_ETHERNET_ADDRESS << 48) + first
        while at <= end:
            length, kind, prefix_length = _HEAD(data, at)
            # The same length means the same layout; should it not, the bytes in front of the address, compared with it, say so.
            place = at + places.get(length, 8)
            index = number(data[place - 8 : place + 6]) - origin
            if 0 <= index < count:
                prefixes[index] += data[at + 32 : at + 28 + prefix_length]
            elif kind == _MESSAGE_PACKET:
                if number(data[place - 8 : place]) != _ETHERNET_ADDRESS:
                    places[length] = _layout(data, at, length)
                    continue
                if index >= 0:
                    others.append((data[place : place + 6], data[at + 32 : at + 28 + prefix_length]))
            at += length + 3 & ~3

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _layout(data: bytes, start: int, length: int) -> int:
    """The offset, in the message at `start`, of the source MAC address. Every report has one and a prefix: the only packets that
    meet these rules came in by Ethernet, and the only rules are ours."""
    place = start + 20
    seen: list[int] = []
    while place + 4 <= start + length:
        size, kind = struct.unpack_from("=HH", data, place)
        seen.append(kind & 0x7FFF)
        if seen[-1] == _ATTRIBUTE_HARDWARE_ADDRESS:
            assert seen[1] == _ATTRIBUTE_PREFIX, f"nfnetlink_log's attributes come as {seen}"
            return place + 8 - start
        place += size + 3 & ~3
    raise AssertionError(f"nfnetlink_log reported a packet without a source address: attributes {seen}")
