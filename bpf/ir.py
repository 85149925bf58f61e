"""The intermediate representation: functions of virtual values and labelled blocks, which `codegen` turns into eBPF.

A `Value` is a 64-bit variable, as many as wanted; `codegen` gives each a register or a stack slot. Instructions are kept in the
order in which they are written; a block begins at a label or behind a branch and falls through to the next. The one way to the
packet's bytes is `load_packet`, which goes to a label of the caller's choice where the packet is shorter: every load is
bounds-checked because there is no other.

The verifier follows every path with all that it knows of each value, and gives up at a million instructions. So a value that
lives long is stored opaque: the verifier forgets what it knew, and paths that meet look the same to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from bpf.image import FunctionKind
from bpf.isa import Alu, Bytes, Condition, Helper, Width

if TYPE_CHECKING:
    from bpf.tables import Tables

CONTEXT_LENGTH: Final = 0
CONTEXT_MARK: Final = 8
"""Offsets in `struct __sk_buff` (linux/bpf.h) of `len` and `mark`, 32 bits each."""


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A 64-bit variable of one function; two are the same only where they are the same object."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """`size` bytes of the function's stack, 8-byte aligned, for the function's whole time."""

    number: int
    size: int


@dataclass(frozen=True, slots=True)
class Label:
    number: int


@dataclass(frozen=True, slots=True)
class At:
    """The address of byte `offset` of `buffer`, as an argument of a call."""

    buffer: Buffer
    offset: int = 0


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function's address, as an argument of `bpf_loop`."""

    name: str


@dataclass(frozen=True, slots=True)
class Routine:
    """A function of the library, `name(context, number, number, number)`, which gives a number and depends on nothing but the packet and
    those. Programs that call it carry it; two of one name are the same."""

    name: str
    write: Callable[[Tables], tuple[Function, ...]] = field(compare=False, repr=False)
    """The function, and the callbacks that it gives to bpf_loop. Automata that it runs go into the program's tables."""
    is_fixed: bool = field(default=False, compare=False)
    """It has nothing in the tables: it is the same in every program, and need be made once."""


@dataclass(frozen=True, slots=True)
class MapName:
    """A map, as an argument of a map helper."""

    name: str


Source = Value | int
Argument = Value | int | At | FunctionName | MapName


# -- instructions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Move:
    to: Value
    source: Source


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """to = to op source; width 32 works on the lower halves and clears the upper half of `to`."""

    op: Alu
    to: Value
    source: Source
    width: Width


@dataclass(frozen=True, slots=True)
class Swap:
    """The low `bits` of `to` between host and network order, zero-extended."""

    to: Value
    bits: Literal[16, 32, 64]


@dataclass(frozen=True, slots=True)
class Load:
    """to = `size` bytes at base + offset, in host order, zero-extended."""

    size: Bytes
    to: Value
    base: Value | Buffer
    offset: int


@dataclass(frozen=True, slots=True)
class Store:
    size: Bytes
    base: Value | Buffer
    offset: int
    source: Source


@dataclass(frozen=True, slots=True)
class AddressOf:
    to: Value
    buffer: Buffer
    offset: int


@dataclass(frozen=True, slots=True)
class TableAddress:
    """to = the address of byte `offset` of the array map `table`'s value."""

    to: Value
    table: str
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """A helper of the kernel, or a function of the program by its name; at most five arguments."""

    to: Value | None
    target: Helper | str
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of `label`."""

    label: Label


@dataclass(frozen=True, slots=True)
class Jump:
    label: Label


@dataclass(frozen=True, slots=True)
class Branch:
    """To `label` where `left condition right`, else on; width 32 compares the lower halves."""

    condition: Condition
    left: Value
    right: Source
    label: Label
    width: Width


@dataclass(frozen=True, slots=True)
class Return:
    source: Source


@dataclass(frozen=True, slots=True)
class Line:
    """What follows comes from this piece of a rule."""

    text: str
    number: int


Instruction = (
    Move | Arithmetic | Swap | Load | Store | AddressOf | TableAddress | Call | Mark | Jump | Branch | Return | Line
)  # fmt: skip


@dataclass(slots=True)
class Function:
    """A function while it is written. `parameters` become its first values, in R1 and up."""

    name: str
    kind: FunctionKind
    parameter_count: int
    instructions: list[Instruction] = field(default_factory=list)
    buffers: list[Buffer] = field(default_factory=list)
    parameters: tuple[Value, ...] = ()
    value_count: int = 0
    label_count: int = 0
    routines: dict[str, Routine] = field(default_factory=dict)
    """Those that it calls, by name."""

    def __post_init__(self) -> None:
        self.parameters = tuple(self.value() for _ in range(self.parameter_count))

    @classmethod
    def part(cls, name: str) -> Function:
        """`name(context, record, number, number)`, of kind PART, whose record is there."""
        code = cls(name, FunctionKind.PART, 4)
        there = code.label()
        code.branch(Condition.NE, code.parameters[1], 0, there)  # it always is; the verifier wants it asked
        code.give(0)
        code.place(there)
        return code

    # -- names ---------------------------------------------------------------------------------------------------------

    def value(self) -> Value:
        """A new variable, not yet set."""
        self.value_count += 1
        return Value(self.value_count - 1)

    def label(self) -> Label:
        """A new label, not yet placed."""
        self.label_count += 1
        return Label(self.label_count - 1)

    def buffer(self, size: int) -> Buffer:
        """Stack memory, rounded up to 8 bytes; its contents are undefined until stored."""
        buffer = Buffer(len(self.buffers), (size + 7) // 8 * 8)
        self.buffers.append(buffer)
        return buffer

    # -- values --------------------------------------------------------------------------------------------------------

    def set(self, to: Value, source: Source) -> None:
        self.instructions.append(Move(to, source))

    def copy(self, source: Source) -> Value:
        """A new variable with that value."""
        to = self.value()
        self.set(to, source)
        return to

    def update(self, op: Alu, to: Value, source: Source, width: Width = 64) -> None:
        """to = to op source."""
        self.instructions.append(Arithmetic(op, to, source, width))

    def alu(self, op: Alu, left: Source, right: Source, width: Width = 64) -> Value:
        """A new variable: left op right."""
        to = self.copy(left)
        self.update(op, to, right, width)
        return to

    def swap(self, to: Value, bits: Literal[16, 32, 64]) -> None:
        self.instructions.append(Swap(to, bits))

    # -- memory --------------------------------------------------------------------------------------------------------

    def load(self, size: Bytes, base: Value | Buffer, offset: int = 0) -> Value:
        """`size` bytes in host order."""
        to = self.value()
        self.instructions.append(Load(size, to, base, offset))
        return to

    def load_to(self, to: Value, size: Bytes, base: Value | Buffer, offset: int = 0) -> None:
        """As `load`, into a variable that is there."""
        self.instructions.append(Load(size, to, base, offset))

    def load_network(self, size: Bytes, base: Value | Buffer, offset: int = 0) -> Value:
        """`size` bytes in network order, as a number."""
        to = self.load(size, base, offset)
        match size:
            case 2:
                self.swap(to, 16)
            case 4:
                self.swap(to, 32)
            case 8:
                self.swap(to, 64)
        return to

    def store(self, size: Bytes, base: Value | Buffer, offset: int, source: Source) -> None:
        self.instructions.append(Store(size, base, offset, source))

    def clear(self, base: Value | Buffer, start: int, end: int) -> None:
        """Bytes `start` to `end`, both multiples of 8, are 0. (Of a buffer that a helper fills as far as it is told when the program runs,
        a verifier before Linux 6.3 wants to see all bytes written.)"""
        for offset in range(start, end, 8):
            self.store(8, base, offset, 0)

    def store_opaque(self, buffer: Buffer, source: Value) -> None:
        """`source`, below 2**56, as the buffer's first 8 bytes, with all that the verifier knows of it forgotten: the last byte is
        written by itself, which turns a tracked register in a slot into plain bytes."""
        self.store(8, buffer, 0, source)
        self.store(1, buffer, 7, 0)

    def address(self, buffer: Buffer, offset: int = 0) -> Value:
        to = self.value()
        self.instructions.append(AddressOf(to, buffer, offset))
        return to

    def table(self, name: str, offset: int = 0) -> Value:
        to = self.value()
        self.instructions.append(TableAddress(to, name, offset))
        return to

    # -- the packet ----------------------------------------------------------------------------------------------------

    def packet_length(self, context: Value) -> Value:
        """The packet's length in bytes (skb->len)."""
        return self.load(4, context, CONTEXT_LENGTH)

    def load_packet(self, context: Value, offset: Source, to: At, size: Source, absent: Label) -> None:
        """Copy `size` bytes (at least 1) of the packet at `offset` to the stack; go to `absent` where the packet is shorter."""
        result = self.helper(Helper.SKB_LOAD_BYTES, context, offset, to, size)
        self.branch(Condition.NE, result, 0, absent)

    # -- calls and control ---------------------------------------------------------------------------------------------

    def helper(self, helper: Helper, *arguments: Argument) -> Value:
        """Call a kernel helper; its result."""
        to = self.value()
        self.instructions.append(Call(to, helper, arguments))
        return to

    def call(self, target: Routine | str, *arguments: Argument) -> Value:
        """Call a routine with the context and up to three numbers, or another function of the program by its name; its result."""
        to = self.value()
        if isinstance(target, Routine):
            self.routines[target.name] = target
            self.instructions.append(Call(to, target.name, (*arguments, *[0] * (4 - len(arguments)))))
        else:
            self.instructions.append(Call(to, target, arguments))
        return to

    def place(self, label: Label) -> None:
        """`label` is here."""
        self.instructions.append(Mark(label))

    def jump(self, label: Label) -> None:
        self.instructions.append(Jump(label))

    def branch(self, condition: Condition, left: Value, right: Source, label: Label, width: Width = 64) -> None:
        self.instructions.append(Branch(condition, left, right, label, width))

    def give(self, source: Source) -> None:
        """Return it."""
        self.instructions.append(Return(source))

    def line(self, text: str, number: int = 1) -> None:
        self.instructions.append(Line(text, number))

    # -- the whole -----------------------------------------------------------------------------------------------------

    def drop_unreachable(self) -> None:
        """Drop what no path leads to: the verifier refuses dead code."""
        instructions = self.instructions
        places = {item.label: index for index, item in enumerate(instructions) if isinstance(item, Mark)}
        seen = bytearray(len(instructions))
        open_ends = [0]
        while open_ends:
            index = open_ends.pop()
            while not seen[index]:
                seen[index] = 1
                match instructions[index]:
                    case Jump(label):
                        open_ends.append(places[label])
                        break
                    case Branch(_, _, _, label, _):
                        open_ends.append(places[label])
                    case Return():
                        break
                index += 1
                assert index < len(instructions), f"{self.name} runs off its end"
        self.instructions = [item for index, item in enumerate(instructions) if seen[index] or isinstance(item, Line)]

    def callees(self) -> tuple[str, ...]:
        """Functions of the program that this one calls or gives to bpf_loop."""
        calls = [item for item in self.instructions if isinstance(item, Call)]
        names = [item.target for item in calls if not isinstance(item.target, Helper)]
        names += [argument.name for item in calls for argument in item.arguments if isinstance(argument, FunctionName)]
        return tuple(dict.fromkeys(names))


def used(instruction: Instruction) -> tuple[Value, ...]:
    """The variables that the instruction reads."""
    match instruction:
        case Move(_, source) | Return(source):
            return (source,) if isinstance(source, Value) else ()
        case Arithmetic(_, to, source, _):
            return (to, source) if isinstance(source, Value) else (to,)
        case Swap(to, _):
            return (to,)
        case Load(_, _, base, _):
            return (base,) if isinstance(base, Value) else ()
        case Store(_, base, _, source):
            return tuple(item for item in (base, source) if isinstance(item, Value))
        case Call(_, _, arguments):
            return tuple(item for item in arguments if isinstance(item, Value))
        case Branch(_, left, right, _, _):
            return (left, right) if isinstance(right, Value) else (left,)
        case AddressOf() | TableAddress() | Mark() | Jump() | Line():
            return ()


def defined(instruction: Instruction) -> Value | None:
    """The variable that the instruction sets."""
    match instruction:
        case Move(to, _) | Arithmetic(_, to, _, _) | Swap(to, _) | Load(_, to, _, _) | AddressOf(to, _, _) | TableAddress(to, _, _):
            return to
        case Call(to, _, _):
            return to
        case Store() | Mark() | Jump() | Branch() | Return() | Line():
            return None
