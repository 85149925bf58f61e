"""The run of an automaton over a slice of the packet: one function that every search of a program calls, and what calls it.

The packet may be one merged segment of 64 KiB and lie in pieces, so it is copied by windows to the stack: no memory is shared
between CPUs, tasks or nested runs.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from bpf.automaton import REJECT, Fold
from bpf.automaton_run import go_unless_accepted, run_at
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Source, Value
from bpf.isa import Alu, Condition, Helper
from bpf.regex_automaton import matching
from bpf.slices import SLICE_BITS, offset_of, pack_slice
from bpf.tables import Run, Tables

WINDOW: Final = 128
"""Bytes copied at a time: the copy costs some 10 ns, and the verifier follows each byte of a window by itself."""

SEEK: Final = "seek"
SEEK_NAME: Final = "seek_name"


def seek(code: Function, tables: Tables, context: Value, offset: Source, length: Source, pattern: str, absent: Label) -> Value:
    """Where the first match of a `matches` pattern ends in the slice: the offset of the byte behind the earliest end of any match; go to
    `absent` where nothing matches. `^` holds at the slice's start, `$` at its end."""
    run = tables.run((matching, (pattern,), Fold.NONE), partial(matching, pattern, Fold.NONE))
    end = call_seek(code, context, pack_slice(code, offset, length), run)
    code.branch(Condition.EQ, end, 0, absent)
    return end


def call_seek(code: Function, context: Value, packed: Value, run: Run) -> Value:
    """The offset of the byte behind the one at which the automaton accepts the packed slice, 0 where it does not."""
    return call_seek_at(code, context, packed, run.start, run.classes)


def call_seek_at(code: Function, context: Value, packed: Value, start: Source, classes: Source) -> Value:
    """The same, of an automaton that is known when the program runs."""
    return code.call(SEEK, context, packed, start, classes)


class _State:
    """On the stack of `seek`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    POSITION = 12
    LEFT = 20
    STATE = 28
    CLASSES = 36
    SIZE = 40


def search(tables: Tables) -> tuple[Function, ...]:
    """`seek(context, slice, start, classes)`: where the automaton accepts the slice, the offset of the byte behind, else 0. For these
    tables, which are complete."""
    code = Function(SEEK, FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, piece, start, classes = code.parameters
    state = code.buffer(_State.SIZE)
    refused = code.label()
    code.store(8, state, _State.CONTEXT, context)
    code.store(4, state, _State.POSITION, offset_of(code, piece))
    code.store(4, state, _State.LEFT, piece)
    code.store(4, state, _State.STATE, start)
    code.store(4, state, _State.CLASSES, classes)
    windows = code.load(4, state, _State.LEFT)
    code.update(Alu.ADD, windows, WINDOW - 1)
    code.update(Alu.RSH, windows, WINDOW.bit_length() - 1)
    code.update(Alu.AND, windows, (1 << (SLICE_BITS + 1)) - 1)
    code.helper(Helper.LOOP, windows, FunctionName("seek_window"), At(state), 0)
    go_unless_accepted(code, tables, state, _State.STATE, refused)
    code.give(code.load(4, state, _State.POSITION))
    code.place(refused)
    code.give(0)
    return code, _window(tables)


def _window(tables: Tables) -> Function:
    """Up to WINDOW bytes further: bpf_loop's callback."""
    code = Function("seek_window", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    over, byte, done, stop = (code.label() for _ in range(4))
    context = code.load(8, state_at, _State.CONTEXT)
    left = code.load(4, state_at, _State.LEFT)
    position = code.load(4, state_at, _State.POSITION)
    window, size = load_window(code, context, position, left, stop, over)
    code.update(Alu.ADD, position, size)
    code.store(4, state_at, _State.POSITION, position)
    code.update(Alu.SUB, left, size)
    code.store(4, state_at, _State.LEFT, left)
    run = run_at(code, tables, state_at, classes=_State.CLASSES, state=_State.STATE, over=stop)
    index = code.copy(0)
    code.place(byte)
    here = code.address(window)
    code.update(Alu.ADD, here, index)
    cell = code.load(1, here)
    run.step(cell)
    code.branch(Condition.GT, run.state, tables.limit, done)
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.LT, index, size, byte)
    code.store(4, state_at, _State.STATE, run.state)
    code.give(0)
    code.place(done)
    code.store(4, state_at, _State.STATE, run.state)
    code.update(Alu.SUB, position, size)
    code.update(Alu.ADD, position, index)
    code.update(Alu.ADD, position, 1)
    code.store(4, state_at, _State.POSITION, position)
    code.give(1)
    code.place(over)  # cannot be: the slice lies in the packet
    code.store(4, state_at, _State.STATE, code.copy(REJECT))
    code.place(stop)
    code.give(1)
    return code


def load_window(code: Function, context: Value, position: Value, left: Value, done: Label, absent: Label) -> tuple[Buffer, Value]:
    """The packet's next bytes from `position` on, WINDOW of them or the `left` ones, and how many; go to `done` where none is left, to
    `absent` where the packet is shorter."""
    window, size, whole = code.buffer(WINDOW), code.copy(WINDOW), code.label()
    code.branch(Condition.GE, left, WINDOW, whole)
    code.branch(Condition.EQ, left, 0, done)
    code.set(size, left)
    code.place(whole)
    code.clear(window, 0, WINDOW)
    code.load_packet(context, position, At(window), size, absent)
    return window, size
