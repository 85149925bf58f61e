"""Reads packet captures: pcap and pcapng, of either byte order, plain or gzipped, frame by frame.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng, and libpcap's sf-pcap.c for the older variants of pcap.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

Read = Callable[[int], bytes]

DEFAULT_INTERFACE = "eth0"
"""The name of an interface that the capture does not name: pcap never does, pcapng may leave it out."""


class Frame(NamedTuple):
    """One captured frame. A tuple, because a dataclass costs four times as much to make, and captures hold millions."""

    number: int
    """From 1, as Wireshark's `frame.number`."""
    timestamp_ns: int
    """Nanoseconds since 1970-01-01 UTC; 0 where the capture has no time (pcapng simple packet blocks)."""
    data: bytes
    """The captured bytes, from the link header on."""
    link_type: int
    """A LINKTYPE_ number of the pcap registry."""
    original_length: int
    """Bytes on the wire; more than len(data) where the capture cut the frame."""
    interface: str
    """Name of the capturing interface."""


class CaptureError(Exception):
    """A file that is no capture, or is damaged at a place: one line that says what, at which byte and frame."""

    def __init__(self, path: Path, what: str, offset: int | None = None, frame: int | None = None) -> None:
        place = "" if offset is None else f" at byte {offset}"
        if frame is not None:
            place += f", frame {frame}"
        super().__init__(f"{path}: {what}{place}")
        self.path = path
        self.what = what
        self.offset = offset
        """Byte offset of the record or block, in the uncompressed file."""
        self.frame = frame
        """Number of the frame that could not be read."""


def read(path: Path | str) -> Iterator[Frame]:
    """Every frame of the capture at `path`, in order.

    Raises CaptureError for a file that cannot be opened or is no capture, and, after the last whole frame, for one that is cut
    or damaged there: what was read before has been delivered by then."""
    path = Path(path)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise CaptureError(path, f"cannot be opened: {(error.strerror or str(error)).lower()}") from error
    with closing(raw):
        stream: IO[bytes] | gzip.GzipFile = raw
        try:
            if raw.peek(2)[:2] == b"\x1f\x8b":
                stream = gzip.GzipFile(fileobj=raw)
            yield from _frames(path, stream.read)
        except EOFError as error:
            raise CaptureError(path, "the gzip stream is cut short", stream.tell()) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise CaptureError(path, f"the gzip stream is damaged ({error})", stream.tell()) from error
        except OSError as error:
            raise CaptureError(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error


_FOREIGN = (
    (b"snoop\0\0\0", "Sun snoop"),
    (b"\x7fELF", "an ELF program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\0", "xz-compressed; unpack it first"),
    (b"(\xb5/\xfd", "zstd-compressed; unpack it first"),
    (b"BZh", "bzip2-compressed; unpack it first"),
    (b"\x04\x22\x4d\x18", "lz4-compressed; unpack it first"),
    (b"GMBU", "Microsoft Network Monitor"),
    (b"RTSS", "Microsoft Network Monitor"),
    (b"XCP\0", "NetXRay"),
    (b"TRSNIFF data    \x1a", "Network General Sniffer"),
)
"""First bytes of files that get mistaken for captures."""


def _frames(path: Path, read: Read) -> Iterator[Frame]:
    magic = read(4)
    if not magic:
        raise CaptureError(path, "the file is empty")
    if magic == _SECTION_MAGIC:
        return _pcapng(path, read)
    if (kind := _PCAP_MAGIC.get(magic)) is not None:
        return _pcap(path, read, kind)
    start = magic + read(12)
    for prefix, name in _FOREIGN:
        if start.startswith(prefix):
            raise CaptureError(path, f"neither pcap nor pcapng: it is {name}")
    raise CaptureError(path, f"neither pcap nor pcapng: it starts with the bytes {magic.hex(' ')}")


# -- pcap --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _PcapKind:
    order: str
    """`<` or `>`, as struct takes it."""
    tick_ns: int
    """Nanoseconds of one unit of a record's fraction."""
    extra: int
    """Bytes that follow the usual 16 of a record's header."""


_PCAP_MAGIC = {
    struct.pack(order + "I", magic): _PcapKind(order, tick_ns, extra)
    for order in "<>"
    for magic, tick_ns, extra in (
        (0xA1B2C3D4, 1000, 0),
        (0xA1B23C4D, 1, 0),
        (0xA1B2CD34, 1000, 8),  # Alexey Kuznetsov's libpcap: interface index, protocol, packet type
    )
}

_USUAL_FRAME_LIMIT = 262_144
"""libpcap's MAXIMUM_SNAPLEN: a longer frame means that the file is damaged."""
_LARGE_FRAME_LIMIT = 128 << 20
_LARGE_LINK_TYPES = frozenset({189, 220, 231, 249, 266, 279, 288, 292})
"""USB, D-Bus and EBHSCR, whose frames libpcap lets be 128 MB long."""


def _frame_limit(link_type: int) -> int:
    return _LARGE_FRAME_LIMIT if link_type in _LARGE_LINK_TYPES else _USUAL_FRAME_LIMIT


def _pcap(path: Path, read: Read, kind: _PcapKind) -> Iterator[Frame]:
    header = read(20)
    if len(header) < 20:
        raise CaptureError(path, f"the file header is cut: {4 + len(header)} of 24 bytes", 0)
    major, minor, _zone, _accuracy, _snap, network = struct.unpack(kind.order + "HHiIII", header)
    if major < 2:
        raise CaptureError(path, f"pcap version {major}.{minor}: versions from 2.0 are read", 4)
    # libpcap: before 2.3, and in DG/UX's 543.0, the two lengths of a record stand in the other order; 2.3 has files of both.
    swapped, perhaps_swapped = (major, minor) < (2, 3) or major == 543, (major, minor) == (2, 3)
    link_type = network & 0xFFFF  # the bits above say how long the frame check sequence is
    limit = _frame_limit(link_type)
    record = struct.Struct(kind.order + "IIII")
    unpack, tick_ns, size = record.unpack_from, kind.tick_ns, record.size + kind.extra
    new = tuple.__new__  # half of what the constructor takes; here it shows
    offset = 24
    number = 0
    while header := read(size):
        number += 1
        if len(header) < size:
            raise CaptureError(path, f"cut in a record's header: {len(header)} of {size} bytes are there,", offset, number)
        seconds, fraction, captured, original = unpack(header)
        if swapped or (perhaps_swapped and captured > original):
            captured, original = original, captured
        if captured > limit:
            raise CaptureError(path, f"damaged: a record claims {captured} bytes (at most {limit} are possible)", offset, number)
        data = read(captured)
        if len(data) < captured:
            raise CaptureError(path, f"cut in a frame: {len(data)} of {captured} bytes are there,", offset, number)
        yield new(Frame, (number, seconds * 1_000_000_000 + fraction * tick_ns, data, link_type, original, DEFAULT_INTERFACE))
        offset += size + captured


# -- pcapng ------------------------------------------------------------------------------------------------------------

_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION = 0x0A0D0D0A
_INTERFACE, _PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET = 2, 9, 14
_BLOCK_LIMIT = _LARGE_FRAME_LIMIT + 65_536


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_length: int
    """0: no limit."""
    name: str
    ticks_per_second: int
    offset_ns: int


@dataclass(slots=True)
class _Section:
    """A section's byte order and the interfaces that it has described so far."""

    order: str
    interfaces: list[_Interface] = field(default_factory=list)


def _pcapng(path: Path, read: Read) -> Iterator[Frame]:
    def fail(what: str) -> CaptureError:
        return CaptureError(path, what, offset, number + 1)

    section = _Section("<")
    offset = number = 0
    head = _SECTION_MAGIC + read(4)
    while head:
        if len(head) < 8:
            raise fail(f"cut in a block's header: {len(head)} of 8 bytes are there,")
        body = b""
        if head[:4] == _SECTION_MAGIC:  # reads the same in either byte order, and says which one follows
            body = read(4)
            if body not in (b"\x4d\x3c\x2b\x1a", b"\x1a\x2b\x3c\x4d"):
                raise fail(f"damaged: a section header with the byte-order magic {body.hex(' ') or 'missing'}")
            section = _Section("<" if body[0] == 0x4D else ">")
        order = section.order
        kind, length = struct.unpack(order + "II", head)
        if length % 4 or length < 12:
            raise fail(f"damaged: a block claims a length of {length} bytes")
        if length > _BLOCK_LIMIT:
            raise fail(f"damaged: a block claims {length} bytes (at most {_BLOCK_LIMIT} are possible)")
        body += read(length - 8 - len(body))
        if len(body) < length - 8:
            raise fail(f"cut in a block: {8 + len(body)} of {length} bytes are there,")
        if (again := int.from_bytes(body[-4:], "little" if order == "<" else "big")) != length:
            raise fail(f"damaged: a block's length is {length} in front and {again} behind")

        try:
            if kind == _ENHANCED_PACKET:
                index, high, low, captured, original = struct.unpack_from(order + "5I", body)
                start = 20
            elif kind == _SIMPLE_PACKET:
                (original,) = struct.unpack_from(order + "I", body)
                index, high, low, captured, start = 0, 0, 0, original, 4
            elif kind == _PACKET:  # obsolete
                index, _drops, high, low, captured, original = struct.unpack_from(order + "HH4I", body)
                start = 20
            else:
                if kind == _INTERFACE:
                    section.interfaces.append(_interface(body, order))
                elif kind == _SECTION and (version := struct.unpack_from(order + "HH", body, 4))[0] != 1:
                    raise fail(f"pcapng version {version[0]}.{version[1]}: version 1 is read")
                offset += length
                head = read(8)
                continue
        except struct.error as error:
            raise fail(f"damaged: a block of type {kind} is too short ({length} bytes)") from error

        if index >= len(section.interfaces):
            raise fail(f"damaged: a packet names interface {index}, and {len(section.interfaces)} are described")
        interface = section.interfaces[index]
        if kind == _SIMPLE_PACKET:
            captured = min(original, interface.snap_length or original)
        if start + captured > len(body) - 4:
            raise fail(f"damaged: a packet claims {captured} bytes in a block of {length}")
        if captured > (limit := _frame_limit(interface.link_type)):
            raise fail(f"damaged: a packet claims {captured} bytes (at most {limit} are possible)")
        number += 1
        time_ns = 0
        if kind != _SIMPLE_PACKET:
            time_ns = (high << 32 | low) * 1_000_000_000 // interface.ticks_per_second + interface.offset_ns
        yield Frame(number, time_ns, body[start : start + captured], interface.link_type, original, interface.name)
        offset += length
        head = read(8)


def _interface(body: bytes, order: str) -> _Interface:
    """An interface description block's body, with the trailing length. Raises struct.error where it is too short."""
    link_type, _reserved, snap_length = struct.unpack_from(order + "HHI", body)
    name, ticks_per_second, offset_ns = DEFAULT_INTERFACE, 1_000_000, 0
    at, end = 8, len(body) - 4
    while at + 4 <= end:
        code, length = struct.unpack_from(order + "HH", body, at)
        value = body[at + 4 : min(at + 4 + length, end)]
        if code == 0:
            break
        if code == _IF_NAME and value.rstrip(b"\0"):
            name = value.rstrip(b"\0").decode("utf-8", "replace")
        elif code == _IF_TSRESOL and value:
            ticks_per_second = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _IF_TSOFFSET and len(value) == 8:
            offset_ns = struct.unpack(order + "q", value)[0] * 1_000_000_000
        at += 4 + length + (-length % 4)
    return _Interface(link_type, snap_length, name, ticks_per_second, offset_ns)
