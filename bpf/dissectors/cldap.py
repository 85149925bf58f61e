"""CLDAP (semantics: rules_dsl/dissectors/cldap.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Present
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import Function, Routine, Value
from bpf.isa import Alu, Condition
from bpf.slices import give_absent, give_number, give_slice, load_number, pack_slice, resume, take_bounds, take_slice
from bpf.tables import Tables

_SEQUENCE: Final = 0x30
_INTEGER: Final = 0x02
_OPERATIONS: Final = (0x63, 0x64, 0x65, 0x73, 0x50)


def _keep_last(code: Function, number: Value, size: Value) -> None:
    """Of a number of four bytes, keep the last `size`."""
    above = code.alu(Alu.LSH, code.alu(Alu.SUB, 8, size), 3)
    code.update(Alu.LSH, number, above)
    code.update(Alu.RSH, number, above)


def _contents(tables: Tables) -> tuple[Function, ...]:
    """`cldap_contents(context, at, end)`: where the contents of the element at `at` begin, and how long they are by its own word.
    They may go on behind `end`, its length may not."""
    code = Function("cldap_contents", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, at, end, _ = code.parameters
    absent, short = code.label(), code.label()
    scratch = code.buffer(8)
    code.update(Alu.ADD, at, 2)
    code.branch(Condition.GT, at, end, absent)
    length = load_number(code, context, code.alu(Alu.SUB, at, 1), 1, scratch, absent)
    code.branch(Condition.LT, length, 0x80, short)
    code.branch(Condition.EQ, length, 0x80, absent)
    code.branch(Condition.GT, length, 0x84, absent)
    size = code.alu(Alu.SUB, length, 0x80)
    code.update(Alu.ADD, at, size)
    code.branch(Condition.GT, at, end, absent)
    # Four bytes up to the length's end, of which the last `size` are the length. The packet's header stands before.
    code.set(length, load_number(code, context, code.alu(Alu.SUB, at, 4), 4, scratch, absent))
    _keep_last(code, length, size)
    code.place(short)
    code.give(pack_slice(code, at, length))
    give_absent(code, absent)
    return (code,)


_CONTENTS: Final = Routine("cldap_contents", _contents)


def _read(tables: Tables) -> tuple[Function, ...]:
    """`cldap_read(context, start, end)`: of the message at `start`, from its operation's tag to its end, or to the payload's, `end`."""
    code = Function("cldap_read", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, start, end, _ = code.parameters
    absent, cut, known = code.label(), code.label(), code.label()
    scratch = code.buffer(8)
    code.branch(Condition.GE, start, end, absent)
    tag = load_number(code, context, start, 1, scratch, absent)
    code.branch(Condition.NE, tag, _SEQUENCE, absent)
    place, stop = take_bounds(code, code.call(_CONTENTS, context, start, end), absent)
    code.branch(Condition.GT, stop, end, cut)
    code.set(end, stop)
    code.place(cut)
    code.branch(Condition.GE, code.alu(Alu.ADD, place, 1), end, absent)
    integer = load_number(code, context, place, 2, scratch, absent)
    code.branch(Condition.LT, integer, _INTEGER << 8 | 1, absent)
    code.branch(Condition.GT, integer, _INTEGER << 8 | 4, absent)
    code.update(Alu.ADD, place, code.alu(Alu.AND, integer, 7))
    code.update(Alu.ADD, place, 2)
    code.branch(Condition.GE, place, end, absent)
    code.set(tag, load_number(code, context, place, 1, scratch, absent))
    for operation in _OPERATIONS:
        code.branch(Condition.EQ, tag, operation, known)
    code.jump(absent)
    code.place(known)
    inner, size = take_slice(code, code.call(_CONTENTS, context, place, end), absent)
    code.update(Alu.ADD, inner, size)
    code.branch(Condition.GT, inner, stop, absent)
    give_slice(code, place, end)
    give_absent(code, absent)
    return (code,)


_READ: Final = Routine("cldap_read", _read)


def _message(tables: Tables) -> tuple[Function, ...]:
    """`cldap(context, payload)`: the payload again, where it begins with a message."""
    code = Function("cldap", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    first = code.call(_READ, context, offset, code.alu(Alu.ADD, offset, length))
    code.branch(Condition.EQ, first, 0, absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _next(tables: Tables) -> tuple[Function, ...]:
    """`cldap_next(context, payload, cursor)`: the next message, as `cldap_read` gives it."""
    code = Function("cldap_next", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, cursor, _ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, payload, absent)
    code.update(Alu.ADD, length, offset)
    resume(code, offset, cursor)
    code.give(code.call(_READ, context, offset, length))
    give_absent(code, absent)
    return (code,)


def _identifier(tables: Tables) -> tuple[Function, ...]:
    """`cldap_identifier(context, payload)`: of the first message."""
    code = Function("cldap_identifier", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    contents = code.call(_CONTENTS, context, offset, code.alu(Alu.ADD, offset, length))
    place, _ = take_slice(code, contents, absent)
    size = load_number(code, context, code.alu(Alu.ADD, place, 1), 1, scratch, absent)
    code.update(Alu.AND, size, 7)
    # Four bytes up to the integer's end, of which the last `size` are its value.
    code.update(Alu.ADD, place, size)
    number = load_number(code, context, code.alu(Alu.SUB, place, 2), 4, scratch, absent)
    _keep_last(code, number, size)
    give_number(code, number)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("cldap", _message), (UDP_PAYLOAD,))

CLDAP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "cldap": Present(_MESSAGE),
        "cldap.message_id": Number(Fact(Routine("cldap_identifier", _identifier), (_MESSAGE,))),
        "cldap.operation": Each(Routine("cldap_next", _next), _MESSAGE, BitsOf(ELEMENT, 3, 5)),
    }
)
