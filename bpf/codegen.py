"""Code generation: an IR function's variables into registers and stack slots, and its instructions into eBPF.

Registers are given out by linear scan over live intervals (Poletto and Sarkar 1999), in the order of the instructions. R0 and R5
are kept for values that have only a stack slot; a variable that lives over a call gets R6 to R9 or a slot.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from bpf.assembler import Assembler
from bpf.image import FunctionKind
from bpf.ir import (
    AddressOf,
    Argument,
    Arithmetic,
    At,
    Branch,
    Buffer,
    Call,
    Function,
    FunctionName,
    Instruction,
    Jump,
    Line,
    Load,
    MapName,
    Mark,
    Move,
    Return,
    Source,
    Store,
    Swap,
    TableAddress,
    Value,
    defined,
    used,
)
from bpf.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, STACK_SIZE, Alu, Condition, Helper, Register, Width

_KEPT: Final = (R6, R7, R8, R9)
_LOST: Final = (R1, R2, R3, R4)
_ARGUMENTS: Final = (R1, R2, R3, R4, R5)


@dataclass(frozen=True, slots=True)
class Slot:
    """A variable's place on the stack: 8 bytes at R10 + offset."""

    offset: int


Place = Register | Slot


@dataclass(frozen=True, slots=True)
class _Interval:
    value: Value
    start: int
    end: int
    """Positions: instruction i reads at 2i and writes at 2i + 1."""


def generate(function: Function, frame: Frame, assembler: Assembler) -> None:
    """Emit the function, as a subprogram unless it is the program itself."""
    if function.kind is not FunctionKind.PROGRAM:
        assembler.subprogram(function.name, function.kind)
    _Emitter(assembler, function.name, frame.places, frame.buffers).emit(frame.instructions, function.parameters)


@dataclass(frozen=True, slots=True)
class Frame:
    """A function whose variables have their places."""

    instructions: Sequence[Instruction]
    places: Mapping[Value, Place]
    buffers: Mapping[Buffer, int]
    """Offset of each buffer from R10."""
    depth: int
    """Bytes of stack."""


def frame_of(function: Function) -> Frame:
    """Registers and slots for the function, whose unreachable instructions go."""
    function.drop_unreachable()
    instructions = _tidy(function.instructions)
    offsets = {}
    depth = 0
    for buffer in function.buffers:
        depth += buffer.size
        offsets[buffer] = -depth
    places, depth = _allocate(_intervals(instructions, function), _calls(instructions), depth)
    assert depth <= STACK_SIZE, f"{function.name} uses {depth} bytes of stack"
    return Frame(instructions, places, offsets, depth)


# -- control flow ------------------------------------------------------------------------------------------------------


def _tidy(instructions: list[Instruction]) -> list[Instruction]:
    """Without jumps to what follows anyway; a branch around a jump becomes the inverse branch."""
    result: list[Instruction] = []
    for index, item in enumerate(instructions):
        match item:
            case Jump(label):
                following = index + 1
                marks = set()
                while following < len(instructions) and isinstance(mark := instructions[following], Mark | Line):
                    if isinstance(mark, Mark):
                        marks.add(mark.label)
                    following += 1
                if label in marks:
                    continue
                before = result[-1] if result else None
                if isinstance(before, Branch) and before.label in marks and before.condition is not Condition.SET:
                    result[-1] = Branch(before.condition.inverse, before.left, before.right, label, before.width)
                    continue
        result.append(item)
    return result


def _calls(instructions: Sequence[Instruction]) -> list[int]:
    return [2 * index for index, item in enumerate(instructions) if isinstance(item, Call)]


@dataclass(frozen=True, slots=True)
class _Block:
    first: int
    end: int
    next: tuple[int, ...]
    """Indexes of blocks."""


def _blocks(instructions: Sequence[Instruction]) -> list[_Block]:
    starts = sorted(
        {0}
        | {index for index, item in enumerate(instructions) if isinstance(item, Mark)}
        | {index + 1 for index, item in enumerate(instructions) if isinstance(item, Jump | Branch | Return)}
    )
    starts = [start for start in starts if start < len(instructions)]
    number = {start: index for index, start in enumerate(starts)}
    labels = {item.label: number[index] for index, item in enumerate(instructions) if isinstance(item, Mark)}
    blocks = []
    for index, start in enumerate(starts):
        end = starts[index + 1] if index + 1 < len(starts) else len(instructions)
        following: tuple[int, ...] = (index + 1,) if index + 1 < len(starts) else ()
        match instructions[end - 1]:
            case Jump(label):
                following = (labels[label],)
            case Branch(_, _, _, label, _):
                following += (labels[label],)
            case Return():
                following = ()
        blocks.append(_Block(start, end, following))
    return blocks


# -- live intervals ----------------------------------------------------------------------------------------------------


def _intervals(instructions: Sequence[Instruction], function: Function) -> list[_Interval]:
    """Where each variable is live, as one interval over the order of the instructions."""
    blocks = _blocks(instructions)
    reads, writes = [], []  # per block, as bit sets of value numbers: read before written; written
    for block in blocks:
        read = written = 0
        for item in instructions[block.first : block.end]:
            for value in used(item):
                read |= (1 << value.number) & ~written
            target = defined(item)
            if target is not None:
                written |= 1 << target.number
        reads.append(read)
        writes.append(written)
    live_in, live_out = [0] * len(blocks), [0] * len(blocks)
    changed = True
    while changed:
        changed = False
        for index in reversed(range(len(blocks))):
            out = 0
            for following in blocks[index].next:
                out |= live_in[following]
            into = reads[index] | (out & ~writes[index])
            if (out, into) != (live_out[index], live_in[index]):
                live_out[index], live_in[index], changed = out, into, True
    start: dict[int, int] = {}
    end: dict[int, int] = {}
    values = {value.number: value for value in function.parameters}
    unset = live_in[0] & ~sum(1 << value.number for value in function.parameters)
    assert not unset, f"{function.name} reads a variable that a path has not set"
    for value in function.parameters:
        start[value.number] = end[value.number] = -1

    def live(number: int, position: int) -> None:
        start[number] = min(start.get(number, position), position)
        end[number] = max(end.get(number, position), position)

    for block, into, out in zip(blocks, live_in, live_out, strict=True):
        for bits, position in ((into, 2 * block.first), (out, 2 * block.end)):
            for number in _members(bits):
                live(number, position)
        for index in range(block.first, block.end):
            for value in used(instructions[index]):
                live(value.number, 2 * index)
            target = defined(instructions[index])
            if target is not None:
                values[target.number] = target
                live(target.number, 2 * index + 1)
    return sorted((_Interval(values[number], start[number], end[number]) for number in start), key=lambda item: item.start)


def _members(bits: int) -> Iterator[int]:
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def _allocate(intervals: Sequence[_Interval], calls: Sequence[int], depth: int) -> tuple[dict[Value, Place], int]:
    """A place for each variable, and the stack depth with the slots."""
    places: dict[Value, Place] = {}
    active: list[_Interval] = []
    free = set(_KEPT + _LOST)
    free_slots: list[tuple[int, int]] = []  # (free from position, offset)

    def slot_for(interval: _Interval) -> Slot:
        nonlocal depth
        for index, (since, offset) in enumerate(free_slots):
            if since <= interval.start:
                free_slots[index] = (interval.end, offset)
                return Slot(offset)
        depth += 8
        free_slots.append((interval.end, -depth))
        return Slot(-depth)

    for interval in intervals:
        for other in [item for item in active if item.end < interval.start]:
            active.remove(other)
            freed = places[other.value]
            assert isinstance(freed, Register)
            free.add(freed)
        # A parameter arrives in R1 to R5 and is moved away first, so that no move overwrites another.
        over_call = interval.start == -1 or _crosses(interval, calls)
        wanted = _KEPT if over_call else _LOST + _KEPT
        register = next((item for item in wanted if item in free), None)
        if register is None:
            rivals = [item for item in active if places[item.value] in wanted]
            longest = max(rivals, key=lambda item: item.end)
            if longest.end <= interval.end:
                places[interval.value] = slot_for(interval)
                continue
            taken = places[longest.value]
            assert isinstance(taken, Register)
            register = taken
            places[longest.value] = slot_for(longest)
            active.remove(longest)
            free.add(register)
        free.discard(register)
        places[interval.value] = register
        active.append(interval)
    return places, depth


def _crosses(interval: _Interval, calls: Sequence[int]) -> bool:
    """A call lies within: live behind it and set before it."""
    index = bisect_right(calls, interval.start)
    return index < len(calls) and calls[index] < interval.end


# -- emission ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Emitter:
    assembler: Assembler
    name: str
    places: Mapping[Value, Place]
    buffers: Mapping[Buffer, int]
    """Offset of each buffer from R10."""

    def emit(self, instructions: Sequence[Instruction], parameters: Sequence[Value]) -> None:
        for register, parameter in zip(_ARGUMENTS, parameters, strict=False):
            if parameter in self.places:
                self._put(self.places[parameter], register)
        for item in instructions:
            self._one(item)

    def _one(self, item: Instruction) -> None:
        asm = self.assembler
        match item:
            case Line(text, number):
                asm.line(text, number)
            case Mark(label):
                asm.label(f"L{label.number}")
            case Jump(label):
                asm.jump(f"L{label.number}")
            case Branch(condition, left, right, label, width):
                first = self._read(left, R0)
                asm.branch(condition, first, self._source(right, R5, width), f"L{label.number}", width)
            case Return(source):
                self._load_into(R0, source)
                asm.exit()
            case Move(to, source):
                self._move(to, source)
            case Arithmetic(op, to, source, width):
                target = self._read(to, R0)
                asm.alu(op, target, self._source(source, R5, width), width)
                self._put(self.places[to], target)
            case Swap(to, bits):
                target = self._read(to, R0)
                asm.endian(target, bits)
                self._put(self.places[to], target)
            case Load(size, to, base, offset):
                register, start = self._base(base, offset)
                target = self._target(to)
                asm.load(size, target, register, start)
                self._put(self.places[to], target)
            case Store(size, base, offset, source):
                register, start = self._base(base, offset)
                if isinstance(source, int) and -(1 << 31) <= source < 1 << 31:
                    asm.store(size, register, start, source)
                else:
                    asm.store(size, register, start, self._source(source, R5, 64))
            case AddressOf(to, buffer, offset):
                target = self._target(to)
                self._address(target, buffer, offset)
                self._put(self.places[to], target)
            case TableAddress(to, table, offset):
                target = self._target(to)
                asm.load_map_value(target, table, offset)
                self._put(self.places[to], target)
            case Call(to, callee, arguments):
                self._arguments(arguments)
                if isinstance(callee, Helper):
                    asm.call(callee)
                else:
                    asm.call_subprogram(callee)
                if to is not None:
                    self._put(self.places[to], R0)
            case _:
                assert_never(item)

    def _move(self, to: Value, source: Source) -> None:
        place = self.places[to]
        if isinstance(place, Register):
            self._load_into(place, source)
        elif isinstance(source, int) and -(1 << 31) <= source < 1 << 31:
            self.assembler.store(8, R10, place.offset, source)
        else:
            self._load_into(R0, source)
            self._put(place, R0)

    def _read(self, value: Value, scratch: Register) -> Register:
        """A register that holds the variable: its own, or `scratch` filled from its slot."""
        place = self.places[value]
        if isinstance(place, Register):
            return place
        self.assembler.load(8, scratch, R10, place.offset)
        return scratch

    def _source(self, source: Source, scratch: Register, width: Width) -> Register | int:
        """The source as an operand: a number where it fits into the instruction."""
        if isinstance(source, Value):
            return self._read(source, scratch)
        if width == 32 or -(1 << 31) <= source < 1 << 31:
            return source
        self._load_into(scratch, source)
        return scratch

    def _base(self, base: Value | Buffer, offset: int) -> tuple[Register, int]:
        if isinstance(base, Buffer):
            assert 0 <= offset < base.size, f"{self.name}: byte {offset} of a buffer of {base.size}"
            return R10, self.buffers[base] + offset
        return self._read(base, R0), offset

    def _target(self, value: Value) -> Register:
        place = self.places[value]
        return place if isinstance(place, Register) else R0

    def _put(self, place: Place, register: Register) -> None:
        """The register's value to the variable's place."""
        if isinstance(place, Slot):
            self.assembler.store(8, R10, place.offset, register)
        elif place is not register:
            self.assembler.mov(place, register)

    def _load_into(self, register: Register, source: Source) -> None:
        if isinstance(source, Value):
            place = self.places[source]
            if isinstance(place, Slot):
                self.assembler.load(8, register, R10, place.offset)
            elif place is not register:
                self.assembler.mov(register, place)
        elif -(1 << 31) <= source < 1 << 31:
            self.assembler.mov(register, source)
        elif 0 <= source < 1 << 32:
            self.assembler.mov(register, source, 32)
        else:
            self.assembler.load64(register, source)

    def _address(self, register: Register, buffer: Buffer, offset: int) -> None:
        self.assembler.mov(register, R10)
        self.assembler.alu(Alu.ADD, register, self.buffers[buffer] + offset)

    def _arguments(self, arguments: Sequence[Argument]) -> None:
        """R1 to R5. Registers first, each move before its source is overwritten (R0 breaks a cycle); the rest reads none of them."""
        moves: dict[Register, Register] = {}  # target to source
        for register, argument in zip(_ARGUMENTS, arguments, strict=False):
            if isinstance(argument, Value):
                place = self.places[argument]
                if isinstance(place, Register) and place is not register:
                    moves[register] = place
        while moves:
            ready = next((target for target in moves if target not in moves.values()), None)
            if ready is None:
                target, source = next(iter(moves.items()))
                self.assembler.mov(R0, source)
                moves[target] = R0
                continue
            self.assembler.mov(ready, moves.pop(ready))
        for register, argument in zip(_ARGUMENTS, arguments, strict=False):
            match argument:
                case Value():
                    if isinstance(self.places[argument], Slot):
                        self._load_into(register, argument)
                case At(buffer, offset):
                    self._address(register, buffer, offset)
                case FunctionName(name):
                    self.assembler.load_function(register, name)
                case MapName(name):
                    self.assembler.load_map(register, name)
                case _:
                    self._load_into(register, argument)
