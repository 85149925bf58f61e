"""Small programs that ask a record what another program has found on this CPU: `record` holds, at byte `found`, a number plus 1, in 8
bytes; 0 for none. Sound where nothing comes between the two (see bpf/evaluate.py)."""

from __future__ import annotations

from collections.abc import Callable

from bpf.assembler import Assembler
from bpf.codegen import frame_of, generate
from bpf.image import FunctionKind, MapSpec, ProgramImage
from bpf.ir import At, Function, MapName, Value
from bpf.isa import Alu, Condition, Helper


def found_among(name: str, record: MapSpec, low: int, high: int, *, found: int = 0) -> ProgramImage:
    """1 where the number is from `low` up to and without `high`."""

    def ask(code: Function, at: Value) -> Value:
        number = code.load(8, at, found)
        code.update(Alu.SUB, number, low + 1)
        return _truth(code, number, Condition.LT, high - low)

    return asking(name, record, ask)


def digit_found(name: str, record: MapSpec, shift: int, width: int, value: int, *, found: int = 0) -> ProgramImage:
    """1 where the number has the digit `value`: its `width` bits above the lowest `shift`. Ask before whether there is a number: the digits
    of none have all bits set."""

    def ask(code: Function, at: Value) -> Value:
        number = code.load(8, at, found)
        code.update(Alu.SUB, number, 1)
        code.update(Alu.RSH, number, shift)
        code.update(Alu.AND, number, (1 << width) - 1)
        return _truth(code, number, Condition.EQ, value)

    return asking(name, record, ask)


def outcome_is(name: str, record: MapSpec, outcome: int, *, place: int) -> ProgramImage:
    """1 where the record has that outcome at byte `place`."""
    return asking(name, record, lambda code, at: _truth(code, code.load(8, at, place), Condition.EQ, outcome))


def asking(name: str, record: MapSpec, ask: Callable[[Function, Value], Value]) -> ProgramImage:
    """A program that returns what `ask` makes of the address of this CPU's record."""
    code = Function(name, FunctionKind.PROGRAM, 1)
    none = code.label()
    key = code.buffer(8)
    code.store(8, key, 0, 0)
    at = code.helper(Helper.MAP_LOOKUP_ELEM, MapName(record.name), At(key))
    code.branch(Condition.EQ, at, 0, none)  # never, but the verifier wants it asked
    code.give(ask(code, at))
    code.place(none)
    code.give(0)
    assembler = Assembler(name)
    assembler.map(record)
    assembler.line(name)
    generate(code, frame_of(code), assembler)
    return assembler.assemble()


def _truth(code: Function, left: Value, condition: Condition, right: int) -> Value:
    truth, behind = code.copy(1), code.label()
    code.branch(condition, left, right, behind)
    code.set(truth, 0)
    code.place(behind)
    return truth
