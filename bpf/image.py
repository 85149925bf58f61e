"""A program before it is loaded: instructions, the maps they use, and where each came from. Pure data, no kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

from bpf import isa
from bpf.isa import Instruction, encode

NAME_LENGTH: Final = 15
"""Characters of a program's or map's name that the kernel keeps (BPF_OBJ_NAME_LEN less the end)."""
LINE_LENGTH: Final = 200
"""Characters of a source line that go into the program; longer ones end in `...`."""


class ProgramKind(IntEnum):
    """Program types (`enum bpf_prog_type`)."""

    SOCKET_FILTER = 1
    XDP = 6


class MapKind(IntEnum):
    """Map types (`enum bpf_map_type`)."""

    HASH = 1
    ARRAY = 2
    PROGRAM_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LPM_TRIE = 11
    """Keys are a prefix length of 4 bytes, and the address in network order."""
    RING_BUFFER = 27


class FunctionKind(Enum):
    """What a function of a program is called by, hence its C signature."""

    PROGRAM = "int (void *context)"
    """Where the kernel enters."""
    LOOP_CALLBACK = "long (u64 index, void *context)"
    """Called by bpf_loop; returns 0 to go on, 1 to stop."""
    SUBPROGRAM = "u64 (u64, u64, u64, u64, u64)"
    """Called by call_subprogram with R1 to R5."""
    GLOBAL_SUBPROGRAM = "u64 (void *context, u64, u64, u64)"
    """Called by call_subprogram with the program's context and three numbers. The verifier looks at it once and by itself, however
    often it is called, and its callers know nothing of its result."""
    PART = "u64 (void *context, struct record *record, u64, u64)"
    """As a global subprogram, with the program's record (`ProgramImage.record_size` bytes, or NULL as far as the verifier knows) and two
    numbers."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A map that a program needs; `load` makes it. Sizes in bytes."""

    name: str
    kind: MapKind = MapKind.ARRAY
    key_size: int = 4
    value_size: int = 8
    entries: int = 1
    """Direct value addresses need an ARRAY of one entry: a table is one large value."""
    initial: bytes = field(default=b"", repr=False)
    """ARRAY: the values of the first entries, one behind the other; the rest is zero."""
    read_only: bool = False
    """Programs cannot write it and it is frozen after filling, so that the verifier may use its contents."""
    shared: bool = False
    """Programs that are loaded together and name this map have one in common."""
    mapped: bool = False
    """ARRAY: user space may map its values into memory (BPF_F_MMAPABLE)."""

    def __post_init__(self) -> None:
        assert self.kind is MapKind.ARRAY or not self.initial, "only an array has initial values"
        assert len(self.initial) <= self.value_size * self.entries, f"map {self.name}: {len(self.initial)} initial bytes do not fit"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """From `slot` on (to the next SourceLine), instructions come from `text`, line `number` of the image's source."""

    slot: int
    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function that starts at `slot`; the first is the program itself."""

    slot: int
    name: str
    kind: FunctionKind


@dataclass(frozen=True, slots=True)
class ProgramImage:
    """A whole program. `functions[0]` is at slot 0; maps are named in instructions by their index in `maps`."""

    name: str
    instructions: tuple[Instruction, ...] = field(repr=False)
    lines: tuple[SourceLine, ...] = field(default=(), repr=False)
    functions: tuple[Function, ...] = ()
    maps: tuple[MapSpec, ...] = ()
    kind: ProgramKind = ProgramKind.SOCKET_FILTER
    record_size: int = 0
    """Bytes of the record that functions of kind PART take."""
    passes: int = 0
    """Runs of automata over bytes of the packet that the program makes at most."""
    reporting: int = 0
    """Of them, those that report what they meet and go on."""
    source: str = ""
    """What the lines are lines of, shown by bpftool and the verifier: a file's name."""
    multi_buffer: bool = False
    """XDP: it takes frames in several pieces (BPF_F_XDP_HAS_FRAGS, Linux 5.18), of which it reaches the first directly."""

    @property
    def code(self) -> bytes:
        """The bytes that the kernel takes; a map is its index in `maps` (the loader passes the descriptors in that order)."""
        return encode(self.instructions)

    @property
    def slots(self) -> int:
        """The length as the kernel counts it."""
        return sum(instruction.slots for instruction in self.instructions)

    def line_at(self, slot: int) -> SourceLine | None:
        """Where the instruction at `slot` comes from."""
        found = None
        for line in self.lines:
            if line.slot > slot:
                break
            found = line
        return found

    def disassemble(self) -> str:
        """The program as text: function names, source lines above their instructions, slots in front, maps by name."""
        functions = {function.slot: function for function in self.functions}
        lines = {line.slot: line for line in self.lines}
        rows = [f"; map {index}: {describe(spec)}" for index, spec in enumerate(self.maps)]
        slot = 0
        for instruction in self.instructions:
            if slot in functions:
                rows.append(f"{functions[slot].name}:")
            if slot in lines:
                rows.append(f"; {lines[slot].text}")
            rows.append(f"{slot:5}: {self._text(instruction, slot, functions)}")
            slot += instruction.slots
        return "\n".join(rows) + "\n"

    def _text(self, instruction: Instruction, slot: int, functions: dict[int, Function]) -> str:
        low, high = instruction.immediate & 0xFFFF_FFFF, instruction.immediate >> 32 & 0xFFFF_FFFF
        match instruction.opcode, instruction.source:
            case isa.LOAD_IMMEDIATE_64, isa.PSEUDO_FUNC:
                return f"r{instruction.destination} = function {functions[slot + 1 + instruction.immediate].name}"
            case isa.LOAD_IMMEDIATE_64, isa.PSEUDO_MAP_INDEX:
                return f"r{instruction.destination} = map {self.maps[low].name}"
            case isa.LOAD_IMMEDIATE_64, isa.PSEUDO_MAP_INDEX_VALUE:
                return f"r{instruction.destination} = map {self.maps[low].name} value + {high}"
            case isa.CALL, isa.PSEUDO_CALL:
                return f"call {functions[slot + 1 + instruction.immediate].name}"
            case _:
                return instruction.text(slot)


def describe(spec: MapSpec) -> str:
    """One line about a map."""
    return f"{spec.name}, {spec.kind.name.lower()}, key {spec.key_size}, value {spec.value_size}, {spec.entries} entries"


def kernel_name(text: str) -> str:
    """`text` as a name that the kernel takes for a program or map: letters, digits, `_` and `.`, at most 15."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", text)[:NAME_LENGTH]


def identifier(text: str) -> str:
    """`text` as a C identifier, which is what BTF demands of a function's name (at most 127 characters)."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)[:127]
    return name if name and not name[0].isdigit() else f"_{name}"[:127]
