"""VXLAN (semantics: rules_dsl/dissectors/vxlan.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Place, Present
from bpf.dissectors.within import IS_IP_OR_ARP
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, load_number, pack_slice, take_slice
from bpf.tables import Tables

HEADER_BYTES: Final = 8
"""The frame follows them."""
_PORTS: Final = (4789, 8472)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`vxlan(context, payload)`: the message, a slice."""
    code = Function("vxlan", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, valid = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, HEADER_BYTES, absent)
    flags = load_number(code, context, offset, 4, scratch, absent)
    code.branch(Condition.EQ, code.alu(Alu.AND, flags, 0x0800_0000), 0, absent)
    port = load_number(code, context, code.alu(Alu.SUB, offset, 6), 2, scratch, absent)  # of the UDP header before
    for known in _PORTS:
        code.branch(Condition.EQ, port, known, valid)
    code.branch(Condition.NE, flags, 0x0800_0000, absent)
    identifier = load_number(code, context, code.alu(Alu.ADD, offset, 4), 4, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, identifier, 0xFF), 0, absent)
    code.update(Alu.ADD, offset, HEADER_BYTES)
    code.update(Alu.SUB, length, HEADER_BYTES)
    is_frame = code.call(IS_IP_OR_ARP, context, pack_slice(code, offset, length))
    code.branch(Condition.EQ, is_frame, 0, absent)
    code.place(valid)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


MESSAGE: Final = Fact(Routine("vxlan", _message), (UDP_PAYLOAD,))

VXLAN: Final[Mapping[str, Place]] = MappingProxyType({"vxlan": Present(MESSAGE), "vxlan.vni": BitsOf(MESSAGE, 32, 24)})
