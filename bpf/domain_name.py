"""Names of the domain name system (RFC 1035 section 4.1.4) in a packet: whether one is well-formed, and automata over its text.

A search by itself never puts a name's text together: its automaton reads the labels where they are. Where many tests share a pass over
the text, bpf/sweep_name.py puts it together.
"""

from __future__ import annotations

from typing import Final

from bpf.automaton import REJECT
from bpf.automaton_run import go_unless_accepted, run_at
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.search import SEEK_NAME
from bpf.slices import give_number, offset_of, pack_slice, take_slice
from bpf.tables import Tables

LONGEST: Final = 255
"""Bytes of a name with its length bytes (RFC 1035 section 2.3.4)."""
POINTERS: Final = 16
"""Compression pointers that are followed in one name."""
HEADER: Final = 12
"""Bytes of a message's header, into which no pointer leads."""
LABELS: Final = 1
"""As the last number that NAME takes: give the number of labels."""
TEXT: Final = 2
"""Give the text's length as a number."""

POINTER: Final = 0xC0
"""A length byte from here on begins a pointer of two bytes."""
LONGEST_LABEL: Final = 63

STEPS: Final = LONGEST // 2 + POINTERS + 1
"""Labels, pointers and the root."""
_WINDOW: Final = 64
"""A dot and the longest label."""


class _Walk:
    """On the stack of `dns_name`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    POSITION = 12
    START = 20
    """Where the message begins."""
    END = 28
    BEFORE = 36
    """The next pointer points to before this."""
    POINTERS = 44
    BYTES = 52
    """Of the labels so far, with their length bytes."""
    LABELS = 60
    WHOLE = 68
    SIZE = 72


def _name(tables: Tables) -> tuple[Function, ...]:
    """`dns_name(context, message, place, wanted)`: the name that begins where the slice `place` does; 0 where it is not well-formed.
    A slice: where its first length byte is, and how many bytes its text has; or a number, see LABELS and TEXT."""
    code = Function("dns_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, place, wanted = code.parameters
    absent, root, labels, text = (code.label() for _ in range(4))
    start, length = take_slice(code, message, absent)
    position, _ = take_slice(code, place, absent)
    state = code.buffer(_Walk.SIZE)
    code.store(8, state, _Walk.CONTEXT, context)
    code.store(4, state, _Walk.POSITION, position)
    code.store(4, state, _Walk.START, start)
    code.store(4, state, _Walk.END, code.alu(Alu.ADD, start, length))
    code.store(4, state, _Walk.BEFORE, position)
    for member in (_Walk.POINTERS, _Walk.BYTES, _Walk.LABELS, _Walk.WHOLE):
        code.store(4, state, member, 0)
    code.helper(Helper.LOOP, STEPS, FunctionName("dns_name_step"), At(state), 0)
    code.branch(Condition.EQ, code.load(4, state, _Walk.WHOLE), 0, absent)
    code.branch(Condition.EQ, wanted, LABELS, labels)
    size = code.load(4, state, _Walk.BYTES)
    code.branch(Condition.EQ, size, 0, root)
    code.update(Alu.SUB, size, 1)
    code.place(root)
    code.branch(Condition.EQ, wanted, TEXT, text)
    code.give(pack_slice(code, position, size))
    code.place(text)
    give_number(code, size)
    code.place(labels)
    give_number(code, code.load(4, state, _Walk.LABELS))
    code.place(absent)
    code.give(0)
    return code, _name_step()


def _name_step() -> Function:
    """One label or pointer further: bpf_loop's callback."""
    code = Function("dns_name_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    pointer, whole, stop = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    context = code.load(8, state, _Walk.CONTEXT)
    position = code.load(4, state, _Walk.POSITION)
    end = code.load(4, state, _Walk.END)
    code.branch(Condition.GE, position, end, stop)
    length = load_length(code, context, position, scratch, root=whole, pointer=pointer, absent=stop)
    code.update(Alu.ADD, length, 1)
    size = code.load(4, state, _Walk.BYTES)
    code.update(Alu.ADD, size, length)
    code.branch(Condition.GE, size, LONGEST, stop)  # the root's byte comes yet
    code.store(4, state, _Walk.BYTES, size)
    code.update(Alu.ADD, position, length)
    code.store(4, state, _Walk.POSITION, position)
    labels = code.load(4, state, _Walk.LABELS)
    code.update(Alu.ADD, labels, 1)
    code.store(4, state, _Walk.LABELS, labels)
    code.give(0)
    code.place(pointer)
    pointers = code.load(4, state, _Walk.POINTERS)
    code.branch(Condition.GE, pointers, POINTERS, stop)
    code.update(Alu.ADD, pointers, 1)
    code.store(4, state, _Walk.POINTERS, pointers)
    code.branch(Condition.GT, code.alu(Alu.ADD, position, 2), end, stop)
    target = load_pointer(code, context, position, scratch, stop)
    code.branch(Condition.LT, target, HEADER, stop)
    code.update(Alu.ADD, target, code.load(4, state, _Walk.START))
    code.branch(Condition.GE, target, code.load(4, state, _Walk.BEFORE), stop)
    code.store(4, state, _Walk.BEFORE, target)
    code.store(4, state, _Walk.POSITION, target)
    code.give(0)
    code.place(whole)
    code.store(4, state, _Walk.WHOLE, 1)
    code.place(stop)
    code.give(1)
    return code


def load_length(code: Function, context: Value, position: Value, scratch: Buffer, *, root: Label, pointer: Label, absent: Label) -> Value:
    """The length of the label at `position`, 1 to LONGEST_LABEL; go to `root` for the name's last one, which is empty, to `pointer` where a
    pointer begins, and to `absent` where the packet is shorter or none of these is there."""
    code.load_packet(context, position, At(scratch), 1, absent)
    length = code.load(1, scratch)
    code.branch(Condition.EQ, length, 0, root)
    code.branch(Condition.GE, length, POINTER, pointer)
    code.branch(Condition.GT, length, LONGEST_LABEL, absent)
    return length


def load_pointer(code: Function, context: Value, position: Value, scratch: Buffer, absent: Label) -> Value:
    """Where the pointer at `position` leads, from the message's start on; go to `absent` where the packet is shorter."""
    code.load_packet(context, position, At(scratch), 2, absent)
    target = code.load_network(2, scratch)
    code.update(Alu.AND, target, 0x3FFF)
    return target


NAME: Final = Routine("dns_name", _name)


class _Run:
    """On the stack of `seek_name`, as `_Walk`."""

    CONTEXT = 0
    POSITION = 12
    MESSAGE = 20
    """Where the message begins."""
    SKIP = 28
    TAKE = 36
    """Bytes of the text left to skip, then to read."""
    STATE = 44
    CLASSES = 52
    FIRST = 60
    """The next label is the first: no dot stands before it."""
    SIZE = 64


def search_name(tables: Tables) -> tuple[Function, ...]:
    """`seek_name(context, place, run, message)`: 1 where an automaton accepts a part of a name's text in lower case, else 0. For these
    tables, which are complete.

    `place` is the offset of the name's first length byte << 32 | text bytes to skip << 16 | text bytes to read; `run` is Run.start << 32 |
    Run.classes; the name is known to be well-formed in the slice `message`."""
    code = Function(SEEK_NAME, FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, place, run, message = code.parameters
    state = code.buffer(_Run.SIZE)
    read, refused = code.label(), code.label()
    code.store(8, state, _Run.CONTEXT, context)
    for member, packed in ((_Run.POSITION, place), (_Run.MESSAGE, message)):
        offset = offset_of(code, packed)
        code.store(4, state, member, offset)
    skip = code.alu(Alu.RSH, place, 16)
    code.update(Alu.AND, skip, 0xFFFF)
    code.store(4, state, _Run.SKIP, skip)
    take = code.alu(Alu.AND, place, 0xFFFF)
    code.store(4, state, _Run.TAKE, take)
    code.store(4, state, _Run.STATE, code.alu(Alu.RSH, run, 32))
    code.store(4, state, _Run.CLASSES, run)
    code.store(4, state, _Run.FIRST, 1)
    code.branch(Condition.EQ, take, 0, read)
    code.helper(Helper.LOOP, STEPS, FunctionName("seek_name_step"), At(state), 0)
    code.place(read)
    go_unless_accepted(code, tables, state, _Run.STATE, refused)
    code.give(1)
    code.place(refused)
    code.give(0)
    return code, _run_step(tables)


def _run_step(tables: Tables) -> Function:
    """One label further, with the dot before it, or one pointer: bpf_loop's callback."""
    code = Function("seek_name_step", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    pointer, dotted, over, stop = (code.label() for _ in range(4))
    window = code.buffer(_WINDOW)
    code.clear(window, 0, _WINDOW)
    context = code.load(8, state_at, _Run.CONTEXT)
    position = code.load(4, state_at, _Run.POSITION)
    end = load_length(code, context, position, window, root=stop, pointer=pointer, absent=over)
    code.update(Alu.ADD, position, 1)
    code.load_packet(context, position, At(window, 1), end, over)
    code.update(Alu.ADD, position, end)
    code.store(4, state_at, _Run.POSITION, position)
    code.update(Alu.ADD, end, 1)
    code.store(1, window, 0, ord("."))
    index = code.load(4, state_at, _Run.FIRST)
    code.branch(Condition.EQ, index, 0, dotted)
    code.set(index, 1)
    code.store(4, state_at, _Run.FIRST, 0)
    code.place(dotted)

    # The part of the window that is to be read.
    enter, cut, reading = code.label(), code.label(), code.label()
    skip = code.load(4, state_at, _Run.SKIP)
    left = code.alu(Alu.SUB, end, index)
    code.branch(Condition.LT, skip, left, enter)
    code.update(Alu.SUB, skip, left)
    code.store(4, state_at, _Run.SKIP, skip)
    code.give(0)
    code.place(enter)
    code.store(4, state_at, _Run.SKIP, 0)
    code.update(Alu.ADD, index, skip)
    code.update(Alu.SUB, left, skip)
    take = code.load(4, state_at, _Run.TAKE)
    code.branch(Condition.GE, left, take, cut)
    code.update(Alu.SUB, take, left)
    code.store(4, state_at, _Run.TAKE, take)
    code.jump(reading)
    code.place(cut)
    code.set(end, code.alu(Alu.ADD, index, take))
    code.store(4, state_at, _Run.TAKE, 0)
    code.place(reading)

    byte, done = code.label(), code.label()
    run = run_at(code, tables, state_at, classes=_Run.CLASSES, state=_Run.STATE, over=over)
    code.place(byte)
    code.branch(Condition.GE, index, _WINDOW, over)  # cannot be; the verifier wants it said
    here = code.address(window)
    code.update(Alu.ADD, here, index)
    cell = code.load(1, here)
    upper = code.alu(Alu.SUB, cell, ord("A"))  # below 26 for a letter in upper case, without a branch for the verifier to follow
    code.update(Alu.AND, upper, 0xFF)
    code.update(Alu.SUB, upper, 26)
    code.update(Alu.RSH, upper, 63)
    code.update(Alu.LSH, upper, 5)
    code.update(Alu.OR, cell, upper)
    code.update(Alu.AND, cell, 0xFF)
    run.step(cell)
    code.branch(Condition.GT, run.state, tables.limit, done)
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.LT, index, end, byte)
    code.store(4, state_at, _Run.STATE, run.state)
    code.branch(Condition.EQ, code.load(4, state_at, _Run.TAKE), 0, stop)
    code.give(0)
    code.place(done)
    code.store(4, state_at, _Run.STATE, run.state)
    code.give(1)

    code.place(pointer)
    target = load_pointer(code, context, position, window, over)
    code.update(Alu.ADD, target, code.load(4, state_at, _Run.MESSAGE))
    code.store(4, state_at, _Run.POSITION, target)
    code.give(0)
    code.place(over)  # cannot be: the name is well-formed
    code.store(4, state_at, _Run.STATE, code.copy(REJECT))
    code.place(stop)
    code.give(1)
    return code
