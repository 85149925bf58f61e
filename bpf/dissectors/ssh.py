"""The identification string of SSH (semantics: rules_dsl/dissectors/ssh.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.header_lines import drop_return
from bpf.dissectors.model import Place, Present, Slice
from bpf.dissectors.routines import payload_matching
from bpf.facts import TCP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu
from bpf.search import seek
from bpf.slices import give_absent, give_slice, take_slice
from bpf.tables import Tables

_BEGINNING: Final = r"^SSH-[0-9]+\.[0-9]+-"


def _line(tables: Tables) -> tuple[Function, ...]:
    """`ssh_line(context, message)`: the first line without its end."""
    code = Function("ssh_line", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, message, absent)
    end = seek(code, tables, context, offset, length, r"\n", absent)
    code.update(Alu.SUB, end, 1)
    drop_return(code, context, end, absent)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


def _software(tables: Tables) -> tuple[Function, ...]:
    """`ssh_software(context, line)`."""
    code = Function("ssh_software", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, line, *_ = code.parameters
    absent, to_the_end = code.label(), code.label()
    offset, length = take_slice(code, line, absent)
    end = code.alu(Alu.ADD, offset, length)
    start = seek(code, tables, context, offset, length, _BEGINNING, absent)
    space = seek(code, tables, context, start, code.alu(Alu.SUB, end, start), " ", to_the_end)
    give_slice(code, start, code.alu(Alu.SUB, space, 1))
    code.place(to_the_end)
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(payload_matching("ssh", _BEGINNING), (TCP_PAYLOAD,))
_LINE: Final = Fact(Routine("ssh_line", _line), (_MESSAGE,))

SSH: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "ssh": Present(_MESSAGE),
        "ssh.protocol": Slice(_LINE),
        "ssh.software": Slice(Fact(Routine("ssh_software", _software), (_LINE,))),
    }
)
