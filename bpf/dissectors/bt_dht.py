"""BitTorrent's distributed hash table (semantics: rules_dsl/dissectors/bt_dht.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from bpf.dissectors.model import Place, Present, Slice
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Bytes, Condition, Helper
from bpf.search import seek
from bpf.slices import at_most, give_absent, load_number, pack_slice, take_slice
from bpf.tables import Tables

_LOOKED_AT: Final = 1500
"""Bytes of the payload."""
_DIGITS: Final = 5
"""Of a string's length."""


def _message(tables: Tables) -> tuple[Function, ...]:
    """`bt_dht(context, payload)`: the part of the payload that is looked at, where it begins as a message."""
    code = Function("bt_dht", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    at_most(code, length, _LOOKED_AT)
    seek(code, tables, context, offset, length, r"(?s)^d(?:2:ip6:.{6}|2:ip18:.{18})?1:(?:ad|rd|el)", absent)
    code.give(pack_slice(code, offset, length))
    give_absent(code, absent)
    return (code,)


# -- a walk through a bencoded dictionary --------------------------------------------------------------------------------


class _Walk:
    """Its state. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    PLACE = 12
    END = 20
    DEPTH = 28
    """1 in the dictionary itself."""
    MODE = 36
    LENGTH = 44
    """Of the value that has been found, at PLACE."""
    SIZE = 48


_KEY, _VALUE, _WANTED, _NESTED, _FOUND = range(5)
"""What comes next in the dictionary: a key, the value of another key, the value that is asked for; or the place is in a value."""
_INTEGER: Final = 8
"""Beside the mode: the place is in an integer."""


def _value_of(key: bytes, kind: Literal["string", "dictionary"]) -> Routine:
    """`(context, dictionary)`: the value of that key: a string's bytes; or what is there from a dictionary's first byte on."""
    name = f"bt_dht_value_{key.decode()}"

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, dictionary, *_ = code.parameters
        absent = code.label()
        state = code.buffer(_Walk.SIZE)
        offset, length = take_slice(code, dictionary, absent)
        code.store(8, state, _Walk.CONTEXT, context)
        code.store(4, state, _Walk.PLACE, code.alu(Alu.ADD, offset, 1))
        code.store(4, state, _Walk.END, code.alu(Alu.ADD, offset, length))
        code.store(4, state, _Walk.DEPTH, 1)
        code.store(4, state, _Walk.MODE, _KEY)
        code.store(4, state, _Walk.LENGTH, 0)
        code.helper(Helper.LOOP, _LOOKED_AT, FunctionName(f"{name}_step"), At(state), 0)
        code.branch(Condition.NE, code.load(4, state, _Walk.MODE), _FOUND, absent)
        code.give(pack_slice(code, code.load(4, state, _Walk.PLACE), code.load(4, state, _Walk.LENGTH)))
        give_absent(code, absent)
        return code, _step(f"{name}_step", key, kind)

    return Routine(name, write)


def _step(name: str, key: bytes, kind: Literal["string", "dictionary"]) -> Function:
    """One token further, or one byte of an integer: bpf_loop's callback."""
    code = Function(name, FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    stop, integer, end, string, nested, further, keep = (code.label() for _ in range(7))
    scratch = code.buffer(8)
    context = code.load(8, state, _Walk.CONTEXT)
    place = code.load(4, state, _Walk.PLACE)
    mode = code.load(4, state, _Walk.MODE)
    code.branch(Condition.GE, place, code.load(4, state, _Walk.END), stop)
    byte = load_number(code, context, place, 1, scratch, stop)
    code.update(Alu.ADD, place, 1)
    code.branch(Condition.GE, mode, _INTEGER, integer)
    code.branch(Condition.EQ, byte, ord("e"), end)
    _go_if_digit(code, byte, string)
    code.branch(Condition.EQ, mode, _KEY, stop)
    code.branch(Condition.EQ, byte, ord("d"), nested)
    code.branch(Condition.EQ, byte, ord("l"), nested)
    code.branch(Condition.NE, byte, ord("i"), stop)
    code.branch(Condition.EQ, mode, _WANTED, stop)
    code.update(Alu.OR, mode, _INTEGER)
    code.jump(keep)

    code.place(integer)
    ended = code.label()
    code.branch(Condition.EQ, byte, ord("e"), ended)
    code.branch(Condition.EQ, byte, ord("-"), further)
    _go_if_digit(code, byte, further)
    code.jump(stop)
    code.place(ended)
    code.update(Alu.AND, mode, _INTEGER - 1)
    code.branch(Condition.EQ, mode, _NESTED, keep)
    code.set(mode, _KEY)
    code.jump(keep)

    code.place(end)
    depth = code.load(4, state, _Walk.DEPTH)
    code.update(Alu.SUB, depth, 1)
    code.store(4, state, _Walk.DEPTH, depth)
    code.branch(Condition.EQ, depth, 0, stop)
    code.branch(Condition.NE, depth, 1, further)
    code.set(mode, _KEY)
    code.jump(keep)

    code.place(nested)
    if kind == "dictionary":
        unwanted = code.label()
        code.branch(Condition.NE, mode, _WANTED, unwanted)
        code.branch(Condition.NE, byte, ord("d"), stop)
        code.update(Alu.SUB, place, 1)
        length = code.load(4, state, _Walk.END)
        code.update(Alu.SUB, length, place)
        _found(code, state, place, length)
        code.place(unwanted)
    else:
        code.branch(Condition.EQ, mode, _WANTED, stop)
    depth = code.load(4, state, _Walk.DEPTH)
    code.store(4, state, _Walk.DEPTH, code.alu(Alu.ADD, depth, 1))
    code.set(mode, _NESTED)
    code.jump(keep)

    code.place(string)
    length = code.alu(Alu.SUB, byte, ord("0"))
    begun = code.label()
    for digit in range(_DIGITS):
        another = code.label()
        code.set(byte, load_number(code, context, place, 1, scratch, stop))
        code.update(Alu.ADD, place, 1)
        code.branch(Condition.EQ, byte, ord(":"), begun)
        if digit < _DIGITS - 1:
            _go_if_digit(code, byte, another)
        code.jump(stop)
        code.place(another)
        code.update(Alu.MUL, length, 10)
        code.update(Alu.ADD, length, code.alu(Alu.SUB, byte, ord("0")))
    code.place(begun)
    behind = code.alu(Alu.ADD, place, length)
    code.branch(Condition.GT, behind, code.load(4, state, _Walk.END), stop)
    is_key, other, passed = code.label(), code.label(), code.label()
    code.branch(Condition.EQ, mode, _KEY, is_key)
    code.branch(Condition.EQ, mode, _NESTED, passed)
    if kind == "string":
        code.branch(Condition.NE, mode, _WANTED, other)
        _found(code, state, place, length)
        code.place(other)
    else:
        code.branch(Condition.EQ, mode, _WANTED, stop)
    code.set(mode, _KEY)
    code.jump(passed)
    code.place(is_key)
    code.set(mode, _VALUE)
    code.branch(Condition.NE, length, len(key), passed)
    for start, size in _pieces(len(key)):
        piece = load_number(code, context, code.alu(Alu.ADD, place, start), size, scratch, stop)
        code.branch(Condition.NE, piece, code.copy(int.from_bytes(key[start : start + size])), passed)
    code.set(mode, _WANTED)
    code.place(passed)
    code.set(place, behind)

    code.place(keep)
    code.store(4, state, _Walk.MODE, mode)
    code.place(further)
    code.store(4, state, _Walk.PLACE, place)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


def _go_if_digit(code: Function, byte: Value, to: Label) -> None:
    other = code.label()
    code.branch(Condition.LT, byte, ord("0"), other)
    code.branch(Condition.LE, byte, ord("9"), to)
    code.place(other)


def _found(code: Function, state: Value, place: Value, length: Value) -> None:
    """End the walk."""
    code.store(4, state, _Walk.PLACE, place)
    code.store(4, state, _Walk.LENGTH, length)
    code.store(4, state, _Walk.MODE, code.copy(_FOUND))
    code.give(1)


def _pieces(length: int) -> list[tuple[int, Bytes]]:
    """Places and sizes of loads that cover so many bytes."""
    pieces: list[tuple[int, Bytes]] = []
    sizes: tuple[Bytes, ...] = (8, 4, 2, 1)
    start = 0
    for size in sizes:
        while length - start >= size:
            pieces.append((start, size))
            start += size
    return pieces


def _sender(tables: Tables) -> tuple[Function, ...]:
    """`bt_dht_sender(context, arguments, answer)`: the dictionary that has the sender's id."""
    code = Function("bt_dht_sender", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, arguments, answer, _ = code.parameters
    no_arguments = code.label()
    code.branch(Condition.EQ, arguments, 0, no_arguments)
    code.give(arguments)
    code.place(no_arguments)
    code.give(answer)
    return (code,)


_MESSAGE: Final = Fact(Routine("bt_dht", _message), (UDP_PAYLOAD,))
_ARGUMENTS: Final = Fact(_value_of(b"a", "dictionary"), (_MESSAGE,))
_ANSWER: Final = Fact(_value_of(b"r", "dictionary"), (_MESSAGE,))
_SENDER: Final = Fact(Routine("bt_dht_sender", _sender), (_ARGUMENTS, _ANSWER))

BT_DHT: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "bt_dht": Present(_MESSAGE),
        "bt_dht.type": Slice(Fact(_value_of(b"y", "string"), (_MESSAGE,))),
        "bt_dht.query": Slice(Fact(_value_of(b"q", "string"), (_MESSAGE,))),
        "bt_dht.id": Slice(Fact(_value_of(b"id", "string"), (_SENDER,))),
        "bt_dht.info_hash": Slice(Fact(_value_of(b"info_hash", "string"), (_ARGUMENTS,))),
    }
)
