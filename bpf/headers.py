"""Where the headers and payloads of a packet are: functions that a program calls once for each packet, where its tests need them.

Each gives one number, packed as the constants here say. Semantics: rules_dsl/packet.py; IPv6 after the kernel's ipv6_find_hdr
(net/ipv6/exthdrs_core.c), whose walk is bounded by the packet's own length.
"""

from __future__ import annotations

from typing import Final

from bpf.image import FunctionKind
from bpf.ir import At, Buffer, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.slices import give_slice, load_number
from bpf.tables import Tables
from rules_dsl.fields import HEADER_BYTES, PROTOCOL_NUMBER, Header

# -- the layout, as `walk` gives it; 0 where there is no whole IP header ---------------------------------------------------

OFFSET_MASK: Final = 0xFFFF
"""Where the transport header begins."""
TRANSPORT: Final = 1 << 16
"""There is a transport header: the packet is no later fragment, and its chain of extension headers is whole."""
PROTOCOL_SHIFT: Final = 17
"""8 bits: ip.proto."""
PROTOCOL: Final = 1 << 25
"""ip.proto is there."""
IPV4: Final = 1 << 26
"""The packet is IPv4."""
EXTENSION_SHIFT: Final = 27
"""5 bits: which of EXTENSIONS have been walked."""
FRAGMENT_SHIFT: Final = 32
FRAGMENT_BITS: Final = 20
"""Where the first IPv6 fragment header is."""
FRAGMENT: Final = 1 << 52
"""There is one."""

EXTENSIONS: Final = (0, 43, 44, 51, 60)
"""IPv6 extension headers: hop-by-hop options, routing, fragment, AH, destination options."""
_ROUTING, _FRAGMENT, _AUTHENTICATION = 43, 44, 51

_LONGEST_CHAIN: Final = 1 << 17
"""Extension headers in a packet: at least 8 bytes each, in 2**20 (the kernel's largest merged packet has 512 KiB)."""


def _walk(tables: Tables) -> tuple[Function, ...]:
    """The packet's layout."""
    code = Function("walk", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context = code.parameters[0]
    nothing, version_6, first = code.label(), code.label(), code.label()
    header = code.buffer(24)
    state = code.buffer(_Chain.SIZE)

    code.load_packet(context, 0, At(header), 20, nothing)
    version = code.alu(Alu.RSH, code.load(1, header), 4)
    code.branch(Condition.EQ, version, 6, version_6)
    code.branch(Condition.NE, version, 4, nothing)
    layout = code.copy(IPV4 | PROTOCOL)
    code.update(Alu.OR, layout, code.alu(Alu.LSH, code.load(1, header, 9), PROTOCOL_SHIFT))
    fragment = code.alu(Alu.AND, code.load_network(2, header, 6), 0x1FFF)
    code.branch(Condition.EQ, fragment, 0, first)
    code.give(layout)
    code.place(first)
    words = code.alu(Alu.AND, code.load(1, header), 15)
    code.update(Alu.OR, layout, TRANSPORT)
    code.update(Alu.OR, layout, code.alu(Alu.LSH, words, 2))
    code.give(layout)

    code.place(version_6)
    code.branch(Condition.LT, code.packet_length(context), 40, nothing)
    following = code.load(1, header, 6)
    plain, cut, later, known = code.label(), code.label(), code.label(), code.label()
    layout = code.copy(0)
    offset = code.copy(40)
    _go_unless_extension(code, following, plain)
    code.store(8, state, _Chain.CONTEXT, context)
    code.store(4, state, _Chain.NEXT, following)
    code.store(4, state, _Chain.OFFSET, 40)
    code.store(4, state, _Chain.SEEN, 0)
    code.store(4, state, _Chain.FRAGMENT, 0)
    code.store(4, state, _Chain.END, _Chain.CUT)
    code.helper(Helper.LOOP, _LONGEST_CHAIN, FunctionName("walk_step"), At(state), 0)
    code.set(layout, code.load(4, state, _Chain.SEEN))
    fragment = code.load(4, state, _Chain.FRAGMENT)
    no_fragment = code.label()
    code.branch(Condition.EQ, fragment, 0, no_fragment)
    code.update(Alu.LSH, fragment, FRAGMENT_SHIFT)
    code.update(Alu.OR, layout, fragment)
    code.update(Alu.OR, layout, code.copy(FRAGMENT))
    code.place(no_fragment)
    code.set(following, code.load(4, state, _Chain.NEXT))
    code.set(offset, code.load(4, state, _Chain.OFFSET))
    end = code.load(4, state, _Chain.END)
    code.branch(Condition.EQ, end, _Chain.CUT, cut)
    code.branch(Condition.EQ, end, _Chain.LATER, later)
    code.branch(Condition.GT, offset, OFFSET_MASK, cut)
    code.place(plain)
    code.update(Alu.OR, layout, offset)
    code.update(Alu.OR, layout, TRANSPORT)
    code.jump(known)
    code.place(later)
    _go_unless_extension(code, following, known)
    code.place(cut)
    code.give(layout)
    code.place(known)
    code.update(Alu.AND, following, 0xFF)
    code.update(Alu.LSH, following, PROTOCOL_SHIFT)
    code.update(Alu.OR, layout, following)
    code.update(Alu.OR, layout, PROTOCOL)
    code.give(layout)
    code.place(nothing)
    code.give(0)
    return code, _walk_step()


class _Chain:
    """The state of the walk. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored: so
    each step looks to it like the one before."""

    CONTEXT = 0
    NEXT = 12
    OFFSET = 20
    SEEN = 28
    FRAGMENT = 36
    END = 44
    SIZE = 48

    WHOLE, LATER, CUT = 0, 1, 2
    """How the walk ended."""


def _go_unless_extension(code: Function, number: Value, to: Label) -> None:
    """Go on where `number` is an extension header."""
    yes = code.label()
    for known in EXTENSIONS:
        code.branch(Condition.EQ, number, known, yes)
    code.jump(to)
    code.place(yes)


def _walk_step() -> Function:
    """One header further: bpf_loop's callback."""
    code = Function("walk_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    loaded, not_fragment, stop, whole, following_in, advance = (code.label() for _ in range(6))
    header = code.buffer(8)
    context = code.load(8, state, _Chain.CONTEXT)
    kind = code.load(4, state, _Chain.NEXT)
    offset = code.load(4, state, _Chain.OFFSET)
    _go_unless_extension(code, kind, whole)
    four = code.label()
    code.branch(Condition.EQ, kind, _ROUTING, four)
    code.branch(Condition.EQ, kind, _FRAGMENT, four)
    code.load_packet(context, offset, At(header), 2, stop)
    code.jump(loaded)
    code.place(four)
    code.load_packet(context, offset, At(header), 4, stop)
    code.place(loaded)

    bit = code.copy(0)
    seen = code.label()
    for index, known in enumerate(EXTENSIONS):
        code.set(bit, 1 << (EXTENSION_SHIFT + index))
        code.branch(Condition.EQ, kind, known, seen)
    code.place(seen)
    code.update(Alu.OR, bit, code.load(4, state, _Chain.SEEN))
    code.store(4, state, _Chain.SEEN, bit)

    following = code.load(1, header)
    code.store(4, state, _Chain.NEXT, following)
    length = code.load(1, header, 1)
    code.branch(Condition.NE, kind, _FRAGMENT, not_fragment)
    first = code.load(4, state, _Chain.FRAGMENT)
    code.branch(Condition.NE, first, 0, following_in)
    code.store(4, state, _Chain.FRAGMENT, offset)
    code.place(following_in)
    position = code.alu(Alu.AND, code.load_network(2, header, 2), 0xFFF8)
    code.set(length, 8)
    code.branch(Condition.EQ, position, 0, advance)
    code.store(4, state, _Chain.END, _Chain.LATER)
    code.give(1)
    code.place(not_fragment)
    other = code.label()
    code.branch(Condition.NE, kind, _AUTHENTICATION, other)
    code.update(Alu.ADD, length, 2)
    code.update(Alu.LSH, length, 2)
    code.jump(advance)
    code.place(other)
    code.update(Alu.ADD, length, 1)
    code.update(Alu.LSH, length, 3)
    code.place(advance)
    code.update(Alu.ADD, offset, length)
    code.store(4, state, _Chain.OFFSET, offset)
    code.give(0)

    code.place(whole)
    code.store(4, state, _Chain.END, _Chain.WHOLE)
    code.place(stop)
    code.give(1)
    return code


# -- headers -----------------------------------------------------------------------------------------------------------


def go_unless_header(code: Function, layout: Value, header: Header, absent: Label) -> None:
    """Go to `absent` where the packet has no transport header of that protocol (it may still be cut)."""
    mask = TRANSPORT | PROTOCOL | 0xFF << PROTOCOL_SHIFT
    wanted = TRANSPORT | PROTOCOL | PROTOCOL_NUMBER[header] << PROTOCOL_SHIFT
    if header in (Header.ICMP, Header.ICMPV6):
        mask |= IPV4
        wanted |= IPV4 if header is Header.ICMP else 0
    code.branch(Condition.NE, code.alu(Alu.AND, layout, mask), wanted, absent)


def go_unless_whole(code: Function, context: Value, layout: Value, header: Header, absent: Label) -> tuple[Value, Value]:
    """Go to `absent` unless the fixed part of that header is there; else the header's offset and the packet's length."""
    go_unless_header(code, layout, header, absent)
    offset = code.alu(Alu.AND, layout, OFFSET_MASK)
    length = code.packet_length(context)
    end = code.alu(Alu.ADD, offset, HEADER_BYTES[header])
    code.branch(Condition.GT, end, length, absent)
    return offset, length


def go_unless_tcp(code: Function, context: Value, layout: Value, scratch: Buffer, absent: Label) -> tuple[Value, Value, Value]:
    """Go to `absent` where `tcp` is false; else the header's offset, the packet's length and the header's length in bytes."""
    offset, length = go_unless_whole(code, context, layout, Header.TCP, absent)
    place = code.alu(Alu.ADD, offset, 12)
    code.load_packet(context, place, At(scratch), 1, absent)
    words = code.alu(Alu.RSH, code.load(1, scratch), 4)
    code.branch(Condition.LT, words, 5, absent)
    code.update(Alu.LSH, words, 2)
    return offset, length, words


def _tcp_payload(tables: Tables) -> tuple[Function, ...]:
    code = Function("tcp_payload", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent = code.label()
    offset, length, header_length = go_unless_tcp(code, context, layout, code.buffer(8), absent)
    code.update(Alu.ADD, offset, header_length)
    code.branch(Condition.GT, offset, length, absent)
    give_slice(code, offset, length)
    code.place(absent)
    code.give(0)
    return (code,)


def _udp_payload(tables: Tables) -> tuple[Function, ...]:
    code = Function("udp_payload", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent, uncut = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = go_unless_whole(code, context, layout, Header.UDP, absent)
    code.load_packet(context, code.alu(Alu.ADD, offset, 4), At(scratch), 2, absent)
    stated = code.load_network(2, scratch)
    code.branch(Condition.LT, stated, 8, absent)
    end = code.alu(Alu.ADD, stated, offset)
    code.branch(Condition.LE, end, length, uncut)
    code.set(end, length)
    code.place(uncut)
    code.update(Alu.ADD, offset, 8)
    give_slice(code, offset, end)
    code.place(absent)
    code.give(0)
    return (code,)


def _payload(tables: Tables) -> tuple[Function, ...]:
    code = Function("payload", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent, fixed = code.label(), code.label()
    scratch = code.buffer(8)
    for header, routine in ((Header.TCP, TCP_PAYLOAD), (Header.UDP, UDP_PAYLOAD)):
        other = code.label()
        go_unless_header(code, layout, header, other)
        code.give(code.call(routine, context, layout))
        code.place(other)
    transport = code.alu(Alu.AND, layout, TRANSPORT)
    code.branch(Condition.EQ, transport, 0, absent)
    offset = code.alu(Alu.AND, layout, OFFSET_MASK)
    skipped = code.copy(0)
    for header in (Header.SCTP, Header.ICMP, Header.ICMPV6, Header.ESP):
        other = code.label()
        go_unless_header(code, layout, header, other)
        code.set(skipped, HEADER_BYTES[header])
        code.jump(fixed)
        code.place(other)
    go_unless_header(code, layout, Header.GRE, fixed)
    code.load_packet(context, offset, At(scratch), 4, absent)
    code.set(skipped, 4)
    flags = code.load_network(2, scratch)
    for bits in (0xC000, 0x2000, 0x1000):  # checksum or routing, key, sequence number (RFC 1701, RFC 2890)
        without = code.label()
        code.branch(Condition.EQ, code.alu(Alu.AND, flags, bits), 0, without)
        code.update(Alu.ADD, skipped, 4)
        code.place(without)
    code.place(fixed)
    code.update(Alu.ADD, offset, skipped)
    length = code.packet_length(context)
    code.branch(Condition.GT, offset, length, absent)
    give_slice(code, offset, length)
    code.place(absent)
    code.give(0)
    return (code,)


_MSS_ABSENT: Final = 1 << 16


def _maximum_segment_size(tables: Tables) -> tuple[Function, ...]:
    """The value of the TCP option, or 2**16 where there is none (RFC 9293 section 3.1)."""
    code = Function("mss", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, layout, *_ = code.parameters
    absent = code.label()
    options = code.buffer(48)
    place = code.buffer(8)
    offset, length, header_length = go_unless_tcp(code, context, layout, options, absent)
    end = code.alu(Alu.ADD, offset, header_length)
    code.branch(Condition.GT, end, length, absent)
    size = code.alu(Alu.SUB, header_length, 20)
    code.branch(Condition.EQ, size, 0, absent)
    code.branch(Condition.GT, size, 40, absent)  # cannot be; the verifier wants it said
    for start in range(0, 48, 8):
        code.store(8, options, start, 0)
    code.load_packet(context, code.alu(Alu.ADD, offset, 20), At(options), size, absent)
    # The options' size and the place in them, untracked by the verifier: so that the steps look alike to it.
    code.store(2, place, 2, size)
    code.store(2, place, 6, 0)
    step, skip, step_counted = code.label(), code.label(), code.copy(0)
    code.place(step)
    size = code.load(2, place, 2)
    at = code.load(2, place, 6)
    code.branch(Condition.GE, at, size, absent)
    code.branch(Condition.GT, at, 39, absent)
    here = code.address(options)
    code.update(Alu.ADD, here, at)
    kind = code.load(1, here)
    code.branch(Condition.EQ, kind, 0, absent)
    taken = code.copy(1)
    code.branch(Condition.EQ, kind, 1, skip)
    code.set(taken, code.load(1, here, 1))  # byte 41 of the buffer is zero
    following = code.alu(Alu.ADD, at, taken)
    code.branch(Condition.LT, taken, 2, absent)
    code.branch(Condition.GT, following, size, absent)
    code.branch(Condition.NE, kind, 2, skip)
    code.branch(Condition.NE, taken, 4, skip)
    high = code.alu(Alu.LSH, code.load(1, here, 2), 8)
    code.update(Alu.OR, high, code.load(1, here, 3))
    code.give(high)
    code.place(skip)
    code.store(2, place, 6, code.alu(Alu.ADD, at, taken))
    code.update(Alu.ADD, step_counted, 1)
    code.branch(Condition.LT, step_counted, 40, step)
    code.place(absent)
    code.give(_MSS_ABSENT)
    return (code,)


def _checksum_valid(tables: Tables) -> tuple[Function, ...]:
    """1 where the IPv4 header's ones' complement sum is 0xffff (RFC 1071), else 0.

    The sum is the same in either byte order."""
    code = Function("checksum", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context = code.parameters[0]
    wrong = code.label()
    header = code.buffer(64)
    for start in range(0, 64, 8):
        code.store(8, header, start, 0)
    code.load_packet(context, 0, At(header), 1, wrong)
    first = code.load(1, header)
    code.branch(Condition.NE, code.alu(Alu.RSH, first, 4), 4, wrong)
    size = code.alu(Alu.AND, first, 15)
    code.update(Alu.LSH, size, 2)
    code.branch(Condition.LT, size, 20, wrong)
    code.load_packet(context, 0, At(header), size, wrong)
    total = code.copy(0)
    for start in range(0, 60, 4):
        code.update(Alu.ADD, total, code.load(4, header, start))
    for bits in (32, 16, 16):
        rest = code.alu(Alu.RSH, total, bits)
        code.update(Alu.AND, total, 0xFFFF) if bits == 16 else code.update(Alu.AND, total, -1, 32)
        code.update(Alu.ADD, total, rest)
    # 36 bits became at most 33, then 18, then 17: one fold more.
    rest = code.alu(Alu.RSH, total, 16)
    code.update(Alu.AND, total, 0xFFFF)
    code.update(Alu.ADD, total, rest)
    code.branch(Condition.NE, total, 0xFFFF, wrong)
    code.give(1)
    code.place(wrong)
    code.give(0)
    return (code,)


def _first_byte(tables: Tables) -> tuple[Function, ...]:
    code = Function("first_byte", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, *_ = code.parameters
    absent = code.label()
    code.give(load_number(code, context, 0, 1, code.buffer(8), absent))
    code.place(absent)
    code.give(0)
    return (code,)


FIRST_BYTE: Final = Routine("first_byte", _first_byte, is_fixed=True)
WALK: Final = Routine("walk", _walk, is_fixed=True)
TCP_PAYLOAD: Final = Routine("tcp_payload", _tcp_payload, is_fixed=True)
UDP_PAYLOAD: Final = Routine("udp_payload", _udp_payload, is_fixed=True)
PAYLOAD: Final = Routine("payload", _payload, is_fixed=True)
MAXIMUM_SEGMENT_SIZE: Final = Routine("mss", _maximum_segment_size, is_fixed=True)
CHECKSUM: Final = Routine("checksum", _checksum_valid, is_fixed=True)
