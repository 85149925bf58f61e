"""The search for one plain pattern that looks at few of the bytes, as Boyer, Moore and Horspool's (1980) does.

The byte under the pattern's last place says how far the pattern can move; where it is the pattern's last, the byte before it is asked
too. Only where both are the pattern's own is all of it compared. Bytes that let it move little, or look like the pattern again and
again, are left to the automaton (bpf/search.py) from there on, so that no payload makes the search longer than the automaton's."""

from __future__ import annotations

from typing import Final

from bpf.automaton import Fold
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Value
from bpf.isa import Alu, Condition, Helper
from bpf.search import call_seek_at
from bpf.slices import SLICE_BITS, SLICE_SHIFT, pack_slice
from bpf.tables import TABLE, Run, Tables

SKIP: Final = "skip"
_WINDOW: Final = "skip_window"

SHORTEST: Final = 4
"""Bytes of a pattern from which this is quicker than the automaton on all but hostile bytes."""
LONGEST: Final = 32
"""Bytes compared; of a longer pattern these are searched for, and the automaton has the rest."""
WINDOW: Final = 192
"""Bytes copied to the stack at a time, LONGEST - 1 of them again."""
_PROBES: Final = WINDOW // 2
"""Moves in a window, after which the automaton takes over."""
_TRIES: Final = 8
"""Comparisons that fail in a packet, after which it does too."""

_BEFORE, _VALUES, _MASKS, _NEXT, _NEEDLE = 256, 512, 512 + LONGEST, 512 + 2 * LONGEST, 512 + 2 * LONGEST + 8
"""A needle: how far to move by the byte under the last place (0: ask the one before), by the one before (0: compare), the bytes to
compare and their masks, and how far to move where that fails."""


def needle(pattern: bytes, fold: Fold) -> bytes:
    """The data for the search for a pattern that folded bytes can be."""
    assert len(pattern) >= SHORTEST
    assert fold.can_give(pattern)
    wanted = pattern[:LONGEST]
    size = len(wanted)
    folded = bytes(map(fold.apply, range(256)))

    def shift(*ends: int) -> int:
        """The least move behind which the pattern's bytes agree with these last ones of the text."""
        for move in range(1, size):
            places = range(size - len(ends) - move, size - move)
            if all(at < 0 or wanted[at] == folded[end] for at, end in zip(places, ends, strict=True)):
                return move
        return size

    before, last = wanted[-2:]
    by_last = bytes(0 if folded[byte] == last else shift(byte) for byte in range(256))
    by_before = bytes(0 if folded[byte] == before else shift(byte, last) for byte in range(256))
    masks = bytes(0xDF if fold is not Fold.NONE and chr(byte).isalpha() and byte < 0x80 else 0xFF for byte in wanted)
    values = bytes(byte & mask for byte, mask in zip(wanted, masks, strict=True))
    return by_last + by_before + values.ljust(LONGEST, b"\0") + masks.ljust(LONGEST, b"\0") + bytes([shift(before, last)]).ljust(8, b"\0")


def call_skip(code: Function, tables: Tables, context: Value, packed: Value, pattern: bytes, fold: Fold, run: Run) -> Value:
    """Not 0 where the packed slice has the pattern in it, for which `run` is the automaton."""
    place = tables.piece(needle(pattern, fold))
    is_whole = len(pattern) <= LONGEST
    what = place | min(len(pattern), LONGEST) << 32 | is_whole << 40
    return code.call(SKIP, context, packed, code.copy(run.start << 32 | run.classes), code.copy(what))


class _State:
    """On the stack of `skip`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    AT = 12
    """Where in the packet the pattern's first byte may be next."""
    END = 20
    NEEDLE = 28
    SIZE_OF_NEEDLE = 36
    TRIES = 44
    """Comparisons that are left."""
    OUTCOME = 52
    SIZE = 56


_NOWHERE, _FOUND, _LEFT = 0, 1, 2
"""Outcomes; the last: from AT on, the automaton has to search."""


def skip(tables: Tables) -> tuple[Function, ...]:
    """`skip(context, slice, start << 32 | classes, needle | length << 32 | is whole << 40)`, for these tables, which are complete."""
    code = Function(SKIP, FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, piece, run, what = code.parameters
    state = code.buffer(_State.SIZE)
    found, nowhere = code.label(), code.label()
    code.store(8, state, _State.CONTEXT, context)
    first = code.alu(Alu.RSH, piece, SLICE_SHIFT)
    code.update(Alu.AND, first, (1 << SLICE_BITS) - 1)
    code.store(4, state, _State.AT, first)
    length = code.alu(Alu.AND, piece, (1 << SLICE_BITS) - 1)
    code.update(Alu.ADD, first, length)
    code.store(4, state, _State.END, first)
    code.store(4, state, _State.NEEDLE, what)
    size = code.alu(Alu.RSH, what, 32)
    code.update(Alu.AND, size, 0xFF)
    code.store(4, state, _State.SIZE_OF_NEEDLE, size)
    code.store(4, state, _State.TRIES, _TRIES)
    code.store(4, state, _State.OUTCOME, _NOWHERE)
    code.update(Alu.RSH, length, (WINDOW - LONGEST + 1).bit_length() - 1)
    code.update(Alu.ADD, length, _TRIES + 2)
    code.helper(Helper.LOOP, length, FunctionName(_WINDOW), At(state), 0)
    outcome = code.load(4, state, _State.OUTCOME)
    code.branch(Condition.EQ, outcome, _NOWHERE, nowhere)
    whole = code.alu(Alu.RSH, what, 40)
    code.update(Alu.AND, whole, outcome)  # 1 where it is found, and whole
    code.branch(Condition.EQ, whole, 1, found)
    start = code.load(4, state, _State.AT)
    rest = code.load(4, state, _State.END)
    code.branch(Condition.GT, start, rest, nowhere)
    code.update(Alu.SUB, rest, start)
    classes = code.alu(Alu.AND, run, 0xFFFF_FFFF, 32)
    code.update(Alu.RSH, run, 32)
    code.give(call_seek_at(code, context, pack_slice(code, start, rest), run, classes))
    code.place(found)
    code.give(1)
    code.place(nowhere)
    code.give(0)
    return code, _window(tables)


def _window(tables: Tables) -> Function:
    """To the window's end, or to the next place where the last two bytes are the pattern's: bpf_loop's callback."""
    code = Function(_WINDOW, FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    window = code.buffer(WINDOW)
    part, probe, move, over, compare, again, differs, found, stop = (code.label() for _ in range(9))
    context = code.load(8, state_at, _State.CONTEXT)
    start = code.load(4, state_at, _State.AT)
    left = code.load(4, state_at, _State.END)
    code.branch(Condition.GT, start, left, stop)
    code.update(Alu.SUB, left, start)
    code.branch(Condition.LT, left, code.load(4, state_at, _State.SIZE_OF_NEEDLE), stop)
    size = code.copy(WINDOW)
    code.branch(Condition.GE, left, WINDOW, part)
    code.branch(Condition.EQ, left, 0, stop)
    code.set(size, left)
    for offset in range(0, WINDOW, 8):  # a verifier before Linux 6.3 wants to see it written
        code.store(8, window, offset, 0)
    code.place(part)
    code.load_packet(context, start, At(window), size, stop)
    place = code.load(4, state_at, _State.NEEDLE)
    code.branch(Condition.GT, place, tables.limit, stop)
    data = code.table(TABLE)
    code.update(Alu.ADD, data, place)
    index = code.load(4, state_at, _State.SIZE_OF_NEEDLE)
    code.update(Alu.SUB, index, 1)
    code.branch(Condition.LT, index, 1, stop)
    count = code.copy(0)

    code.place(probe)
    code.branch(Condition.GT, index, WINDOW - 1, over)
    code.branch(Condition.GE, index, size, over)
    here = code.address(window)
    code.update(Alu.ADD, here, index)
    cell = code.load(1, here)
    code.update(Alu.ADD, cell, data)
    shift = code.load(1, cell)
    code.branch(Condition.GE, shift, 1, move)
    cell = code.load(1, here, -1)
    code.update(Alu.ADD, cell, data)
    code.load_to(shift, 1, cell, _BEFORE)
    code.branch(Condition.LT, shift, 1, compare)
    code.place(move)
    code.update(Alu.ADD, index, shift)
    code.update(Alu.ADD, count, 1)
    code.branch(Condition.LT, count, _PROBES, probe)
    code.store(4, state_at, _State.OUTCOME, _LEFT)
    _advance(code, state_at, index)
    code.give(1)
    code.place(over)
    _advance(code, state_at, index)
    code.give(0)

    code.place(compare)
    before = code.load(4, state_at, _State.AT)
    _advance(code, state_at, index)
    first = code.load(4, state_at, _State.AT)
    code.update(Alu.SUB, first, before)
    length = code.load(4, state_at, _State.SIZE_OF_NEEDLE)
    place = code.load(4, state_at, _State.NEEDLE)
    code.branch(Condition.GT, place, tables.limit, stop)
    data = code.table(TABLE)
    code.update(Alu.ADD, data, place)
    step = code.copy(0)
    code.place(again)
    code.branch(Condition.GT, first, WINDOW - 1, stop)
    here = code.address(window)
    code.update(Alu.ADD, here, first)
    byte = code.load(1, here)
    wanted = code.alu(Alu.ADD, data, step)
    code.update(Alu.AND, byte, code.load(1, wanted, _MASKS))
    code.branch(Condition.NE, byte, code.load(1, wanted, _VALUES), differs)
    code.update(Alu.ADD, first, 1)
    code.update(Alu.ADD, step, 1)
    code.branch(Condition.GE, step, length, found)
    code.branch(Condition.LT, step, LONGEST, again)
    code.place(found)
    code.store(4, state_at, _State.OUTCOME, _FOUND)
    code.place(stop)
    code.give(1)

    code.place(differs)
    first = code.load(4, state_at, _State.AT)
    code.update(Alu.ADD, first, code.load(1, data, _NEXT))
    code.store(4, state_at, _State.AT, first)
    tries = code.load(4, state_at, _State.TRIES)
    code.update(Alu.SUB, tries, 1)
    code.store(4, state_at, _State.TRIES, tries)
    more = code.label()
    code.branch(Condition.NE, tries, 0, more, 32)
    code.store(4, state_at, _State.OUTCOME, _LEFT)
    code.give(1)
    code.place(more)
    code.give(0)
    return code


def _advance(code: Function, state_at: Value, index: Value) -> None:
    """The pattern's last byte may be at byte `index` of the window next."""
    first = code.load(4, state_at, _State.AT)
    code.update(Alu.ADD, first, index)
    code.update(Alu.ADD, first, 1)
    code.update(Alu.SUB, first, code.load(4, state_at, _State.SIZE_OF_NEEDLE))
    code.store(4, state_at, _State.AT, first)
