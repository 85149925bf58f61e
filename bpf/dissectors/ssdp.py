"""SSDP (semantics: rules_dsl/dissectors/ssdp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.header_lines import header_line
from bpf.dissectors.http import METHOD, REQUEST, RESPONSE, STATUS_CODE
from bpf.dissectors.model import Number, Place, Present, Slice
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.search import seek
from bpf.slices import take_slice
from bpf.tables import Tables

_VALID: Final = r"^(?:(?:M-SEARCH|NOTIFY) [^\n]+ HTTP/1\.[0-9][ \t]*|HTTP/1\.[0-9] [0-9]{3}(?:[ \t][^\n]*)?)\r?\n"


def _message(tables: Tables) -> tuple[Function, ...]:
    """`ssdp(context, payload)`: the payload, a slice."""
    code = Function("ssdp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    seek(code, tables, context, offset, length, _VALID, absent)
    code.give(payload)
    code.place(absent)
    code.give(0)
    return (code,)


_MESSAGE: Final = Fact(Routine("ssdp", _message), (UDP_PAYLOAD,))
_RESPONSE: Final = Fact(RESPONSE, (_MESSAGE,))
_LINES: Final = ("st", "man", "mx", "nt", "nts", "usn", "host", "location", "server", "user-agent")

SSDP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "ssdp": Present(_MESSAGE),
        "ssdp.response": Present(_RESPONSE),
        "ssdp.method": Slice(Fact(METHOD, (Fact(REQUEST, (_MESSAGE,)),))),
        "ssdp.code": Number(Fact(STATUS_CODE, (_RESPONSE,))),
        **{f"ssdp.{name.replace('-', '_')}": Slice(Fact(header_line("ssdp", (name.encode(),)), (_MESSAGE,))) for name in _LINES},
    }
)
