"""Where the first of many plain patterns may begin: most payloads are told to have none without reading every byte.

As Wu and Manber's search (1994) does, it asks for blocks of a few bytes that patterns have near their start. All patterns have `stride`
such blocks, at every place, so it is enough to look at one block in `stride` bytes of the payload; where it is one of theirs, the
automaton searches from there on. The set of their blocks is two tables, each with a cell for another hash (Bloom, 1970).

The looks do not depend on each other, so that a processor takes several at a time: this is quicker than an automaton, each step of
which waits for the one before, even where it looks at every byte."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bpf.automaton import Fold
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.pattern_set import BytesTest, texts_anywhere
from bpf.slices import SLICE_BITS, offset_of, pack_slice
from bpf.tables import TABLE, Tables

WINDOW: Final = 192
"""Bytes copied to the stack at a time."""
_WORD: Final = 8

_HASHES: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
"""Odd factors; the product's high bits are the hash."""
_CELLS_A_BLOCK: Final = 32
"""Of each table, as long as it is not too large: one in a thousand other blocks is found in both."""
_SMALLEST: Final = 12
_LARGEST: Final = 20
"""Binary digits of the number of a table's cells, each a byte."""
_TRIES: Final = 8
"""Blocks that are in the first table and not in the second, after which the automaton takes over: a payload may be made of them."""

_CASES: Final = 0x2020_2020_2020_2020
"""Set, it takes the case from letters (and more from other bytes, which does no harm: what is found is searched for again)."""


@dataclass(frozen=True, slots=True)
class Sieve:
    """What is looked for."""

    block: int
    """Bytes of a block, at most 8."""
    stride: int
    """Bytes from one look to the next."""
    caseless: bool
    digits: int
    """A table has 2 ** digits cells."""
    tables: bytes
    """Not 0 in the cells of the patterns' blocks."""

    def may_hold(self, data: bytes) -> int | None:
        """Before which place no pattern begins in `data`; None where it has none. These are the kernel's looks, but for its tries and for
        those that reach beyond the data."""
        for at in range(0, len(data) - self.block + 1, self.stride):
            if all(self.has(data[at : at + self.block], number) for number in range(len(_HASHES))):
                return max(at - self.stride + 1, 0)
        return None

    def has(self, block: bytes, number: int) -> bool:
        """Whether the block is in that table."""
        return self.tables[(number << self.digits) + _hash(block, number, self.digits, self.caseless)] != 0


def _hash(block: bytes, number: int, digits: int, caseless: bool) -> int:
    word = int.from_bytes(block, "little") << (_WORD - len(block)) * 8
    if caseless:
        word |= _CASES
    return (word * _HASHES[number] & (1 << 64) - 1) >> 64 - digits


# -- whether it is worth it --------------------------------------------------------------------------------------------

_TYPICAL: Final = 512
"""Bytes of a payload."""
_LOOK_NS: Final = 1.5
_PASS_NS: Final = 1_300.0
"""Of the automaton over a typical payload, where few patterns are looked for."""
_LETTERS: Final = 20
"""As many different bytes as a typical text would have, were they equally likely."""
_GAIN: Final = 0.8
_SHORT: Final = 64
"""Bytes below which the automaton alone is as quick."""


def sieve_of(tests: Sequence[tuple[BytesTest, Fold]]) -> Sieve | None:
    """What tells apart values for which one of the tests may hold, each given with the fold of its operand; None where a test asks for more
    than texts anywhere, or an automaton alone is as quick."""
    texts = texts_anywhere(tests)
    if not texts or sys.byteorder != "little":
        return None
    return _sieve(list({text.text for text in texts}), caseless=any(text.kind is not Fold.NONE and text.has_letters for text in texts))


def _sieve(patterns: Sequence[bytes], *, caseless: bool) -> Sieve | None:
    shortest = min(map(len, patterns))
    cost, block = min(((_cost(patterns, shortest, block), block) for block in range(2, min(shortest, _WORD) + 1)), default=(_PASS_NS, 0))
    if cost > _PASS_NS * _GAIN:
        return None
    stride = _stride(shortest, block)
    blocks = {pattern[at : at + block] for pattern in patterns for at in range(stride)}
    digits = _digits(len(blocks))
    tables = bytearray(len(_HASHES) << digits)
    for each in blocks:
        for number in range(len(_HASHES)):
            tables[(number << digits) + _hash(each, number, digits, caseless)] = 1
    return Sieve(block, stride, caseless, digits, bytes(tables))


def _stride(shortest: int, block: int) -> int:
    """The looks of a stride stand at the same places of each word, or are whole words apart."""
    places = shortest - block + 1
    return min(places // _WORD * _WORD, WINDOW // 2) if places >= _WORD else 1 << places.bit_length() - 1


def _digits(blocks: int) -> int:
    return min(max(_SMALLEST, (blocks * _CELLS_A_BLOCK).bit_length()), _LARGEST)


def _cost(patterns: Sequence[bytes], shortest: int, block: int) -> float:
    """Nanoseconds for a typical payload without a pattern, by blocks of so many bytes."""
    stride = _stride(shortest, block)
    blocks = len(patterns) * stride
    looks = _TYPICAL / stride
    chance = looks * (blocks / float(_LETTERS**block) + (blocks / (1 << _digits(blocks))) ** 2)
    return looks * _LOOK_NS + min(chance, 1) * _PASS_NS


# -- the program -------------------------------------------------------------------------------------------------------


class _State:
    """On the stack of `sift`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    AT = 12
    """Of the next look, in the packet."""
    END = 20
    FOUND = 28
    TRIES = 36
    """That are left."""
    SIZE = 40


def sifted(
    code: Function, tables: Tables, context: Value, piece: tuple[Value, Value], tests: Sequence[tuple[BytesTest, Fold]], nowhere: Label
) -> tuple[Value, Value]:
    """Of a run of the packet's bytes (offset and length), the rest from where on one of the tests may hold (see `sieve_of`); go to
    `nowhere` where none does. All of it where there is no sieve for them."""
    wanted = sieve_of(tests) if tables.most_sieves else None
    place = None if wanted is None else tables.sieve(wanted.tables)
    if wanted is None or place is None:
        return piece
    offset, length = map(code.copy, piece)
    short = code.label()
    code.branch(Condition.LT, length, _SHORT, short)
    routine = Routine(f"sift{place}", partial(_sift, wanted=wanted, place=place))
    rest = code.call(routine, context, pack_slice(code, offset, length))
    code.branch(Condition.EQ, rest, 0, nowhere)
    code.set(length, rest)
    code.update(Alu.AND, length, 0xFFFF_FFFF, 32)
    code.set(offset, offset_of(code, rest))
    code.place(short)
    return offset, length


def _sift(tables: Tables, wanted: Sieve, place: int) -> tuple[Function, ...]:
    name = f"sift{place}"
    code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, packed, *_ = code.parameters
    state, nowhere, begin = code.buffer(_State.SIZE), code.label(), code.label()
    code.store(8, state, _State.CONTEXT, context)
    first = offset_of(code, packed)
    code.store(4, state, _State.AT, first)
    length = code.alu(Alu.AND, packed, (1 << SLICE_BITS) - 1)
    code.update(Alu.ADD, first, length)
    code.store(4, state, _State.END, first)
    code.store(4, state, _State.FOUND, 0)
    code.store(4, state, _State.TRIES, _TRIES)
    code.update(Alu.RSH, length, (_reach(wanted)).bit_length() - 1)
    code.update(Alu.ADD, length, 1)
    code.helper(Helper.LOOP, length, FunctionName(f"{name}_window"), At(state), 0)
    code.branch(Condition.EQ, code.load(4, state, _State.FOUND), 0, nowhere)
    start = code.load(4, state, _State.AT)
    least = offset_of(code, packed)
    code.update(Alu.ADD, least, wanted.stride - 1)
    code.branch(Condition.GE, start, least, begin)
    code.set(start, least)
    code.place(begin)
    code.update(Alu.SUB, start, wanted.stride - 1)
    rest = code.load(4, state, _State.END)
    code.branch(Condition.GE, start, rest, nowhere)
    code.update(Alu.SUB, rest, start)
    code.update(Alu.AND, rest, (1 << SLICE_BITS) - 1)
    code.give(pack_slice(code, start, rest))
    code.place(nowhere)
    code.give(0)
    return code, _window(wanted, place)


def _step(wanted: Sieve) -> int:
    """Bytes from the words of one round of looks to those of the next."""
    return max(wanted.stride, _WORD)


def _reach(wanted: Sieve) -> int:
    """Bytes from a window's first look to the next one's. A window's last word is for blocks that begin in the one before."""
    return len(range(0, WINDOW - _WORD, _step(wanted))) * _step(wanted)


def _window(wanted: Sieve, place: int) -> Function:
    """The looks at one window: bpf_loop's callback. A block may reach beyond the slice: what is found then is searched for in vain."""
    code = Function(f"sift{place}_window", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    window = code.buffer(WINDOW + _WORD)
    code.store(8, window, WINDOW, 0)
    whole, looks, over, hit, stop = (code.label() for _ in range(5))
    start = code.load(4, state_at, _State.AT)
    left = code.load(4, state_at, _State.END)
    code.branch(Condition.GT, start, left, stop)
    code.update(Alu.SUB, left, start)
    code.branch(Condition.LT, left, wanted.block, stop)
    size = code.copy(WINDOW)
    code.branch(Condition.GE, left, WINDOW, whole)
    code.set(size, left)
    code.clear(window, 0, WINDOW)
    code.place(whole)
    code.load_packet(code.load(8, state_at, _State.CONTEXT), start, At(window), size, stop)
    table, factor, cases = code.table(TABLE, place), code.copy(_HASHES[0]), code.copy(_CASES)
    index, at = code.copy(0), code.value()
    maybes = [(offset, code.label(), code.label()) for offset in range(0, _WORD, wanted.stride)]
    code.place(looks)
    for offset, maybe, resume in maybes:
        word = _block(code, window, index, offset, wanted, cases)
        code.update(Alu.MUL, word, factor)
        code.branch(Condition.NE, _cell(code, word, table, wanted), 0, maybe)
        code.place(resume)
    code.update(Alu.ADD, index, _step(wanted))
    code.branch(Condition.GE, index, WINDOW - _WORD, over)
    code.branch(Condition.LT, index, size, looks)
    code.jump(stop)
    code.place(over)
    code.update(Alu.ADD, start, index)
    code.store(4, state_at, _State.AT, start)
    code.give(0)
    for offset, maybe, resume in maybes:
        code.place(maybe)
        word = _block(code, window, index, offset, wanted, cases)
        code.update(Alu.MUL, word, code.copy(_HASHES[1]))
        code.set(at, offset)
        second = code.table(TABLE, place + (1 << wanted.digits))
        code.branch(Condition.NE, _cell(code, word, second, wanted), 0, hit)
        tries = code.load(4, state_at, _State.TRIES)
        code.update(Alu.SUB, tries, 1)
        code.store(4, state_at, _State.TRIES, tries)
        code.branch(Condition.NE, tries, 0, resume, 32)
        code.jump(hit)
    code.place(hit)
    code.update(Alu.ADD, start, index)
    code.update(Alu.ADD, start, at)
    code.store(4, state_at, _State.AT, start)
    code.store(4, state_at, _State.FOUND, 1)
    code.place(stop)
    code.give(1)
    return code


def _block(code: Function, window: Buffer, index: Value, offset: int, wanted: Sieve, cases: Value) -> Value:
    """The bytes at `offset` from the word at `index` on, as the high ones of a word. (The verifier wants what is read of the stack
    aligned.)"""
    here = code.address(window)
    code.update(Alu.ADD, here, index)
    word = code.load(8, here)
    if offset:
        code.update(Alu.RSH, word, offset * 8)
    if offset + wanted.block > _WORD:
        behind = code.load(8, here, _WORD)
        code.update(Alu.LSH, behind, (_WORD - offset) * 8)
        code.update(Alu.OR, word, behind)
    if wanted.block < _WORD:
        code.update(Alu.LSH, word, (_WORD - wanted.block) * 8)
    if wanted.caseless:
        code.update(Alu.OR, word, cases)
    return word


def _cell(code: Function, product: Value, table: Value, wanted: Sieve) -> Value:
    cell = code.alu(Alu.RSH, product, 64 - wanted.digits)
    code.update(Alu.ADD, cell, table)
    return code.load(1, cell)
