"""The packet that an ICMP error quotes (semantics: rules_dsl/dissectors/icmp_inner.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import Place
from bpf.dissectors.within import PACKET, QUOTED, places_within
from bpf.facts import LAYOUT, Fact
from bpf.headers import go_unless_whole
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, load_number, pack_slice
from bpf.tables import Tables
from rules_dsl.fields import Header

_ERRORS: Final = ((Header.ICMP, 4, (3, 4, 5, 11, 12)), (Header.ICMPV6, 6, (1, 2, 3, 4)))
"""Types whose message is a packet of that IP version."""


def _quoted(tables: Tables) -> tuple[Function, ...]:
    """`icmp_inner(context, layout)`: the quoted packet, a slice."""
    code = Function("icmp_inner", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    for header, version, types in _ERRORS:
        other, error = code.label(), code.label()
        offset, end = go_unless_whole(code, context, layout, header, other)
        kind = load_number(code, context, offset, 1, scratch, absent)
        for number in types:
            code.branch(Condition.EQ, kind, number, error)
        code.jump(absent)
        code.place(error)
        code.update(Alu.ADD, offset, 8)
        content = pack_slice(code, offset, code.alu(Alu.SUB, end, offset))
        code.give(code.call(PACKET, context, content, version, QUOTED))
        code.place(other)
    give_absent(code, absent)
    return (code,)


ICMP_INNER: Final[Mapping[str, Place]] = MappingProxyType(places_within("icmp.inner", Fact(Routine("icmp_inner", _quoted), (LAYOUT,))))
