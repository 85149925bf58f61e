"""TLS records and handshake messages (semantics: rules_dsl/dissectors/tls.py)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Present, Slice
from bpf.facts import TCP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.slices import give_number, give_slice, load_number, take_slice
from bpf.tables import Tables

_ALERT, _HANDSHAKE, _APPLICATION_DATA = 21, 22, 23
_LONGEST_RECORD: Final = (1 << 14) + 2048

_HELLO_REQUEST, _CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _CERTIFICATE_REQUEST = 0, 1, 2, 11, 13
_HIGHEST_MESSAGE_TYPE: Final = 25
_MESSAGE_TYPES: Final = sum(1 << kind for kind in (*range(7), 8, *range(11, 17), *range(20, _HIGHEST_MESSAGE_TYPE + 1)))
_LONGEST_OF_SEVERAL_RECORDS: Final = 1 << 17

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43

_RECORDS_AND_MESSAGES, _EXTENSIONS = 32, 64
"""So many are looked at."""


def _load_header(code: Function, context: Value, offset: Value, end: Value, scratch: Buffer, absent: Label) -> tuple[Value, Value]:
    """Content type and length of the record that begins at `offset`; go to `absent` unless its header is whole and valid."""
    code.branch(Condition.GT, code.alu(Alu.ADD, offset, 5), end, absent)
    code.load_packet(context, offset, At(scratch, 3), 5, absent)
    not_empty = code.label()
    kind = code.load(1, scratch, 3)
    code.branch(Condition.LT, kind, 20, absent)
    code.branch(Condition.GT, kind, 24, absent)
    version = code.load_network(2, scratch, 4)
    code.branch(Condition.LT, version, 0x0300, absent)
    code.branch(Condition.GT, version, 0x0304, absent)
    length = code.load_network(2, scratch, 6)
    code.branch(Condition.GT, length, _LONGEST_RECORD, absent)
    code.branch(Condition.NE, length, 0, not_empty)
    code.branch(Condition.NE, kind, _APPLICATION_DATA, absent)
    code.place(not_empty)
    return kind, length


def _segment(tables: Tables) -> tuple[Function, ...]:
    """`tls(context, payload)`: the payload, a slice."""
    code = Function("tls", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    _load_header(code, context, offset, code.alu(Alu.ADD, offset, length), code.buffer(8), absent)
    code.give(payload)
    code.place(absent)
    code.give(0)
    return (code,)


def _record(tables: Tables) -> tuple[Function, ...]:
    """`tls_record(context, segment, cursor)`: the next record with its header."""
    code = Function("tls_record", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, segment, cursor, _ = code.parameters
    absent, later = code.label(), code.label()
    offset, length = take_slice(code, segment, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.EQ, cursor, 0, later)
    code.set(offset, cursor)
    code.place(later)
    _, length = _load_header(code, context, offset, end, code.buffer(8), absent)
    code.update(Alu.ADD, length, 5)
    code.update(Alu.ADD, length, offset)
    give_slice(code, offset, _least(code, length, end))
    code.place(absent)
    code.give(0)
    return (code,)


def _least(code: Function, one: Value, other: Value) -> Value:
    """`one`, set to the lesser of both."""
    fits = code.label()
    code.branch(Condition.LE, one, other, fits)
    code.set(one, other)
    code.place(fits)
    return one


# -- records and messages in one walk ----------------------------------------------------------------------------------


class _Wanted(IntEnum):
    FOUND = 0
    ALERT = 1
    MESSAGE = 2
    HELLO = 3
    CUT = 4
    """A record or a message that is not whole."""


class _Walk:
    """The state of the walk. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    WANTED = 12
    END = 20
    """Of the segment."""
    FROM = 28
    """What begins before is passed over."""
    POSITION = 36
    RECORD_END = 44
    """What POSITION stands in: a record of handshake messages, or where it is not less, nothing."""
    SIZE = 48


def _find(tables: Tables) -> tuple[Function, ...]:
    """`tls_find(context, segment, from, wanted)`: the first alert, message or hello that begins at `from` or behind it, a slice, cut at
    the end of its record and of the segment; or something that is not whole."""
    code = Function("tls_find", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, segment, first, wanted = code.parameters
    absent = code.label()
    state = code.buffer(_Walk.SIZE)
    offset, length = take_slice(code, segment, absent)
    code.store(8, state, _Walk.CONTEXT, context)
    code.store(4, state, _Walk.WANTED, wanted)
    code.store(4, state, _Walk.FROM, first)
    code.store(4, state, _Walk.POSITION, offset)
    code.store(4, state, _Walk.RECORD_END, offset)
    code.store(4, state, _Walk.END, code.alu(Alu.ADD, offset, length))
    code.helper(Helper.LOOP, _RECORDS_AND_MESSAGES, FunctionName("tls_step"), At(state), 0)
    code.branch(Condition.NE, code.load(4, state, _Walk.WANTED), _Wanted.FOUND, absent)
    give_slice(code, code.load(4, state, _Walk.POSITION), code.load(4, state, _Walk.RECORD_END))
    code.place(absent)
    code.give(0)
    return code, _step()


def _step() -> Function:
    """One record's header or one message further: bpf_loop's callback."""
    code = Function("tls_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    header, stop, found = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    context = code.load(8, state, _Walk.CONTEXT)
    position = code.load(4, state, _Walk.POSITION)
    record_end = code.load(4, state, _Walk.RECORD_END)
    segment_end = code.load(4, state, _Walk.END)
    wanted = code.load(4, state, _Walk.WANTED)
    end = code.value()

    code.branch(Condition.GE, position, record_end, header)
    no_message = code.label()
    _message_at(code, (context, position, record_end, segment_end), end, scratch, no_message)
    _stop_at_message(code, state, (position, record_end, segment_end, wanted), end, scratch, found)
    code.store(4, state, _Walk.POSITION, _least(code, end, record_end))
    code.give(0)
    code.place(no_message)
    code.set(position, record_end)

    code.place(header)
    kind, length = _load_header(code, context, position, segment_end, scratch, stop)
    code.set(record_end, code.alu(Alu.ADD, code.alu(Alu.ADD, position, 5), length))
    code.store(4, state, _Walk.RECORD_END, record_end)
    not_alert, not_cut, handshake = code.label(), code.label(), code.label()
    code.branch(Condition.NE, wanted, _Wanted.ALERT, not_alert)
    code.branch(Condition.NE, kind, _ALERT, not_alert)
    code.branch(Condition.NE, length, 2, not_alert)
    code.branch(Condition.LT, position, code.load(4, state, _Walk.FROM), not_alert)
    code.set(end, record_end)
    code.jump(found)
    code.place(not_alert)
    code.branch(Condition.NE, wanted, _Wanted.CUT, not_cut)
    code.set(end, record_end)
    code.branch(Condition.GT, record_end, segment_end, found)
    code.branch(Condition.NE, kind, _HANDSHAKE, not_cut)
    code.branch(Condition.LT, length, 4, found)
    code.place(not_cut)
    code.update(Alu.ADD, position, 5)
    code.branch(Condition.EQ, kind, _HANDSHAKE, handshake)
    code.set(position, record_end)
    code.place(handshake)
    code.store(4, state, _Walk.POSITION, position)
    code.give(0)

    code.place(found)
    code.store(4, state, _Walk.POSITION, position)
    code.store(4, state, _Walk.RECORD_END, _least(code, _least(code, end, record_end), segment_end))
    code.store(4, state, _Walk.WANTED, _Wanted.FOUND)
    code.place(stop)
    code.give(1)
    return code


def _message_at(
    code: Function, at: tuple[Value, Value, Value, Value], end: Value, scratch: Buffer, absent: Label
) -> None:  # fmt: skip
    """`end` = where the message that begins at the position ends by its length; go to `absent` where there is no valid one. Its
    type stays in the scratch buffer."""
    context, position, record_end, segment_end = at
    fits, several = code.label(), code.label()
    content = code.alu(Alu.ADD, position, 4)
    code.branch(Condition.GT, content, record_end, absent)
    code.branch(Condition.GT, content, segment_end, absent)
    head = load_number(code, context, position, 4, scratch, absent)
    length = code.alu(Alu.AND, head, 0xFF_FFFF)
    code.update(Alu.RSH, head, 24)
    code.branch(Condition.GT, head, _HIGHEST_MESSAGE_TYPE, absent)
    known = code.alu(Alu.RSH, code.copy(_MESSAGE_TYPES), head)
    code.branch(Condition.EQ, code.alu(Alu.AND, known, 1), 0, absent)
    code.set(end, code.alu(Alu.ADD, content, length))
    code.branch(Condition.LE, end, record_end, fits)
    code.branch(Condition.GT, length, _LONGEST_OF_SEVERAL_RECORDS, absent)
    for kind in (_CLIENT_HELLO, _CERTIFICATE, _CERTIFICATE_REQUEST):
        code.branch(Condition.EQ, head, kind, several)
    code.jump(absent)
    code.place(fits)
    code.branch(Condition.NE, head, _HELLO_REQUEST, several)
    code.branch(Condition.NE, content, record_end, absent)
    code.place(several)


def _stop_at_message(
    code: Function, state: Value, at: tuple[Value, Value, Value, Value], end: Value, scratch: Buffer, found: Label
) -> None:  # fmt: skip
    """Go to `found` where the message is what is wanted."""
    position, record_end, segment_end, wanted = at
    hello, cut, other = code.label(), code.label(), code.label()
    code.branch(Condition.EQ, wanted, _Wanted.HELLO, hello)
    code.branch(Condition.EQ, wanted, _Wanted.CUT, cut)
    code.branch(Condition.NE, wanted, _Wanted.MESSAGE, other)
    code.branch(Condition.GE, position, code.load(4, state, _Walk.FROM), found)
    code.jump(other)
    code.place(hello)
    kind = code.load(1, scratch)
    code.branch(Condition.EQ, kind, _CLIENT_HELLO, found)
    code.branch(Condition.EQ, kind, _SERVER_HELLO, found)
    code.jump(other)
    code.place(cut)
    code.branch(Condition.GT, end, record_end, found)
    code.branch(Condition.GT, end, segment_end, found)
    code.place(other)


_FIND: Final = Routine("tls_find", _find)


def _found(name: str, wanted: _Wanted) -> Routine:
    """`name(context, segment, cursor)`: what `tls_find` finds."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, segment, cursor, _ = code.parameters
        code.give(code.call(_FIND, context, segment, cursor, int(wanted)))
        return (code,)

    return Routine(name, write)


def _truncated(tables: Tables) -> tuple[Function, ...]:
    """`tls_truncated(context, segment)`."""
    code = Function("tls_truncated", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, segment, *_ = code.parameters
    whole = code.label()
    code.branch(Condition.EQ, code.call(_FIND, context, segment, 0, int(_Wanted.CUT)), 0, whole)
    give_number(code, 1)
    code.place(whole)
    code.give(0)
    return (code,)


# -- the hello ---------------------------------------------------------------------------------------------------------


def _suites(tables: Tables) -> tuple[Function, ...]:
    """`tls_suites(context, hello)`: the cipher suites without their length, as far as they go."""
    code = Function("tls_suites", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, *_ = code.parameters
    absent, client = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, hello, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.LT, length, 39, absent)
    session_id = load_number(code, context, code.alu(Alu.ADD, offset, 38), 1, scratch, absent)
    code.branch(Condition.GT, session_id, 32, absent)
    kind = load_number(code, context, offset, 1, scratch, absent)
    code.update(Alu.ADD, offset, 39)
    code.update(Alu.ADD, offset, session_id)
    start = code.alu(Alu.ADD, offset, 2)
    code.branch(Condition.GT, start, end, absent)
    code.branch(Condition.EQ, kind, _CLIENT_HELLO, client)
    give_slice(code, offset, start)
    code.place(client)
    size = load_number(code, context, offset, 2, scratch, absent)
    code.update(Alu.ADD, size, start)
    give_slice(code, start, _least(code, size, end))
    code.place(absent)
    code.give(0)
    return (code,)


def _suites_length(tables: Tables) -> tuple[Function, ...]:
    """`tls_suites_length(context, hello, suites)`: as the ClientHello states it."""
    code = Function("tls_suites_length", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, suites, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, hello, absent)
    code.branch(Condition.NE, load_number(code, context, offset, 1, scratch, absent), _CLIENT_HELLO, absent)
    start, _ = take_slice(code, suites, absent)
    code.update(Alu.SUB, start, 2)
    give_number(code, load_number(code, context, start, 2, scratch, absent))
    code.place(absent)
    code.give(0)
    return (code,)


def _extensions(tables: Tables) -> tuple[Function, ...]:
    """`tls_extensions(context, hello, suites)`: the extensions from their length on, as far as they go."""
    code = Function("tls_extensions", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, suites, _ = code.parameters
    absent, behind = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, hello, absent)
    end = code.alu(Alu.ADD, offset, length)
    kind = load_number(code, context, offset, 1, scratch, absent)
    at, _ = take_slice(code, suites, absent)
    code.update(Alu.ADD, at, 3)  # the suite chosen and the compression method of a ServerHello
    code.branch(Condition.NE, kind, _CLIENT_HELLO, behind)
    code.update(Alu.SUB, at, 5)
    size = load_number(code, context, at, 2, scratch, absent)
    code.update(Alu.ADD, at, size)
    code.update(Alu.ADD, at, 2)
    code.branch(Condition.GE, at, end, absent)
    size = load_number(code, context, at, 1, scratch, absent)
    code.update(Alu.ADD, at, size)
    code.update(Alu.ADD, at, 1)
    code.place(behind)
    content = code.alu(Alu.ADD, at, 2)
    code.branch(Condition.GT, content, end, absent)
    size = load_number(code, context, at, 2, scratch, absent)
    code.update(Alu.ADD, size, content)
    give_slice(code, at, _least(code, size, end))
    code.place(absent)
    code.give(0)
    return (code,)


def _each_extension(tables: Tables) -> tuple[Function, ...]:
    """`tls_each_extension(context, extensions, cursor)`: the next one, with its type and length."""
    code = Function("tls_each_extension", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extensions, cursor, _ = code.parameters
    absent, later = code.label(), code.label()
    offset, length = take_slice(code, extensions, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.update(Alu.ADD, offset, 2)
    code.branch(Condition.EQ, cursor, 0, later)
    code.set(offset, cursor)
    code.place(later)
    content = code.alu(Alu.ADD, offset, 4)
    code.branch(Condition.GT, content, end, absent)
    size = load_number(code, context, offset, 4, code.buffer(8), absent)
    code.update(Alu.AND, size, 0xFFFF)
    code.update(Alu.ADD, size, content)
    give_slice(code, offset, _least(code, size, end))
    code.place(absent)
    code.give(0)
    return (code,)


class _Search:
    """The state of the search for an extension; the members as in _Walk."""

    CONTEXT = 0
    TYPE = 12
    END = 20
    POSITION = 28
    FOUND_END = 36
    """Where the content ends that begins at POSITION; 0: not found."""
    SIZE = 40


def _extension(tables: Tables) -> tuple[Function, ...]:
    """`tls_extension(context, extensions, type)`: the content of the first of that type."""
    code = Function("tls_extension", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extensions, kind, _ = code.parameters
    absent = code.label()
    state = code.buffer(_Search.SIZE)
    offset, length = take_slice(code, extensions, absent)
    code.store(8, state, _Search.CONTEXT, context)
    code.store(4, state, _Search.TYPE, kind)
    code.store(4, state, _Search.END, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Search.POSITION, code.alu(Alu.ADD, offset, 2))
    code.store(4, state, _Search.FOUND_END, 0)
    code.helper(Helper.LOOP, _EXTENSIONS, FunctionName("tls_extension_step"), At(state), 0)
    end = code.load(4, state, _Search.FOUND_END)
    code.branch(Condition.EQ, end, 0, absent)
    give_slice(code, code.load(4, state, _Search.POSITION), end)
    code.place(absent)
    code.give(0)
    return code, _extension_step()


def _extension_step() -> Function:
    """One extension further: bpf_loop's callback."""
    code = Function("tls_extension_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    stop, other = code.label(), code.label()
    context = code.load(8, state, _Search.CONTEXT)
    position = code.load(4, state, _Search.POSITION)
    end = code.load(4, state, _Search.END)
    content = code.alu(Alu.ADD, position, 4)
    code.branch(Condition.GT, content, end, stop)
    head = load_number(code, context, position, 4, code.buffer(8), stop)
    behind = code.alu(Alu.ADD, code.alu(Alu.AND, head, 0xFFFF), content)
    code.update(Alu.RSH, head, 16)
    code.branch(Condition.NE, head, code.load(4, state, _Search.TYPE), other)
    code.store(4, state, _Search.POSITION, content)
    code.store(4, state, _Search.FOUND_END, _least(code, behind, end))
    code.place(stop)
    code.give(1)
    code.place(other)
    code.store(4, state, _Search.POSITION, behind)
    code.give(0)
    return code


def _server_name(tables: Tables) -> tuple[Function, ...]:
    """`tls_server_name(context, extension)`: the first name, where it is a host's."""
    code = Function("tls_server_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extension, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, extension, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.LT, length, 5, absent)
    size = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, scratch, absent)
    kind = code.alu(Alu.AND, size, 0xFF_0000)
    code.branch(Condition.NE, kind, 0, absent)
    code.update(Alu.AND, size, 0xFFFF)
    code.branch(Condition.EQ, size, 0, absent)
    code.update(Alu.ADD, offset, 5)
    code.update(Alu.ADD, size, offset)
    code.branch(Condition.GT, size, end, absent)
    give_slice(code, offset, size)
    code.place(absent)
    code.give(0)
    return (code,)


def _protocol_name(tables: Tables) -> tuple[Function, ...]:
    """`tls_protocol_name(context, extension, cursor)`: the next name of the list."""
    code = Function("tls_protocol_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extension, cursor, _ = code.parameters
    absent, later = code.label(), code.label()
    offset, length = take_slice(code, extension, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.update(Alu.ADD, offset, 2)
    code.branch(Condition.EQ, cursor, 0, later)
    code.set(offset, cursor)
    code.place(later)
    code.branch(Condition.GE, offset, end, absent)
    size = load_number(code, context, offset, 1, code.buffer(8), absent)
    code.branch(Condition.EQ, size, 0, absent)
    code.update(Alu.ADD, offset, 1)
    code.update(Alu.ADD, size, offset)
    code.branch(Condition.GT, size, end, absent)
    give_slice(code, offset, size)
    code.place(absent)
    code.give(0)
    return (code,)


def _versions(tables: Tables) -> tuple[Function, ...]:
    """`tls_versions(context, hello, extension)`: the versions, as far as they go."""
    code = Function("tls_versions", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, extension, _ = code.parameters
    absent, server = code.label(), code.label()
    scratch = code.buffer(8)
    first, _ = take_slice(code, hello, absent)
    kind = load_number(code, context, first, 1, scratch, absent)
    offset, length = take_slice(code, extension, absent)
    end = code.alu(Alu.ADD, offset, length)
    size = code.copy(2)
    code.branch(Condition.NE, kind, _CLIENT_HELLO, server)
    code.branch(Condition.EQ, length, 0, absent)
    code.set(size, load_number(code, context, offset, 1, scratch, absent))
    code.update(Alu.ADD, offset, 1)
    code.place(server)
    code.update(Alu.ADD, size, offset)
    give_slice(code, offset, _least(code, size, end))
    code.place(absent)
    code.give(0)
    return (code,)


def _number_of_list(tables: Tables) -> tuple[Function, ...]:
    """`tls_number(context, list, cursor)`: the next 2 bytes."""
    code = Function("tls_number", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, numbers, cursor, _ = code.parameters
    absent, later = code.label(), code.label()
    offset, length = take_slice(code, numbers, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.EQ, cursor, 0, later)
    code.set(offset, cursor)
    code.place(later)
    behind = code.alu(Alu.ADD, offset, 2)
    code.branch(Condition.GT, behind, end, absent)
    give_slice(code, offset, behind)
    code.place(absent)
    code.give(0)
    return (code,)


_SEGMENT: Final = Fact(Routine("tls", _segment), (TCP_PAYLOAD,))
_RECORD: Final = Routine("tls_record", _record)
_MESSAGE: Final = _found("tls_message", _Wanted.MESSAGE)
_ALERTS: Final = _found("tls_alert", _Wanted.ALERT)
_HELLO: Final = Fact(_found("tls_hello", _Wanted.HELLO), (_SEGMENT,))
_SUITES: Final = Fact(Routine("tls_suites", _suites), (_HELLO,))
_BLOCK: Final = Fact(Routine("tls_extensions", _extensions), (_HELLO, _SUITES))
_NUMBER: Final = Routine("tls_number", _number_of_list)


def _content(kind: int) -> Fact:
    return Fact(Routine("tls_extension", _extension), (_BLOCK,), (kind,))


TLS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "tls": Present(_SEGMENT),
        "tls.record.type": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 0, 8)),
        "tls.record.version": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 8, 16)),
        "tls.record.length": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 24, 16)),
        "tls.truncated": Number(Fact(Routine("tls_truncated", _truncated), (_SEGMENT,))),
        "tls.handshake.type": Each(_MESSAGE, _SEGMENT, BitsOf(ELEMENT, 0, 8)),
        "tls.handshake.length": Each(_MESSAGE, _SEGMENT, BitsOf(ELEMENT, 8, 24)),
        "tls.handshake.version": BitsOf(_HELLO, 32, 16),
        "tls.handshake.session_id_length": BitsOf(_HELLO, 304, 8),
        "tls.handshake.cipher_suites_length": Number(Fact(Routine("tls_suites_length", _suites_length), (_HELLO, _SUITES))),
        "tls.handshake.ciphersuite": Each(_NUMBER, _SUITES, BitsOf(ELEMENT, 0, 16)),
        "tls.handshake.extensions_length": BitsOf(_BLOCK, 0, 16),
        "tls.handshake.extension.type": Each(Routine("tls_each_extension", _each_extension), _BLOCK, BitsOf(ELEMENT, 0, 16)),
        "tls.sni": Slice(Fact(Routine("tls_server_name", _server_name), (_content(_SERVER_NAME),))),
        "tls.alpn": Each(Routine("tls_protocol_name", _protocol_name), _content(_ALPN), Slice(ELEMENT)),
        "tls.supported_version": Each(
            _NUMBER, Fact(Routine("tls_versions", _versions), (_HELLO, _content(_SUPPORTED_VERSIONS))), BitsOf(ELEMENT, 0, 16)
        ),
        "tls.alert.level": Each(_ALERTS, _SEGMENT, BitsOf(ELEMENT, 40, 8)),
        "tls.alert.description": Each(_ALERTS, _SEGMENT, BitsOf(ELEMENT, 48, 8)),
    }
)
