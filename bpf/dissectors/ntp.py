"""NTP (semantics: rules_dsl/dissectors/ntp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Number, Place, Present, Slice
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Label, Routine, Value
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_number, give_slice, load_number, take_slice
from bpf.tables import Tables

_TIME: Final = 0b0011_1110
"""Modes 1 to 5, as bits; likewise the others."""
_CONTROL: Final = 1 << 6
_PRIVATE: Final = 1 << 7


def _message(tables: Tables) -> tuple[Function, ...]:
    """`ntp(context, payload)`: the message, a slice."""
    code = Function("ntp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, private, time = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 8, absent)
    first = load_number(code, context, offset, 1, scratch, absent)
    version = code.alu(Alu.AND, code.alu(Alu.RSH, first, 3), 7)
    code.branch(Condition.EQ, version, 0, absent)
    code.branch(Condition.GT, version, 4, absent)
    mode = code.alu(Alu.AND, first, 7)
    code.branch(Condition.EQ, mode, 0, absent)
    code.branch(Condition.EQ, mode, 7, private)
    code.branch(Condition.NE, mode, 6, time)
    code.give(code.call(Routine("ntp_control", _control), context, payload))
    code.place(private)
    code.give(code.call(Routine("ntp_private", _private), context, payload))
    code.place(time)
    code.give(code.call(Routine("ntp_time", _time), context, payload))
    give_absent(code, absent)
    return (code,)


def _byte(code: Function, number: Value, shift: int, add: int = 0) -> Value:
    """Eight bits of the number, plus `add` modulo 256."""
    byte = code.alu(Alu.RSH, number, shift)
    if add:
        code.update(Alu.ADD, byte, add)
    code.update(Alu.AND, byte, 0xFF)
    return byte


def _time(tables: Tables) -> tuple[Function, ...]:
    """`ntp_time(context, payload)`: the payload again, where it is a message of modes 1 to 5."""
    code = Function("ntp_time", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, valid = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 48, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, length, 3), 0, absent)
    head = load_number(code, context, offset, 8, scratch, absent)
    code.branch(Condition.GT, _byte(code, head, 48), 16, absent)  # the stratum
    code.branch(Condition.GT, _byte(code, head, 40, 8), 24 + 8, absent)  # the poll interval, signed
    code.branch(Condition.GT, _byte(code, head, 32, 64), 32 + 64, absent)  # the precision, signed
    code.branch(Condition.GT, _byte(code, head, 24, 1), 1, absent)  # the root delay's first byte, 0 or -1
    dispersion = load_number(code, context, code.alu(Alu.ADD, offset, 8), 1, scratch, absent)
    code.branch(Condition.NE, dispersion, 0, absent)
    code.branch(Condition.LE, length, 48 + 72, valid)
    extension = load_number(code, context, code.alu(Alu.ADD, offset, 50), 2, scratch, absent)
    code.branch(Condition.LT, extension, 16, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, extension, 3), 0, absent)
    code.branch(Condition.GT, extension, code.alu(Alu.SUB, length, 48), absent)
    code.place(valid)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _control(tables: Tables) -> tuple[Function, ...]:
    """`ntp_control(context, payload)`: the payload again, where it is a message of mode 6."""
    code = Function("ntp_control", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, response, known = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 12, absent)
    head = load_number(code, context, offset, 8, scratch, absent)
    opcode = code.alu(Alu.AND, code.alu(Alu.RSH, head, 48), 0x1F)
    code.branch(Condition.LE, opcode, 12, known)
    code.branch(Condition.NE, opcode, 31, absent)
    code.place(known)
    tail = load_number(code, context, code.alu(Alu.ADD, offset, 8), 4, scratch, absent)
    needed = code.alu(Alu.AND, tail, 0xFFFF)
    code.update(Alu.ADD, needed, 12)
    code.branch(Condition.LT, length, needed, absent)
    code.update(Alu.ADD, needed, 27)
    code.branch(Condition.GT, length, needed, absent)
    flags = _byte(code, head, 48)
    code.branch(Condition.GE, flags, 0x80, response)
    code.branch(Condition.GE, flags, 0x20, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, code.alu(Alu.RSH, head, 16), 0xFFFF), 0, absent)  # the status
    code.branch(Condition.GT, tail, 0xFFFF, absent)  # the offset
    code.place(response)
    code.branch(Condition.GE, tail, 0x4000_0000, absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _private(tables: Tables) -> tuple[Function, ...]:
    """`ntp_private(context, payload)`: the payload again, where it is a message of mode 7."""
    code = Function("ntp_private", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, response, sound = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 8, absent)
    head = load_number(code, context, offset, 8, scratch, absent)
    code.branch(Condition.GT, _byte(code, head, 40, -2), 1, absent)  # the implementation, 2 or 3
    code.branch(Condition.NE, code.alu(Alu.AND, code.alu(Alu.RSH, head, 12), 15), 0, absent)
    error = code.alu(Alu.AND, code.alu(Alu.RSH, head, 28), 15)
    code.branch(Condition.GT, _byte(code, head, 56), 0x7F, response)
    code.branch(Condition.NE, error, 0, absent)
    code.jump(sound)
    code.place(response)
    code.branch(Condition.GT, error, 7, absent)
    code.place(sound)
    data = code.alu(Alu.AND, code.alu(Alu.RSH, head, 16), 0xFFF)
    code.update(Alu.MUL, data, code.alu(Alu.AND, head, 0xFFF))
    code.branch(Condition.GT, data, 500, absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _of_modes(tables: Tables) -> tuple[Function, ...]:
    """`ntp_of_modes(context, message, modes)`: the message again, where its mode is one of those."""
    code = Function("ntp_of_modes", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, modes, _ = code.parameters
    absent = code.label()
    _, mode = _offset_and_mode(code, context, message, absent)
    code.branch(Condition.EQ, code.alu(Alu.AND, code.alu(Alu.RSH, modes, mode), 1), 0, absent)
    code.give(message)
    give_absent(code, absent)
    return (code,)


def _offset_and_mode(code: Function, context: Value, message: Value, absent: Label) -> tuple[Value, Value]:
    scratch = code.buffer(8)
    offset, _ = take_slice(code, message, absent)
    return offset, code.alu(Alu.AND, load_number(code, context, offset, 1, scratch, absent), 7)


def _reference(tables: Tables) -> tuple[Function, ...]:
    """`ntp_reference(context, time)`: the reference identifier."""
    code = Function("ntp_reference", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, time, *_ = code.parameters
    absent = code.label()
    offset, _ = take_slice(code, time, absent)
    give_slice(code, code.alu(Alu.ADD, offset, 12), code.alu(Alu.ADD, offset, 16))
    give_absent(code, absent)
    return (code,)


def _response(tables: Tables) -> tuple[Function, ...]:
    """`ntp_response(context, message)`: 1 where a message of mode 6 or 7 is a response."""
    code = Function("ntp_response", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent, control = code.label(), code.label()
    scratch = code.buffer(8)
    offset, mode = _offset_and_mode(code, context, message, absent)
    head = load_number(code, context, offset, 2, scratch, absent)
    code.branch(Condition.EQ, mode, 6, control)
    code.branch(Condition.NE, mode, 7, absent)
    give_number(code, code.alu(Alu.RSH, head, 15))
    code.place(control)
    give_number(code, code.alu(Alu.AND, code.alu(Alu.RSH, head, 7), 1))
    give_absent(code, absent)
    return (code,)


def _monlist(tables: Tables) -> tuple[Function, ...]:
    """`ntp_monlist(context, private)`."""
    code = Function("ntp_monlist", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, private, *_ = code.parameters
    absent, yes = code.label(), code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, private, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    code.branch(Condition.GE, _byte(code, head, 24), 0x80, absent)  # a response
    code.update(Alu.AND, head, 0xFF)
    code.branch(Condition.EQ, head, 20, yes)
    code.branch(Condition.NE, head, 42, absent)
    code.place(yes)
    give_number(code, 1)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("ntp", _message), (UDP_PAYLOAD,))


def _in_modes(modes: int) -> Fact:
    return Fact(Routine("ntp_of_modes", _of_modes), (_MESSAGE,), (modes,))


NTP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "ntp": Present(_MESSAGE),
        "ntp.version": BitsOf(_MESSAGE, 2, 3),
        "ntp.mode": BitsOf(_MESSAGE, 5, 3),
        "ntp.leap": BitsOf(_in_modes(_TIME | _CONTROL), 0, 2),
        "ntp.stratum": BitsOf(_in_modes(_TIME), 8, 8),
        "ntp.poll": BitsOf(_in_modes(_TIME), 16, 8),
        "ntp.refid": Slice(Fact(Routine("ntp_reference", _reference), (_in_modes(_TIME),))),
        "ntp.response": Number(Fact(Routine("ntp_response", _response), (_MESSAGE,))),
        "ntp.ctrl.opcode": BitsOf(_in_modes(_CONTROL), 11, 5),
        "ntp.request_code": BitsOf(_in_modes(_PRIVATE), 24, 8),
        "ntp.monlist": Number(Fact(Routine("ntp_monlist", _monlist), (_in_modes(_PRIVATE),))),
    }
)
