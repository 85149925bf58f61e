"""TLS records and handshake messages; what a hello holds is in tls_hello.py (semantics: rules_dsl/dissectors/tls.py)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Present
from bpf.dissectors.tls_hello import CLIENT_HELLO, SERVER_HELLO, places_in_hello
from bpf.facts import TCP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.slices import at_most, give_absent, give_number, give_slice, load_number, resume, take_bounds, take_slice
from bpf.tables import Tables

_ALERT, _HANDSHAKE, _APPLICATION_DATA = 21, 22, 23
_LONGEST_RECORD: Final = (1 << 14) + 2048

_HELLO_REQUEST, _CERTIFICATE, _CERTIFICATE_REQUEST = 0, 11, 13
_HIGHEST_MESSAGE_TYPE: Final = 25
_MESSAGE_TYPES: Final = sum(1 << kind for kind in (*range(7), 8, *range(11, 17), *range(20, _HIGHEST_MESSAGE_TYPE + 1)))
_LONGEST_OF_SEVERAL_RECORDS: Final = 1 << 17

_RECORDS_AND_MESSAGES: Final = 32
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
    give_absent(code, absent)
    return (code,)


def _record(tables: Tables) -> tuple[Function, ...]:
    """`tls_record(context, segment, cursor)`: the next record with its header."""
    code = Function("tls_record", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, segment, cursor, _ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, segment, absent)
    resume(code, offset, cursor)
    _, length = _load_header(code, context, offset, end, code.buffer(8), absent)
    code.update(Alu.ADD, length, 5)
    code.update(Alu.ADD, length, offset)
    give_slice(code, offset, at_most(code, length, end))
    give_absent(code, absent)
    return (code,)


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
    give_absent(code, absent)
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
    code.store(4, state, _Walk.POSITION, at_most(code, end, record_end))
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
    code.store(4, state, _Walk.RECORD_END, at_most(code, at_most(code, end, record_end), segment_end))
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
    for kind in (CLIENT_HELLO, _CERTIFICATE, _CERTIFICATE_REQUEST):
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
    code.branch(Condition.EQ, kind, CLIENT_HELLO, found)
    code.branch(Condition.EQ, kind, SERVER_HELLO, found)
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


_SEGMENT: Final = Fact(Routine("tls", _segment), (TCP_PAYLOAD,))
_RECORD: Final = Routine("tls_record", _record)
_MESSAGE: Final = _found("tls_message", _Wanted.MESSAGE)
_ALERTS: Final = _found("tls_alert", _Wanted.ALERT)
_HELLO: Final = Fact(_found("tls_hello", _Wanted.HELLO), (_SEGMENT,))

TLS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "tls": Present(_SEGMENT),
        "tls.record.type": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 0, 8)),
        "tls.record.version": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 8, 16)),
        "tls.record.length": Each(_RECORD, _SEGMENT, BitsOf(ELEMENT, 24, 16)),
        "tls.truncated": Number(Fact(Routine("tls_truncated", _truncated), (_SEGMENT,))),
        "tls.handshake.type": Each(_MESSAGE, _SEGMENT, BitsOf(ELEMENT, 0, 8)),
        "tls.handshake.length": Each(_MESSAGE, _SEGMENT, BitsOf(ELEMENT, 8, 24)),
        **places_in_hello(_HELLO),
        "tls.alert.level": Each(_ALERTS, _SEGMENT, BitsOf(ELEMENT, 40, 8)),
        "tls.alert.description": Each(_ALERTS, _SEGMENT, BitsOf(ELEMENT, 48, 8)),
    }
)
