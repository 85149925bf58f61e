"""The run of automata of many tests over a name of the domain name system: its text is first put together in the record.

The record is the program's own while it runs, so that the labels can be copied there."""

from __future__ import annotations

from typing import Final

from bpf.automaton_run import run_at
from bpf.domain_name import LONGEST, STEPS, load_length, load_pointer
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName
from bpf.isa import Alu, Condition, Helper
from bpf.set_automaton import FIRST_CLASS
from bpf.slices import offset_of
from bpf.sweep import Sweep, tell_at_end, tell_pending
from bpf.tables import Tables

COPY_NAME: Final = "copy_name"
SWEEP_TEXT: Final = "sweep_text"

TEXT_BYTES: Final = 320
"""Room for a text and one more label, as the verifier reckons."""

_STEP_BYTES: Final = 64
"""Bytes that one step reads at most: the verifier follows each by itself."""


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
    code = Function.part(COPY_NAME)
    context, record, name, message = code.parameters
    state = code.buffer(_Copy.SIZE)
    code.store(8, state, _Copy.CONTEXT, context)
    code.store(8, state, _Copy.RECORD, record)
    for member, packed in ((_Copy.POSITION, name), (_Copy.MESSAGE, message)):
        offset = offset_of(code, packed)
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
    length = load_length(code, context, position, scratch, root=stop, pointer=pointer, absent=stop)
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
    target = load_pointer(code, context, position, scratch, stop)
    code.update(Alu.ADD, target, code.load(4, state, _Copy.MESSAGE))
    code.store(4, state, _Copy.POSITION, target)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


def sweep_text(tables: Tables, text: int) -> tuple[Function, ...]:
    """`sweep_text(context, record, length, start << 32 | classes)`: as `sweep`, over the text behind the first dot of the record's byte
    `text`."""
    code = Function.part(SWEEP_TEXT)
    context, record, length, run = code.parameters
    state = code.buffer(Sweep.SIZE)
    code.store(8, state, Sweep.CONTEXT, context)
    code.store(8, state, Sweep.RECORD, record)
    code.store(4, state, Sweep.POSITION, 1)
    code.store(4, state, Sweep.END, code.alu(Alu.ADD, length, 1))
    code.store(4, state, Sweep.STATE, code.alu(Alu.RSH, run, 32))
    code.store(4, state, Sweep.CLASSES, run)
    code.helper(Helper.LOOP, LONGEST + 1, FunctionName("sweep_text_step"), At(state), 0)
    tell_at_end(code, tables, state)
    return code, _sweep_step(tables, text)


def _sweep_step(tables: Tables, text: int) -> Function:
    """To the next report, which the next step tells, or the end: bpf_loop's callback."""
    code = Function("sweep_text_step", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    byte, special, stop = code.label(), code.label(), code.label()
    tell_pending(code, tables, state_at, stop)
    at = code.load(4, state_at, Sweep.POSITION)
    end = code.load(4, state_at, Sweep.END)
    code.branch(Condition.GE, at, end, stop)
    record = code.load(8, state_at, Sweep.RECORD)
    run = run_at(code, tables, state_at, classes=Sweep.CLASSES, state=Sweep.STATE, over=stop)
    steps = code.copy(0)
    code.place(byte)
    code.branch(Condition.GT, at, LONGEST, stop)  # cannot be; the verifier wants it said
    here = code.alu(Alu.ADD, record, at)
    cell = code.load(1, here, text)
    run.step(cell, FIRST_CLASS)
    code.update(Alu.ADD, at, 1)
    code.branch(Condition.GT, run.state, tables.limit, special)  # marked, or done
    code.branch(Condition.GE, at, end, special)
    code.update(Alu.ADD, steps, 1)
    code.branch(Condition.LT, steps, _STEP_BYTES, byte)
    code.place(special)
    code.store(4, state_at, Sweep.STATE, run.state)
    code.store(4, state_at, Sweep.POSITION, at)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code
