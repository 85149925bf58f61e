"""The handshake of BitTorrent (semantics: rules_dsl/dissectors/bittorrent.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import Place, Present, Slice
from bpf.dissectors.routines import payload_matching
from bpf.facts import TCP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_slice, take_slice
from bpf.tables import Tables


def _part(tables: Tables) -> tuple[Function, ...]:
    """`bittorrent_part(context, message, start, end)`: those bytes of the message."""
    code = Function("bittorrent_part", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, message, start, end = code.parameters
    absent = code.label()
    offset, length = take_slice(code, message, absent)
    code.branch(Condition.LT, length, end, absent)
    give_slice(code, code.alu(Alu.ADD, offset, start), code.alu(Alu.ADD, offset, end))
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(payload_matching("bittorrent", r"^\x13BitTorrent protocol"), (TCP_PAYLOAD,))


def _bytes(start: int, end: int) -> Slice:
    return Slice(Fact(Routine("bittorrent_part", _part), (_MESSAGE,), (start, end)))


BITTORRENT: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "bittorrent": Present(_MESSAGE),
        "bittorrent.reserved": _bytes(20, 28),
        "bittorrent.info_hash": _bytes(28, 48),
        "bittorrent.peer_id": _bytes(48, 68),
    }
)
