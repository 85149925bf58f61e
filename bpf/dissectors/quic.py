"""QUIC's long headers (semantics: rules_dsl/dissectors/quic.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Present, Slice
from bpf.dissectors.routines import next_number
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Bytes, Condition
from bpf.search import seek
from bpf.slices import give_absent, give_number, give_slice, load_number, take_bounds, take_slice
from bpf.tables import Tables

_VERSION_2: Final = (0x6B3343CF, 0x709A50C4)
_OTHER_VERSIONS: Final = (1, 0xFACEB001, 0xFACEB002, 0xFACEB00E, 0x51303530, 0x54303530, 0x54303531)
_DRAFTS: Final = (0xFF000016, 0xFF0000FF)
_KNOWN: Final = (
    r"\x00\x00\x00\x01|\x6b\x33\x43\xcf|\x70\x9a\x50\xc4|\xff\x00\x00[\x16-\xff]|\xfa\xce\xb0[\x01\x02\x0e]|Q050|T05[01]"
    r"|[\x0a\x1a\x2a\x3a\x4a\x5a\x6a\x7a\x8a\x9a\xaa\xba\xca\xda\xea\xfa]{4}"
)
"""The same versions as a pattern."""

_LONGEST_CONNECTION_ID: Final = 20
_TAG: Final = 16
_INITIAL, _RETRY = 0, 3
_DCID_LENGTH, _DCID = 5, 6
"""Offsets in a packet."""


def _head(tables: Tables) -> tuple[Function, ...]:
    """`quic_head(context, offset, end)`: what follows the connection ids of the packet that begins at `offset`, up to `end`."""
    code = Function("quic_head", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, end, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    code.branch(Condition.GT, code.alu(Alu.ADD, offset, _DCID), end, absent)
    first = load_number(code, context, offset, 1, scratch, absent)
    code.branch(Condition.LT, first, 0x80, absent)
    dcid = load_number(code, context, code.alu(Alu.ADD, offset, _DCID_LENGTH), 1, scratch, absent)
    code.branch(Condition.GT, dcid, _LONGEST_CONNECTION_ID, absent)
    at = code.alu(Alu.ADD, offset, _DCID)
    code.update(Alu.ADD, at, dcid)
    code.branch(Condition.GE, at, end, absent)
    scid = load_number(code, context, at, 1, scratch, absent)
    code.branch(Condition.GT, scid, _LONGEST_CONNECTION_ID, absent)
    code.update(Alu.ADD, at, 1)
    code.update(Alu.ADD, at, scid)
    code.branch(Condition.GT, at, end, absent)
    give_slice(code, at, end)
    give_absent(code, absent)
    return (code,)


def _kind(tables: Tables) -> tuple[Function, ...]:
    """`quic_kind(context, offset)`: the packet's type as version 1 counts them; absent where the version is not known."""
    code = Function("quic_kind", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, *_ = code.parameters
    absent, second, known = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    kind = code.alu(Alu.RSH, load_number(code, context, offset, 1, scratch, absent), 4)
    version = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, scratch, absent)
    for number in _VERSION_2:
        code.branch(Condition.EQ, version, code.copy(number), second)
    for number in _OTHER_VERSIONS:
        code.branch(Condition.EQ, version, code.copy(number), known)
    code.branch(Condition.EQ, code.alu(Alu.AND, version, 0x0F0F0F0F), 0x0A0A0A0A, known)
    code.branch(Condition.LT, version, code.copy(_DRAFTS[0]), absent)
    code.branch(Condition.GT, version, code.copy(_DRAFTS[1]), absent)
    code.jump(known)
    code.place(second)
    code.update(Alu.SUB, kind, 1)
    code.place(known)
    give_number(code, code.alu(Alu.AND, kind, 3))
    give_absent(code, absent)
    return (code,)


def _vector(tables: Tables) -> tuple[Function, ...]:
    """`quic_vector(context, offset, end)`: the bytes behind a length of variable size, as many as it says."""
    code = Function("quic_vector", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, end, _ = code.parameters
    absent, loaded = code.label(), code.label()
    scratch = code.buffer(8)
    code.branch(Condition.GE, offset, end, absent)
    length = load_number(code, context, offset, 1, scratch, absent)
    kind = code.alu(Alu.RSH, length, 6)
    code.update(Alu.AND, length, 63)
    size = code.alu(Alu.LSH, 1, kind)
    behind = code.alu(Alu.ADD, offset, size)
    code.branch(Condition.GT, behind, end, absent)
    code.branch(Condition.EQ, kind, 0, loaded)
    wide: tuple[tuple[int, Bytes], ...] = ((1, 2), (2, 4))
    for bits, width in wide:
        wider = code.label()
        code.branch(Condition.NE, kind, bits, wider)
        code.set(length, load_number(code, context, offset, width, scratch, absent))
        code.update(Alu.AND, length, (1 << (8 * width - 2)) - 1)
        code.jump(loaded)
        code.place(wider)
    code.set(length, load_number(code, context, offset, 8, scratch, absent))
    code.update(Alu.LSH, length, 2)
    code.update(Alu.RSH, length, 2)
    code.place(loaded)
    code.branch(Condition.GT, length, code.alu(Alu.SUB, end, behind), absent)
    code.update(Alu.ADD, length, behind)
    give_slice(code, behind, length)
    give_absent(code, absent)
    return (code,)


_HEAD: Final = Routine("quic_head", _head)
_KIND: Final = Routine("quic_kind", _kind)
_VECTOR: Final = Routine("quic_vector", _vector)


def _sealed(tables: Tables) -> tuple[Function, ...]:
    """`quic_sealed(context, offset, end)`: what the length of the packet at `offset` counts; of a Retry packet all behind the header."""
    code = Function("quic_sealed", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, end, _ = code.parameters
    absent, other, retry = code.label(), code.label(), code.label()
    kind = code.call(_KIND, context, offset)
    code.branch(Condition.EQ, kind, 0, absent)
    code.update(Alu.AND, kind, 3)
    rest = code.call(_HEAD, context, offset, end)
    start, left = take_slice(code, rest, absent)
    code.branch(Condition.EQ, kind, _RETRY, retry)
    code.branch(Condition.NE, kind, _INITIAL, other)
    token, length = take_slice(code, code.call(_VECTOR, context, start, end), absent)
    code.set(start, code.alu(Alu.ADD, token, length))
    code.place(other)
    sealed = code.call(_VECTOR, context, start, end)
    _, length = take_slice(code, sealed, absent)
    code.branch(Condition.LE, length, _TAG, absent)
    code.give(sealed)
    code.place(retry)
    code.branch(Condition.LT, left, _TAG, absent)
    code.give(rest)
    give_absent(code, absent)
    return (code,)


_SEALED: Final = Routine("quic_sealed", _sealed)


def _packet(tables: Tables) -> tuple[Function, ...]:
    """`quic_packet(context, datagram, cursor)`: the next packet, which is of the first one's version, and no negotiation."""
    code = Function("quic_packet", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, cursor, _ = code.parameters
    absent, first = code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, datagram, absent)
    code.branch(Condition.EQ, cursor, 0, first)
    version = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, scratch, absent)
    code.set(offset, cursor)
    same = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, scratch, absent)
    code.branch(Condition.NE, version, same, absent)
    code.place(first)
    sealed, length = take_slice(code, code.call(_SEALED, context, offset, end), absent)
    code.update(Alu.ADD, length, sealed)
    give_slice(code, offset, length)
    give_absent(code, absent)
    return (code,)


def _offer(tables: Tables) -> tuple[Function, ...]:
    """`quic_offer(context, datagram)`: the versions of a version negotiation."""
    code = Function("quic_offer", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, datagram, absent)
    version = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, code.buffer(8), absent)
    code.branch(Condition.NE, version, 0, absent)
    code.update(Alu.ADD, length, offset)
    offer = code.call(_HEAD, context, offset, length)
    start, length = take_slice(code, offer, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, length, 3), 0, absent)
    seek(code, tables, context, start, length, rf"(?s)^(?:.{{4}})*(?:{_KNOWN})", absent)
    code.give(offer)
    give_absent(code, absent)
    return (code,)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`quic(context, datagram, packet, offer)`: the datagram, where it begins with a packet or is a version negotiation."""
    code = Function("quic", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, datagram, packet, offer = code.parameters
    absent = code.label()
    code.update(Alu.OR, packet, offer)
    code.branch(Condition.EQ, packet, 0, absent)
    code.give(datagram)
    give_absent(code, absent)
    return (code,)


def _of_version(tables: Tables) -> tuple[Function, ...]:
    """`quic_of_version(context, datagram, packet, second)`: the datagram, where its packets are of version 2, or without `second`, of
    any other version."""
    code = Function("quic_of_version", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, packet, second = code.parameters
    absent, is_second = code.label(), code.label()
    offset, _ = take_slice(code, packet, absent)
    version = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, code.buffer(8), absent)
    for number in _VERSION_2:
        code.branch(Condition.EQ, version, code.copy(number), is_second)
    code.update(Alu.XOR, second, 1)
    code.place(is_second)
    code.branch(Condition.EQ, second, 0, absent)
    code.give(datagram)
    give_absent(code, absent)
    return (code,)


def _connection_id(tables: Tables) -> tuple[Function, ...]:
    """`quic_connection_id(context, datagram, source)`: the destination's, or with `source` the source's."""
    code = Function("quic_connection_id", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, source, _ = code.parameters
    absent, this = code.label(), code.label()
    scratch = code.buffer(8)
    at, _ = take_slice(code, datagram, absent)
    code.update(Alu.ADD, at, _DCID_LENGTH)
    length = load_number(code, context, at, 1, scratch, absent)
    code.update(Alu.ADD, at, 1)
    code.branch(Condition.EQ, source, 0, this)
    code.update(Alu.ADD, at, length)
    code.set(length, load_number(code, context, at, 1, scratch, absent))
    code.update(Alu.ADD, at, 1)
    code.place(this)
    code.update(Alu.ADD, length, at)
    give_slice(code, at, length)
    give_absent(code, absent)
    return (code,)


def _not_empty(tables: Tables) -> tuple[Function, ...]:
    """`quic_not_empty(context, slice)`: the slice, unless it is empty."""
    code = Function("quic_not_empty", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    piece = code.parameters[1]
    absent = code.label()
    _, length = take_slice(code, piece, absent)
    code.branch(Condition.EQ, length, 0, absent)
    code.give(piece)
    give_absent(code, absent)
    return (code,)


def _length_of(tables: Tables) -> tuple[Function, ...]:
    """`quic_length_of(context, slice)`."""
    code = Function("quic_length_of", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    piece = code.parameters[1]
    absent = code.label()
    _, length = take_slice(code, piece, absent)
    give_number(code, length)
    give_absent(code, absent)
    return (code,)


def _part(name: str, *, token: bool) -> Routine:
    """`name(context, packet)`: the token of an Initial packet, or what the length counts of any but a Retry packet."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, packet, *_ = code.parameters
        absent = code.label()
        offset, end = take_bounds(code, packet, absent)
        kind = code.alu(Alu.AND, code.call(_KIND, context, offset), 3)
        if token:
            code.branch(Condition.NE, kind, _INITIAL, absent)
            start, _ = take_slice(code, code.call(_HEAD, context, offset, end), absent)
            code.give(code.call(_VECTOR, context, start, end))
        else:
            code.branch(Condition.EQ, kind, _RETRY, absent)
            code.give(code.call(_SEALED, context, offset, end))
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)


_PACKETS: Final = Routine("quic_packet", _packet)
_FIRST: Final = Fact(_PACKETS, (UDP_PAYLOAD,))
_OFFER: Final = Fact(Routine("quic_offer", _offer), (UDP_PAYLOAD,))
_MESSAGE: Final = Fact(Routine("quic", _message), (UDP_PAYLOAD, _FIRST, _OFFER))
_CONNECTION_ID: Final = Routine("quic_connection_id", _connection_id)
_DESTINATION: Final = Fact(_CONNECTION_ID, (_MESSAGE,), (0,))
_SOURCE: Final = Fact(_CONNECTION_ID, (_MESSAGE,), (1,))
_NOT_EMPTY: Final = Routine("quic_not_empty", _not_empty)
_LENGTH_OF: Final = Routine("quic_length_of", _length_of)
_OF_VERSION: Final = Routine("quic_of_version", _of_version)

QUIC: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "quic": Present(_MESSAGE),
        "quic.header_form": BitsOf(_MESSAGE, 0, 1),
        "quic.fixed_bit": BitsOf(_FIRST, 1, 1),
        "quic.version": BitsOf(_MESSAGE, 8, 32),
        "quic.dcil": BitsOf(_MESSAGE, 40, 8),
        "quic.dcid": Slice(Fact(_NOT_EMPTY, (_DESTINATION,))),
        "quic.scil": Number(Fact(_LENGTH_OF, (_SOURCE,))),
        "quic.scid": Slice(Fact(_NOT_EMPTY, (_SOURCE,))),
        "quic.long.packet_type": Each(_PACKETS, Fact(_OF_VERSION, (UDP_PAYLOAD, _FIRST), (0,)), BitsOf(ELEMENT, 2, 2)),
        "quic.long.packet_type_v2": Each(_PACKETS, Fact(_OF_VERSION, (UDP_PAYLOAD, _FIRST), (1,)), BitsOf(ELEMENT, 2, 2)),
        "quic.token_length": Number(Fact(_LENGTH_OF, (Fact(_part("quic_token", token=True), (_FIRST,)),))),
        "quic.length": Number(Fact(_LENGTH_OF, (Fact(_part("quic_counted", token=False), (_FIRST,)),))),
        "quic.supported_version": Each(next_number("quic_supported", 4), _OFFER, BitsOf(ELEMENT, 0, 32)),
    }
)
