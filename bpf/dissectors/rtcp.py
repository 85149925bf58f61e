"""RTCP (semantics: rules_dsl/dissectors/rtcp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Place, Present
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_slice, load_number, resume, take_bounds, take_slice
from bpf.tables import Tables


def _packet(tables: Tables) -> tuple[Function, ...]:
    """`rtcp_packet(context, message, cursor)`: the packet at the cursor (0: the first), a slice."""
    code = Function("rtcp_packet", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, cursor, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, message, absent)
    resume(code, offset, cursor)
    behind = code.alu(Alu.ADD, offset, 4)
    code.branch(Condition.GT, behind, end, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.RSH, head, 30), 2, absent)
    of_type = code.alu(Alu.AND, code.alu(Alu.RSH, head, 16), 0xFF)
    code.branch(Condition.LT, of_type, 192, absent)
    code.branch(Condition.GT, of_type, 223, absent)
    code.update(Alu.ADD, behind, code.alu(Alu.LSH, code.alu(Alu.AND, head, 0xFFFF), 2))
    code.branch(Condition.GT, behind, end, absent)
    give_slice(code, offset, behind)
    give_absent(code, absent)
    return (code,)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`rtcp(context, payload, first)`: the payload, a slice, where its first packet is right."""
    code = Function("rtcp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, first, _ = code.parameters
    absent, sender, receiver, goodbye, valid, enough = (code.label() for _ in range(6))
    scratch = code.buffer(8)
    offset, length = take_slice(code, first, absent)
    head = load_number(code, context, offset, 2, scratch, absent)
    of_type = code.alu(Alu.AND, head, 0xFF)
    count = code.alu(Alu.AND, code.alu(Alu.RSH, head, 8), 0x1F)
    shortest = code.copy(12)
    code.branch(Condition.LT, of_type, 200, absent)
    code.branch(Condition.GT, of_type, 207, absent)
    code.branch(Condition.EQ, of_type, 202, valid)
    code.branch(Condition.EQ, of_type, 200, sender)
    code.branch(Condition.EQ, of_type, 201, receiver)
    code.branch(Condition.EQ, of_type, 203, goodbye)
    code.branch(Condition.NE, of_type, 207, enough)
    code.set(shortest, 8)
    code.jump(enough)
    code.place(goodbye)
    code.set(shortest, code.alu(Alu.LSH, count, 2))
    code.update(Alu.ADD, shortest, 4)
    code.jump(enough)
    code.place(sender)
    code.set(shortest, code.alu(Alu.MUL, count, 24))
    code.update(Alu.ADD, shortest, 28)
    code.jump(enough)
    code.place(receiver)
    code.set(shortest, code.alu(Alu.MUL, count, 24))
    code.update(Alu.ADD, shortest, 8)
    code.place(enough)
    code.branch(Condition.LT, length, shortest, absent)
    code.place(valid)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


_PACKET: Final = Routine("rtcp_packet", _packet)
_MESSAGE: Final = Fact(Routine("rtcp", _message), (UDP_PAYLOAD, Fact(_PACKET, (UDP_PAYLOAD,))))

RTCP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "rtcp": Present(_MESSAGE),
        "rtcp.pt": Each(_PACKET, _MESSAGE, BitsOf(ELEMENT, 8, 8)),
    }
)
