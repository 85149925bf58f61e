"""The eBPF instruction set: one instruction as data, its bytes, and its text.

Formats and numbers: Linux `include/uapi/linux/bpf.h` and `Documentation/bpf/standardization/instruction-set.rst`. A slot is 8 bytes;
every instruction takes one, but the 64-bit immediate load takes two. All offsets and addresses here are in slots.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Literal

SLOT: Final = 8
"""Bytes of one instruction slot."""

STACK_SIZE: Final = 512
"""Bytes of stack that a program and the subprograms it calls have together (MAX_BPF_STACK)."""

Width = Literal[32, 64]
Bytes = Literal[1, 2, 4, 8]


class Register(IntEnum):
    """R0 result, R1 to R5 arguments (lost by calls), R6 to R9 kept over calls, R10 frame pointer (read only)."""

    R0 = 0
    R1 = 1
    R2 = 2
    R3 = 3
    R4 = 4
    R5 = 5
    R6 = 6
    R7 = 7
    R8 = 8
    R9 = 9
    R10 = 10


R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = Register


class Class(IntEnum):
    """The three low bits of an opcode."""

    LD = 0
    LDX = 1
    ST = 2
    STX = 3
    ALU = 4
    JMP = 5
    JMP32 = 6
    ALU64 = 7


class Alu(IntEnum):
    """Arithmetic: the four high bits of the opcode. Division by zero gives 0, modulo zero the dividend; both are unsigned."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0


class Condition(IntEnum):
    """When a branch is taken: the four high bits of the opcode. S... compare as signed numbers; SET is `dst & src != 0`."""

    EQ = 0x10
    GT = 0x20
    GE = 0x30
    SET = 0x40
    NE = 0x50
    SGT = 0x60
    SGE = 0x70
    LT = 0xA0
    LE = 0xB0
    SLT = 0xC0
    SLE = 0xD0

    @property
    def inverse(self) -> Condition:
        """The condition that holds exactly where this one does not. SET has none."""
        return _INVERSE[self]


_INVERSE: Final = {
    Condition.EQ: Condition.NE,
    Condition.NE: Condition.EQ,
    Condition.GT: Condition.LE,
    Condition.LE: Condition.GT,
    Condition.GE: Condition.LT,
    Condition.LT: Condition.GE,
    Condition.SGT: Condition.SLE,
    Condition.SLE: Condition.SGT,
    Condition.SGE: Condition.SLT,
    Condition.SLT: Condition.SGE,
}


class Helper(IntEnum):
    """Numbers of the kernel functions that Mantlet's programs call (`___BPF_FUNC_MAPPER` in linux/bpf.h)."""

    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    KTIME_GET_NS = 5
    TRACE_PRINTK = 6
    GET_PRANDOM_U32 = 7
    GET_SMP_PROCESSOR_ID = 8
    TAIL_CALL = 12
    REDIRECT = 23
    """(interface, flags): what to return, for the frame to leave by that interface."""
    SKB_LOAD_BYTES = 26
    """(context, offset, to, length): 0, or negative where the packet is shorter."""
    SKB_LOAD_BYTES_RELATIVE = 68
    """(context, offset, to, length, start): as SKB_LOAD_BYTES; start 0 is the MAC header, 1 the network header."""
    RINGBUF_OUTPUT = 130
    RINGBUF_RESERVE = 131
    RINGBUF_SUBMIT = 132
    LOOP = 181
    """(count, callback, callback's context, flags): the number of iterations done."""
    XDP_GET_BUFF_LEN = 188
    """(context): bytes of the frame, with all of its fragments."""
    XDP_LOAD_BYTES = 189
    """(context, offset, to, length): as SKB_LOAD_BYTES, from the frame's link header on."""


PSEUDO_MAP_FD: Final = 1
PSEUDO_FUNC: Final = 4
PSEUDO_MAP_INDEX: Final = 5
PSEUDO_MAP_INDEX_VALUE: Final = 6
"""Source register of a 64-bit load: what its immediate means (BPF_PSEUDO_*). The index is into the loader's array of maps."""
PSEUDO_CALL: Final = 1
"""Source register of a call: a subprogram, relative, instead of a helper."""

_X: Final = 0x08
"""Source operand is a register (BPF_X); to_be for byte swaps."""
_MODE: Final = 0xE0
_IMM, _ABS, _IND, _MEM, _ATOMIC = 0x00, 0x20, 0x40, 0x60, 0xC0
_SIZE_BITS: Final[dict[int, int]] = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_SIZE_BYTES: Final = {bits: size for size, bits in _SIZE_BITS.items()}
_SIZE: Final = 0x18
_END: Final = 0xD0
_JA, _CALL, _EXIT = 0x00, 0x80, 0x90

LOAD_IMMEDIATE_64: Final = Class.LD | _IMM | _SIZE_BITS[8]
CALL: Final = Class.JMP | _CALL
EXIT: Final = Class.JMP | _EXIT
JUMP: Final = Class.JMP | _JA
JUMP_FAR: Final = Class.JMP32 | _JA
"""Unconditional jump whose 32-bit distance is the immediate (Linux 6.6)."""


def load_opcode(size: Bytes) -> int:
    """dst = *(size *)(src + off), zero-extended."""
    return Class.LDX | _MEM | _SIZE_BITS[size]


def store_opcode(size: Bytes, *, immediate: bool) -> int:
    """*(size *)(dst + off) = src, or the sign-extended immediate."""
    return (Class.ST if immediate else Class.STX) | _MEM | _SIZE_BITS[size]


def atomic_opcode(size: Literal[4, 8]) -> int:
    """*(size *)(dst + off) op= src, atomically; the immediate is the operation, Alu.ADD for one."""
    return Class.STX | _ATOMIC | _SIZE_BITS[size]


def alu_opcode(op: Alu, width: Width, *, register: bool) -> int:
    return op | (_X if register else 0) | (Class.ALU64 if width == 64 else Class.ALU)


def endian_opcode(*, big: bool) -> int:
    """dst as a big-endian (or little-endian) number of as many bits as the immediate says, zero-extended."""
    return Class.ALU | _END | (_X if big else 0)


def branch_opcode(condition: Condition, width: Width, *, register: bool) -> int:
    return condition | (_X if register else 0) | (Class.JMP if width == 64 else Class.JMP32)


_ALU_SIGN: Final = {
    Alu.ADD: "+=", Alu.SUB: "-=", Alu.MUL: "*=", Alu.DIV: "/=", Alu.OR: "|=", Alu.AND: "&=", Alu.LSH: "<<=", Alu.RSH: ">>=",
    Alu.MOD: "%=", Alu.XOR: "^=", Alu.MOV: "=", Alu.ARSH: "s>>=",
}  # fmt: skip
_CONDITION_SIGN: Final = {
    Condition.EQ: "==", Condition.GT: ">", Condition.GE: ">=", Condition.SET: "&", Condition.NE: "!=", Condition.SGT: "s>",
    Condition.SGE: "s>=", Condition.LT: "<", Condition.LE: "<=", Condition.SLT: "s<", Condition.SLE: "s<=",
}  # fmt: skip
_LAYOUT: Final = struct.Struct("<BBhi")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `immediate` is signed, 32 bits, or 64 bits (either sign) in a 64-bit load."""

    opcode: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    immediate: int = 0

    @property
    def slots(self) -> int:
        """1, or 2 for the 64-bit immediate load."""
        return 2 if self.opcode == LOAD_IMMEDIATE_64 else 1

    @property
    def jump_distance(self) -> int | None:
        """Slots from the next instruction to the one jumped to; None where this is no jump."""
        if self.opcode == JUMP_FAR:
            return self.immediate
        if self.opcode & 0x07 in (Class.JMP, Class.JMP32) and self.opcode not in (CALL, EXIT):
            return self.offset
        return None

    def encode(self) -> bytes:
        """8 or 16 bytes, little-endian hosts (the register nibbles would be swapped on others)."""
        registers = self.source << 4 | self.destination
        if self.opcode != LOAD_IMMEDIATE_64:
            return _LAYOUT.pack(self.opcode, registers, self.offset, self.immediate)
        low, high = struct.unpack("<ii", (self.immediate & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little"))
        return _LAYOUT.pack(self.opcode, registers, self.offset, low) + _LAYOUT.pack(0, 0, 0, high)

    @classmethod
    def decode(cls, data: bytes) -> Instruction:
        """The instruction that `data` begins with. Raises ValueError where `data` is too short."""
        if len(data) < SLOT or (data[0] == LOAD_IMMEDIATE_64 and len(data) < 2 * SLOT):
            raise ValueError(f"an instruction takes 8 or 16 bytes, and {len(data)} are there")
        opcode, registers, offset, immediate = _LAYOUT.unpack_from(data)
        if opcode == LOAD_IMMEDIATE_64:
            (immediate,) = struct.unpack("<q", data[4:8] + data[12:16])
        return cls(opcode, registers & 0x0F, registers >> 4, offset, immediate)

    def text(self, slot: int | None = None) -> str:
        """As `r0 = *(u8 *)(r1 + 4)`. Jumps say their distance, or with `slot` (where this instruction stands) their target.

        32-bit registers are called w0 to w10. Raises ValueError for an opcode that is not in this module."""
        kind = Class(self.opcode & 0x07)
        match kind:
            case Class.LD | Class.LDX | Class.ST | Class.STX:
                return self._memory_text(kind)
            case Class.ALU | Class.ALU64:
                return self._alu_text("r" if kind is Class.ALU64 else "w")
            case Class.JMP | Class.JMP32:
                return self._jump_text("r" if kind is Class.JMP else "w", slot)

    def _memory_text(self, kind: Class) -> str:
        size = _SIZE_BYTES[self.opcode & _SIZE]
        mode = self.opcode & _MODE
        base = self.source if kind is Class.LDX else self.destination
        place = f"*(u{size * 8} *)(r{base} {'-' if self.offset < 0 else '+'} {abs(self.offset)})"
        match kind, mode:
            case Class.LD, 0x00 if size == 8:
                return f"r{self.destination} = {self._wide_text()}"
            case Class.LD, 0x20:
                return f"r0 = *(be{size * 8} *)skb[{self.immediate}]"
            case Class.LD, 0x40:
                return f"r0 = *(be{size * 8} *)skb[r{self.source} + {self.immediate}]"
            case Class.LDX, 0x60:
                return f"r{self.destination} = {place}"
            case Class.ST, 0x60:
                return f"{place} = {self.immediate}"
            case Class.STX, 0x60:
                return f"{place} = r{self.source}"
            case Class.STX, 0xC0 if self.immediate in _ALU_SIGN:
                return f"lock {place} {_ALU_SIGN[Alu(self.immediate)]} r{self.source}"
        raise ValueError(f"opcode {self.opcode:#04x} is not known")

    def _wide_text(self) -> str:
        low, high = self.immediate & 0xFFFF_FFFF, self.immediate >> 32 & 0xFFFF_FFFF
        match self.source:
            case 4:  # PSEUDO_FUNC
                return f"function[{self.immediate:+d}]"
            case 5:  # PSEUDO_MAP_INDEX
                return f"map[{low}]"
            case 6:  # PSEUDO_MAP_INDEX_VALUE
                return f"map[{low}] value + {high}"
            case _:
                return f"{self.immediate & 0xFFFF_FFFF_FFFF_FFFF:#x} ll"

    def _alu_text(self, prefix: str) -> str:
        target = f"{prefix}{self.destination}"
        if self.opcode & 0xF0 == _END:
            return f"r{self.destination} = {'be' if self.opcode & _X else 'le'}{self.immediate} r{self.destination}"
        op = Alu(self.opcode & 0xF0)
        if op is Alu.NEG:
            return f"{target} = -{target}"
        return f"{target} {_ALU_SIGN[op]} {f'{prefix}{self.source}' if self.opcode & _X else self.immediate}"

    def _jump_text(self, prefix: str, slot: int | None) -> str:
        if self.opcode == EXIT:
            return "exit"
        if self.opcode == CALL:
            if self.source == PSEUDO_CALL:
                return f"call {self.immediate:+d}" if slot is None else f"call {slot + 1 + self.immediate}"
            known = {helper.value for helper in Helper}
            return f"call {Helper(self.immediate).name.lower() if self.immediate in known else f'helper#{self.immediate}'}"
        distance = self.jump_distance
        assert distance is not None
        goto = f"goto {distance:+d}" if slot is None else f"goto {slot + 1 + distance}"
        if self.opcode in (JUMP, JUMP_FAR):
            return goto
        other = f"{prefix}{self.source}" if self.opcode & _X else str(self.immediate)
        return f"if {prefix}{self.destination} {_CONDITION_SIGN[Condition(self.opcode & 0xF0)]} {other} {goto}"


def encode(instructions: Iterable[Instruction]) -> bytes:
    """The program's bytes."""
    return b"".join(instruction.encode() for instruction in instructions)


def decode(code: bytes) -> tuple[Instruction, ...]:
    """The instructions of a program's bytes. Raises ValueError where they end inside an instruction."""
    instructions = []
    position = 0
    while position < len(code):
        instruction = Instruction.decode(code[position : position + 16])
        instructions.append(instruction)
        position += instruction.slots * SLOT
    return tuple(instructions)
