"""Routines that several protocols have, each under a name of its own."""

from __future__ import annotations

from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.search import seek
from bpf.slices import give_absent, give_slice, pack_slice, resume, take_bounds, take_slice
from bpf.tables import Tables


def payload_matching(name: str, pattern: str) -> Routine:
    """`name(context, payload)`: the payload again, where the pattern matches in it."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, payload, *_ = code.parameters
        absent = code.label()
        offset, length = take_slice(code, payload, absent)
        seek(code, tables, context, offset, length, pattern, absent)
        code.give(payload)
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)


def next_number(name: str, size: int) -> Routine:
    """`name(context, numbers, cursor)`: the next `size` bytes of a slice that is nothing but such numbers."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        _, numbers, cursor, _ = code.parameters
        absent = code.label()
        offset, end = take_bounds(code, numbers, absent)
        resume(code, offset, cursor)
        behind = code.alu(Alu.ADD, offset, size)
        code.branch(Condition.GT, behind, end, absent)
        give_slice(code, offset, behind)
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)


def part_of(name: str) -> Routine:
    """`name(context, message, start, length)`: those bytes of a message that is known to have them, a slice."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        _, message, start, part_length = code.parameters
        absent = code.label()
        offset, _ = take_slice(code, message, absent)
        code.update(Alu.ADD, offset, start)
        code.give(pack_slice(code, offset, part_length))
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)
