"""SNMP in BER (semantics: rules_dsl/dissectors/snmp.py).

A message is taken apart by facts: the frame is what its SEQUENCE holds; the body what stands in it behind the version; then the
community of versions 1 and 2c, or the header of version 3. Where either is there the message is valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import BitsOf, Number, Place, Present, Slice
from bpf.facts import TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Label, Routine, Value
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_number, give_slice, load_number, take_bounds, take_slice
from bpf.tables import Tables

_INTEGER, _OCTET_STRING, _SEQUENCE, _PDU = 0x0202, 0x0404, 0x3030, 0xA8A0
"""The greatest and the least tag."""
_TRAP_V1, _GET_BULK = 0xA4, 0xA5
_V1, _V2C, _V3 = 0, 1, 3
_USER_BASED: Final = 3
"""The security model of RFC 3414."""


def _element(tables: Tables) -> tuple[Function, ...]:
    """`snmp_element(context, offset, end, tags)`: the contents of the element that begins at `offset`, has one of the tags and ends
    at `end` or before, a slice."""
    code = Function("snmp_element", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, end, tags = code.parameters
    absent, short = code.label(), code.label()
    scratch = code.buffer(8)
    start = code.alu(Alu.ADD, offset, 2)
    code.branch(Condition.GT, start, end, absent)
    head = load_number(code, context, offset, 2, scratch, absent)
    length = code.alu(Alu.AND, head, 0xFF)
    code.update(Alu.RSH, head, 8)
    code.branch(Condition.LT, head, code.alu(Alu.AND, tags, 0xFF), absent)
    greatest = code.alu(Alu.RSH, tags, 8)
    code.update(Alu.AND, greatest, 0xFF)
    code.branch(Condition.GT, head, greatest, absent)
    code.branch(Condition.LT, length, 0x80, short)
    code.branch(Condition.EQ, length, 0x80, absent)
    code.branch(Condition.GT, length, 0x84, absent)
    code.update(Alu.AND, length, 7)
    code.update(Alu.ADD, start, length)
    code.branch(Condition.GT, start, end, absent)
    unused = code.alu(Alu.LSH, length, 3)
    code.set(unused, code.alu(Alu.SUB, 64, unused))
    code.set(length, load_number(code, context, code.alu(Alu.SUB, start, 4), 4, scratch, absent))
    code.update(Alu.LSH, length, unused)
    code.update(Alu.RSH, length, unused)
    code.place(short)
    code.update(Alu.ADD, length, start)
    code.branch(Condition.GT, length, end, absent)
    give_slice(code, start, length)
    give_absent(code, absent)
    return (code,)


def _integer(tables: Tables) -> tuple[Function, ...]:
    """`snmp_integer(context, offset, end)`: the contents of the integer that begins at `offset`, a slice."""
    code = Function("snmp_integer", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, offset, end, _ = code.parameters
    absent, good = code.label(), code.label()
    contents = code.call(_ELEMENT, context, offset, end, _INTEGER)
    start, length = take_slice(code, contents, absent)
    code.branch(Condition.EQ, length, 0, absent)
    code.branch(Condition.LT, length, 5, good)
    code.branch(Condition.GT, length, 5, absent)
    first = load_number(code, context, start, 1, code.buffer(8), absent)
    code.branch(Condition.NE, first, 0, absent)
    code.place(good)
    code.give(contents)
    give_absent(code, absent)
    return (code,)


def _number(tables: Tables) -> tuple[Function, ...]:
    """`snmp_number(context, contents)`: an integer's value in two's complement, 32 bits, a number."""
    code = Function("snmp_number", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, contents, *_ = code.parameters
    absent, known = code.label(), code.label()
    offset, length = take_slice(code, contents, absent)
    code.update(Alu.ADD, offset, length)
    number = load_number(code, context, code.alu(Alu.SUB, offset, 4), 4, code.buffer(8), absent)
    code.branch(Condition.GE, length, 4, known)
    code.update(Alu.LSH, length, 3)
    unused = code.alu(Alu.SUB, 64, length)
    code.update(Alu.AND, unused, 63)
    code.update(Alu.LSH, number, unused)
    code.update(Alu.ARSH, number, unused)
    code.place(known)
    code.update(Alu.LSH, number, 32)
    code.update(Alu.RSH, number, 32)
    give_number(code, number)
    give_absent(code, absent)
    return (code,)


_ELEMENT: Final = Routine("snmp_element", _element)
_AN_INTEGER: Final = Routine("snmp_integer", _integer)
_NUMBER: Final = Routine("snmp_number", _number)


def _take(code: Function, context: Value, offset: Value, end: Value, tags: int, absent: Label) -> tuple[Value, Value]:
    """Where the contents of the element at `offset` begin and end; go to `absent` where there is no such element."""
    found = code.call(_AN_INTEGER, context, offset, end) if tags == _INTEGER else code.call(_ELEMENT, context, offset, end, tags)
    return take_bounds(code, found, absent)


# -- the message ---------------------------------------------------------------------------------------------------------


def _frame(tables: Tables) -> tuple[Function, ...]:
    """`snmp_frame(context, udp_payload, tcp_payload)`: the contents of the payload's SEQUENCE."""
    code = Function("snmp_frame", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, tcp, _ = code.parameters
    absent, taken = code.label(), code.label()
    code.branch(Condition.NE, payload, 0, taken)
    code.set(payload, tcp)
    code.place(taken)
    offset, end = take_bounds(code, payload, absent)
    code.give(code.call(_ELEMENT, context, offset, end, _SEQUENCE))
    give_absent(code, absent)
    return (code,)


def _first(tables: Tables) -> tuple[Function, ...]:
    """`snmp_first(context, elements)`: the first of some elements, an integer, as a number."""
    code = Function("snmp_first", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, elements, *_ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, elements, absent)
    contents = code.call(_AN_INTEGER, context, offset, end)
    code.give(code.call(_NUMBER, context, contents))
    give_absent(code, absent)
    return (code,)


def _body(tables: Tables) -> tuple[Function, ...]:
    """`snmp_body(context, frame)`: what follows the version."""
    code = Function("snmp_body", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, frame, *_ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, frame, absent)
    _, behind = _take(code, context, offset, end, _INTEGER, absent)
    give_slice(code, behind, end)
    give_absent(code, absent)
    return (code,)


def _community(tables: Tables) -> tuple[Function, ...]:
    """`snmp_community(context, body, version)`: the community, of a valid message of version 1 or 2c."""
    code = Function("snmp_community", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, body, version, _ = code.parameters
    absent, known = code.label(), code.label()
    code.branch(Condition.EQ, version, 0, absent)
    code.branch(Condition.EQ, version, _V1, known, 32)
    code.branch(Condition.NE, version, _V2C, absent, 32)
    code.place(known)
    offset, end = take_bounds(code, body, absent)
    start, behind = _take(code, context, offset, end, _OCTET_STRING, absent)
    code.branch(Condition.EQ, code.call(_ELEMENT, context, behind, end, _PDU), 0, absent)
    give_slice(code, start, behind)
    give_absent(code, absent)
    return (code,)


def _header(tables: Tables) -> tuple[Function, ...]:
    """`snmp_header(context, body, version)`: the contents of the SEQUENCE msgGlobalData, of a valid message of version 3."""
    code = Function("snmp_header", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, body, version, _ = code.parameters
    absent, good = code.label(), code.label()
    code.branch(Condition.EQ, version, 0, absent)
    code.branch(Condition.NE, version, _V3, absent, 32)
    offset, end = take_bounds(code, body, absent)
    header = code.call(_ELEMENT, context, offset, end, _SEQUENCE)
    code.branch(Condition.EQ, code.call(_MODEL, context, header), 0, absent)
    _, behind = take_bounds(code, header, absent)
    _, behind = _take(code, context, behind, end, _OCTET_STRING, absent)
    code.branch(Condition.NE, code.call(_ELEMENT, context, behind, end, _SEQUENCE), 0, good)
    code.branch(Condition.EQ, code.call(_ELEMENT, context, behind, end, _OCTET_STRING), 0, absent)
    code.place(good)
    code.give(header)
    give_absent(code, absent)
    return (code,)


def _model(tables: Tables) -> tuple[Function, ...]:
    """`snmp_model(context, header)`: the security model, a number; absent where what stands before it is not what it should be."""
    code = Function("snmp_model", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, header, *_ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, header, absent)
    for tags in (_INTEGER, _INTEGER, _OCTET_STRING):
        start, offset = _take(code, context, offset, end, tags, absent)
    code.branch(Condition.NE, code.alu(Alu.SUB, offset, start), 1, absent)  # the flags
    contents = code.call(_AN_INTEGER, context, offset, end)
    code.give(code.call(_NUMBER, context, contents))
    give_absent(code, absent)
    return (code,)


_MODEL: Final = Routine("snmp_model", _model)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`snmp(context, frame, community, header)`: the frame again, where one of the others is there."""
    code = Function("snmp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, frame, community, header = code.parameters
    valid, absent = code.label(), code.label()
    code.branch(Condition.NE, community, 0, valid)
    code.branch(Condition.EQ, header, 0, absent)
    code.place(valid)
    code.give(frame)
    give_absent(code, absent)
    return (code,)


# -- the PDU -------------------------------------------------------------------------------------------------------------


def _behind(tables: Tables) -> tuple[Function, ...]:
    """`snmp_behind(context, body, part)`: what of the body follows the part."""
    code = Function("snmp_behind", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, body, part, _ = code.parameters
    absent = code.label()
    _, end = take_bounds(code, body, absent)
    _, behind = take_bounds(code, part, absent)
    give_slice(code, behind, end)
    give_absent(code, absent)
    return (code,)


def _scoped(tables: Tables) -> tuple[Function, ...]:
    """`snmp_scoped(context, rest)`: what follows the context's engine and name, of what is behind the header of version 3."""
    code = Function("snmp_scoped", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, rest, *_ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, rest, absent)
    _, offset = _take(code, context, offset, end, _OCTET_STRING, absent)
    offset, end = _take(code, context, offset, end, _SEQUENCE, absent)
    for _ in range(2):
        _, offset = _take(code, context, offset, end, _OCTET_STRING, absent)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


def _pdu(tables: Tables) -> tuple[Function, ...]:
    """`snmp_pdu(context, open, scoped)`: the PDU that one of them begins with, from its tag on."""
    code = Function("snmp_pdu", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, place, scoped, _ = code.parameters
    absent, taken = code.label(), code.label()
    code.branch(Condition.NE, place, 0, taken)
    code.set(place, scoped)
    code.place(taken)
    offset, end = take_bounds(code, place, absent)
    _, end = _take(code, context, offset, end, _PDU, absent)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


def _pdu_integers(tables: Tables) -> tuple[Function, ...]:
    """`snmp_pdu_integers(context, pdu)`: the contents of a PDU that begins with a request id."""
    code = Function("snmp_pdu_integers", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, pdu, *_ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, pdu, absent)
    tag = load_number(code, context, offset, 1, code.buffer(8), absent)
    code.branch(Condition.EQ, tag, _TRAP_V1, absent)
    code.give(code.call(_ELEMENT, context, offset, end, _PDU))
    give_absent(code, absent)
    return (code,)


def _error_status(tables: Tables) -> tuple[Function, ...]:
    """`snmp_error_status(context, pdu, integers)`."""
    code = Function("snmp_error_status", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, pdu, integers, _ = code.parameters
    absent = code.label()
    offset, _ = take_slice(code, pdu, absent)
    tag = load_number(code, context, offset, 1, code.buffer(8), absent)
    code.branch(Condition.EQ, tag, _GET_BULK, absent)
    offset, end = take_bounds(code, integers, absent)
    _, offset = _take(code, context, offset, end, _INTEGER, absent)
    contents = code.call(_AN_INTEGER, context, offset, end)
    code.give(code.call(_NUMBER, context, contents))
    give_absent(code, absent)
    return (code,)


def _user_name(tables: Tables) -> tuple[Function, ...]:
    """`snmp_user_name(context, header, rest)`: the user, in the security parameters behind the header."""
    code = Function("snmp_user_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, header, rest, _ = code.parameters
    absent = code.label()
    model = code.call(_MODEL, context, header)
    code.branch(Condition.NE, model, _USER_BASED, absent, 32)
    offset, end = take_bounds(code, rest, absent)
    offset, end = _take(code, context, offset, end, _OCTET_STRING, absent)
    offset, end = _take(code, context, offset, end, _SEQUENCE, absent)
    for tags in (_OCTET_STRING, _INTEGER, _INTEGER):
        _, offset = _take(code, context, offset, end, tags, absent)
    code.give(code.call(_ELEMENT, context, offset, end, _OCTET_STRING))
    give_absent(code, absent)
    return (code,)


_FRAME: Final = Fact(Routine("snmp_frame", _frame), (UDP_PAYLOAD, TCP_PAYLOAD))
_FIRST: Final = Routine("snmp_first", _first)
_VERSION: Final = Fact(_FIRST, (_FRAME,))
_BODY: Final = Fact(Routine("snmp_body", _body), (_FRAME,))
_COMMUNITY: Final = Fact(Routine("snmp_community", _community), (_BODY, _VERSION))
_HEADER: Final = Fact(Routine("snmp_header", _header), (_BODY, _VERSION))
_MESSAGE: Final = Fact(Routine("snmp", _message), (_FRAME, _COMMUNITY, _HEADER))
_BEHIND: Final = Routine("snmp_behind", _behind)
_OPEN: Final = Fact(_BEHIND, (_BODY, _COMMUNITY))
_REST: Final = Fact(_BEHIND, (_BODY, _HEADER))
_SCOPED: Final = Fact(Routine("snmp_scoped", _scoped), (_REST,))
_THE_PDU: Final = Fact(Routine("snmp_pdu", _pdu), (_OPEN, _SCOPED))
_INTEGERS: Final = Fact(Routine("snmp_pdu_integers", _pdu_integers), (_THE_PDU,))

SNMP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "snmp": Present(_MESSAGE),
        "snmp.version": Number(Fact(_FIRST, (_MESSAGE,))),
        "snmp.community": Slice(_COMMUNITY),
        "snmp.pdu_type": BitsOf(_THE_PDU, 3, 5),
        "snmp.request_id": Number(Fact(_FIRST, (_INTEGERS,))),
        "snmp.error_status": Number(Fact(Routine("snmp_error_status", _error_status), (_THE_PDU, _INTEGERS))),
        "snmp.msgID": Number(Fact(_FIRST, (_HEADER,))),
        "snmp.msgUserName": Slice(Fact(Routine("snmp_user_name", _user_name), (_HEADER, _REST))),
    }
)
