"""SIP (semantics: rules_dsl/dissectors/sip.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.header_lines import CUT, header_line
from bpf.dissectors.model import Number, Place, Present, Slice
from bpf.facts import TCP_PAYLOAD, UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine
from bpf.isa import Alu, Condition
from bpf.search import seek
from bpf.slices import give_absent, give_number, give_slice, load_number, take_bounds, take_slice
from bpf.tables import Tables

_METHOD: Final = r"[-.!%*_+`'~0-9A-Za-z]+"
_REQUEST_LINE: Final = rf"{_METHOD} [A-Za-z][-+.0-9A-Za-z]*:[^ \r\n\x00]+ SIP/2\.0"
_STATUS_LINE: Final = r"SIP/2\.0 [0-9]{3} [^\r\n\x00]*"

_DIGITS: Final = 10
"""Of a number, at most."""


def _begun(tables: Tables) -> tuple[Function, ...]:
    """`sip_begun(context, udp, tcp)`: the payload, of which one is 0, where its first line is right."""
    code = Function("sip_begun", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, udp, tcp, _ = code.parameters
    absent = code.label()
    payload = code.alu(Alu.OR, udp, tcp)
    offset, length = take_slice(code, payload, absent)
    seek(code, tables, context, offset, length, rf"^(?:{_REQUEST_LINE}|{_STATUS_LINE})(?:\r?\n|\r?$)", absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _all(tables: Tables) -> tuple[Function, ...]:
    """`sip_all(context, a, b, c)`: not 0 where none of the three is 0."""
    code = Function("sip_all", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, *three = code.parameters
    absent = code.label()
    for one in three:
        code.branch(Condition.EQ, one, 0, absent)
    code.give(1)
    give_absent(code, absent)
    return (code,)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`sip(context, begun, mandatory)`: the payload again, where the mandatory headers are there or else the header block is cut."""
    code = Function("sip", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, begun, mandatory, _ = code.parameters
    absent, all_there = code.label(), code.label()
    code.branch(Condition.NE, mandatory, 0, all_there)
    code.branch(Condition.EQ, begun, 0, absent)
    code.branch(Condition.EQ, code.call(CUT, context, begun), 0, absent)
    code.place(all_there)
    code.give(begun)
    give_absent(code, absent)
    return (code,)


def _of_message(tables: Tables) -> tuple[Function, ...]:
    """`sip_of(context, message, value)`: the value, where there is a message."""
    code = Function("sip_of", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, message, value, _ = code.parameters
    absent = code.label()
    code.branch(Condition.EQ, message, 0, absent)
    code.give(value)
    give_absent(code, absent)
    return (code,)


def _method(tables: Tables) -> tuple[Function, ...]:
    """`sip_method(context, message)`: a slice. No method has the slash that the status line's first word has."""
    code = Function("sip_method", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, message, absent)
    end = seek(code, tables, context, offset, length, rf"^{_METHOD} ", absent)
    give_slice(code, offset, code.alu(Alu.SUB, end, 1))
    give_absent(code, absent)
    return (code,)


def _uri(tables: Tables) -> tuple[Function, ...]:
    """`sip_uri(context, message, method)`: a slice."""
    code = Function("sip_uri", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, method, _ = code.parameters
    absent = code.label()
    _, end = take_bounds(code, message, absent)
    start, method_length = take_slice(code, method, absent)
    code.update(Alu.ADD, start, method_length)
    code.update(Alu.ADD, start, 1)
    code.branch(Condition.GT, start, end, absent)
    space = seek(code, tables, context, start, code.alu(Alu.SUB, end, start), " ", absent)
    give_slice(code, start, code.alu(Alu.SUB, space, 1))
    give_absent(code, absent)
    return (code,)


def _status(tables: Tables) -> tuple[Function, ...]:
    """`sip_status(context, message)`: the three digits, a slice."""
    code = Function("sip_status", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, message, absent)
    end = seek(code, tables, context, offset, length, r"^SIP/2\.0 [0-9]{3}", absent)
    give_slice(code, code.alu(Alu.SUB, end, 3), end)
    give_absent(code, absent)
    return (code,)


def _number(tables: Tables) -> tuple[Function, ...]:
    """`sip_number(context, digits)`: the number that the slice, which is nothing but digits, says."""
    code = Function("sip_number", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, digits, *_ = code.parameters
    absent, done = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, digits, absent)
    code.branch(Condition.EQ, length, 0, absent)
    code.branch(Condition.GT, length, _DIGITS, absent)
    number = code.copy(0)
    for index in range(_DIGITS):
        code.branch(Condition.EQ, length, index, done)
        digit = load_number(code, context, code.alu(Alu.ADD, offset, index), 1, scratch, absent)
        code.update(Alu.SUB, digit, ord("0"))
        code.branch(Condition.GT, digit, 9, absent)
        code.update(Alu.MUL, number, 10)
        code.update(Alu.ADD, number, digit)
    code.place(done)
    code.branch(Condition.NE, code.alu(Alu.RSH, number, 32), 0, absent)
    give_number(code, number)
    give_absent(code, absent)
    return (code,)


def _user(tables: Tables) -> tuple[Function, ...]:
    """`sip_user(context, value)`: the user of the URI in a From or To, a slice."""
    code = Function("sip_user", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, value, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, value, absent)
    end = code.alu(Alu.ADD, offset, length)
    scheme = r'^(?s:(?:[^"<]|"(?:[^"\\]|\\.)*")*<)?[ \t]*(?i:sips?):'
    start = seek(code, tables, context, offset, length, scheme, absent)
    code.update(Alu.SUB, end, start)
    behind = seek(code, tables, context, start, end, r'^[^@<>" \t]*@', absent)
    give_slice(code, start, code.alu(Alu.SUB, behind, 1))
    give_absent(code, absent)
    return (code,)


def _truncated(tables: Tables) -> tuple[Function, ...]:
    """`sip_truncated(context, message, content_length)`."""
    code = Function("sip_truncated", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, content_length, _ = code.parameters
    absent, cut = code.label(), code.label()
    offset, length = take_slice(code, message, absent)
    body = seek(code, tables, context, offset, length, r"\n\r?\n", cut)
    code.update(Alu.ADD, body, code.alu(Alu.AND, content_length, 0xFFFF_FFFF, 32))
    code.branch(Condition.LE, body, code.alu(Alu.ADD, offset, length), absent)
    code.place(cut)
    give_number(code, 1)
    give_absent(code, absent)
    return (code,)


_BEGUN: Final = Fact(Routine("sip_begun", _begun), (UDP_PAYLOAD, TCP_PAYLOAD))
_ALL: Final = Routine("sip_all", _all)
_OF_MESSAGE: Final = Routine("sip_of", _of_message)
_NUMBER: Final = Routine("sip_number", _number)
_USER: Final = Routine("sip_user", _user)


def _header(*names: bytes) -> Fact:
    """The value of the first line of one of these names, whether all that is mandatory is there or not."""
    return Fact(header_line("sip", names, blanks_before_colon=True), (_BEGUN,))


_FROM: Final = _header(b"from", b"f")
_TO: Final = _header(b"to", b"t")
_CALL_ID: Final = _header(b"call-id", b"i")
_CSEQ: Final = _header(b"cseq")
_VIA: Final = _header(b"via", b"v")
_MANDATORY: Final = Fact(_ALL, (Fact(_ALL, (_FROM, _TO, _CALL_ID)), _CSEQ, _VIA))
_MESSAGE: Final = Fact(Routine("sip", _message), (_BEGUN, _MANDATORY))


def _of(value: Fact) -> Fact:
    return Fact(_OF_MESSAGE, (_MESSAGE, value))


_METHOD_FACT: Final = Fact(Routine("sip_method", _method), (_MESSAGE,))
_STATUS: Final = Fact(Routine("sip_status", _status), (_MESSAGE,))
_CONTENT_LENGTH: Final = Fact(_NUMBER, (_header(b"content-length", b"l"),))

SIP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "sip": Present(_MESSAGE),
        "sip.request": Present(_METHOD_FACT),
        "sip.response": Present(_STATUS),
        "sip.method": Slice(_METHOD_FACT),
        "sip.uri": Slice(Fact(Routine("sip_uri", _uri), (_MESSAGE, _METHOD_FACT))),
        "sip.code": Number(Fact(_NUMBER, (_STATUS,))),
        "sip.from": Slice(_of(_FROM)),
        "sip.from.user": Slice(Fact(_USER, (_of(_FROM),))),
        "sip.to": Slice(_of(_TO)),
        "sip.to.user": Slice(Fact(_USER, (_of(_TO),))),
        "sip.call_id": Slice(_of(_CALL_ID)),
        "sip.cseq": Slice(_of(_CSEQ)),
        "sip.via": Slice(_of(_VIA)),
        "sip.contact": Slice(_of(_header(b"contact", b"m"))),
        "sip.user_agent": Slice(_of(_header(b"user-agent"))),
        "sip.server": Slice(_of(_header(b"server"))),
        "sip.content_type": Slice(_of(_header(b"content-type", b"c"))),
        "sip.max_forwards": Number(Fact(_NUMBER, (_of(_header(b"max-forwards")),))),
        "sip.truncated": Number(Fact(Routine("sip_truncated", _truncated), (_MESSAGE, _CONTENT_LENGTH))),
    }
)
