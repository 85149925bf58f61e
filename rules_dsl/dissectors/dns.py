"""DNS (RFC 1035), over UDP and over TCP, and what has its format: mDNS (RFC 6762), LLMNR (RFC 4795)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rules_dsl.fields.model import Header
from rules_dsl.value import Scalar, Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_HEADER = 12
_OPCODES = (0, 1, 2, 4, 5)
_UPDATE = 5
_CLASSES = (1, 3, 4, 254, 255)
_OPT = 41
_LONGEST_NAME = 255
"""Bytes of a name with its length bytes (RFC 1035 section 2.3.4)."""
_POINTERS = 16
_WALKED = 64
"""Questions, and records, that are stepped over."""
_SHOWN = 16
_NETBIOS = (32, 33)
"""NB and NBSTAT (RFC 1002 section 4.2.1.3)."""


class _Entry(NamedTuple):
    """A whole question or record."""

    start: int
    """Where its name begins."""
    type: int
    class_: int
    ttl: int
    """Of a record."""
    end: int
    """Where the next one begins."""


class _Name(NamedTuple):
    text: bytes
    labels: int


def dissect_dns(packet: Packet) -> Mapping[str, Value] | None:
    found = _message(packet)
    if found is None:
        return None
    message, stated = found
    if len(message) < _HEADER:
        return None
    flags, *counts = (int.from_bytes(message[at : at + 2], "big") for at in range(2, _HEADER, 2))
    is_response, opcode, is_truncated = bool(flags & 0x8000), flags >> 11 & 15, bool(flags & 0x0200)
    if opcode not in _OPCODES or not _is_begun(message, stated, counts, is_response=is_response, is_truncated=is_truncated):
        return None
    values: dict[str, Value] = {
        "dns": True,
        "dns.id": int.from_bytes(message[0:2], "big"),
        "dns.qr": is_response,
        "dns.opcode": opcode,
        "dns.tc": is_truncated,
        "dns.rd": bool(flags & 0x0100),
        "dns.ad": bool(flags & 0x0020),
        "dns.cd": bool(flags & 0x0010),
        "dns.count.add_rr": counts[3],
    }
    if is_response:
        values["dns.aa"], values["dns.ra"] = bool(flags & 0x0400), bool(flags & 0x0080)
        values["dns.rcode"] = flags & 15
    sections = ("zones", "prerequisites", "updates") if opcode == _UPDATE else ("queries", "answers", "auth_rr")
    values.update({f"dns.count.{section}": count for section, count in zip(sections, counts, strict=False)})

    questions = _entries(message, _HEADER, counts[0], is_record=False)
    records: list[_Entry] = []
    if len(questions) == counts[0]:
        records = _entries(message, questions[-1].end if questions else _HEADER, sum(counts[1:]), is_record=True)
    _show_questions(values, message, questions[:_SHOWN])
    _show_records(values, message, records[:_SHOWN])
    options = next((record for record in records if record.type == _OPT), None)
    values["dns.edns"] = options is not None
    if options is not None:
        values["dns.edns.payload_size"] = options.class_
        values["dns.edns.version"] = options.ttl >> 16 & 0xFF
        values["dns.edns.do"] = bool(options.ttl & 0x8000)
    return values


def _message(packet: Packet) -> tuple[bytes, int] | None:
    """What is there of the message, and how long it is said to be."""
    if packet.udp_payload is not None:
        datagram = packet.transport(Header.UDP)
        assert datagram is not None
        return packet.udp_payload, int.from_bytes(datagram[4:6], "big") - 8
    if packet.tcp_payload is None or len(packet.tcp_payload) < 2:
        return None
    stated = int.from_bytes(packet.tcp_payload[:2], "big")
    return packet.tcp_payload[2 : 2 + stated], stated


def _is_begun(message: bytes, stated: int, counts: list[int], *, is_response: bool, is_truncated: bool) -> bool:
    """The counts have room, and the first question or record is one."""
    questions, records = counts[0], sum(counts[1:])
    if questions == records == 0:
        return is_response and stated == _HEADER
    if _HEADER + 5 * questions + (0 if is_truncated else 11 * records) > stated:
        return False
    first = _entries(message, _HEADER, 1, is_record=questions == 0)
    if not first or _name(message, _HEADER) is None:
        return False
    kind, class_ = first[0].type, first[0].class_
    if kind == 0 or (kind in _NETBIOS and re.match(rb" [A-P]{32}", message[_HEADER:])):
        return False
    return class_ & 0x7FFF in _CLASSES or (questions == 0 and kind == _OPT)


def _entries(message: bytes, start: int, count: int, *, is_record: bool) -> list[_Entry]:
    """The questions or records from `start` on, up to the first one that is not whole, at most _WALKED."""
    entries: list[_Entry] = []
    while len(entries) < min(count, _WALKED):
        fixed = _behind_name(message, start)
        end = None if fixed is None else fixed + (10 if is_record else 4)
        if fixed is None or end is None or end > len(message):
            break
        if is_record:
            end += int.from_bytes(message[fixed + 8 : fixed + 10], "big")
            if end > len(message):
                break
        kind, class_ = (int.from_bytes(message[at : at + 2], "big") for at in (fixed, fixed + 2))
        entries.append(_Entry(start, kind, class_, int.from_bytes(message[fixed + 4 : fixed + 8], "big"), end))
        start = end
    return entries


def _behind_name(message: bytes, start: int) -> int | None:
    """Where the name's own bytes end, wherever its pointer leads; None where they are no name or not whole."""
    place = start
    while place < len(message):
        length = message[place]
        if length == 0:
            return place + 1
        if length >= 0xC0:
            return place + 2
        place += 1 + length
        if length >= 0x40 or place - start >= _LONGEST_NAME:
            return None
    return None


def _name(message: bytes, start: int) -> _Name | None:
    """The name that begins there; None where it is not well-formed."""
    labels: list[bytes] = []
    place, before, pointers = start, start, 0
    while place < len(message):
        length = message[place]
        if length == 0:
            return _Name(b".".join(labels).lower(), len(labels))
        if length >= 0xC0:
            if place + 2 > len(message) or pointers == _POINTERS:
                return None
            place = int.from_bytes(message[place : place + 2], "big") & 0x3FFF
            if not _HEADER <= place < before:
                return None
            before = place
            pointers += 1
            continue
        labels.append(message[place + 1 : place + 1 + length])
        place += 1 + length
        if length >= 0x40 or sum(map(len, labels)) + len(labels) + 1 > _LONGEST_NAME:
            return None
    return None


def _show_questions(values: dict[str, Value], message: bytes, questions: list[_Entry]) -> None:
    names = [name for question in questions if (name := _name(message, question.start)) is not None]
    _show(values, "dns.qry.name", [name.text for name in names])
    _show(values, "dns.qry.name.len", [len(name.text) for name in names])
    _show(values, "dns.count.labels", [name.labels for name in names])
    _show(values, "dns.qry.type", [question.type for question in questions])
    _show(values, "dns.qry.class", [question.class_ & 0x7FFF for question in questions])


def _show_records(values: dict[str, Value], message: bytes, records: list[_Entry]) -> None:
    names = [name for record in records if (name := _name(message, record.start)) is not None]
    plain = [record for record in records if record.type != _OPT]
    _show(values, "dns.resp.name", [name.text for name in names])
    _show(values, "dns.resp.type", [record.type for record in records])
    _show(values, "dns.resp.class", [record.class_ & 0x7FFF for record in plain])
    _show(values, "dns.resp.ttl", [record.ttl for record in plain])


def _show(values: dict[str, Value], field: str, found: Sequence[Scalar]) -> None:
    if found:
        values[field] = tuple(found)
