"""A packet within a packet: its headers and fields (semantics: rules_dsl/dissectors/within.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bpf.dissectors.model import AddressOf, BitsOf, Number, Place, Present
from bpf.facts import Fact
from bpf.headers import EXTENSIONS
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.slices import give_absent, give_number, give_slice, load_number, pack_slice, take_bounds, take_slice
from bpf.tables import Tables

IPV4, IPV6, _ARP = 0x0800, 0x86DD, 0x0806
"""EtherTypes."""
_VLAN_TAGS: Final = (0x8100, 0x88A8)

WHOLE, QUOTED = 0, 1
"""A packet within is cut to the length that it states, or that length says nothing."""

# -- where the headers are, as `inner_layout` gives it; 0 where no protocol is known ---------------------------------------

_OFFSET_MASK: Final = (1 << 24) - 1
"""Where the transport header begins, in bytes from the outermost packet's first."""
_PROTOCOL_SHIFT: Final = 24
_TRANSPORT: Final = 1 << 32
"""There is a transport header."""
_PROTOCOL: Final = 1 << 33
"""The protocol is known."""
_FURTHEST_TRANSPORT: Final = 0xFFFF
"""In bytes from the inner packet's first."""


def _packet(tables: Tables) -> tuple[Function, ...]:
    """`inner_packet(context, bytes, version, quoted)`: the IP packet of that version that the slice begins with, a slice."""
    code = Function("inner_packet", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, piece, version, quoted = code.parameters
    absent, version_6, cut, uncut = (code.label() for _ in range(4))
    scratch = code.buffer(8)
    offset, length = take_slice(code, piece, absent)
    code.branch(Condition.LT, length, 20, absent)
    first = load_number(code, context, offset, 4, scratch, absent)
    code.branch(Condition.NE, code.alu(Alu.RSH, first, 28), version, absent)
    code.branch(Condition.EQ, version, 6, version_6)
    code.branch(Condition.NE, version, 4, absent)
    header_length = code.alu(Alu.RSH, first, 22)
    code.update(Alu.AND, header_length, 60)
    code.branch(Condition.LT, header_length, 20, absent)
    code.branch(Condition.NE, quoted, WHOLE, uncut)
    stated = code.alu(Alu.AND, first, 0xFFFF)
    code.branch(Condition.LT, stated, header_length, absent)
    code.jump(cut)

    code.place(version_6)
    code.branch(Condition.LT, length, 40, absent)
    code.branch(Condition.NE, quoted, WHOLE, uncut)
    head = load_number(code, context, code.alu(Alu.ADD, offset, 4), 4, scratch, absent)
    code.set(stated, code.alu(Alu.RSH, head, 16))
    code.update(Alu.ADD, stated, 40)
    code.branch(Condition.LT, head, 0x100, uncut)  # no length, and hop-by-hop options follow (RFC 2675)

    code.place(cut)
    code.branch(Condition.GE, stated, length, uncut)
    code.set(length, stated)
    code.place(uncut)
    give_slice(code, offset, code.alu(Alu.ADD, offset, length))
    give_absent(code, absent)
    return (code,)


def _layout(tables: Tables) -> tuple[Function, ...]:
    """`inner_layout(context, packet)`: where its headers are."""
    code = Function("inner_layout", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, packet, *_ = code.parameters
    absent, version_6, transport, later, known = (code.label() for _ in range(5))
    scratch = code.buffer(8)
    state = code.buffer(_Chain.SIZE)
    offset, length = take_slice(code, packet, absent)
    first = load_number(code, context, offset, 1, scratch, absent)
    word = load_number(code, context, code.alu(Alu.ADD, offset, 6), 4, scratch, absent)
    code.branch(Condition.GT, first, 0x5F, version_6)
    protocol = code.alu(Alu.AND, word, 0xFF)
    code.branch(Condition.NE, code.alu(Alu.AND, word, 0x1FFF_0000), 0, known)
    code.update(Alu.AND, first, 15)
    code.update(Alu.LSH, first, 2)
    code.update(Alu.ADD, offset, first)
    code.jump(transport)

    code.place(version_6)
    code.store(8, state, _Chain.CONTEXT, context)
    code.store(4, state, _Chain.NEXT, code.alu(Alu.RSH, word, 24))
    code.store(4, state, _Chain.OFFSET, code.alu(Alu.ADD, offset, 40))
    code.store(4, state, _Chain.LIMIT, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Chain.END, _Chain.CUT)
    code.helper(Helper.LOOP, _LONGEST_CHAIN, FunctionName("inner_layout_step"), At(state), 0)
    code.set(protocol, code.load(4, state, _Chain.NEXT))
    code.update(Alu.AND, protocol, 0xFF)
    end = code.load(4, state, _Chain.END)
    code.branch(Condition.EQ, end, _Chain.LATER, later)
    code.branch(Condition.NE, end, _Chain.WHOLE, absent)
    walked = code.alu(Alu.SUB, code.load(4, state, _Chain.OFFSET), offset)
    code.branch(Condition.GT, walked, _FURTHEST_TRANSPORT, absent)
    code.update(Alu.ADD, offset, walked)
    code.place(transport)
    code.update(Alu.AND, offset, _OFFSET_MASK)
    code.update(Alu.LSH, protocol, _PROTOCOL_SHIFT)
    code.update(Alu.OR, protocol, offset)
    code.give(code.alu(Alu.OR, code.copy(_TRANSPORT | _PROTOCOL), protocol))

    code.place(later)
    _go_where_extension(code, protocol, absent)
    code.place(known)
    code.update(Alu.LSH, protocol, _PROTOCOL_SHIFT)
    code.give(code.alu(Alu.OR, code.copy(_PROTOCOL), protocol))
    give_absent(code, absent)
    return code, _layout_step()


_LONGEST_CHAIN: Final = 1 << 17
"""Extension headers: at least 8 bytes each, in 2**20."""


class _Chain:
    """The state of the walk. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    NEXT = 12
    OFFSET = 20
    LIMIT = 28
    """Offset of the byte behind the inner packet."""
    END = 36
    SIZE = 40

    WHOLE, LATER, CUT = 0, 1, 2
    """How the walk ended."""


def _go_where_extension(code: Function, number: Value, to: Label) -> None:
    for known in EXTENSIONS:
        code.branch(Condition.EQ, number, known, to)


def _layout_step() -> Function:
    """One extension header further: bpf_loop's callback."""
    code = Function("inner_layout_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    extension, fragment, authentication, loaded, two, advance, stop = (code.label() for _ in range(7))
    header = code.buffer(8)
    context = code.load(8, state, _Chain.CONTEXT)
    kind = code.load(4, state, _Chain.NEXT)
    offset = code.load(4, state, _Chain.OFFSET)
    limit = code.load(4, state, _Chain.LIMIT)
    _go_where_extension(code, kind, extension)
    code.store(4, state, _Chain.END, _Chain.WHOLE)
    code.give(1)

    code.place(extension)
    end = code.alu(Alu.ADD, offset, 4)
    code.branch(Condition.EQ, kind, 43, loaded)  # routing: the kernel reads four bytes of it
    code.branch(Condition.NE, kind, 44, two)
    code.place(loaded)
    code.branch(Condition.GT, end, limit, stop)
    code.place(two)
    code.update(Alu.SUB, end, 2)
    code.branch(Condition.GT, end, limit, stop)
    code.load_packet(context, offset, At(header), 2, stop)
    following = code.load(1, header)
    length = code.load(1, header, 1)
    code.store(4, state, _Chain.NEXT, following)
    code.branch(Condition.EQ, kind, 44, fragment)
    code.branch(Condition.EQ, kind, 51, authentication)
    code.update(Alu.ADD, length, 1)
    code.update(Alu.LSH, length, 3)
    code.jump(advance)
    code.place(authentication)
    code.update(Alu.ADD, length, 2)
    code.update(Alu.LSH, length, 2)
    code.jump(advance)
    code.place(fragment)
    code.load_packet(context, end, At(header), 2, stop)
    code.set(length, 8)
    code.branch(Condition.EQ, code.alu(Alu.AND, code.load_network(2, header), 0xFFF8), 0, advance)
    code.store(4, state, _Chain.END, _Chain.LATER)
    code.give(1)
    code.place(advance)
    code.update(Alu.ADD, offset, length)
    code.store(4, state, _Chain.OFFSET, offset)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


def _protocol(tables: Tables) -> tuple[Function, ...]:
    """`inner_protocol(context, layout)`: a number."""
    code = Function("inner_protocol", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, layout, *_ = code.parameters
    absent = code.label()
    code.branch(Condition.EQ, layout, 0, absent)
    number = code.alu(Alu.RSH, layout, _PROTOCOL_SHIFT)
    give_number(code, code.alu(Alu.AND, number, 0xFF))
    give_absent(code, absent)
    return (code,)


def _ports(tables: Tables) -> tuple[Function, ...]:
    """`inner_ports(context, layout, packet)`: from the TCP, UDP or SCTP header on, a slice."""
    code = Function("inner_ports", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, layout, packet, _ = code.parameters
    absent, ports = code.label(), code.label()
    code.branch(Condition.EQ, code.alu(Alu.AND, layout, code.copy(_TRANSPORT)), 0, absent)
    protocol = code.alu(Alu.RSH, layout, _PROTOCOL_SHIFT)
    code.update(Alu.AND, protocol, 0xFF)
    for number in (6, 17, 132):
        code.branch(Condition.EQ, protocol, number, ports)
    code.jump(absent)
    code.place(ports)
    _, end = take_bounds(code, packet, absent)
    start = code.alu(Alu.AND, layout, _OFFSET_MASK)
    code.branch(Condition.GT, start, end, absent)
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


def _address(tables: Tables) -> tuple[Function, ...]:
    """`inner_address(context, packet, which)`: the source, or where `which` is 1 the destination: a slice."""
    code = Function("inner_address", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, packet, which, _ = code.parameters
    absent, version_6 = code.label(), code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, packet, absent)
    first = load_number(code, context, offset, 1, scratch, absent)
    code.branch(Condition.GT, first, 0x5F, version_6)
    code.update(Alu.LSH, which, 2)
    code.update(Alu.ADD, offset, 12)
    code.update(Alu.ADD, offset, which)
    code.give(pack_slice(code, offset, 4))
    code.place(version_6)
    code.update(Alu.LSH, which, 4)
    code.update(Alu.ADD, offset, 8)
    code.update(Alu.ADD, offset, which)
    code.give(pack_slice(code, offset, 16))
    give_absent(code, absent)
    return (code,)


def _time_to_live(tables: Tables) -> tuple[Function, ...]:
    """`inner_ttl(context, packet)`: a number."""
    code = Function("inner_ttl", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, packet, *_ = code.parameters
    absent, version_4 = code.label(), code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, packet, absent)
    first = load_number(code, context, offset, 1, scratch, absent)
    both = load_number(code, context, code.alu(Alu.ADD, offset, 7), 2, scratch, absent)
    code.branch(Condition.LT, first, 0x50, version_4)
    code.update(Alu.RSH, both, 8)
    code.place(version_4)
    give_number(code, code.alu(Alu.AND, both, 0xFF))
    give_absent(code, absent)
    return (code,)


PACKET: Final = Routine("inner_packet", _packet)
_LAYOUT: Final = Routine("inner_layout", _layout)
_PROTOCOL_OF: Final = Routine("inner_protocol", _protocol)
_PORTS: Final = Routine("inner_ports", _ports)
_ADDRESS: Final = Routine("inner_address", _address)
_TIME_TO_LIVE: Final = Routine("inner_ttl", _time_to_live)


def places_within(prefix: str, packet: Fact) -> Mapping[str, Place]:
    """The fields of the inner packet, a slice, under names that begin with `prefix`."""
    layout = Fact(_LAYOUT, (packet,))
    ports = Fact(_PORTS, (layout, packet))
    return {
        prefix: Present(packet),
        f"{prefix}.ip.src": AddressOf(Fact(_ADDRESS, (packet,), (0,))),
        f"{prefix}.ip.dst": AddressOf(Fact(_ADDRESS, (packet,), (1,))),
        f"{prefix}.ip.proto": Number(Fact(_PROTOCOL_OF, (layout,))),
        f"{prefix}.ip.ttl": Number(Fact(_TIME_TO_LIVE, (packet,))),
        f"{prefix}.srcport": BitsOf(ports, 0, 16),
        f"{prefix}.dstport": BitsOf(ports, 16, 16),
    }


# -- Ethernet ----------------------------------------------------------------------------------------------------------


def _content(tables: Tables) -> tuple[Function, ...]:
    """`inner_content(context, frame)`: what follows the EtherType, which stands behind at most two VLAN tags, a slice."""
    code = Function("inner_content", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, frame, *_ = code.parameters
    absent, last = code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, frame, absent)
    code.update(Alu.ADD, offset, 14)
    for _ in range(2):
        tagged = code.label()
        code.branch(Condition.GT, offset, end, absent)
        ether_type = load_number(code, context, code.alu(Alu.SUB, offset, 2), 2, scratch, absent)
        for tag in _VLAN_TAGS:
            code.branch(Condition.EQ, ether_type, tag, tagged)
        code.jump(last)
        code.place(tagged)
        code.update(Alu.ADD, offset, 4)
    code.branch(Condition.GT, offset, end, absent)
    code.place(last)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


_CONTENT: Final = Routine("inner_content", _content)


def _frame(tables: Tables) -> tuple[Function, ...]:
    """`inner_frame(context, frame)`: the IP packet in an Ethernet frame, a slice."""
    code = Function("inner_frame", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, frame, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    content = code.call(_CONTENT, context, frame)
    offset, _ = take_slice(code, content, absent)
    ether_type = load_number(code, context, code.alu(Alu.SUB, offset, 2), 2, scratch, absent)
    give_packet(code, context, content, ether_type)
    give_absent(code, absent)
    return (code,)


FRAME: Final = Routine("inner_frame", _frame)


def give_packet(code: Function, context: Value, content: Value, ether_type: Value) -> None:
    """Return the IP packet that the slice begins with, where the EtherType is IPv4 or IPv6; go on where it is not."""
    for number, version in ((IPV4, 4), (IPV6, 6)):
        other = code.label()
        code.branch(Condition.NE, ether_type, number, other)
        code.give(code.call(PACKET, context, content, version, WHOLE))
        code.place(other)


def _is_ip_or_arp(tables: Tables) -> tuple[Function, ...]:
    """`inner_ethernet(context, frame)`: 1 where it is an Ethernet frame of IPv4, IPv6 or ARP, else 0."""
    code = Function("inner_ethernet", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, frame, *_ = code.parameters
    no, yes = code.label(), code.label()
    scratch = code.buffer(8)
    code.branch(Condition.NE, code.call(FRAME, context, frame), 0, yes)
    offset, length = take_slice(code, code.call(_CONTENT, context, frame), no)
    code.branch(Condition.LT, length, 4, no)
    ether_type = load_number(code, context, code.alu(Alu.SUB, offset, 2), 2, scratch, no)
    code.branch(Condition.NE, ether_type, _ARP, no)
    head = load_number(code, context, offset, 4, scratch, no)
    code.branch(Condition.NE, head, 0x0001_0800, no)
    code.place(yes)
    code.give(1)
    code.place(no)
    code.give(0)
    return (code,)


IS_IP_OR_ARP: Final = Routine("inner_ethernet", _is_ip_or_arp)
