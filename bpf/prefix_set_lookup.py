"""The code that finds an address in a set (bpf/prefix_set.py), and the program that is nothing else.

The search within a node has no branches, as whether a key is above an address cannot be foretold: each step halves what is left and
adds the half, or nothing. The verifier sees from the steps alone how far they lead, and wants one check of where the node begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from bpf.assembler import Assembler
from bpf.codegen import frame_of, generate
from bpf.image import FunctionKind, MapSpec, ProgramImage
from bpf.ir import At, Function, Label, Value
from bpf.isa import Alu, Condition
from bpf.prefix_set import (
    BLOCK,
    COUNT_SHIFT,
    FEW_KEYS,
    KIND_MASK,
    KIND_SHIFT,
    MOST_KEYS,
    MOST_RUNS,
    REACH,
    ROOTS_AT,
    V4_AT,
    V6_AT,
    Kind,
)

MOST_VISITS: Final = 16
"""Nodes on the way to an IPv6 address; trees of a million spans are 4 high over the high halves, and as much over the low."""
_RUN_STEPS: Final = (2, 4, 6, MOST_RUNS.bit_length() - 1)
"""A search among runs has so many steps, the first number that does for as many boundaries as there are."""


class Side(Enum):
    """Which address of the packet; the values are its places in an IPv4 and an IPv6 header (RFC 791, RFC 8200), in bytes."""

    SOURCE = (12, 8)
    DESTINATION = (16, 24)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a set's value is: from byte `base` on in the value of the map `table`, `size` bytes with REACH behind the last node. Functions
    that look into it are named after it."""

    name: str
    table: str
    base: int
    size: int


def place_in(spec: MapSpec) -> Place:
    """Of a set that has the map for itself."""
    return Place(spec.name, spec.name, 0, spec.value_size)


def set_spec(name: str, size: int) -> MapSpec:
    """The map of a set whose value has so many bytes. It is shared: `load` takes it from the caller."""
    return MapSpec(name, value_size=size, shared=True, mapped=True)


def compile_prefix_set(name: str, spec: MapSpec, side: Side) -> ProgramImage:
    """A socket-filter program that returns 1 where that address of the packet (from its IP header on) is in the set, else 0."""
    place = place_in(spec)
    v4, (v6, follow) = v4_function(place), v6_functions(place)
    program = Function(name, FunctionKind.PROGRAM, 1)
    code, context = program, program.parameters[0]
    scratch = code.buffer(16)
    absent, other = code.label(), code.label()
    code.load_packet(context, 0, At(scratch), 1, absent)
    version = code.alu(Alu.RSH, code.load(1, scratch), 4)
    code.branch(Condition.NE, version, 4, other)
    code.load_packet(context, side.value[0], At(scratch), 4, absent)
    code.give(code.call(v4.name, context, _root(code, spec, V4_AT), code.load_network(4, scratch), 0))
    code.place(other)
    code.branch(Condition.NE, version, 6, absent)
    code.load_packet(context, side.value[1], At(scratch), 16, absent)
    halves = code.load_network(8, scratch), code.load_network(8, scratch, 8)
    code.give(code.call(v6.name, context, _root(code, spec, V6_AT), *halves))
    code.place(absent)
    code.give(0)
    assembler = Assembler(name)
    assembler.map(spec)
    assembler.line(name)
    for function in (program, v4, v6, follow):
        generate(function, frame_of(function), assembler)
    return assembler.assemble()


def _root(code: Function, spec: MapSpec, family: int) -> Value:
    """The cell of a family's addresses."""
    base = code.table(spec.name)
    roots = code.load(8, base, ROOTS_AT)
    result, beyond = code.copy(0), code.label()
    code.branch(Condition.GT, roots, spec.value_size - REACH, beyond)
    code.update(Alu.ADD, base, roots)
    code.load_to(result, 8, base, family)
    code.place(beyond)
    return result


# -- IPv4 --------------------------------------------------------------------------------------------------------------


def v4_function(place: Place) -> Function:
    """`(context, cell, address)`: 1 where the IPv4 address is inside, of which the cell tells; else 0."""
    code = Function(f"{place.name}_v4", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, cell, address, _ = code.parameters
    base, kind = code.value(), code.value()
    search, bits, ended, outside = (code.label() for _ in range(4))
    for shift in (24, 16):
        code.set(kind, _kind(code, cell))
        code.branch(Condition.NE, kind, Kind.TABLE, search)
        _go_to_node(code, place, base, cell, outside)
        slot = code.alu(Alu.RSH, address, shift)
        code.update(Alu.AND, slot, 0xFF)
        code.update(Alu.LSH, slot, 3)
        code.update(Alu.ADD, base, slot)
        code.load_to(cell, 8, base)
    code.set(kind, _kind(code, cell))
    code.place(search)
    code.branch(Condition.LE, kind, Kind.INSIDE, ended)
    _go_to_node(code, place, base, cell, outside)
    code.update(Alu.AND, address, 0xFFFF)
    code.branch(Condition.EQ, kind, Kind.BITMAP, bits)
    _search_runs(code, base, _count(code, cell, 2 * MOST_RUNS - 1), address)
    code.place(bits)
    byte = code.alu(Alu.RSH, address, 3)
    code.update(Alu.ADD, base, byte)
    found = code.load(1, base)
    code.update(Alu.AND, address, 7)
    code.update(Alu.RSH, found, address)
    code.update(Alu.AND, found, 1)
    code.give(found)
    code.place(ended)
    code.give(kind)
    code.place(outside)
    code.give(0)
    return code


# -- IPv6 --------------------------------------------------------------------------------------------------------------


def v6_functions(place: Place) -> tuple[Function, Function]:
    """`(context, cell, high, low)`: 1 where the IPv6 address of these halves is inside, of which the cell tells; else 0. Behind it
    what it calls."""
    follow = _follow_function(place)
    code = Function(f"{place.name}_v6", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, cell, key, low = code.parameters
    visits = code.copy(0)
    again, same, ended = (code.label() for _ in range(3))
    code.place(again)
    code.branch(Condition.LE, _kind(code, cell), Kind.INSIDE, ended)
    code.branch(Condition.SGE, cell, 0, same)  # LOW is the sign
    code.set(key, low)
    code.place(same)
    code.set(cell, code.call(follow.name, context, cell, key, 0))
    code.update(Alu.ADD, visits, 1)
    code.branch(Condition.LT, visits, MOST_VISITS, again)
    code.place(ended)
    code.give(code.alu(Alu.RSH, cell, KIND_SHIFT))
    return code, follow


def _follow_function(place: Place) -> Function:
    """`(context, cell, key)`: the cell for the key in the node that the cell names. A function by itself, as the verifier would follow its
    many ways again on each visit."""
    code = Function(f"{place.name}_node", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, cell, key, _ = code.parameters
    base, found = code.value(), code.value()
    few, counted, leaf, inner, outside = (code.label() for _ in range(5))
    _go_to_node(code, place, base, cell, outside)
    count = _count(code, cell, 2 * MOST_KEYS - 1)
    code.branch(Condition.LE, count, FEW_KEYS, few)
    _search_blocks(code, base, count, key, found)
    code.branch(Condition.NE, _kind(code, cell), Kind.NODE, leaf)
    code.update(Alu.ADD, count, BLOCK - 1)
    code.update(Alu.AND, count, -BLOCK)
    code.update(Alu.ADD, found, BLOCK)
    code.jump(inner)
    code.place(few)
    for number in range(FEW_KEYS):
        code.set(found, number)
        code.branch(Condition.EQ, count, number, counted)
        code.branch(Condition.GT, code.load(8, base, 8 * number), key, counted)
    code.set(found, FEW_KEYS)
    code.place(counted)
    code.branch(Condition.NE, _kind(code, cell), Kind.NODE, leaf)
    code.branch(Condition.EQ, found, 0, outside)  # never so: a first key is not above what comes here
    code.place(inner)
    code.update(Alu.ADD, found, count)
    code.update(Alu.SUB, found, 1)
    code.update(Alu.LSH, found, 3)
    code.update(Alu.ADD, base, found)
    code.give(code.load(8, base))
    code.place(leaf)
    code.update(Alu.AND, found, 1)
    code.update(Alu.LSH, found, KIND_SHIFT)
    code.give(found)
    code.place(outside)
    code.give(0)
    return code


def _search_blocks(code: Function, base: Value, count: Value, key: Value, found: Value) -> None:
    """`found` becomes the number of keys in a node's blocks that are not above the key."""
    within = code.label()
    block = _first_above(code, base, key, range(1, BLOCK))
    row = code.alu(Alu.LSH, block, 6)
    code.update(Alu.ADD, row, base)
    first = code.alu(Alu.LSH, block, 3)
    code.set(found, _first_above(code, row, key, range(BLOCK, 2 * BLOCK)))
    code.update(Alu.ADD, found, first)
    code.branch(Condition.LE, found, count, within)  # what fills the blocks is above no key but the last
    code.set(found, count)
    code.place(within)


def _first_above(code: Function, row: Value, key: Value, places: range) -> Value:
    """How many of the sorted 64-bit numbers at these places of a row are not above the key."""
    found, known = code.value(), code.label()
    for number, place in enumerate(places):
        code.set(found, number)
        code.branch(Condition.GT, code.load(8, row, 8 * place), key, known)
    code.set(found, len(places))
    code.place(known)
    return found


# -- within a node -----------------------------------------------------------------------------------------------------


def _kind(code: Function, cell: Value) -> Value:
    kind = code.alu(Alu.RSH, cell, KIND_SHIFT)
    code.update(Alu.AND, kind, KIND_MASK)
    return kind


def _count(code: Function, cell: Value, mask: int) -> Value:
    """How many numbers the cell's node has, at most `mask` for all that the verifier knows."""
    count = code.alu(Alu.RSH, cell, COUNT_SHIFT)
    code.update(Alu.AND, count, mask)
    return count


def _go_to_node(code: Function, place: Place, base: Value, cell: Value, outside: Label) -> None:
    """`base` becomes the address of the cell's node; to `outside` where it is none (which no writer makes)."""
    offset = code.copy(cell)
    code.update(Alu.AND, offset, 0xFFFF_FFFF, 32)
    code.branch(Condition.GT, offset, place.size - REACH, outside)
    code.set(base, code.table(place.table, place.base))
    code.update(Alu.ADD, base, offset)


def _search_runs(code: Function, base: Value, count: Value, key: Value) -> None:
    """Return 1 where an odd number of the `count` sorted 16-bit numbers at `base` is not above the key, else 0."""
    position = code.copy(0)
    starts = [code.label() for _ in _RUN_STEPS]
    for number, start in zip(_RUN_STEPS[:-1], starts, strict=False):
        code.branch(Condition.LE, count, 1 << number, start)
    for number, fewer, start in zip(_RUN_STEPS[::-1], (*_RUN_STEPS[-2::-1], 0), starts[::-1], strict=True):
        code.place(start)
        for _ in range(number - fewer):
            half = code.alu(Alu.AND, count, -2)  # in bytes
            code.update(Alu.ADD, count, 1)
            code.update(Alu.RSH, count, 1)
            row = code.copy(base)
            code.update(Alu.ADD, row, code.alu(Alu.ADD, position, half))
            code.update(Alu.MUL, half, _not_above(code, code.load(2, row), key))
            code.update(Alu.ADD, position, half)
    row = code.copy(base)
    code.update(Alu.ADD, row, position)
    last = code.load(2, row)
    code.update(Alu.RSH, position, 1)
    code.update(Alu.ADD, position, _not_above(code, last, key))
    code.update(Alu.AND, position, 1)
    code.give(position)


def _not_above(code: Function, number: Value, key: Value) -> Value:
    """1 where the number, of 16 bits as the key, is not above the key, else 0."""
    result = code.alu(Alu.SUB, key, number)
    code.update(Alu.RSH, result, 63)
    code.update(Alu.XOR, result, 1)
    return result
