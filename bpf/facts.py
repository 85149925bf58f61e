"""Facts about a packet: what routines find out for the tests of a program, at most once a packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bpf import headers
from bpf.ir import Routine


@dataclass(frozen=True, slots=True)
class Fact:
    """What a routine gives for the packet: a packed slice or number (bpf/slices.py), 0 where absent.

    The routine is called with the context, the needs and the constants, three numbers at most. Needs may be 0: absent."""

    routine: Routine
    needs: tuple[Fact, ...] = ()
    constants: tuple[int, ...] = ()

    def __hash__(self) -> int:
        return hash((self.routine.name, self.constants))  # without the needs: programs ask for facts very often


FIRST_BYTE: Final = Fact(headers.FIRST_BYTE)
"""The packet's first byte, no packed number; 0 where it has none."""
LAYOUT: Final = Fact(headers.WALK)
"""Where the headers are, as headers.py packs it."""
TCP_PAYLOAD: Final = Fact(headers.TCP_PAYLOAD, (LAYOUT,))
UDP_PAYLOAD: Final = Fact(headers.UDP_PAYLOAD, (LAYOUT,))
PAYLOAD: Final = Fact(headers.PAYLOAD, (LAYOUT,))
