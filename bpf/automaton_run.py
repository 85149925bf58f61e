"""The run of an automaton as code: what all loops over bytes have in common that run one (search, sweep, and both over names).

From one callback of bpf_loop to the next a run is kept in two 32-bit members of a structure on the stack: the state, and where the byte
classes are."""

from __future__ import annotations

from dataclasses import dataclass

from bpf.automaton import ACCEPT
from bpf.ir import Buffer, Function, Label, Value
from bpf.isa import Alu, Condition
from bpf.tables import TABLE, Tables


def row_at(code: Function, tables: Tables, offset: Value, beyond: Label) -> Value:
    """The address of that byte of the tables; go to `beyond` where there is none, as for what is not a state."""
    code.branch(Condition.GT, offset, tables.limit, beyond)
    row = code.table(TABLE)
    code.update(Alu.ADD, row, offset)
    return row


@dataclass(frozen=True, slots=True)
class AutomatonRun:
    """A run while a loop over bytes goes on."""

    code: Function
    base: Value
    """The address of the tables."""
    classes: Value
    """The address of the byte classes."""
    state: Value
    """A row's offset; or no state, which is beyond the tables' limit."""

    def step(self, byte: Value, first_class: int = 1) -> None:
        """To the next state, or to what stands in its place. `first_class` is the cell of a row where the classes begin."""
        code = self.code
        code.update(Alu.ADD, byte, self.classes)
        cell = code.load(1, byte)
        code.update(Alu.LSH, cell, 2)
        code.update(Alu.ADD, cell, self.base)
        code.update(Alu.ADD, cell, self.state)
        code.load_to(self.state, 4, cell, 4 * first_class)


def run_at(code: Function, tables: Tables, at: Value, *, classes: int, state: int, over: Label) -> AutomatonRun:
    """The run that those members of the structure at `at` are; go to `over` where there is no state."""
    base = code.table(TABLE)
    class_of = code.load(4, at, classes)
    code.branch(Condition.GT, class_of, tables.limit, over)
    code.update(Alu.ADD, class_of, base)
    row = code.load(4, at, state)
    code.branch(Condition.GT, row, tables.limit, over)
    return AutomatonRun(code, base, class_of, row)


def go_unless_accepted(code: Function, tables: Tables, structure: Buffer, state: int, refused: Label) -> None:
    """To `refused` where the run, whose state is that member, has not accepted the bytes, which are at their end."""
    ended, last = code.label(), code.load(4, structure, state)
    code.set(last, code.load(4, row_at(code, tables, last, ended)))
    code.place(ended)
    code.branch(Condition.NE, last, ACCEPT, refused, 32)
