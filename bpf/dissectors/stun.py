"""STUN (semantics: rules_dsl/dissectors/stun.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Present, Slice
from bpf.dissectors.routines import part_of
from bpf.facts import TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.slices import at_most, give_absent, give_number, give_slice, load_number, pack_slice, take_bounds, take_slice
from bpf.tables import Tables

_COOKIE: Final = 0x2112A442
_HEADER_BYTES: Final = 20
_USERNAME, _SOFTWARE = 0x0006, 0x8022
_ATTRIBUTES_LOOKED_AT: Final = 64


def _message(tables: Tables) -> tuple[Function, ...]:
    """`stun(context, udp_payload, tcp_payload)`: the message as far as it is in the packet, a slice."""
    code = Function("stun", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, udp, tcp, _ = code.parameters
    in_tcp, framed, absent = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, udp, in_tcp)
    message_length = _header(code, context, offset, length, scratch, absent)
    code.branch(Condition.NE, message_length, length, absent)
    code.give(udp)

    code.place(in_tcp)
    offset, length = take_slice(code, tcp, absent)
    for other in (framed, absent):
        message_length = _header(code, context, offset, length, scratch, other)
        at_most(code, message_length, length)
        code.give(pack_slice(code, offset, message_length))
        if other is framed:
            code.place(framed)
            code.branch(Condition.LT, length, 2, absent)
            code.update(Alu.ADD, offset, 2)
            code.update(Alu.SUB, length, 2)
    give_absent(code, absent)
    return (code,)


def _header(code: Function, context: Value, offset: Value, length: Value, scratch: Buffer, other: Label) -> Value:
    """How many bytes the message has that the header there states; go to `other` where there is none."""
    code.branch(Condition.LT, length, _HEADER_BYTES, other)
    head = load_number(code, context, offset, 8, scratch, other)
    code.branch(Condition.NE, head, _COOKIE, other, 32)
    code.update(Alu.RSH, head, 32)
    code.branch(Condition.GE, head, 1 << 30, other)
    code.update(Alu.AND, head, 0xFFFF)
    code.update(Alu.ADD, head, _HEADER_BYTES)
    return head


def _type_bits(tables: Tables) -> tuple[Function, ...]:
    """`stun_type_bits(context, message, mask, shift)`: those bits of the message type, shifted right."""
    code = Function("stun_type_bits", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, mask, shift = code.parameters
    absent = code.label()
    offset, _ = take_slice(code, message, absent)
    number = load_number(code, context, offset, 2, code.buffer(8), absent)
    code.update(Alu.AND, number, mask)
    code.update(Alu.AND, shift, 15)
    code.update(Alu.RSH, number, shift)
    give_number(code, number)
    give_absent(code, absent)
    return (code,)


def _next(tables: Tables) -> tuple[Function, ...]:
    """`stun_next(context, message, cursor)`: the attribute at the cursor with its padding, as far as it is in the message."""
    code = Function("stun_next", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, cursor, _ = code.parameters
    absent, later = code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, message, absent)
    code.branch(Condition.NE, cursor, 0, later)
    code.set(cursor, code.alu(Alu.ADD, offset, _HEADER_BYTES))
    code.place(later)
    code.branch(Condition.GT, code.alu(Alu.ADD, cursor, 4), end, absent)
    size = load_number(code, context, code.alu(Alu.ADD, cursor, 2), 2, scratch, absent)
    code.update(Alu.ADD, size, 4 + 3)
    code.update(Alu.AND, size, 0x1FFFC)
    code.update(Alu.ADD, size, cursor)
    at_most(code, size, end)
    give_slice(code, cursor, size)
    give_absent(code, absent)
    return (code,)


class _Search:
    """The state of a search for an attribute. The 32-bit members stand at odd multiples of 4, where the verifier does not track what
    is stored."""

    CONTEXT = 0
    POSITION = 12
    END = 20
    WANTED = 28
    LENGTH = 36
    """The value's, behind `POSITION`; NOTHING: none has been found."""
    SIZE = 40

    NOTHING = 0xFFFF_FFFF


def _attribute(tables: Tables) -> tuple[Function, ...]:
    """`stun_attribute(context, message, type)`: the value of the first attribute of that type."""
    code = Function("stun_attribute", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, wanted, _ = code.parameters
    absent = code.label()
    state = code.buffer(_Search.SIZE)
    offset, length = take_slice(code, message, absent)
    code.store(8, state, _Search.CONTEXT, context)
    code.store(4, state, _Search.POSITION, code.alu(Alu.ADD, offset, _HEADER_BYTES))
    code.store(4, state, _Search.END, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Search.WANTED, wanted)
    code.store(4, state, _Search.LENGTH, code.copy(_Search.NOTHING))
    code.helper(Helper.LOOP, _ATTRIBUTES_LOOKED_AT, FunctionName("stun_attribute_step"), At(state), 0)
    found = code.load(4, state, _Search.LENGTH)
    code.branch(Condition.GT, found, 0xFFFF, absent)
    start = code.load(4, state, _Search.POSITION)
    code.update(Alu.ADD, start, 4)
    end = code.alu(Alu.ADD, start, found)
    code.branch(Condition.GT, end, code.load(4, state, _Search.END), absent)
    give_slice(code, start, end)
    give_absent(code, absent)
    return code, _attribute_step()


def _attribute_step() -> Function:
    """One attribute further: bpf_loop's callback."""
    code = Function("stun_attribute_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    head = code.buffer(8)
    found, stop = code.label(), code.label()
    context = code.load(8, state, _Search.CONTEXT)
    position = code.load(4, state, _Search.POSITION)
    code.branch(Condition.GT, code.alu(Alu.ADD, position, 4), code.load(4, state, _Search.END), stop)
    code.load_packet(context, position, At(head), 4, stop)
    length = code.load_network(2, head, 2)
    code.branch(Condition.EQ, code.load_network(2, head), code.load(4, state, _Search.WANTED), found)
    code.update(Alu.ADD, length, 4 + 3)
    code.update(Alu.AND, length, 0x1FFFC)
    code.update(Alu.ADD, position, length)
    code.store(4, state, _Search.POSITION, position)
    code.give(0)
    code.place(found)
    code.store(4, state, _Search.LENGTH, length)
    code.place(stop)
    code.give(1)
    return code


_MESSAGE: Final = Fact(Routine("stun", _message), (UDP_PAYLOAD, TCP_PAYLOAD))
_TYPE_BITS: Final = Routine("stun_type_bits", _type_bits)
_PART: Final = part_of("stun_part")
_ATTRIBUTE: Final = Routine("stun_attribute", _attribute)

STUN: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "stun": Present(_MESSAGE),
        "stun.type": BitsOf(_MESSAGE, 2, 14),
        "stun.method": Number(Fact(_TYPE_BITS, (_MESSAGE,), (0x3EEF, 0))),
        "stun.class": Number(Fact(_TYPE_BITS, (_MESSAGE,), (0x0110, 4))),
        "stun.length": BitsOf(_MESSAGE, 16, 16),
        "stun.cookie": Slice(Fact(_PART, (_MESSAGE,), (4, 4))),
        "stun.id": Slice(Fact(_PART, (_MESSAGE,), (8, 12))),
        "stun.att.type": Each(Routine("stun_next", _next), _MESSAGE, BitsOf(ELEMENT, 0, 16)),
        "stun.att.username": Slice(Fact(_ATTRIBUTE, (_MESSAGE,), (_USERNAME,))),
        "stun.att.software": Slice(Fact(_ATTRIBUTE, (_MESSAGE,), (_SOFTWARE,))),
    }
)
