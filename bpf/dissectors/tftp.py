"""TFTP (semantics: rules_dsl/dissectors/tftp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Place, Present, Slice
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.search import seek
from bpf.slices import give_absent, give_slice, load_number, take_slice
from bpf.tables import Tables

_READ: Final = 1 << 1
"""Opcodes, as bits."""
_WRITE: Final = 1 << 2
_NUMBERED: Final = 1 << 3 | 1 << 4
_ERROR: Final = 1 << 5

_REQUEST: Final = r"\x00[\x01\x02][^\x00]*\x00(?i:netascii|octet|mail)\x00"
_FAILURE: Final = r"\x00\x05\x00[\x00-\x08][^\x00]*\x00$"
_OPTIONS: Final = r"\x00\x06(?:[!-~]+\x00[ -~]*\x00)+$"


def _message(tables: Tables) -> tuple[Function, ...]:
    """`tftp(context, payload)`: the payload again, where it is a message."""
    code = Function("tftp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, text, acknowledgement = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 4, absent)
    opcode = load_number(code, context, offset, 2, scratch, absent)
    code.branch(Condition.EQ, opcode, 4, acknowledgement)
    code.branch(Condition.NE, opcode, 3, text)
    code.branch(Condition.NE, length, 516, absent)
    code.give(payload)
    code.place(acknowledgement)
    code.branch(Condition.NE, length, 4, absent)
    code.give(payload)
    code.place(text)
    seek(code, tables, context, offset, length, f"^(?:{_REQUEST}|{_FAILURE}|{_OPTIONS})", absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _of_opcodes(tables: Tables) -> tuple[Function, ...]:
    """`tftp_of_opcodes(context, message, opcodes)`: the message again, where its opcode is one of those."""
    code = Function("tftp_of_opcodes", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, opcodes, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, message, absent)
    opcode = code.alu(Alu.AND, load_number(code, context, offset, 2, scratch, absent), 7)
    code.branch(Condition.EQ, code.alu(Alu.AND, code.alu(Alu.RSH, opcodes, opcode), 1), 0, absent)
    code.give(message)
    give_absent(code, absent)
    return (code,)


def _file(tables: Tables) -> tuple[Function, ...]:
    """`tftp_file(context, request)`: the file name."""
    code = Function("tftp_file", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, request, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, request, absent)
    code.update(Alu.ADD, offset, 2)
    code.update(Alu.SUB, length, 2)
    end = seek(code, tables, context, offset, length, r"\x00", absent)
    give_slice(code, offset, code.alu(Alu.SUB, end, 1))
    give_absent(code, absent)
    return (code,)


def _mode(tables: Tables) -> tuple[Function, ...]:
    """`tftp_mode(context, request, file)`: what stands behind the file name and its NUL byte."""
    code = Function("tftp_mode", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, request, file, _ = code.parameters
    absent = code.label()
    start, length = take_slice(code, file, absent)
    code.update(Alu.ADD, start, length)
    code.update(Alu.ADD, start, 1)
    offset, length = take_slice(code, request, absent)
    code.update(Alu.ADD, length, offset)
    code.update(Alu.SUB, length, start)
    end = seek(code, tables, context, start, length, r"\x00", absent)
    give_slice(code, start, code.alu(Alu.SUB, end, 1))
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("tftp", _message), (UDP_PAYLOAD,))


def _of(opcodes: int) -> Fact:
    return Fact(Routine("tftp_of_opcodes", _of_opcodes), (_MESSAGE,), (opcodes,))


def _file_of(opcodes: int) -> Fact:
    return Fact(Routine("tftp_file", _file), (_of(opcodes),))


TFTP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "tftp": Present(_MESSAGE),
        "tftp.opcode": BitsOf(_MESSAGE, 0, 16),
        "tftp.file": Slice(_file_of(_READ | _WRITE)),
        "tftp.source_file": Slice(_file_of(_READ)),
        "tftp.destination_file": Slice(_file_of(_WRITE)),
        "tftp.type": Slice(Fact(Routine("tftp_mode", _mode), (_of(_READ | _WRITE), _file_of(_READ | _WRITE)))),
        "tftp.block": BitsOf(_of(_NUMBERED), 16, 16),
        "tftp.error.code": BitsOf(_of(_ERROR), 16, 16),
    }
)
