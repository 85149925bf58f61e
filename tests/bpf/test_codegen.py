"""Code generation: variables keep their values over calls, loops and branches, however many there are."""

from __future__ import annotations

import random

import pytest

from bpf.assembler import Assembler
from bpf.codegen import frame_of, generate
from bpf.image import FunctionKind
from bpf.ir import At, Function
from bpf.isa import Alu, Condition
from bpf.program import load

PACKET = bytes([0x45]) + bytes(39)
MASK = (1 << 64) - 1


def returned(*functions: Function) -> int:
    assembler = Assembler("test")
    for function in functions:
        generate(function, frame_of(function), assembler)
    with load(assembler.assemble()) as program:
        return program.run(PACKET)


def program() -> Function:
    return Function("test", FunctionKind.PROGRAM, 1)


def mixing() -> Function:
    """mix(context, a, b, c) = a + 3b + 7c."""
    code = Function("mix", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, first, second, third = code.parameters
    total = code.alu(Alu.MUL, third, 7)
    code.update(Alu.ADD, total, code.alu(Alu.MUL, second, 3))
    code.update(Alu.ADD, total, first)
    code.give(total)
    return code


@pytest.mark.parametrize("seed", range(30))
def test_random_arithmetic_with_calls(seed: int) -> None:
    rng = random.Random(seed)
    code = program()
    values = [code.copy(number) for number in (1, 2, 1 << 40, -5 & MASK, 0xFFFF_FFFF)]
    wanted = [1, 2, 1 << 40, -5 & MASK, 0xFFFF_FFFF]
    operations = {Alu.ADD: int.__add__, Alu.SUB: int.__sub__, Alu.XOR: int.__xor__, Alu.AND: int.__and__, Alu.OR: int.__or__}
    for _ in range(rng.randint(5, 40)):
        picks = [rng.randrange(len(values)) for _ in range(3)]
        match rng.randrange(4):
            case 0:
                values.append(code.call("mix", code.parameters[0], *(values[pick] for pick in picks)))
                wanted.append((wanted[picks[0]] + 3 * wanted[picks[1]] + 7 * wanted[picks[2]]) & MASK)
            case 1:
                op = rng.choice(list(operations))
                code.update(op, values[picks[0]], values[picks[1]])
                wanted[picks[0]] = operations[op](wanted[picks[0]], wanted[picks[1]]) & MASK
            case 2:
                op, number = rng.choice(list(operations)), rng.choice((0, 7, 0x7FFF_FFFF, 0x8000_0000, 1 << 50))
                values.append(code.alu(op, values[picks[0]], number))
                wanted.append(operations[op](wanted[picks[0]], number) & MASK)
            case _:
                code.set(values[picks[0]], values[picks[1]])
                wanted[picks[0]] = wanted[picks[1]]
    total = code.copy(0)
    for value in values:
        code.update(Alu.XOR, total, value)
    expected = 0
    for number in wanted:
        expected ^= number
    code.update(Alu.AND, total, 0x7FFF_FFFF)
    code.give(total)
    functions = (code, mixing()) if "mix" in code.callees() else (code,)
    assert returned(*functions) == expected & 0x7FFF_FFFF


def test_loop_keeps_what_is_used_behind_it() -> None:
    code = program()
    kept = [code.copy(number) for number in range(1, 15)]
    index, again = code.copy(0), code.label()
    total = code.copy(0)
    code.place(again)
    code.update(Alu.ADD, total, index)
    code.update(Alu.ADD, kept[0], 1)
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.LT, index, 10, again)
    for value in kept:
        code.update(Alu.ADD, total, value)
    code.give(total)
    assert returned(code) == sum(range(10)) + sum(range(1, 15)) + 10


def test_load_beyond_the_packet_goes_to_absent() -> None:
    for size, offset, wanted in ((1, 0, 0x45), (1, 39, 0), (1, 40, 99), (8, 33, 99), (8, 32, 0), (2, 1 << 20, 99)):
        code = program()
        absent = code.label()
        buffer = code.buffer(8)
        code.load_packet(code.parameters[0], offset, At(buffer), size, absent)
        code.give(code.load(1, buffer))
        code.place(absent)
        code.give(99)
        assert returned(code) == wanted


def test_unreachable_code_is_dropped_and_jumps_are_tidied() -> None:
    code = program()
    behind, other = code.label(), code.label()
    code.branch(Condition.EQ, code.packet_length(code.parameters[0]), 40, behind)
    code.jump(other)
    code.place(behind)
    code.give(1)
    code.update(Alu.ADD, code.copy(1), 1)
    code.give(3)
    code.place(other)
    code.give(2)
    assert len(frame_of(code).instructions) == 6  # load, branch, two marks, two returns
    assert returned(code) == 1


def test_variable_that_a_path_has_not_set_is_found() -> None:
    code = program()
    code.give(code.value())
    with pytest.raises(AssertionError, match="has not set"):
        frame_of(code)
