"""RADIUS (semantics: rules_dsl/dissectors/radius.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import AddressOf, BitsOf, Place, Present, Slice
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Routine
from bpf.isa import Alu, Condition, Helper
from bpf.slices import give_absent, give_slice, load_number, take_slice
from bpf.tables import Tables

_CODES: Final = sum(1 << code for first, last in ((1, 13), (21, 27), (29, 34), (40, 45), (50, 52)) for code in range(first, last + 1))
"""A bit for each."""
_HEADER_BYTES, _LONGEST = 20, 4096
_MOST_ATTRIBUTES: Final = (_LONGEST - _HEADER_BYTES) // 2
_USER_NAME, _NAS_IP_ADDRESS = 1, 4


class _Walk:
    """The state of a walk over the attributes. The 32-bit members stand at odd multiples of 4, where the verifier does not track what
    is stored."""

    CONTEXT = 0
    POSITION = 12
    END = 20
    WANTED = 28
    """The type to stop at; NOTHING: none."""
    FOUND = 36
    """The length of the one found at `POSITION`; 0: none has been found."""
    SIZE = 40

    NOTHING = 256


def _message(tables: Tables) -> tuple[Function, ...]:
    """`radius(context, payload)`: the message, a slice."""
    code = Function("radius", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    state = code.buffer(_Walk.SIZE)
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, _HEADER_BYTES, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    number = code.alu(Alu.RSH, head, 24)
    code.branch(Condition.GT, number, 63, absent)
    known = code.copy(_CODES)
    code.update(Alu.RSH, known, number)
    code.update(Alu.AND, known, 1)
    code.branch(Condition.EQ, known, 0, absent)
    code.update(Alu.AND, head, 0xFFFF)
    code.branch(Condition.NE, head, length, absent)
    code.branch(Condition.GT, length, _LONGEST, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.store(8, state, _Walk.CONTEXT, context)
    code.store(4, state, _Walk.POSITION, code.alu(Alu.ADD, offset, _HEADER_BYTES))
    code.store(4, state, _Walk.END, end)
    code.store(4, state, _Walk.WANTED, _Walk.NOTHING)
    code.helper(Helper.LOOP, _MOST_ATTRIBUTES, FunctionName("radius_step"), At(state), 0)
    code.branch(Condition.NE, code.load(4, state, _Walk.POSITION), end, absent)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return code, _step()


def _attribute(tables: Tables) -> tuple[Function, ...]:
    """`radius_attribute(context, message, type)`: the value of the first attribute of that type."""
    code = Function("radius_attribute", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, wanted, _ = code.parameters
    absent = code.label()
    state = code.buffer(_Walk.SIZE)
    offset, length = take_slice(code, message, absent)
    code.store(8, state, _Walk.CONTEXT, context)
    code.store(4, state, _Walk.POSITION, code.alu(Alu.ADD, offset, _HEADER_BYTES))
    code.store(4, state, _Walk.END, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Walk.WANTED, wanted)
    code.store(4, state, _Walk.FOUND, 0)
    code.helper(Helper.LOOP, _MOST_ATTRIBUTES, FunctionName("radius_step"), At(state), 0)
    found = code.load(4, state, _Walk.FOUND)
    code.branch(Condition.LT, found, 2, absent)
    start = code.load(4, state, _Walk.POSITION)
    give_slice(code, code.alu(Alu.ADD, start, 2), code.alu(Alu.ADD, start, found))
    give_absent(code, absent)
    return code, _step()


def _step() -> Function:
    """One attribute further, or none where it is the one wanted or does not fit: bpf_loop's callback."""
    code = Function("radius_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    scratch = code.buffer(8)
    found, stop = code.label(), code.label()
    context = code.load(8, state, _Walk.CONTEXT)
    position = code.load(4, state, _Walk.POSITION)
    end = code.load(4, state, _Walk.END)
    code.branch(Condition.GT, code.alu(Alu.ADD, position, 2), end, stop)
    head = load_number(code, context, position, 2, scratch, stop)
    length = code.alu(Alu.AND, head, 0xFF)
    code.branch(Condition.LT, length, 2, stop)
    behind = code.alu(Alu.ADD, position, length)
    code.branch(Condition.GT, behind, end, stop)
    code.update(Alu.RSH, head, 8)
    code.branch(Condition.EQ, head, code.load(4, state, _Walk.WANTED), found)
    code.store(4, state, _Walk.POSITION, behind)
    code.give(0)
    code.place(found)
    code.store(4, state, _Walk.FOUND, length)
    code.place(stop)
    code.give(1)
    return code


def _address(tables: Tables) -> tuple[Function, ...]:
    """`radius_address(context, value)`: the value again, where it has four bytes."""
    code = Function("radius_address", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, value, *_ = code.parameters
    absent = code.label()
    _, length = take_slice(code, value, absent)
    code.branch(Condition.NE, length, 4, absent)
    code.give(value)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("radius", _message), (UDP_PAYLOAD,))
_ATTRIBUTE: Final = Routine("radius_attribute", _attribute)

RADIUS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "radius": Present(_MESSAGE),
        "radius.code": BitsOf(_MESSAGE, 0, 8),
        "radius.id": BitsOf(_MESSAGE, 8, 8),
        "radius.length": BitsOf(_MESSAGE, 16, 16),
        "radius.user_name": Slice(Fact(_ATTRIBUTE, (_MESSAGE,), (_USER_NAME,))),
        "radius.nas_ip": AddressOf(
            Fact(Routine("radius_address", _address), (Fact(_ATTRIBUTE, (_MESSAGE,), (_NAS_IP_ADDRESS,)),)),
        ),
    }
)
