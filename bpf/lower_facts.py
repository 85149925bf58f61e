"""What tests share: facts about the packet that a program finds out once, before the first of the tests that need them.

Facts stand on the stack, opaque to the verifier, and each test loads them anew: so what one test learned does not multiply the paths
of the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Final, assert_never

from bpf import headers
from bpf.ir import At, Buffer, Function, Label, Value
from bpf.isa import Alu, Condition
from bpf.tables import Tables
from rules_dsl.expression import BitSlice, FieldValue, Test, operand_of, root_of
from rules_dsl.fields import PROTOCOL_NUMBER, Field, Header, Type


class Fact(Enum):
    VERSION = "version"
    """The packet's first byte; 0 where it has none."""
    LAYOUT = "walk"
    TCP_PAYLOAD = "tcp_payload"
    UDP_PAYLOAD = "udp_payload"
    PAYLOAD = "payload"


Need = Fact | Field
"""What a test needs; a field of plain bits is found out beforehand where several tests look at it."""

PRESENT_NUMBER: Final = 1 << 40
"""Beside a field's value: it is there. The fact of an absent field is 0."""

_SHARED_FIELDS: Final = 8
"""Fields that one function keeps: the stack is small."""

PAYLOADS: Final[Mapping[str, Fact]] = MappingProxyType(
    {
        "payload": Fact.PAYLOAD,
        "payload.len": Fact.PAYLOAD,
        "tcp.payload": Fact.TCP_PAYLOAD,
        "tcp.payload.len": Fact.TCP_PAYLOAD,
        "udp.payload": Fact.UDP_PAYLOAD,
        "udp.payload.len": Fact.UDP_PAYLOAD,
    }
)

_COMPUTED: Final[Mapping[str, tuple[Fact, ...]]] = MappingProxyType(
    {
        "ip": (),
        "meta.mark": (),
        "ip.checksum.valid": (),
        "ip.proto": (Fact.LAYOUT,),
        "ipv6.exthdr": (Fact.LAYOUT,),
        "ip.opt.type": (Fact.VERSION,),
        "ip.frag": (Fact.VERSION, Fact.LAYOUT),
        **dict.fromkeys(("tcp", "tcp.options.mss", "udp", "icmp", "icmpv6", "sctp", "gre", "esp"), (Fact.LAYOUT,)),
        **{name: (Fact.LAYOUT, fact) for name, fact in PAYLOADS.items()},
    }
)
"""What each field without plain bits needs."""


def needs_of(test: Test) -> tuple[Need, ...]:
    """What the test needs, each behind what it needs itself."""
    match root_of(operand_of(test)):
        case BitSlice(header):
            return _facts_of_header(header)
        case FieldValue(known):
            if not known.at:
                return _COMPUTED[known.name]
            facts = [fact for place in known.at for fact in _facts_of_header(place.header)]
            shared = (known,) if known.type in (Type.BOOL, Type.INT) else ()
            return (*dict.fromkeys(facts), *shared)


def _facts_of_header(header: Header) -> tuple[Fact, ...]:
    match header:
        case Header.IP:
            return ()
        case Header.IPV4 | Header.IPV6:
            return (Fact.VERSION,)
        case _:
            return (Fact.LAYOUT,)


@dataclass(slots=True)
class Work:
    """A function that judges packets, while it is written."""

    code: Function
    tables: Tables
    known: frozenset[Need] = frozenset()
    """Found out on every path to here."""
    scratch: Buffer = field(init=False)
    """32 bytes, which no test leaves anything in for another."""
    _homes: dict[Need, Buffer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scratch = self.code.buffer(32)

    @property
    def context(self) -> Value:
        return self.code.parameters[0]

    def call(self, name: str, *numbers: Value | int) -> Value:
        """Call a function of the library with the context and up to three numbers."""
        return self.code.call(name, self.context, *numbers, *[0] * (3 - len(numbers)))

    def keep(self, need: Need, found: Value) -> None:
        """The need is met by `found`, from here on."""
        if need not in self._homes:
            self._homes[need] = self.code.buffer(8)
        self.code.store_opaque(self._homes[need], found)
        self.known |= {need}

    def can_keep(self, known: Field) -> bool:
        return known in self._homes or sum(isinstance(need, Field) for need in self._homes) < _SHARED_FIELDS

    def fact(self, need: Need) -> Value:
        """A copy of it."""
        assert need in self.known
        return self.code.load(8, self._homes[need])

    def find(self, fact: Fact) -> None:
        """Find the fact out; what it needs has been found before."""
        code = self.code
        match fact:
            case Fact.VERSION:
                found, behind = code.copy(0), code.label()
                code.load_packet(self.context, 0, At(self.scratch), 1, behind)
                code.load_to(found, 1, self.scratch)
                code.place(behind)
            case Fact.LAYOUT:
                found = self.call("walk")
            case Fact.TCP_PAYLOAD | Fact.UDP_PAYLOAD | Fact.PAYLOAD:
                found = self.call(fact.value, self.fact(Fact.LAYOUT))
            case _:
                assert_never(fact)
        self.keep(fact, found)

    # -- what tests ask ------------------------------------------------------------------------------------------------

    def layout(self, mask: int) -> Value:
        """Those bits of the layout."""
        layout = self.fact(Fact.LAYOUT)
        self.code.update(Alu.AND, layout, mask)
        return layout

    def go_unless_version(self, version: int, other: Label) -> None:
        found = self.fact(Fact.VERSION)
        self.code.update(Alu.RSH, found, 4)
        self.code.branch(Condition.NE, found, version, other)

    def header(self, header: Header, absent: Label) -> Value | int:
        """Where the header begins."""
        match header:
            case Header.IP:
                return 0
            case Header.IPV4:
                self.go_unless_version(4, absent)
                return 0
            case Header.IPV6:
                self.go_unless_version(6, absent)
                return 0
            case Header.FRAGMENT:
                there = self.layout(headers.FRAGMENT)
                self.code.branch(Condition.EQ, there, 0, absent)
                offset = self.code.alu(Alu.RSH, self.fact(Fact.LAYOUT), headers.FRAGMENT_SHIFT)
                self.code.update(Alu.AND, offset, (1 << headers.FRAGMENT_BITS) - 1)
                return offset
            case _:
                assert header in PROTOCOL_NUMBER
                headers.go_unless_header(self.code, self.fact(Fact.LAYOUT), header, absent)
                return self.layout(headers.OFFSET_MASK)

    def packet_bytes(self, offset: Value | int, distance: int, size: int, absent: Label, to: int = 0) -> None:
        """`size` bytes of the packet at offset + distance to byte `to` of the scratch buffer."""
        place = offset + distance if isinstance(offset, int) else self.code.alu(Alu.ADD, offset, distance)
        self.code.load_packet(self.context, place, At(self.scratch, to), size, absent)

    def bits(self, header: Header, start: int, end: int, absent: Label) -> Value:
        """Bits `start` to `end` of the header, at most 32, as a number."""
        code = self.code
        first, size = start // 8, (end + 7) // 8 - start // 8
        offset = self.header(header, absent)
        if size in (3, 5):
            code.store(8, self.scratch, 0, 0)
            self.packet_bytes(offset, first, size, absent, to=8 - size)
            number = code.load_network(8, self.scratch)
        else:
            self.packet_bytes(offset, first, size, absent)
            number = code.load_network({1: 1, 2: 2, 4: 4}[size], self.scratch)  # type: ignore[arg-type]  # keys and values are sizes
        if end % 8:
            code.update(Alu.RSH, number, 8 - end % 8)
        if start % 8 or size in (3, 5):
            code.update(Alu.AND, number, (1 << (end - start)) - 1, 32)
        return number

    def slice_of(self, known: Field, absent: Label) -> tuple[Value, Value]:
        """Offset and length of a payload field."""
        code = self.code
        fact = self.fact(PAYLOADS[known.name])
        there = code.alu(Alu.RSH, fact, 55)
        code.branch(Condition.EQ, there, 0, absent)
        offset = code.alu(Alu.RSH, fact, headers.SLICE_SHIFT)
        code.update(Alu.AND, offset, (1 << headers.SLICE_BITS) - 1)
        length = code.alu(Alu.AND, fact, 0xFFFF_FFFF, 32)
        return offset, length
