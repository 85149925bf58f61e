"""What tests share: facts about the packet that a program finds out once, when the first test asks.

Facts stand in the program's record, on its stack or (an evaluator's) in a map, which all its functions are given: a number of 8 bytes
each, 0 where nobody has asked yet, else the fact plus 1. The verifier does not follow what is in the record, so what one test learned does
not multiply the paths of the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Final

from bpf import headers
from bpf.dissectors import PLACES
from bpf.dissectors.model import ELEMENT, DomainName, Each, View
from bpf.effort import Effort
from bpf.facts import FIRST_BYTE, LAYOUT, PAYLOAD, TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.ir import At, Buffer, Function, Label, Routine, Value
from bpf.isa import Alu, Condition
from bpf.slices import PRESENT_NUMBER, take_slice
from bpf.tables import Tables
from rules_dsl.expression import BitSlice, FieldValue, Test, operand_of, root_of
from rules_dsl.fields import PROTOCOL_NUMBER, Field, Header, Type

Need = Fact | Field
"""What a test needs; a field of plain bits is kept where several tests look at it."""

PAYLOADS: Final[Mapping[str, Fact]] = MappingProxyType(
    {
        "payload": PAYLOAD,
        "payload.len": PAYLOAD,
        "tcp.payload": TCP_PAYLOAD,
        "tcp.payload.len": TCP_PAYLOAD,
        "udp.payload": UDP_PAYLOAD,
        "udp.payload.len": UDP_PAYLOAD,
    }
)

_COMPUTED: Final[Mapping[str, tuple[Fact, ...]]] = MappingProxyType(
    {
        "ip": (),
        "meta.mark": (),
        "ip.checksum.valid": (),
        "ip.proto": (LAYOUT,),
        "ipv6.exthdr": (LAYOUT,),
        "ip.opt.type": (FIRST_BYTE,),
        "ip.frag": (FIRST_BYTE, LAYOUT),
        **dict.fromkeys(("tcp", "tcp.options.mss", "udp", "icmp", "icmpv6", "sctp", "gre", "esp"), (LAYOUT,)),
        **{name: (fact,) for name, fact in PAYLOADS.items()},
    }
)
"""What each field of a header without plain bits needs."""


def place_of(operand: FieldValue) -> View | Each | None:
    """How a protocol's field is found; None for a field of a header."""
    place = PLACES.get(operand.field.name)
    return place(operand.key) if callable(place) else place


def view_of(place: View | Each) -> View:
    return place.view if isinstance(place, Each) else place


def needs_of(test: Test) -> tuple[Need, ...]:
    """What the test needs."""
    match root_of(operand_of(test)):
        case BitSlice(header):
            return _facts_of_header(header)
        case FieldValue(known) as operand:
            place = place_of(operand)
            if place is not None:
                needs = (place.fact, *_facts_of_view(place.view)) if isinstance(place, Each) else _facts_of_view(place)
                return tuple(dict.fromkeys(fact for need in needs for fact in _outside(need)))
            if not known.at:
                return _COMPUTED[known.name]
            if known.type in (Type.BOOL, Type.INT):
                return (known,)
            return _facts_of_field(known)


def _outside(fact: Fact) -> Iterator[Fact]:
    """The fact; or, of one that is about an element of a field of many values, what it needs besides."""
    if not _is_of_element(fact):
        yield fact
    else:
        for need in fact.needs:
            yield from _outside(need)


def _is_of_element(fact: Fact) -> bool:
    return fact == ELEMENT or any(map(_is_of_element, fact.needs))


def _facts_of_view(view: View) -> tuple[Fact, ...]:
    return (view.name, view.message) if isinstance(view, DomainName) else (view.fact,)


def _facts_of_field(known: Field) -> tuple[Fact, ...]:
    return tuple(dict.fromkeys(fact for place in known.at for fact in _facts_of_header(place.header)))


def _facts_of_header(header: Header) -> tuple[Fact, ...]:
    match header:
        case Header.IP:
            return ()
        case Header.IPV4 | Header.IPV6:
            return (FIRST_BYTE,)
        case _:
            return (LAYOUT,)


@cache
def _all_needs(need: Need) -> frozenset[Need]:
    """The need and what it needs itself."""
    others = need.needs if isinstance(need, Fact) else _facts_of_field(need)
    return frozenset((need,)).union(*map(_all_needs, others))


# -- the record --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """Where each fact stands in the record, in bytes; one that has no place is found out whenever it is asked for."""

    homes: Mapping[Need, int]

    @property
    def size(self) -> int:
        """Of the facts, in bytes."""
        return max(8, 8 * len(self.homes))


def record_for(tests: Iterable[Test], most: int) -> Record:
    """A record for the facts of these tests, at most so many: those that most tests ask for. A field of plain bits that one test
    alone looks at is no fact."""
    asked: Counter[Need] = Counter()
    for test in tests:
        asked.update({other: 1 for need in needs_of(test) for other in _all_needs(need)})
    ordered = sorted(asked, key=lambda need: (-asked[need], _words(need)))
    wanted = [need for need in ordered if isinstance(need, Fact) or asked[need] > 1]
    return Record({need: 8 * index for index, need in enumerate(wanted[:most])})


def _words(need: Need) -> str:
    """By which needs are told apart, the same in every process."""
    if isinstance(need, Field):
        return need.name
    return f"{need.routine.name}({', '.join([*map(_words, need.needs), *map(str, need.constants)])})"


# -- a function --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Work:
    """A function that judges packets, while it is written. Its parameters are the context and the record."""

    code: Function
    tables: Tables
    record: Record
    known: frozenset[Need] = frozenset()
    """Found out on every path to here."""
    effort: Effort = field(default_factory=Effort)
    element: Value | None = None
    """The element at hand, of a field of many values."""
    times: int = 1
    """How often what is written runs at most: once for each element."""
    _scratch: Buffer | None = field(default=None, init=False)

    @property
    def context(self) -> Value:
        return self.code.parameters[0]

    @property
    def scratch(self) -> Buffer:
        """32 bytes, which no test leaves anything in for another."""
        if self._scratch is None:
            self._scratch = self.code.buffer(32)
        return self._scratch

    def call(self, routine: Routine, *numbers: Value | int) -> Value:
        """Call a routine with the context and up to three numbers."""
        return self.code.call(routine, self.context, *numbers)

    def find(self, need: Need) -> None:
        """Find it out, unless that has been done; before the branches of a test, so that it is there on all of their paths."""
        if need in self.known:
            return
        home = self.record.homes.get(need)
        if home is None:
            for other in need.needs if isinstance(need, Fact) else _facts_of_field(need):
                self.find(other)
            return
        code, known, have = self.code, self.known, self.code.label()
        at = code.parameters[1]
        code.branch(Condition.NE, code.load(8, at, home), 0, have)
        found = self._ask(need)
        code.update(Alu.ADD, found, 1)
        code.store(8, at, home, found)
        code.place(have)
        self.known = known | _all_needs(need)  # whoever found it out found out before what it needs

    def fact(self, need: Need) -> Value:
        """A copy of it."""
        if need == ELEMENT:
            assert self.element is not None
            return self.code.copy(self.element)
        home = self.record.homes.get(need)
        if home is None:
            return self._ask(need)
        self.find(need)
        found = self.code.load(8, self.code.parameters[1], home)
        self.code.update(Alu.SUB, found, 1)
        return found

    def _ask(self, need: Need) -> Value:
        for other in need.needs if isinstance(need, Fact) else _facts_of_field(need):
            self.find(other)
        if isinstance(need, Field):
            return self._packed_field(need)
        self.effort.ask(need.routine, self.times, need if need in self.record.homes else None)
        return self.call(need.routine, *(self.fact(other) for other in need.needs), *need.constants)

    def _packed_field(self, known: Field) -> Value:
        code = self.code
        absent, found, kept = code.label(), code.label(), code.value()
        code.set(kept, self.plain_field(known, absent))
        code.update(Alu.OR, kept, PRESENT_NUMBER)
        code.jump(found)
        code.place(absent)
        code.set(kept, 0)
        code.place(found)
        return kept

    # -- what tests ask ------------------------------------------------------------------------------------------------

    def layout(self, mask: int) -> Value:
        """Those bits of the layout."""
        layout = self.fact(LAYOUT)
        self.code.update(Alu.AND, layout, mask)
        return layout

    def go_unless_version(self, version: int, other: Label) -> None:
        found = self.fact(FIRST_BYTE)
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
                layout = self.fact(LAYOUT)
                there = self.code.alu(Alu.RSH, layout, headers.FRAGMENT.bit_length() - 1)
                self.code.update(Alu.AND, there, 1)
                self.code.branch(Condition.EQ, there, 0, absent)
                self.code.update(Alu.RSH, layout, headers.FRAGMENT_SHIFT)
                self.code.update(Alu.AND, layout, (1 << headers.FRAGMENT_BITS) - 1)
                return layout
            case _:
                assert header in PROTOCOL_NUMBER
                layout = self.fact(LAYOUT)
                headers.go_unless_header(self.code, layout, header, absent)
                self.code.update(Alu.AND, layout, headers.OFFSET_MASK)
                return layout

    def packet_bytes(self, offset: Value | int, distance: int, size: int, absent: Label, to: int = 0) -> None:
        """`size` bytes of the packet at offset + distance to byte `to` of the scratch buffer."""
        place = offset + distance if isinstance(offset, int) else self.code.alu(Alu.ADD, offset, distance)
        self.code.load_packet(self.context, place, At(self.scratch, to), size, absent)

    def bits_at(self, offset: Value | int, start: int, end: int, absent: Label) -> Value:
        """Bits `start` to `end`, at most 32, from the first bit of byte `offset`, as a number."""
        code = self.code
        first, size = start // 8, (end + 7) // 8 - start // 8
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

    def bits(self, header: Header, start: int, end: int, absent: Label) -> Value:
        """Bits `start` to `end` of the header."""
        return self.bits_at(self.header(header, absent), start, end, absent)

    def plain_field(self, known: Field, absent: Label) -> Value:
        """The value of an INT or BOOL field of plain bits."""
        code = self.code
        value, found = code.value(), code.label()
        for index, place in enumerate(known.at):
            other = absent if index == len(known.at) - 1 else code.label()
            number = self.bits(place.header, place.offset, place.offset + place.width, other)
            if place.scale != 1:
                code.update(Alu.MUL, number, place.scale)
            if place.add:
                code.update(Alu.ADD, number, place.add)
            code.set(value, number)
            code.jump(found)
            if other is not absent:
                code.place(other)
        code.place(found)
        return value

    def each_element(self, place: Each, bound: int, end: Label) -> Iterator[None]:
        """A loop over the elements of a field of many values: what is written meanwhile is about one of them. The verifier follows the
        loop's count, `bound` times through; where there is no element more it goes to `end`, and at last too."""
        code, again = self.code, self.code.label()
        index, cursor = code.copy(0), code.copy(0)
        code.place(again)
        self.times = bound
        self.effort.ask(place.routine, self.times, None)
        element = code.call(place.routine, self.context, self.fact(place.fact), cursor, index)
        offset, length = take_slice(code, element, end)
        code.set(cursor, offset)
        code.update(Alu.ADD, cursor, length)
        self.element = element
        yield
        self.element, self.times = None, 1
        code.update(Alu.ADD, index, 1)
        code.branch(Condition.LT, index, bound, again)
        code.jump(end)

    def slice_of(self, fact: Fact, absent: Label) -> tuple[Value, Value]:
        """Offset and length of a slice."""
        return take_slice(self.code, self.fact(fact), absent)
