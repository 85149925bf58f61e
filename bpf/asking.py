"""Small programs that ask what another has found: it left that in its record, a per-CPU map, just before.

This is sound where nothing can come between the program and those who ask, on one CPU: at every hook that runs with bottom halves
disabled, which is all but the local output (and any hook behind a queue to user space at that very hook)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bpf.assembler import Assembler
from bpf.codegen import frame_of, generate
from bpf.image import FunctionKind, MapSpec, ProgramImage
from bpf.ir import At, Function, MapName, Value
from bpf.isa import Alu, Condition, Helper


@dataclass(frozen=True, slots=True)
class Asking:
    """Of one program and its record. The same question is the same program."""

    program: str
    record: MapSpec
    _asked: dict[str, ProgramImage] = field(default_factory=dict, compare=False, repr=False)

    def is_among(self, at: int, low: int, high: int) -> ProgramImage:
        """1 where the 8 bytes at offset `at` are a number above `low`, and at most `high`."""

        def ask(code: Function, record: Value) -> Value:
            number = code.load(8, record, at)
            code.update(Alu.SUB, number, low + 1)
            return _truth(code, number, Condition.LT, high - low)

        return self._program(f"ended_{low}_{high}", ask)

    def digit(self, at: int, shift: int, width: int, value: int) -> ProgramImage:
        """1 where the number there, less 1, has the digit `value`: its `width` bits above the lowest `shift`."""

        def ask(code: Function, record: Value) -> Value:
            number = code.load(8, record, at)
            code.update(Alu.SUB, number, 1)
            code.update(Alu.RSH, number, shift)
            code.update(Alu.AND, number, (1 << width) - 1)
            return _truth(code, number, Condition.EQ, value)

        return self._program(f"digit_{shift}_{width}_{value}", ask)

    def is_set(self, at: int, number: int) -> ProgramImage:
        """1 where bit `number` from there on is set."""

        def ask(code: Function, record: Value) -> Value:
            bits = code.load(1, record, at + number // 8)
            code.update(Alu.RSH, bits, number % 8)
            code.update(Alu.AND, bits, 1)
            return bits

        return self._program(f"held_{number}", ask)

    def equals(self, at: int, value: int) -> ProgramImage:
        """1 where the 8 bytes there are that number."""
        return self._program(f"is_{value}", lambda code, record: _truth(code, code.load(8, record, at), Condition.EQ, value))

    def _program(self, name: str, ask: Callable[[Function, Value], Value]) -> ProgramImage:
        if name in self._asked:
            return self._asked[name]
        code = Function(name, FunctionKind.PROGRAM, 1)
        none = code.label()
        record = record_of_this_cpu(code, self.record)
        code.branch(Condition.EQ, record, 0, none)
        code.give(ask(code, record))
        code.place(none)
        code.give(0)
        assembler = Assembler(f"{self.program}_{name}")
        assembler.map(self.record)
        assembler.line(name)
        generate(code, frame_of(code), assembler)
        return self._asked.setdefault(name, assembler.assemble())


def record_of_this_cpu(code: Function, record: MapSpec) -> Value:
    """Its address; 0 never, but the verifier wants it asked."""
    key = code.buffer(8)
    code.store(8, key, 0, 0)
    return code.helper(Helper.MAP_LOOKUP_ELEM, MapName(record.name), At(key))


def _truth(code: Function, left: Value, condition: Condition, right: int) -> Value:
    truth, behind = code.copy(1), code.label()
    code.branch(condition, left, right, behind)
    code.set(truth, 0)
    code.place(behind)
    return truth
