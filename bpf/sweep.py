"""The run of automata of many tests over a value: one pass tells which of them hold, as bits in the program's record.

A sweep is asked for by the first test that wants one of its bits. The value is copied by windows to the stack, as in bpf/search.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bpf.automaton_run import row_at, run_at
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.lower_facts import Work
from bpf.search import load_window
from bpf.set_automaton import AT_ENTRY, DONE, FIRST_CLASS, MARK
from bpf.slices import SLICE_BITS, offset_of
from bpf.tables import TABLE, Tables

SWEEP: Final = "sweep"
TELL: Final = "tell"
_WINDOW: Final = "sweep_window"


@dataclass(frozen=True, slots=True)
class Told:
    """A test whose truth is bit `bit` of the record, counted from its first, once the part `sweep` has run, which the 8 bytes at
    `home` say."""

    sweep: str
    home: int
    bit: int

    def lower(self, work: Work, yes: Label, no: Label) -> None:
        code = work.code
        self.find(work)
        word = code.load(8, code.parameters[1], self.bit // 64 * 8)
        code.update(Alu.RSH, word, self.bit % 64)
        code.update(Alu.AND, word, 1)
        code.branch(Condition.NE, word, 0, yes)
        code.jump(no)

    def find(self, work: Work) -> None:
        """Runs the sweep, unless that has been done."""
        code, swept = work.code, work.code.label()
        context, record, *_ = code.parameters
        code.branch(Condition.NE, code.load(8, record, self.home), 0, swept)
        code.call(self.sweep, context, record, 0, 0)
        code.place(swept)


def _lowest_bit(tables: Tables) -> tuple[Function, ...]:
    """`lowest_bit(context, number)`: the place of the lowest bit that is set in a number that is not 0."""
    code = Function("lowest_bit", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, number, *_ = code.parameters
    place = code.copy(0)
    for width in (32, 16, 8, 4, 2, 1):
        within = code.label()
        low = code.alu(Alu.LSH, number, 64 - width)
        code.branch(Condition.NE, low, 0, within)
        code.update(Alu.ADD, place, width)
        code.update(Alu.RSH, number, width)
        code.place(within)
    code.give(place)
    return (code,)


LOWEST_BIT: Final = Routine("lowest_bit", _lowest_bit)


class Sweep:
    """On the stack of `sweep` and `sweep_text`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is
    stored."""

    CONTEXT = 0
    RECORD = 8
    POSITION = 20
    """Of the next byte, in the packet or in the text."""
    LEFT = 28
    """Bytes from there on."""
    END = 28
    """Or where the text ends."""
    STATE = 36
    CLASSES = 44
    SIZE = 48


def sweep(tables: Tables) -> tuple[Function, ...]:
    """`sweep(context, record, slice, start << 32 | classes)`, for these tables, which are complete."""
    code = Function.part(SWEEP)
    context, record, piece, run = code.parameters
    state = code.buffer(Sweep.SIZE)
    code.store(8, state, Sweep.CONTEXT, context)
    code.store(8, state, Sweep.RECORD, record)
    code.store(4, state, Sweep.POSITION, offset_of(code, piece))
    code.store(4, state, Sweep.LEFT, piece)
    code.store(4, state, Sweep.STATE, code.alu(Alu.RSH, run, 32))
    code.store(4, state, Sweep.CLASSES, run)
    most = code.load(4, state, Sweep.LEFT)  # a step takes a byte at least, but for the last, which may have a report left
    code.update(Alu.ADD, most, 1)
    code.update(Alu.AND, most, (1 << (SLICE_BITS + 1)) - 1)
    code.helper(Helper.LOOP, most, FunctionName(_WINDOW), At(state), 0)
    tell_at_end(code, tables, state)
    return code, _window(tables)


def _window(tables: Tables) -> Function:
    """Up to WINDOW bytes further, or to the next report, which the next step tells: bpf_loop's callback. (A call within the loop over
    the bytes would take the registers that it lives in.)"""
    code = Function(_WINDOW, FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    byte, special, over, stop = (code.label() for _ in range(4))
    tell_pending(code, tables, state_at, stop)
    context = code.load(8, state_at, Sweep.CONTEXT)
    left = code.load(4, state_at, Sweep.LEFT)
    position = code.load(4, state_at, Sweep.POSITION)
    window, size = load_window(code, context, position, left, stop, over)
    run = run_at(code, tables, state_at, classes=Sweep.CLASSES, state=Sweep.STATE, over=stop)
    index = code.copy(0)
    code.place(byte)
    here = code.address(window)
    code.update(Alu.ADD, here, index)
    cell = code.load(1, here)
    run.step(cell, FIRST_CLASS)
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.GT, run.state, tables.limit, special)  # marked, or done
    code.branch(Condition.LT, index, size, byte)
    code.place(special)
    code.store(4, state_at, Sweep.STATE, run.state)
    position = code.load(4, state_at, Sweep.POSITION)
    code.update(Alu.ADD, position, index)
    code.store(4, state_at, Sweep.POSITION, position)
    left = code.load(4, state_at, Sweep.LEFT)
    code.update(Alu.SUB, left, index)
    code.store(4, state_at, Sweep.LEFT, left)
    code.give(0)

    code.place(over)  # cannot be: the slice lies in the packet
    code.store(4, state_at, Sweep.STATE, code.copy(DONE))
    code.place(stop)
    code.give(1)
    return code


def tell_pending(code: Function, tables: Tables, at: Value, done: Label) -> None:
    """Tells the report that the last step came to, of the sweep whose structure is at `at`; go to `done` where it can tell no more."""
    told, base = code.label(), code.table(TABLE)
    state = code.load(4, at, Sweep.STATE)
    code.branch(Condition.LE, state, tables.limit, told)
    code.branch(Condition.EQ, state, DONE, done, 32)
    code.update(Alu.AND, state, MARK - 1)
    code.branch(Condition.GT, state, tables.limit, done)
    code.store(4, at, Sweep.STATE, state)
    row = code.alu(Alu.ADD, base, state)
    context, record = code.load(8, at, Sweep.CONTEXT), code.load(8, at, Sweep.RECORD)
    code.call(TELL, context, record, code.load(4, row, 4 * AT_ENTRY), 0)
    code.place(told)


def tell_at_end(code: Function, tables: Tables, state: Buffer) -> None:
    """Tells the report of the state in which the bytes end, and returns."""
    context, record, *_ = code.parameters
    end, last = code.label(), code.load(4, state, Sweep.STATE)
    report = code.load(4, row_at(code, tables, last, end))
    code.branch(Condition.EQ, report, 0, end)
    code.call(TELL, context, record, report, 0)
    code.place(end)
    code.give(0)


def tell(tables: Tables, record_size: int, most_entries: int) -> tuple[Function, ...]:
    """`tell(context, record, report)` sets the bits of a report in the record, for these tables, which are complete."""
    code = Function(TELL, FunctionKind.PART, 4)
    _, record, report, _ = code.parameters
    there, entry, end = code.label(), code.label(), code.label()
    code.branch(Condition.NE, record, 0, there)
    code.place(end)
    code.give(0)
    code.place(there)
    count = code.load(4, row_at(code, tables, report, end))
    place = code.alu(Alu.ADD, report, 8)
    index = code.copy(0)
    code.place(entry)
    code.branch(Condition.GE, index, count, end)
    row = row_at(code, tables, place, end)
    word = code.load(4, row)
    code.update(Alu.LSH, word, 3)
    code.branch(Condition.GT, word, record_size - 8, end)
    code.update(Alu.ADD, word, record)
    bits = code.load(8, word)
    code.update(Alu.OR, bits, code.load(8, row, 8))
    code.store(8, word, 0, bits)
    code.update(Alu.ADD, place, 16)
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.LT, index, max(most_entries, 1), entry)
    code.jump(end)
    return (code,)
