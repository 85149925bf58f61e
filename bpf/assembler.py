"""The assembler: instructions by method calls, with labels, subprograms, maps and source lines by name, resolved by `assemble`.

A label that is never defined, an offset or immediate that does not fit, a register misused: errors of ours, so assertions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, assert_never

from bpf import isa
from bpf.image import LINE_LENGTH, Function, FunctionKind, MapKind, MapSpec, ProgramImage, ProgramKind, SourceLine, identifier
from bpf.isa import Alu, Bytes, Condition, Helper, Instruction, Register, Width

NEAR: Final = range(-(1 << 15), 1 << 15)
"""Slots that a branch reaches."""


@dataclass(frozen=True, slots=True)
class _ToLabel:
    """The jump at `index` goes to `label` of the same function."""

    index: int
    function: int
    label: str


@dataclass(frozen=True, slots=True)
class _ToFunction:
    """The call or load at `index` names a function."""

    index: int
    name: str


class Assembler:
    """Collects one program. The program's own function comes first; `subprogram` starts each further one.

    Registers are `Register` values; where a source may be a register or a number, any other int is an immediate."""

    def __init__(
        self, name: str = "mantlet", kind: ProgramKind = ProgramKind.SOCKET_FILTER, source: str = "", record_size: int = 0
    ) -> None:
        self._name = name
        self._kind = kind
        self._source = source
        self._record_size = record_size
        self._instructions: list[Instruction] = []
        self._fixups: list[_ToLabel | _ToFunction] = []
        self._labels: dict[tuple[int, str], int] = {}
        """(function, label) to instruction index."""
        self._functions: list[tuple[int, str, FunctionKind]] = [(0, identifier(name), FunctionKind.PROGRAM)]
        self._lines: list[tuple[int, str, int]] = []
        self._maps: dict[str, MapSpec] = {}
        self._fresh = 0

    # -- structure -----------------------------------------------------------------------------------------------------

    def label(self, name: str) -> None:
        """The next instruction is `name`. Labels belong to the current subprogram."""
        key = (len(self._functions) - 1, name)
        assert key not in self._labels, f"label {name!r} is defined twice"
        self._labels[key] = len(self._instructions)

    def fresh(self, hint: str = "label") -> str:
        """A label name not given out before."""
        self._fresh += 1
        return f"{hint}.{self._fresh}"

    def subprogram(self, name: str, kind: FunctionKind = FunctionKind.SUBPROGRAM) -> None:
        """What follows is the function `name`. The one before must have ended in `exit` or a jump."""
        assert kind is not FunctionKind.PROGRAM, "a program is entered in one place"
        assert name not in (known for _, known, _ in self._functions), f"subprogram {name!r} is defined twice"
        assert name == identifier(name), f"subprogram name {name!r} is not a C identifier"
        self._functions.append((len(self._instructions), name, kind))
        if self._lines:  # the kernel wants a line at the start of every function
            _, text, number = self._lines[-1]
            self._note(text, number)

    def line(self, text: str, number: int = 1) -> None:
        """The following instructions come from `text`, line `number` (from 1) of the source."""
        flat = " ".join(text.split())
        self._note(flat if len(flat) <= LINE_LENGTH else flat[: LINE_LENGTH - 3] + "...", number)

    def map(self, spec: MapSpec) -> None:
        """The program uses this map; naming the same map twice is fine if both agree."""
        assert self._maps.setdefault(spec.name, spec) == spec, f"map {spec.name!r} is defined twice"

    def append(self, other: Assembler) -> None:
        """The subprograms of another, which has nothing else."""
        start, before = len(self._instructions), len(self._functions) - 1
        first, *further = other._lines
        self._note(*first[1:])
        self._lines += [(start + at, text, number) for at, text, number in further]
        self._functions += [(start + at, name, kind) for at, name, kind in other._functions[1:]]
        self._labels |= {(function + before, name): start + at for (function, name), at in other._labels.items()}
        for fixup in other._fixups:
            if isinstance(fixup, _ToLabel):
                self._fixups.append(_ToLabel(start + fixup.index, fixup.function + before, fixup.label))
            else:
                self._fixups.append(_ToFunction(start + fixup.index, fixup.name))
        self._instructions += other._instructions

    # -- data ----------------------------------------------------------------------------------------------------------

    def mov(self, dst: Register, src: Register | int, width: Width = 64) -> None:
        """dst = src. An immediate is sign-extended to 64 bits; width 32 clears the upper half."""
        self.alu(Alu.MOV, dst, src, width)

    def alu(self, op: Alu, dst: Register, src: Register | int = 0, width: Width = 64) -> None:
        """dst = dst op src. 64-bit immediates are sign-extended 32-bit ones; with width 32 unsigned ones to 2**32-1 are taken too."""
        self._writable(dst)
        if isinstance(src, Register):
            self._emit(isa.alu_opcode(op, width, register=True), dst, src)
            return
        assert op not in (Alu.LSH, Alu.RSH, Alu.ARSH) or 0 <= src < width, f"shift by {src} of {width} bits"
        assert op not in (Alu.DIV, Alu.MOD) or src != 0, "division by the constant 0"
        self._emit(isa.alu_opcode(op, width, register=False), dst, immediate=_immediate(src, width))

    def endian(self, dst: Register, bits: Literal[16, 32, 64], to: Literal["be", "le"] = "be") -> None:
        """The low `bits` of dst between host and big- (or little-) endian order, zero-extended."""
        self._writable(dst)
        self._emit(isa.endian_opcode(big=to == "be"), dst, immediate=bits)

    def load(self, size: Bytes, dst: Register, base: Register, off: int = 0) -> None:
        """dst = *(size *)(base + off), zero-extended, host order."""
        self._writable(dst)
        self._emit(isa.load_opcode(size), dst, base, off)

    def store(self, size: Bytes, base: Register, off: int, src: Register | int) -> None:
        """*(size *)(base + off) = src, host order."""
        if isinstance(src, Register):
            self._emit(isa.store_opcode(size, immediate=False), base, src, off)
        else:
            self._emit(isa.store_opcode(size, immediate=True), base, offset=off, immediate=_immediate(src, 64 if size == 8 else 32))

    def atomic_add(self, size: Literal[4, 8], base: Register, off: int, src: Register) -> None:
        """*(size *)(base + off) += src, atomically."""
        self._emit(isa.atomic_opcode(size), base, src, off, Alu.ADD)

    def load64(self, dst: Register, imm64: int) -> None:
        """dst = a 64-bit number (two slots)."""
        assert -(1 << 63) <= imm64 < 1 << 64, f"{imm64} has more than 64 bits"
        self._writable(dst)
        self._emit(isa.LOAD_IMMEDIATE_64, dst, immediate=imm64 - (1 << 64) if imm64 >= 1 << 63 else imm64)

    def load_map(self, dst: Register, map_name: str) -> None:
        """dst = the map, as map helpers take it (two slots)."""
        self._writable(dst)
        self._emit(isa.LOAD_IMMEDIATE_64, dst, isa.PSEUDO_MAP_INDEX, immediate=self._map_index(map_name))

    def load_map_value(self, dst: Register, map_name: str, off: int = 0) -> None:
        """dst = the address of byte `off` of the one value of an array map (two slots)."""
        self._writable(dst)
        index = self._map_index(map_name)
        spec = self._maps[map_name]
        assert (spec.kind, spec.entries) == (MapKind.ARRAY, 1), f"map {map_name!r} has no direct value addresses"
        assert 0 <= off < spec.value_size, f"offset {off} is outside the value of map {map_name!r}"
        self._emit(isa.LOAD_IMMEDIATE_64, dst, isa.PSEUDO_MAP_INDEX_VALUE, immediate=off << 32 | index)

    def load_function(self, dst: Register, name: str) -> None:
        """dst = the subprogram, as bpf_loop takes it (two slots)."""
        self._writable(dst)
        self._fixups.append(_ToFunction(len(self._instructions), name))
        self._emit(isa.LOAD_IMMEDIATE_64, dst, isa.PSEUDO_FUNC)

    # -- control -------------------------------------------------------------------------------------------------------

    def jump(self, label: str) -> None:
        """Go to `label`, at most 32,768 slots away."""
        self._jump(isa.JUMP, label)

    def branch(self, cond: Condition, dst: Register, src: Register | int, label: str, width: Width = 64) -> None:
        """Go to `label` where `dst cond src`. Immediates as in `alu`; width 32 compares the lower halves."""
        if isinstance(src, Register):
            self._jump(isa.branch_opcode(cond, width, register=True), label, dst, src)
        else:
            self._jump(isa.branch_opcode(cond, width, register=False), label, dst, immediate=_immediate(src, width))

    def call(self, helper_number: Helper | int) -> None:
        """Call a kernel helper: R1 to R5 in, R0 out, R1 to R5 lost."""
        self._emit(isa.CALL, immediate=int(helper_number))

    def call_subprogram(self, name: str) -> None:
        """Call a subprogram of this program: R1 to R5 in, R0 out, R1 to R5 lost; it has a stack frame of its own."""
        self._fixups.append(_ToFunction(len(self._instructions), name))
        self._emit(isa.CALL, source=isa.PSEUDO_CALL)

    def exit(self) -> None:
        """Return R0."""
        self._emit(isa.EXIT)

    # -- the result ----------------------------------------------------------------------------------------------------

    def assemble(self) -> ProgramImage:
        """The program with every name resolved."""
        slots = [0]
        for instruction in self._instructions:
            slots.append(slots[-1] + instruction.slots)
        instructions = list(self._instructions)
        functions = {name: index for index, name, _ in self._functions}
        for fixup in self._fixups:
            at = fixup.index
            match fixup:
                case _ToLabel():
                    target = self._labels.get((fixup.function, fixup.label))
                    assert target is not None, f"label {fixup.label!r} is not defined"
                    assert target < len(instructions), f"label {fixup.label!r} is behind the end"
                    distance = slots[target] - slots[at] - 1
                    assert distance in NEAR, f"label {fixup.label!r} is {distance} slots away, and a jump reaches 32,768"
                    instructions[at] = replace(instructions[at], offset=distance)
                case _ToFunction():
                    assert fixup.name in functions, f"subprogram {fixup.name!r} is not defined"
                    instructions[at] = replace(instructions[at], immediate=slots[functions[fixup.name]] - slots[at] - 1)
                case _:
                    assert_never(fixup)
        lines = tuple(SourceLine(slots[index], text, number) for index, text, number in self._lines if index < len(instructions))
        return ProgramImage(
            name=self._name,
            instructions=tuple(instructions),
            lines=lines,
            functions=tuple(Function(slots[index], name, kind) for index, name, kind in self._functions),
            maps=tuple(self._maps.values()),
            kind=self._kind,
            record_size=self._record_size,
            source=self._source,
        )

    # -- within --------------------------------------------------------------------------------------------------------

    def _emit(self, opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> None:
        assert offset in NEAR, f"offset {offset} does not fit in 16 bits"
        self._instructions.append(Instruction(opcode, int(destination), int(source), offset, int(immediate)))

    def _jump(self, opcode: int, label: str, destination: int = 0, source: int = 0, immediate: int = 0) -> None:
        self._fixups.append(_ToLabel(len(self._instructions), len(self._functions) - 1, label))
        self._emit(opcode, destination, source, immediate=immediate)

    def _note(self, text: str, number: int) -> None:
        """Start a line at the next instruction; a line without instructions goes, one equal to the line before adds nothing."""
        here = len(self._instructions)
        if self._lines and self._lines[-1][0] == here:
            self._lines.pop()
        starts_function = self._functions[-1][0] == here
        if starts_function or not self._lines or self._lines[-1][1:] != (text, number):
            self._lines.append((here, text, number))

    def _map_index(self, name: str) -> int:
        assert name in self._maps, f"map {name!r} is not defined"
        return list(self._maps).index(name)

    @staticmethod
    def _writable(register: Register) -> None:
        assert isinstance(register, Register), f"{register!r} is not a register"
        assert register is not Register.R10, "the frame pointer cannot be written"


def _immediate(value: int, width: Width) -> int:
    """`value` as the signed 32 bits of an instruction. Two's complement makes 2**31 to 2**32-1 representable at width 32 only."""
    highest = 1 << (31 if width == 64 else 32)
    assert -(1 << 31) <= value < highest, f"{value} is no {width}-bit immediate"
    return value - (1 << 32) if value >= 1 << 31 else value
