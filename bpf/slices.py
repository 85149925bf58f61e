"""Slices and numbers as the routines of a program give them: each is one 64-bit number, 0 where it is absent.

A slice is a run of the packet's bytes: where it begins and how long it is. A number has at most 32 bits."""

from __future__ import annotations

from typing import Final

from bpf.ir import At, Buffer, Function, Label, Source, Value
from bpf.isa import Alu, Bytes, Condition

SLICE_SHIFT: Final = 32
SLICE_BITS: Final = 20
"""Where the slice begins, in bytes from the packet's first; its length is in the low 32 bits."""
PRESENT: Final = 1 << 55
"""There is a slice."""
PRESENT_NUMBER: Final = 1 << 40
"""Beside a number in the low 32 bits: there is one."""


def offset_of(code: Function, packed: Value) -> Value:
    """Where the slice begins."""
    offset = code.alu(Alu.RSH, packed, SLICE_SHIFT)
    code.update(Alu.AND, offset, (1 << SLICE_BITS) - 1)
    return offset


def take_slice(code: Function, packed: Value, absent: Label) -> tuple[Value, Value]:
    """Offset and length of a slice; go to `absent` where there is none."""
    code.branch(Condition.EQ, packed, 0, absent)
    return offset_of(code, packed), code.alu(Alu.AND, packed, 0xFFFF_FFFF, 32)


def take_bounds(code: Function, packed: Value, absent: Label) -> tuple[Value, Value]:
    """Where a slice begins and ends; go to `absent` where there is none."""
    offset, length = take_slice(code, packed, absent)
    return offset, code.alu(Alu.ADD, offset, length)


def pack_slice(code: Function, offset: Source, length: Source) -> Value:
    packed = code.alu(Alu.LSH, offset, SLICE_SHIFT)
    code.update(Alu.OR, packed, length)
    code.update(Alu.OR, packed, code.copy(PRESENT))
    return packed


def give_slice(code: Function, start: Source, end: Source) -> None:
    """Return the slice from `start` to `end`, which is not less."""
    code.give(pack_slice(code, start, code.alu(Alu.SUB, end, start)))


def give_number(code: Function, number: Source) -> None:
    """Return the number, of at most 32 bits."""
    code.give(code.alu(Alu.OR, code.copy(PRESENT_NUMBER), number))


def give_absent(code: Function, absent: Label) -> None:
    """Return 0 from the label `absent`: there is no slice, no number."""
    code.place(absent)
    code.give(0)


def load_number(code: Function, context: Value, offset: Source, size: Bytes, scratch: Buffer, absent: Label) -> Value:
    """`size` bytes of the packet at `offset`, in network order, as a number; go to `absent` where the packet is shorter. (Whether they
    lie within a slice is the caller's to say.)"""
    code.load_packet(context, offset, At(scratch), size, absent)
    return code.load_network(size, scratch)


def at_most(code: Function, number: Value, bound: Source) -> Value:
    """`number`, set to the bound where it is greater."""
    within = code.label()
    code.branch(Condition.LE, number, bound, within)
    code.set(number, bound)
    code.place(within)
    return number


def resume(code: Function, offset: Value, cursor: Value) -> None:
    """`offset`, set to the cursor of an `Each` (see bpf/dissectors/model.py) unless it is 0: then there is no element before."""
    first = code.label()
    code.branch(Condition.EQ, cursor, 0, first)
    code.set(offset, cursor)
    code.place(first)
