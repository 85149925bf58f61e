"""GENEVE (semantics: rules_dsl/dissectors/geneve.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Place, Present
from bpf.dissectors.within import IPV4, IPV6, IS_IP_OR_ARP, PACKET, WHOLE
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_slice, load_number, pack_slice, take_slice
from bpf.tables import Tables

ETHERNET: Final = 0x6558
"""The EtherType of an Ethernet frame."""
_PORT: Final = 6081


def _message(tables: Tables) -> tuple[Function, ...]:
    """`geneve(context, payload)`: the message, a slice."""
    code = Function("geneve", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent, not_ethernet, decided, valid = (code.label() for _ in range(4))
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, 8, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    code.branch(Condition.GE, head, 1 << 30, absent)  # another version
    skipped = code.alu(Alu.RSH, head, 24)
    code.update(Alu.AND, skipped, 0x3F)
    code.update(Alu.LSH, skipped, 2)
    code.update(Alu.ADD, skipped, 8)
    code.branch(Condition.GT, skipped, length, absent)
    port = load_number(code, context, code.alu(Alu.SUB, offset, 6), 2, scratch, absent)  # of the UDP header before
    code.branch(Condition.EQ, port, _PORT, valid)
    code.branch(Condition.NE, code.alu(Alu.AND, head, 0x003F_0000), 0, absent)
    identifier = load_number(code, context, code.alu(Alu.ADD, offset, 4), 4, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.AND, identifier, 0xFF), 0, absent)
    content = pack_slice(code, code.alu(Alu.ADD, offset, skipped), code.alu(Alu.SUB, length, skipped))
    ether_type = code.alu(Alu.AND, head, 0xFFFF)
    code.branch(Condition.NE, ether_type, ETHERNET, not_ethernet)
    found = code.call(IS_IP_OR_ARP, context, content)
    code.jump(decided)
    code.place(not_ethernet)
    code.set(found, 0)
    for number, version in ((IPV4, 4), (IPV6, 6)):
        other = code.label()
        code.branch(Condition.NE, ether_type, number, other)
        code.set(found, code.call(PACKET, context, content, version, WHOLE))
        code.place(other)
    code.place(decided)
    code.branch(Condition.EQ, found, 0, absent)
    code.place(valid)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _content(tables: Tables) -> tuple[Function, ...]:
    """`geneve_content(context, message)`: what stands behind the options, a slice."""
    code = Function("geneve_content", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, message, absent)
    words = load_number(code, context, offset, 1, scratch, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.update(Alu.AND, words, 0x3F)
    code.update(Alu.LSH, words, 2)
    code.update(Alu.ADD, offset, 8)
    code.update(Alu.ADD, offset, words)
    code.branch(Condition.GT, offset, end, absent)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


MESSAGE: Final = Fact(Routine("geneve", _message), (UDP_PAYLOAD,))
CONTENT: Final = Routine("geneve_content", _content)

GENEVE: Final[Mapping[str, Place]] = MappingProxyType({"geneve": Present(MESSAGE), "geneve.vni": BitsOf(MESSAGE, 32, 24)})
