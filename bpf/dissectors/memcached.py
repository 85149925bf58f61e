"""memcached's text and binary protocols (semantics: rules_dsl/dissectors/memcached.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Place, Present, Slice
from bpf.facts import TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.search import seek
from bpf.slices import give_absent, give_slice, load_number, pack_slice, take_slice
from bpf.tables import Tables

_KEY: Final = r" +[!-~\x80-\xff]+"
_NUMBER: Final = " +[0-9]+"
_SIGNED: Final = " +-?[0-9]+"
_WORDS: Final = f"(?:{_KEY})*"
_QUIET: Final = "(?: +noreply)?"

_REQUESTS: Final = (
    f"gets?{_KEY}{_WORDS}",
    f"gats?{_SIGNED}{_KEY}{_WORDS}",
    f"(?:set|add|replace|append|prepend){_KEY}{_NUMBER}{_SIGNED}{_NUMBER}{_QUIET}",
    f"cas{_KEY}{_NUMBER}{_SIGNED}{_NUMBER}{_NUMBER}{_QUIET}",
    f"delete{_KEY}(?:{_NUMBER})?{_QUIET}",
    f"(?:incr|decr){_KEY}{_NUMBER}{_QUIET}",
    f"touch{_KEY}{_SIGNED}{_QUIET}",
    f"m[gda]{_KEY}{_WORDS}",
    f"ms{_KEY}{_NUMBER}{_WORDS}",
    f"stats{_WORDS}",
    "version",
    f"verbosity{_NUMBER}{_QUIET}",
    f"flush_all(?:{_SIGNED})?{_QUIET}",
)
_RESPONSES: Final = (
    f"VALUE{_KEY}{_NUMBER}{_NUMBER}(?:{_NUMBER})?",
    f"(?:STAT|VERSION|CLIENT_ERROR|SERVER_ERROR){_KEY}{_WORDS}",
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "DELETED",
    "TOUCHED",
    "END",
    "RESET",
)
_WITH_KEY: Final = "(?:get|gets|set|add|replace|append|prepend|cas|delete|incr|decr|touch|m[gdas]|VALUE) +|gats? +-?[0-9]+ +"


def _in_frame(tables: Tables) -> tuple[Function, ...]:
    """`memcached_in_frame(context, udp_payload, tcp_payload)`: the message behind UDP's frame header, or TCP's payload."""
    code = Function("memcached_in_frame", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, segment, _ = code.parameters
    absent, no_datagram = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, datagram, no_datagram)
    code.branch(Condition.LT, length, 8, absent)
    frame = load_number(code, context, offset, 8, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, frame, 0xFFFF), 0, absent)  # the reserved word
    code.update(Alu.RSH, frame, 16)
    code.branch(Condition.EQ, code.alu(Alu.AND, frame, 0xFFFF), 0, absent)  # the number of datagrams
    code.update(Alu.RSH, frame, 16)
    code.branch(Condition.NE, code.alu(Alu.AND, frame, 0xFFFF), 0, absent)  # the sequence number
    give_slice(code, code.alu(Alu.ADD, offset, 8), code.alu(Alu.ADD, offset, length))
    code.place(no_datagram)
    code.give(segment)
    give_absent(code, absent)
    return (code,)


def _first_word(name: str, lines: tuple[str, ...]) -> Routine:
    """`name(context, body)`: the first word of a line of one of those forms, which is there as a whole."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, body, *_ = code.parameters
        absent = code.label()
        offset, length = take_slice(code, body, absent)
        end = seek(code, tables, context, offset, length, rf"^(?:{'|'.join(lines)}) *\r?\n", absent)
        code.set(end, seek(code, tables, context, offset, length, r"[ \r\n]", absent))
        give_slice(code, offset, code.alu(Alu.SUB, end, 1))
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)


def _text_key(tables: Tables) -> tuple[Function, ...]:
    """`memcached_text_key(context, body, command, response)`: the first key of the line, if it is a line."""
    code = Function("memcached_text_key", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, body, command, response = code.parameters
    absent = code.label()
    code.update(Alu.OR, command, response)
    code.branch(Condition.EQ, command, 0, absent)
    offset, length = take_slice(code, body, absent)
    code.update(Alu.ADD, length, offset)
    start = seek(code, tables, context, offset, code.alu(Alu.SUB, length, offset), rf"^(?:{_WITH_KEY})[^ ]", absent)
    code.update(Alu.SUB, start, 1)
    end = seek(code, tables, context, start, code.alu(Alu.SUB, length, start), r"[ \r\n]", absent)
    give_slice(code, start, code.alu(Alu.SUB, end, 1))
    give_absent(code, absent)
    return (code,)


def _binary(tables: Tables) -> tuple[Function, ...]:
    """`memcached_binary(context, body)`: the message again, where it is a binary one."""
    code = Function("memcached_binary", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, body, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, body, absent)
    code.branch(Condition.LT, length, 24, absent)
    head = load_number(code, context, offset, 8, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.RSH, head, 57), 0x40, absent)  # magic, 0x80 or 0x81
    code.branch(Condition.NE, code.alu(Alu.AND, code.alu(Alu.RSH, head, 16), 0xFF), 0, absent)  # data type
    key = code.alu(Alu.AND, code.alu(Alu.RSH, head, 32), 0xFFFF)
    code.branch(Condition.GT, key, 250, absent)
    extras = code.alu(Alu.AND, code.alu(Alu.RSH, head, 24), 0xFF)
    code.branch(Condition.GT, extras, 32, absent)
    whole = load_number(code, context, code.alu(Alu.ADD, offset, 8), 4, scratch, absent)
    code.branch(Condition.LT, whole, code.alu(Alu.ADD, extras, key), absent)
    code.give(body)
    give_absent(code, absent)
    return (code,)


def _binary_key(tables: Tables) -> tuple[Function, ...]:
    """`memcached_binary_key(context, binary)`: its key."""
    code = Function("memcached_binary_key", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, binary, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, binary, absent)
    head = load_number(code, context, offset, 8, scratch, absent)
    key = code.alu(Alu.AND, code.alu(Alu.RSH, head, 32), 0xFFFF)
    code.branch(Condition.EQ, key, 0, absent)
    start = code.alu(Alu.AND, code.alu(Alu.RSH, head, 24), 0xFF)
    code.update(Alu.ADD, start, 24)
    code.branch(Condition.LT, length, code.alu(Alu.ADD, start, key), absent)
    code.update(Alu.ADD, start, offset)
    code.give(pack_slice(code, start, key))
    give_absent(code, absent)
    return (code,)


def _one_of(tables: Tables) -> tuple[Function, ...]:
    """`memcached_one_of(context, a, b, c)`: of slices of which at most one is there."""
    code = Function("memcached_one_of", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, one, other, third = code.parameters
    code.update(Alu.OR, one, other)
    code.give(code.alu(Alu.OR, one, third))
    return (code,)


_BODY: Final = Fact(Routine("memcached_in_frame", _in_frame), (UDP_PAYLOAD, TCP_PAYLOAD))
_COMMAND: Final = Fact(_first_word("memcached_command", _REQUESTS), (_BODY,))
_RESPONSE: Final = Fact(_first_word("memcached_response", _RESPONSES), (_BODY,))
_BINARY: Final = Fact(Routine("memcached_binary", _binary), (_BODY,))
_TEXT_KEY: Final = Fact(Routine("memcached_text_key", _text_key), (_BODY, _COMMAND, _RESPONSE))
_BINARY_KEY: Final = Fact(Routine("memcached_binary_key", _binary_key), (_BINARY,))
_ONE_OF: Final = Routine("memcached_one_of", _one_of)

MEMCACHED: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "memcached": Present(Fact(_ONE_OF, (_COMMAND, _RESPONSE, _BINARY))),
        "memcached.command": Slice(_COMMAND),
        "memcached.response": Slice(_RESPONSE),
        "memcached.magic": BitsOf(_BINARY, 0, 8),
        "memcached.opcode": BitsOf(_BINARY, 8, 8),
        "memcached.key": Slice(Fact(_ONE_OF, (_TEXT_KEY, _BINARY_KEY))),
    }
)
