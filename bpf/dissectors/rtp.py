"""RTP by its bytes alone (semantics: rules_dsl/dissectors/rtp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Place, Present
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, load_number, take_slice
from bpf.tables import Tables

_ASSIGNED: Final = sum(1 << number for number in (0, *range(3, 19), 25, 26, 28, 31, 32, 33, 34))
"""A bit for each payload type below 35 that RFC 3551 assigns."""


def _message(tables: Tables) -> tuple[Function, ...]:
    """`rtp(context, payload)`: the payload, a slice."""
    code = Function("rtp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, plain, unpadded, marked, valid = (code.label() for _ in range(5))
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 12, absent)
    head = load_number(code, context, offset, 2, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.RSH, head, 14), 2, absent)
    source = load_number(code, context, code.alu(Alu.ADD, offset, 8), 4, scratch, absent)
    code.branch(Condition.EQ, source, 0, absent)
    payload_type = code.alu(Alu.AND, head, 0x7F)
    sources = code.alu(Alu.AND, code.alu(Alu.RSH, head, 8), 15)
    header = code.alu(Alu.LSH, sources, 2)
    code.update(Alu.ADD, header, 12)

    code.branch(Condition.EQ, code.alu(Alu.AND, head, 0x1000), 0, plain)  # no extension
    code.branch(Condition.GT, code.alu(Alu.ADD, header, 4), length, absent)
    extension = load_number(code, context, code.alu(Alu.ADD, offset, header), 4, scratch, absent)
    code.update(Alu.ADD, header, 4)
    code.update(Alu.ADD, header, code.alu(Alu.LSH, code.alu(Alu.AND, extension, 0xFFFF), 2))
    code.branch(Condition.GT, header, length, absent)
    code.branch(Condition.EQ, code.alu(Alu.RSH, extension, 16), 0xBEDE, marked)
    code.branch(Condition.EQ, code.alu(Alu.RSH, extension, 20), 0x100, marked)

    code.place(plain)
    code.branch(Condition.GT, header, length, absent)
    code.branch(Condition.NE, sources, 0, absent)
    code.branch(Condition.EQ, code.alu(Alu.AND, head, 0x2000), 0, unpadded)
    last = load_number(code, context, code.alu(Alu.SUB, code.alu(Alu.ADD, offset, length), 1), 1, scratch, absent)
    code.branch(Condition.EQ, last, 0, absent)
    code.branch(Condition.GT, code.alu(Alu.ADD, header, last), length, absent)
    code.place(unpadded)
    code.branch(Condition.GE, payload_type, 96, valid)
    code.branch(Condition.GE, payload_type, 35, absent)

    code.place(marked)
    code.branch(Condition.GE, payload_type, 96, valid)
    code.branch(Condition.GE, payload_type, 64, absent)
    code.branch(Condition.GE, payload_type, 35, valid)
    assigned = code.alu(Alu.RSH, code.copy(_ASSIGNED), payload_type)
    code.branch(Condition.EQ, code.alu(Alu.AND, assigned, 1), 0, absent)
    code.place(valid)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("rtp", _message), (UDP_PAYLOAD,))

RTP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "rtp": Present(_MESSAGE),
        "rtp.version": BitsOf(_MESSAGE, 0, 2),
        "rtp.padding": BitsOf(_MESSAGE, 2, 1),
        "rtp.ext": BitsOf(_MESSAGE, 3, 1),
        "rtp.cc": BitsOf(_MESSAGE, 4, 4),
        "rtp.marker": BitsOf(_MESSAGE, 8, 1),
        "rtp.p_type": BitsOf(_MESSAGE, 9, 7),
        "rtp.seq": BitsOf(_MESSAGE, 16, 16),
        "rtp.timestamp": BitsOf(_MESSAGE, 32, 32),
        "rtp.ssrc": BitsOf(_MESSAGE, 64, 32),
    }
)
