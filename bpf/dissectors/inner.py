"""The IP packet in a tunnel (semantics: rules_dsl/dissectors/inner.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors import geneve, vxlan
from bpf.dissectors.model import BitsOf, Place
from bpf.dissectors.within import FRAME, PACKET, WHOLE, give_packet, places_within
from bpf.facts import LAYOUT, Fact
from bpf.headers import go_unless_whole
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, load_number, pack_slice, take_slice
from bpf.tables import Tables
from rules_dsl.fields import Header

_ERSPAN, _ERSPAN_3 = 0x88BE, 0x22EB
_ROUTING_OR_VERSION: Final = 0x4007
_OPTIONAL_WORDS: Final = (0x8000, 0x2000, 0x1000)
"""GRE's flags of checksum, key and sequence number, each of which stands for 4 bytes."""
_SEQUENCE: Final = 0x1000


def _gre(tables: Tables) -> tuple[Function, ...]:
    """`inner_gre(context, layout)`: the IP packet in GRE, a slice."""
    code = Function("inner_gre", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent, plain, frame, erspan_3 = (code.label() for _ in range(4))
    scratch = code.buffer(8)
    offset, end = go_unless_whole(code, context, layout, Header.GRE, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    flags = code.alu(Alu.RSH, head, 16)
    ether_type = code.alu(Alu.AND, head, 0xFFFF)
    code.branch(Condition.NE, code.alu(Alu.AND, flags, _ROUTING_OR_VERSION), 0, absent)
    code.update(Alu.ADD, offset, 4)
    for bit in _OPTIONAL_WORDS:
        without = code.label()
        code.branch(Condition.EQ, code.alu(Alu.AND, flags, bit), 0, without)
        code.update(Alu.ADD, offset, 4)
        code.place(without)
    code.branch(Condition.EQ, ether_type, geneve.ETHERNET, frame)
    code.branch(Condition.EQ, ether_type, _ERSPAN_3, erspan_3)
    code.branch(Condition.NE, ether_type, _ERSPAN, plain)
    code.branch(Condition.EQ, code.alu(Alu.AND, flags, _SEQUENCE), 0, frame)  # type I has no header
    version = code.alu(Alu.RSH, load_number(code, context, offset, 1, scratch, absent), 4)
    code.branch(Condition.NE, version, 1, absent)
    code.update(Alu.ADD, offset, 8)
    code.jump(frame)

    code.place(erspan_3)
    code.set(version, code.alu(Alu.RSH, load_number(code, context, offset, 1, scratch, absent), 4))
    code.branch(Condition.NE, version, 2, absent)
    code.update(Alu.ADD, offset, 12)
    has_subheader = load_number(code, context, code.alu(Alu.SUB, offset, 1), 1, scratch, absent)
    code.update(Alu.AND, has_subheader, 1)
    code.update(Alu.LSH, has_subheader, 3)
    code.update(Alu.ADD, offset, has_subheader)

    code.place(frame)
    code.branch(Condition.GT, offset, end, absent)
    code.give(code.call(FRAME, context, pack_slice(code, offset, code.alu(Alu.SUB, end, offset))))
    code.place(plain)
    code.branch(Condition.GT, offset, end, absent)
    give_packet(code, context, pack_slice(code, offset, code.alu(Alu.SUB, end, offset)), ether_type)
    give_absent(code, absent)
    return (code,)


_GRE: Final = Routine("inner_gre", _gre)


def _packet(tables: Tables) -> tuple[Function, ...]:
    """`inner(context, layout, vxlan, geneve)`: the IP packet in the tunnel, a slice."""
    code = Function("inner", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, in_vxlan, in_geneve = code.parameters
    absent, no_vxlan, no_geneve, no_frame = (code.label() for _ in range(4))
    scratch = code.buffer(8)

    offset, length = take_slice(code, in_vxlan, no_vxlan)
    code.update(Alu.ADD, offset, vxlan.HEADER_BYTES)
    code.update(Alu.SUB, length, vxlan.HEADER_BYTES)
    code.give(code.call(FRAME, context, pack_slice(code, offset, length)))

    code.place(no_vxlan)
    offset, length = take_slice(code, in_geneve, no_geneve)
    ether_type = load_number(code, context, code.alu(Alu.ADD, offset, 2), 2, scratch, absent)
    content = code.call(geneve.CONTENT, context, in_geneve)
    code.branch(Condition.NE, ether_type, geneve.ETHERNET, no_frame)
    code.give(code.call(FRAME, context, content))
    code.place(no_frame)
    give_packet(code, context, content, ether_type)
    code.jump(absent)

    code.place(no_geneve)
    for header, version in ((Header.IPIP, 4), (Header.IPV6_IN_IP, 6)):
        other = code.label()
        offset, end = go_unless_whole(code, context, layout, header, other)
        content = pack_slice(code, offset, code.alu(Alu.SUB, end, offset))
        code.give(code.call(PACKET, context, content, version, WHOLE))
        code.place(other)
    code.give(code.call(_GRE, context, layout))
    give_absent(code, absent)
    return (code,)


_PACKET: Final = Fact(Routine("inner", _packet), (LAYOUT, vxlan.MESSAGE, geneve.MESSAGE))

INNER: Final[Mapping[str, Place]] = MappingProxyType({**places_within("inner", _PACKET), "inner.ip.version": BitsOf(_PACKET, 0, 4)})
