"""HTTP/1 (semantics: rules_dsl/dissectors/http.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.header_lines import CUT, START_LINE, TRIM, header_line
from bpf.dissectors.model import ELEMENT, Each, Number, Place, Present, Slice
from bpf.facts import TCP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, Routine
from bpf.isa import Alu, Condition
from bpf.search import seek
from bpf.slices import at_most, give_absent, give_number, give_slice, load_number, take_bounds, take_slice
from bpf.tables import Tables

_METHODS: Final = (
    "GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|VERSION-CONTROL|REPORT|CHECKOUT|"
    "CHECKIN|UNCHECKOUT|MKWORKSPACE|UPDATE|LABEL|MERGE|BASELINE-CONTROL|MKACTIVITY|ACL|SEARCH|MKCALENDAR|BIND|UNBIND|REBIND"
)
"""Of a request line that the packet cuts."""
_REQUEST: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32} [^\n]+ HTTP/1\.[0-9][ \t]*\r?\n"
_CUT_REQUEST: Final = rf"(?:(?:{_METHODS}) (?:/|\*|https?://)|CONNECT [0-9A-Za-z\[])[^\x00-\x1f\x7f]*\r?$"
_RESPONSE: Final = r"HTTP/1\.[0-9] [0-9]{3}(?:[ \t\r\n]|$)"

_VERSION_BYTES: Final = len("HTTP/1.1")
_HTTP: Final = int.from_bytes(b"HTTP", "big")
_LARGEST: Final = 0xFFFF_FFFF
_DIGITS: Final = 10
"""Of the largest number."""


def _message(tables: Tables) -> tuple[Function, ...]:
    """`http(context, payload)`: what follows the empty lines at the payload's start, a slice."""
    code = Function("http", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    end = code.alu(Alu.ADD, offset, length)
    start = seek(code, tables, context, offset, length, r"^(?:\r?\n)*[^\r\n]", absent)
    code.update(Alu.SUB, start, 1)
    seek(code, tables, context, start, code.alu(Alu.SUB, end, start), f"^(?:{_REQUEST}|{_CUT_REQUEST}|{_RESPONSE})", absent)
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


def _either(name: str, *, request: bool) -> Routine:
    """`name(context, message)`: the message again, where it is a request, or a response."""

    def write(tables: Tables) -> tuple[Function, ...]:
        code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
        context, message, *_ = code.parameters
        absent, not_a_response = code.label(), code.label()
        scratch = code.buffer(8)
        other = not_a_response if request else absent
        offset, length = take_slice(code, message, absent)
        code.branch(Condition.LT, length, 5, other)
        code.branch(Condition.NE, load_number(code, context, offset, 4, scratch, absent), _HTTP, other)
        # No method has a slash.
        fifth = load_number(code, context, code.alu(Alu.ADD, offset, 4), 1, scratch, absent)
        code.branch(Condition.NE, fifth, ord("/"), other)
        code.give(0 if request else message)
        if request:
            code.place(not_a_response)
            code.give(message)
        give_absent(code, absent)
        return (code,)

    return Routine(name, write)


def _method(tables: Tables) -> tuple[Function, ...]:
    """`http_method(context, request)`."""
    code = Function("http_method", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, request, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, request, absent)
    space = seek(code, tables, context, offset, length, " ", absent)
    give_slice(code, offset, code.alu(Alu.SUB, space, 1))
    give_absent(code, absent)
    return (code,)


def _target(tables: Tables) -> tuple[Function, ...]:
    """`http_target(context, request_line, method)`: between the spaces behind the method and before the version."""
    code = Function("http_target", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, line, method, _ = code.parameters
    absent = code.label()
    end, length = take_slice(code, line, absent)
    code.update(Alu.ADD, end, length)
    code.update(Alu.SUB, end, _VERSION_BYTES + 1)
    start, length = take_slice(code, method, absent)
    code.update(Alu.ADD, start, length)
    code.update(Alu.ADD, start, 1)
    code.branch(Condition.GT, start, end, absent)  # cannot be
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


def _request_version(tables: Tables) -> tuple[Function, ...]:
    """`http_request_version(context, request_line)`: the last bytes."""
    code = Function("http_request_version", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, line, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, line, absent)
    code.update(Alu.ADD, offset, length)
    give_slice(code, code.alu(Alu.SUB, offset, _VERSION_BYTES), offset)
    give_absent(code, absent)
    return (code,)


def _response_version(tables: Tables) -> tuple[Function, ...]:
    """`http_response_version(context, response)`: the first bytes."""
    code = Function("http_response_version", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, response, *_ = code.parameters
    absent = code.label()
    offset, _ = take_slice(code, response, absent)
    give_slice(code, offset, code.alu(Alu.ADD, offset, _VERSION_BYTES))
    give_absent(code, absent)
    return (code,)


def _one_of(tables: Tables) -> tuple[Function, ...]:
    """`http_one_of(context, slice, other)`: the one that is there."""
    code = Function("http_one_of", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, one, other, _ = code.parameters
    code.update(Alu.OR, one, other)
    code.give(one)
    return (code,)


def _code(tables: Tables) -> tuple[Function, ...]:
    """`http_code(context, response)`: three digits, behind the version and a space."""
    code = Function("http_code", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, response, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, response, absent)
    digits = load_number(code, context, code.alu(Alu.ADD, offset, _VERSION_BYTES), 4, scratch, absent)
    code.update(Alu.AND, digits, 0x0F0F0F)
    number = code.alu(Alu.AND, digits, 0xF)
    tens = code.alu(Alu.AND, code.alu(Alu.RSH, digits, 8), 0xF)
    code.update(Alu.ADD, number, code.alu(Alu.MUL, tens, 10))
    hundreds = code.alu(Alu.RSH, digits, 16)
    code.update(Alu.ADD, number, code.alu(Alu.MUL, hundreds, 100))
    give_number(code, number)
    give_absent(code, absent)
    return (code,)


def _phrase(tables: Tables) -> tuple[Function, ...]:
    """`http_phrase(context, status_line)`: what follows the code and one byte more."""
    code = Function("http_phrase", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, line, *_ = code.parameters
    absent = code.label()
    start, end = take_bounds(code, line, absent)
    code.update(Alu.ADD, start, _VERSION_BYTES + len(" 200 "))
    at_most(code, start, end)
    give_slice(code, start, end)
    give_absent(code, absent)
    return (code,)


def _content_length(tables: Tables) -> tuple[Function, ...]:
    """`http_content_length(context, value)`."""
    code = Function("http_content_length", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, value, *_ = code.parameters
    absent, zero, large, digit = (code.label() for _ in range(4))
    digits = code.buffer(16)
    offset, length = take_slice(code, value, absent)
    end = seek(code, tables, context, offset, length, "^[0-9]+$", absent)
    start = seek(code, tables, context, offset, length, "[1-9]", zero)
    code.update(Alu.SUB, start, 1)
    count = code.alu(Alu.SUB, end, start)
    code.branch(Condition.GT, count, _DIGITS, large)
    code.branch(Condition.EQ, count, 0, zero)  # cannot be; the verifier wants it asked
    code.load_packet(context, start, At(digits), count, absent)
    number, index = code.copy(0), code.copy(0)
    code.place(digit)
    here = code.address(digits)
    code.update(Alu.ADD, here, index)
    code.update(Alu.MUL, number, 10)
    code.update(Alu.ADD, number, code.alu(Alu.AND, code.load(1, here), 0xF))
    code.update(Alu.ADD, index, 1)
    code.branch(Condition.LT, index, count, digit)
    code.branch(Condition.GT, number, code.copy(_LARGEST), large)
    give_number(code, number)
    code.place(zero)
    give_number(code, 0)
    code.place(large)
    give_number(code, code.copy(_LARGEST))
    give_absent(code, absent)
    return (code,)


REQUEST: Final = _either("http_request", request=True)
RESPONSE: Final = _either("http_response", request=False)
METHOD: Final = Routine("http_method", _method)
STATUS_CODE: Final = Routine("http_code", _code)
"""Of any message of this form."""

_MESSAGE: Final = Fact(Routine("http", _message), (TCP_PAYLOAD,))
_REQUEST_MESSAGE: Final = Fact(REQUEST, (_MESSAGE,))
_RESPONSE_MESSAGE: Final = Fact(RESPONSE, (_MESSAGE,))
_REQUEST_LINE: Final = Fact(TRIM, (Fact(START_LINE, (_REQUEST_MESSAGE,)),))
_METHOD: Final = Fact(METHOD, (_REQUEST_MESSAGE,))
_REQUEST_VERSION: Final = Fact(Routine("http_request_version", _request_version), (_REQUEST_LINE,))
_RESPONSE_VERSION: Final = Fact(Routine("http_response_version", _response_version), (_RESPONSE_MESSAGE,))


def _first(line: bytes) -> Fact:
    return Fact(header_line("http", (line,)), (_MESSAGE,))


def _each(line: bytes | None) -> Each:
    return Each(header_line("http", None if line is None else (line,)), _MESSAGE, Slice(ELEMENT))


HTTP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "http": Present(_MESSAGE),
        "http.request": Present(_REQUEST_MESSAGE),
        "http.response": Present(_RESPONSE_MESSAGE),
        "http.method": Slice(_METHOD),
        "http.uri": Slice(Fact(Routine("http_target", _target), (_REQUEST_LINE, _METHOD))),
        "http.version": Slice(Fact(Routine("http_one_of", _one_of), (_REQUEST_VERSION, _RESPONSE_VERSION))),
        "http.request.version": Slice(_REQUEST_VERSION),
        "http.response.version": Slice(_RESPONSE_VERSION),
        "http.code": Number(Fact(STATUS_CODE, (_RESPONSE_MESSAGE,))),
        "http.response.phrase": Slice(Fact(Routine("http_phrase", _phrase), (Fact(START_LINE, (_RESPONSE_MESSAGE,)),))),
        "http.host": Slice(_first(b"host")),
        "http.user_agent": Slice(_first(b"user-agent")),
        "http.referer": Slice(_first(b"referer")),
        "http.cookie": Slice(_first(b"cookie")),
        "http.content_type": Slice(_first(b"content-type")),
        "http.content_length": Number(Fact(Routine("http_content_length", _content_length), (_first(b"content-length"),))),
        "http.server": Slice(_first(b"server")),
        "http.location": Slice(_first(b"location")),
        "http.authorization": Slice(_first(b"authorization")),
        "http.x_forwarded_for": _each(b"x-forwarded-for"),
        "http.header": _each,
        "http.truncated": Present(Fact(CUT, (_MESSAGE,))),
    }
)
