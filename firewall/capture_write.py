"""Writes packet captures: pcapng with a comment per packet, and pcap in each of its variants."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

from firewall.capture import Frame

Order = Literal["<", ">"]
"""Byte order of a file: little or big endian."""

_OPT_COMMENT, _IF_NAME, _IF_TSRESOL, _SHB_APPLICATION = 1, 2, 9, 4


class PcapngWriter:
    """A pcapng file of one section, with nanosecond times and one interface per link type and interface name.

    Comments are shown by Wireshark under "Packet comments" (field `frame.comment`)."""

    def __init__(self, stream: IO[bytes], order: Order = "<") -> None:
        self._stream = stream
        self._order = order
        self._interfaces: dict[tuple[int, str], int] = {}
        header = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
        self._block(0x0A0D0D0A, header + self._options((_SHB_APPLICATION, b"Mantlet")))

    def write(self, frame: Frame, comment: str | None = None) -> None:
        key = (frame.link_type, frame.interface)
        index = self._interfaces.get(key)
        if index is None:
            index = self._interfaces[key] = len(self._interfaces)
            options = self._options((_IF_NAME, frame.interface.encode()), (_IF_TSRESOL, b"\x09"))
            self._block(1, struct.pack(self._order + "HHI", frame.link_type, 0, 0) + options)
        high, low = divmod(frame.timestamp_ns, 1 << 32)
        head = struct.pack(self._order + "5I", index, high & 0xFFFFFFFF, low, len(frame.data), frame.original_length)
        tail = b"" if comment is None else self._options((_OPT_COMMENT, comment.encode()))
        self._block(6, head + _padded(frame.data) + tail)

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack(self._order + "I", len(body) + 12)
        self._stream.write(struct.pack(self._order + "I", kind) + length + body + length)

    def _options(self, *options: tuple[int, bytes]) -> bytes:
        parts = [struct.pack(self._order + "HH", code, len(value)) + _padded(value) for code, value in options]
        return b"".join(parts) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class PcapngFile:
    """A `PcapngWriter` on a file that it opens and closes (a context manager). Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> PcapngWriter:
        self._stream = self._path.open("wb")
        return PcapngWriter(self._stream)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stream.close()


def write_pcap(path: Path, frames: Iterable[Frame], *, link_type: int, nanoseconds: bool = True, order: Order = "<") -> None:
    """Write `frames`, all of `link_type`, as a pcap file of version 2.4. Raises OSError; ValueError for a frame of another link type."""
    tick_ns = 1 if nanoseconds else 1000
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    with path.open("wb") as stream:
        stream.write(struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link_type))
        for frame in frames:
            if frame.link_type != link_type:
                raise ValueError(f"frame {frame.number} has link type {frame.link_type}, and the pcap file {link_type}")
            seconds, rest = divmod(frame.timestamp_ns, 1_000_000_000)
            stream.write(struct.pack(order + "IIII", seconds, rest // tick_ns, len(frame.data), frame.original_length))
            stream.write(frame.data)
