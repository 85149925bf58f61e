"""DNS (semantics: rules_dsl/dissectors/dns.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, DomainName, Each, Number, Place, Present
from bpf.domain_name import HEADER, LABELS, LONGEST, LONGEST_LABEL, NAME, POINTER, TEXT
from bpf.facts import TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Routine
from bpf.isa import Alu, Condition, Helper
from bpf.search import seek
from bpf.slices import at_most, give_absent, give_slice, load_number, pack_slice, take_bounds, take_slice
from bpf.tables import Tables

_RESPONSE_BIT, _TRUNCATED_BIT = 0x8000, 0x0200
_UPDATE = 5
_OPT = 41
_WALKED = 64
"""Questions, and records, that are stepped over."""

# -- the message -------------------------------------------------------------------------------------------------------


def _begin(tables: Tables) -> tuple[Function, ...]:
    """`dns_begin(context, datagram, segment)`: the message, a slice, as far as the header shows that it is one."""
    code = Function("dns_begin", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, datagram, segment, _ = code.parameters
    absent, over_tcp, cut, there, counted, fits, good = (code.label() for _ in range(7))
    scratch = code.buffer(16)
    start, end, stated = code.value(), code.value(), code.value()
    code.branch(Condition.EQ, datagram, 0, over_tcp)
    offset, length = take_slice(code, datagram, absent)
    code.set(start, offset)
    code.set(stated, load_number(code, context, code.alu(Alu.SUB, offset, 4), 2, scratch, absent))  # udp.length
    code.update(Alu.SUB, stated, 8)
    code.jump(there)
    code.place(over_tcp)
    offset, length_of_segment = take_slice(code, segment, absent)
    code.branch(Condition.LT, length_of_segment, 2, absent)
    code.set(stated, load_number(code, context, offset, 2, scratch, absent))
    code.set(start, code.alu(Alu.ADD, offset, 2))
    code.set(length, code.alu(Alu.SUB, length_of_segment, 2))
    code.branch(Condition.GE, stated, length, cut)
    code.set(length, stated)
    code.place(cut)
    code.place(there)
    code.branch(Condition.LT, length, HEADER, absent)
    code.set(end, code.alu(Alu.ADD, start, length))
    code.load_packet(context, start, At(scratch), HEADER, absent)
    flags = code.load_network(2, scratch, 2)
    opcode = code.alu(Alu.AND, code.alu(Alu.RSH, flags, 11), 15)
    code.branch(Condition.GT, opcode, 5, absent)
    code.branch(Condition.EQ, opcode, 3, absent)
    questions = code.load_network(2, scratch, 4)
    records = code.load_network(2, scratch, 6)
    code.update(Alu.ADD, records, code.load_network(2, scratch, 8))
    code.update(Alu.ADD, records, code.load_network(2, scratch, 10))
    code.branch(Condition.NE, code.alu(Alu.ADD, questions, records), 0, counted)
    code.branch(Condition.NE, stated, HEADER, absent)
    code.branch(Condition.LT, flags, _RESPONSE_BIT, absent)
    code.jump(good)
    code.place(counted)
    code.update(Alu.MUL, questions, 5)
    code.update(Alu.ADD, questions, HEADER)
    code.branch(Condition.NE, code.alu(Alu.AND, flags, _TRUNCATED_BIT), 0, fits)
    code.update(Alu.MUL, records, 11)
    code.update(Alu.ADD, questions, records)
    code.place(fits)
    code.branch(Condition.GT, questions, stated, absent)
    code.place(good)
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`dns(context, begun)`: the message again, where its first question or record shows that it is one."""
    code = Function("dns", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, begun, *_ = code.parameters
    absent, good, root, question, record, known = (code.label() for _ in range(6))
    scratch = code.buffer(16)
    offset, length = take_slice(code, begun, absent)
    counts = load_number(code, context, code.alu(Alu.ADD, offset, 4), 8, scratch, absent)
    code.branch(Condition.EQ, counts, 0, good)
    questions = code.alu(Alu.RSH, counts, 48)
    end = code.alu(Alu.ADD, offset, length)
    first = code.alu(Alu.ADD, offset, HEADER)
    name = code.call(NAME, context, begun, pack_slice(code, first, 0))
    code.branch(Condition.EQ, name, 0, absent)
    # No pointer leads from a first name to in front of it: the bytes behind its text are its end.
    behind = code.alu(Alu.AND, name, 0xFF)
    code.branch(Condition.EQ, behind, 0, root)
    code.update(Alu.ADD, behind, 1)
    code.place(root)
    code.update(Alu.ADD, behind, first)
    code.update(Alu.ADD, behind, 1)
    head = code.value()
    code.branch(Condition.EQ, questions, 0, record)
    code.branch(Condition.GT, code.alu(Alu.ADD, behind, 4), end, absent)
    code.load_packet(context, behind, At(scratch), 4, absent)
    code.jump(question)
    code.place(record)
    code.update(Alu.ADD, behind, 10)
    code.branch(Condition.GT, behind, end, absent)
    code.load_packet(context, code.alu(Alu.SUB, behind, 10), At(scratch), 10, absent)
    code.update(Alu.ADD, behind, code.load_network(2, scratch, 8))
    code.branch(Condition.GT, behind, end, absent)
    code.branch(Condition.EQ, code.load_network(2, scratch), _OPT, good)
    code.place(question)
    code.set(head, code.load_network(2, scratch, 2))
    code.update(Alu.AND, head, 0x7FFF)
    for number in (1, 3, 4, 254, 255):
        code.branch(Condition.EQ, head, number, known)
    code.jump(absent)
    code.place(known)
    code.set(head, code.load_network(2, scratch))
    code.branch(Condition.EQ, head, 0, absent)
    code.branch(Condition.LT, head, 32, good)
    code.branch(Condition.GT, head, 33, good)
    seek(code, tables, context, first, code.alu(Alu.SUB, end, first), "^ [A-P]{32}", good)
    give_absent(code, absent)
    code.place(good)
    code.give(begun)
    return (code,)


def _response(tables: Tables) -> tuple[Function, ...]:
    """`dns_response(context, message)`: the message again, where it is a response."""
    code = Function("dns_response", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, message, absent)
    flags = load_number(code, context, code.alu(Alu.ADD, offset, 2), 2, scratch, absent)
    code.branch(Condition.LT, flags, _RESPONSE_BIT, absent)
    code.give(message)
    give_absent(code, absent)
    return (code,)


def _sections(tables: Tables) -> tuple[Function, ...]:
    """`dns_sections(context, message, update)`: the message again, where it is an update (`update` 1), or is none (0)."""
    code = Function("dns_sections", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, update, _ = code.parameters
    absent, other = code.label(), code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, message, absent)
    opcode = load_number(code, context, code.alu(Alu.ADD, offset, 2), 1, scratch, absent)
    code.update(Alu.RSH, opcode, 3)
    code.update(Alu.AND, opcode, 15)
    code.branch(Condition.NE, opcode, _UPDATE, other)
    code.branch(Condition.EQ, update, 0, absent)
    code.give(message)
    code.place(other)
    code.branch(Condition.NE, update, 0, absent)
    code.give(message)
    give_absent(code, absent)
    return (code,)


# -- questions and records ---------------------------------------------------------------------------------------------

_QUESTIONS_KIND, _RECORDS_KIND, _HEAD_KIND, _OPT_KIND = range(4)
_COMPLETE: Final = 1 << 56
"""Beside the slice that `dns_walk` gives: all that it was to step over were whole."""


class _Walk:
    """On the stack of `dns_walk`. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is stored."""

    CONTEXT = 0
    POSITION = 12
    END = 20
    LEFT = 28
    """Questions or records still to step over."""
    START = 36
    """Where the name at hand begins."""
    KIND = 44
    FIXED = 52
    """Where the bytes behind the last name are."""
    BEHIND = 60
    """Where the last whole question or record ends; 0 before there is one."""
    FOUND = 68
    SIZE = 72


def _walk(tables: Tables) -> tuple[Function, ...]:
    """`dns_walk(context, slice, count, kind)` steps over so many questions or records, at most _WALKED, up to one that is not whole.

    By the kind: the questions or the records, a slice, and _COMPLETE; of the last record the name and the ten bytes behind it; the ten
    bytes behind the name of the first record of type OPT."""
    code = Function("dns_walk", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, piece, count, kind = code.parameters
    absent, head, options, partial = (code.label() for _ in range(4))
    start, length = take_slice(code, piece, absent)
    code.branch(Condition.EQ, count, 0, absent)
    at_most(code, count, _WALKED)
    state = code.buffer(_Walk.SIZE)
    code.store(8, state, _Walk.CONTEXT, context)
    code.store(4, state, _Walk.POSITION, start)
    code.store(4, state, _Walk.END, code.alu(Alu.ADD, start, length))
    code.store(4, state, _Walk.LEFT, count)
    code.store(4, state, _Walk.START, start)
    code.store(4, state, _Walk.KIND, kind)
    for member in (_Walk.FIXED, _Walk.BEHIND, _Walk.FOUND):
        code.store(4, state, member, 0)
    code.helper(Helper.LOOP, _WALKED * (LONGEST // 2 + 1), FunctionName("dns_walk_step"), At(state), 0)
    behind = code.load(4, state, _Walk.BEHIND)
    code.branch(Condition.EQ, behind, 0, absent)
    fixed = code.load(4, state, _Walk.FIXED)
    code.branch(Condition.EQ, kind, _OPT_KIND, options)
    code.branch(Condition.EQ, kind, _HEAD_KIND, head)
    given = pack_slice(code, start, code.alu(Alu.SUB, behind, start))
    code.branch(Condition.NE, code.load(4, state, _Walk.LEFT), 0, partial)
    code.update(Alu.OR, given, code.copy(_COMPLETE))
    code.place(partial)
    code.give(given)
    code.place(head)
    give_slice(code, start, code.alu(Alu.ADD, fixed, 10))
    code.place(options)
    code.branch(Condition.EQ, code.load(4, state, _Walk.FOUND), 0, absent)
    code.give(pack_slice(code, fixed, 10))
    give_absent(code, absent)
    return code, _walk_step()


def _walk_step() -> Function:
    """One label further, or from a name's end to the next name: bpf_loop's callback."""
    code = Function("dns_walk_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    pointer, root, question, entry, found, stop = (code.label() for _ in range(6))
    scratch = code.buffer(16)
    context = code.load(8, state, _Walk.CONTEXT)
    position = code.load(4, state, _Walk.POSITION)
    end = code.load(4, state, _Walk.END)
    code.branch(Condition.GE, position, end, stop)
    code.load_packet(context, position, At(scratch), 1, stop)
    length = code.load(1, scratch)
    code.branch(Condition.EQ, length, 0, root)
    code.branch(Condition.GE, length, POINTER, pointer)
    code.branch(Condition.GT, length, LONGEST_LABEL, stop)
    code.update(Alu.ADD, position, length)
    code.update(Alu.ADD, position, 1)
    code.store(4, state, _Walk.POSITION, position)
    code.update(Alu.SUB, position, code.load(4, state, _Walk.START))
    code.branch(Condition.GE, position, LONGEST, stop)
    code.give(0)

    code.place(pointer)
    code.update(Alu.ADD, position, 1)
    code.place(root)
    code.update(Alu.ADD, position, 1)
    kind = code.load(4, state, _Walk.KIND)
    behind = code.alu(Alu.ADD, position, 4)
    code.branch(Condition.EQ, kind, _QUESTIONS_KIND, question)
    code.update(Alu.ADD, behind, 6)
    code.branch(Condition.GT, behind, end, stop)
    code.load_packet(context, position, At(scratch), 10, stop)
    code.update(Alu.ADD, behind, code.load_network(2, scratch, 8))
    code.place(question)
    code.branch(Condition.GT, behind, end, stop)
    code.store(4, state, _Walk.FIXED, position)
    code.store(4, state, _Walk.BEHIND, behind)
    code.branch(Condition.NE, kind, _OPT_KIND, entry)
    code.branch(Condition.EQ, code.load_network(2, scratch), _OPT, found)
    code.place(entry)
    code.store(4, state, _Walk.POSITION, behind)
    code.store(4, state, _Walk.START, behind)
    left = code.load(4, state, _Walk.LEFT)
    code.update(Alu.SUB, left, 1)
    code.store(4, state, _Walk.LEFT, left)
    code.branch(Condition.EQ, left, 0, stop)
    code.give(0)
    code.place(found)
    code.store(4, state, _Walk.FOUND, 1)
    code.place(stop)
    code.give(1)
    return code


_WALK: Final = Routine("dns_walk", _walk)


def _questions(tables: Tables) -> tuple[Function, ...]:
    """`dns_questions(context, message)`: the questions that are whole, a slice with _COMPLETE."""
    code = Function("dns_questions", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, message, absent)
    count = load_number(code, context, code.alu(Alu.ADD, offset, 4), 2, scratch, absent)
    first = code.alu(Alu.ADD, offset, HEADER)
    code.update(Alu.SUB, length, HEADER)
    code.give(code.call(_WALK, context, pack_slice(code, first, length), count, _QUESTIONS_KIND))
    give_absent(code, absent)
    return (code,)


def _records(tables: Tables) -> tuple[Function, ...]:
    """`dns_records(context, message, questions)`: the records that are whole, a slice."""
    code = Function("dns_records", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, questions, _ = code.parameters
    absent, none = code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, message, absent)
    counts = load_number(code, context, code.alu(Alu.ADD, offset, 4), 8, scratch, absent)
    first = code.alu(Alu.ADD, offset, HEADER)
    asked = code.alu(Alu.RSH, counts, 48)
    code.branch(Condition.EQ, asked, 0, none)
    code.branch(Condition.GT, asked, _WALKED, absent)
    code.branch(Condition.EQ, code.alu(Alu.AND, questions, code.copy(_COMPLETE)), 0, absent)
    before, size = take_slice(code, questions, absent)
    code.set(first, code.alu(Alu.ADD, before, size))
    code.place(none)
    records = code.alu(Alu.AND, counts, 0xFFFF)
    for shift in (16, 32):
        count = code.alu(Alu.RSH, counts, shift)
        code.update(Alu.AND, count, 0xFFFF)
        code.update(Alu.ADD, records, count)
    code.give(code.call(_WALK, context, pack_slice(code, first, code.alu(Alu.SUB, end, first)), records, _RECORDS_KIND))
    give_absent(code, absent)
    return (code,)


def _options(tables: Tables) -> tuple[Function, ...]:
    """`dns_options(context, records)`: the ten bytes behind the name of the first record of type OPT."""
    code = Function("dns_options", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, records, *_ = code.parameters
    code.give(code.call(_WALK, context, records, _WALKED, _OPT_KIND))
    return (code,)


def _question(tables: Tables) -> tuple[Function, ...]:
    """`dns_question(context, questions, cursor, index)`: the next question."""
    code = Function("dns_question", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, questions, cursor, index = code.parameters
    absent, begun = code.label(), code.label()
    offset, end = take_bounds(code, questions, absent)
    code.branch(Condition.NE, index, 0, begun)
    code.set(cursor, offset)
    code.place(begun)
    code.branch(Condition.GE, cursor, end, absent)
    code.give(code.call(_WALK, context, pack_slice(code, cursor, code.alu(Alu.SUB, end, cursor)), 1, _QUESTIONS_KIND))
    give_absent(code, absent)
    return (code,)


def _record(tables: Tables) -> tuple[Function, ...]:
    """`dns_record(context, records, cursor, index)`: the next record without its data."""
    code = Function("dns_record", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, records, cursor, index = code.parameters
    absent, later, begun = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, records, absent)
    code.branch(Condition.NE, index, 0, later)
    code.set(cursor, offset)
    code.jump(begun)
    code.place(later)
    data = load_number(code, context, code.alu(Alu.SUB, cursor, 2), 2, scratch, absent)
    code.update(Alu.ADD, cursor, data)
    code.place(begun)
    code.branch(Condition.GE, cursor, end, absent)
    code.give(code.call(_WALK, context, pack_slice(code, cursor, code.alu(Alu.SUB, end, cursor)), 1, _HEAD_KIND))
    give_absent(code, absent)
    return (code,)


def _plain(tables: Tables) -> tuple[Function, ...]:
    """`dns_plain(context, record)`: the record again, unless its type is OPT."""
    code = Function("dns_plain", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, record, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    _, place = take_bounds(code, record, absent)
    code.update(Alu.SUB, place, 10)
    code.branch(Condition.EQ, load_number(code, context, place, 2, scratch, absent), _OPT, absent)
    code.give(record)
    give_absent(code, absent)
    return (code,)


# -- the fields --------------------------------------------------------------------------------------------------------

_MESSAGE: Final = Fact(Routine("dns", _message), (Fact(Routine("dns_begin", _begin), (UDP_PAYLOAD, TCP_PAYLOAD)),))
_RESPONSE: Final = Fact(Routine("dns_response", _response), (_MESSAGE,))
_SECTIONS: Final = Routine("dns_sections", _sections)
_COUNTS: Final = Fact(_SECTIONS, (_MESSAGE,), (0,))
_UPDATE_COUNTS: Final = Fact(_SECTIONS, (_MESSAGE,), (1,))
_QUESTIONS: Final = Fact(Routine("dns_questions", _questions), (_MESSAGE,))
_RECORDS: Final = Fact(Routine("dns_records", _records), (_MESSAGE, _QUESTIONS))
_OPTIONS: Final = Fact(Routine("dns_options", _options), (_RECORDS,))
_QUESTION: Final = Routine("dns_question", _question)
_RECORD: Final = Routine("dns_record", _record)
_NAME_OF: Final = DomainName(Fact(NAME, (_MESSAGE, ELEMENT)), _MESSAGE)
_PLAIN: Final = Fact(Routine("dns_plain", _plain), (ELEMENT,))

DNS: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "dns": Present(_MESSAGE),
        "dns.id": BitsOf(_MESSAGE, 0, 16),
        "dns.qr": BitsOf(_MESSAGE, 16, 1),
        "dns.opcode": BitsOf(_MESSAGE, 17, 4),
        "dns.aa": BitsOf(_RESPONSE, 21, 1),
        "dns.tc": BitsOf(_MESSAGE, 22, 1),
        "dns.rd": BitsOf(_MESSAGE, 23, 1),
        "dns.ra": BitsOf(_RESPONSE, 24, 1),
        "dns.ad": BitsOf(_MESSAGE, 26, 1),
        "dns.cd": BitsOf(_MESSAGE, 27, 1),
        "dns.rcode": BitsOf(_RESPONSE, 28, 4),
        "dns.count.queries": BitsOf(_COUNTS, 32, 16),
        "dns.count.answers": BitsOf(_COUNTS, 48, 16),
        "dns.count.auth_rr": BitsOf(_COUNTS, 64, 16),
        "dns.count.add_rr": BitsOf(_MESSAGE, 80, 16),
        "dns.count.zones": BitsOf(_UPDATE_COUNTS, 32, 16),
        "dns.count.prerequisites": BitsOf(_UPDATE_COUNTS, 48, 16),
        "dns.count.updates": BitsOf(_UPDATE_COUNTS, 64, 16),
        "dns.qry.name": Each(_QUESTION, _QUESTIONS, _NAME_OF),
        "dns.qry.name.len": Each(_QUESTION, _QUESTIONS, Number(Fact(NAME, (_MESSAGE, ELEMENT), (TEXT,)))),
        "dns.count.labels": Each(_QUESTION, _QUESTIONS, Number(Fact(NAME, (_MESSAGE, ELEMENT), (LABELS,)))),
        "dns.qry.type": Each(_QUESTION, _QUESTIONS, BitsOf(ELEMENT, -32, 16)),
        "dns.qry.class": Each(_QUESTION, _QUESTIONS, BitsOf(ELEMENT, -15, 15)),
        "dns.resp.name": Each(_RECORD, _RECORDS, _NAME_OF),
        "dns.resp.type": Each(_RECORD, _RECORDS, BitsOf(ELEMENT, -80, 16)),
        "dns.resp.class": Each(_RECORD, _RECORDS, BitsOf(_PLAIN, -63, 15)),
        "dns.resp.ttl": Each(_RECORD, _RECORDS, BitsOf(_PLAIN, -48, 32)),
        "dns.edns": Present(_OPTIONS),
        "dns.edns.payload_size": BitsOf(_OPTIONS, 16, 16),
        "dns.edns.version": BitsOf(_OPTIONS, 40, 8),
        "dns.edns.do": BitsOf(_OPTIONS, 48, 1),
    }
)
