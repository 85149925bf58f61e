"""The run of automata of many tests over a name of the domain name system: its text is first put together in the record.

The record is the program's own while it runs, so that the labels can be copied there."""

from __future__ import annotations

from typing import Final

from bpf.domain_name import LONGEST, LONGEST_LABEL, POINTER, STEPS
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName
from bpf.isa import Alu, Condition, Helper
from bpf.set_automaton import AT_ENTRY, DONE, FIRST_CLASS, MARK
from bpf.slices import SLICE_BITS, SLICE_SHIFT
from bpf.sweep import TELL
from bpf.tables import TABLE, Tables

COPY_NAME: Final = "copy_name"
SWEEP_TEXT: Final = "sweep_text"

TEXT_BYTES: Final = 320
"""Room for a text and one more label, as the verifier reckons."""


class _Copy:
    """On the stack of `copy_name`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    RECORD = 8
    POSITION = 20
    MESSAGE = 28
    """Where the message begins."""
    AT = 36
    SIZE = 40


def copy_name(tables: Tables, text: int) -> tuple[Function, ...]:
    """`copy_name(context, record, name, message)` puts a well-formed name's labels, a dot before each, to byte `text` of the record. The
    name's slice says where its first length byte is, pointers count from the start of the message."""
    code = Function(COPY_NAME, FunctionKind.PART, 4)
    context, record, name, message = code.parameters
    there, state = code.label(), code.buffer(_Copy.SIZE)
    code.branch(Condition.NE, record, 0, there)
    code.give(0)
    code.place(there)
    code.store(8, state, _Copy.CONTEXT, context)
    code.store(8, state, _Copy.RECORD, record)
    for member, packed in ((_Copy.POSITION, name), (_Copy.MESSAGE, message)):
        offset = code.alu(Alu.RSH, packed, SLICE_SHIFT)
        code.update(Alu.AND, offset, (1 << SLICE_BITS) - 1)
        code.store(4, state, member, offset)
    code.store(4, state, _Copy.AT, 0)
    code.helper(Helper.LOOP, STEPS, FunctionName("copy_name_step"), At(state), 0)
    code.give(0)
    return code, _copy_step(text)


def _copy_step(text: int) -> Function:
    """One label or pointer further: bpf_loop's callback."""
    code = Function("copy_name_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    pointer, stop, scratch = code.label(), code.label(), code.buffer(8)
    context = code.load(8, state, _Copy.CONTEXT)
    position = code.load(4, state, _Copy.POSITION)
    code.load_packet(context, position, At(scratch), 1, stop)
    length = code.load(1, scratch)
    code.branch(Condition.EQ, length, 0, stop)
    code.branch(Condition.GE, length, POINTER, pointer)
    code.branch(Condition.GT, length, LONGEST_LABEL, stop)
    at = code.load(4, state, _Copy.AT)
    code.branch(Condition.GT, at, LONGEST, stop)
    here = code.load(8, state, _Copy.RECORD)
    code.update(Alu.ADD, here, at)
    code.store(1, here, text, ord("."))
    code.update(Alu.ADD, position, 1)
    code.update(Alu.ADD, here, text + 1)
    code.branch(Condition.NE, code.helper(Helper.SKB_LOAD_BYTES, context, position, here, length), 0, stop)
    code.update(Alu.ADD, position, length)
    code.store(4, state, _Copy.POSITION, position)
    at = code.load(4, state, _Copy.AT)
    code.update(Alu.ADD, at, length)
    code.update(Alu.ADD, at, 1)
    code.store(4, state, _Copy.AT, at)
    code.give(0)
    code.place(pointer)
    code.load_packet(context, position, At(scratch), 2, stop)
    target = code.load_network(2, scratch)
    code.update(Alu.AND, target, 0x3FFF)
    code.update(Alu.ADD, target, code.load(4, state, _Copy.MESSAGE))
    code.store(4, state, _Copy.POSITION, target)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


class _Run:
    """On the stack of `sweep_text`, as `_Copy`."""

    CONTEXT = 0
    RECORD = 8
    AT = 20
    END = 28
    STATE = 36
    CLASSES = 44
    SIZE = 48


def sweep_text(tables: Tables, text: int) -> tuple[Function, ...]:
    """`sweep_text(context, record, length, start << 32 | classes)`: as `sweep`, over the text behind the first dot of the record's byte
    `text`."""
    code = Function(SWEEP_TEXT, FunctionKind.PART, 4)
    context, record, length, run = code.parameters
    there, end, state = code.label(), code.label(), code.buffer(_Run.SIZE)
    code.branch(Condition.NE, record, 0, there)
    code.give(0)
    code.place(there)
    code.store(8, state, _Run.CONTEXT, context)
    code.store(8, state, _Run.RECORD, record)
    code.store(4, state, _Run.AT, 1)
    code.store(4, state, _Run.END, code.alu(Alu.ADD, length, 1))
    code.store(4, state, _Run.STATE, code.alu(Alu.RSH, run, 32))
    code.store(4, state, _Run.CLASSES, run)
    code.helper(Helper.LOOP, LONGEST + 1, FunctionName("sweep_text_step"), At(state), 0)
    last = code.load(4, state, _Run.STATE)
    code.branch(Condition.GT, last, tables.limit, end)
    row = code.table(TABLE)
    code.update(Alu.ADD, row, last)
    report = code.load(4, row)
    code.branch(Condition.EQ, report, 0, end)
    code.call(TELL, context, record, report, 0)
    code.place(end)
    code.give(0)
    return code, _sweep_step(tables, text)


def _sweep_step(tables: Tables, text: int) -> Function:
    """To the next report, which the next step tells, or the end: bpf_loop's callback."""
    code = Function("sweep_text_step", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    told, byte, special, stop = (code.label() for _ in range(4))
    base = code.table(TABLE)
    state = code.load(4, state_at, _Run.STATE)
    code.branch(Condition.LE, state, tables.limit, told)
    code.branch(Condition.EQ, state, DONE, stop, 32)
    code.update(Alu.AND, state, MARK - 1)
    code.branch(Condition.GT, state, tables.limit, stop)
    code.store(4, state_at, _Run.STATE, state)
    row = code.alu(Alu.ADD, base, state)
    context, record = code.load(8, state_at, _Run.CONTEXT), code.load(8, state_at, _Run.RECORD)
    code.call(TELL, context, record, code.load(4, row, 4 * AT_ENTRY), 0)
    code.place(told)

    at = code.load(4, state_at, _Run.AT)
    end = code.load(4, state_at, _Run.END)
    code.branch(Condition.GE, at, end, stop)
    record = code.load(8, state_at, _Run.RECORD)
    base = code.table(TABLE)
    classes = code.load(4, state_at, _Run.CLASSES)
    code.branch(Condition.GT, classes, tables.limit, stop)
    code.update(Alu.ADD, classes, base)
    state = code.load(4, state_at, _Run.STATE)
    code.branch(Condition.GT, state, tables.limit, stop)
    steps = code.copy(0)
    code.place(byte)
    code.branch(Condition.GT, at, LONGEST, stop)  # cannot be; the verifier wants it said
    here = code.alu(Alu.ADD, record, at)
    cell = code.load(1, here, text)
    code.update(Alu.ADD, cell, classes)
    cell = code.load(1, cell)
    code.update(Alu.LSH, cell, 2)
    code.update(Alu.ADD, cell, base)
    code.update(Alu.ADD, cell, state)
    code.load_to(state, 4, cell, 4 * FIRST_CLASS)
    code.update(Alu.ADD, at, 1)
    code.branch(Condition.GT, state, tables.limit, special)  # marked, or done
    code.branch(Condition.GE, at, end, special)
    code.update(Alu.ADD, steps, 1)
    code.branch(Condition.LT, steps, _STEP_BYTES, byte)
    code.place(special)
    code.store(4, state_at, _Run.STATE, state)
    code.store(4, state_at, _Run.AT, at)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


_STEP_BYTES: Final = 64
"""Bytes that one step reads at most: the verifier follows each by itself."""
