"""Header lines of text protocols (HTTP, SSDP, SIP): found by name in the block between the start line and the empty line.

Semantics: rules_dsl/dissectors/header_lines.py. For a message, the packed slice from the first byte of the start line:

* `header_line(protocol, names, ...)` is a routine `(context, message, cursor)` that gives the value of the next line of one of those
  names behind the cursor, 0 where there is none: the first line's as a Fact (the cursor is then 0), every line's as an Each.
* `START_LINE` is a routine `(context, message)` that gives the start line without its end, 0 where the end is not in the message.
* `TRIM` is a routine `(context, line)` that gives the line without a carriage return and blanks and tabs at its end.
* `CUT` is a routine `(context, message)` that gives the message again where the empty line is not in it, else 0.

A line ends with a newline, before which a carriage return belongs to the end too. Names compare without case. The value has no
blanks and tabs at its two ends and may be empty. A line that is no header line is skipped, a line that begins with a blank (an old
continuation of the line before) too; a value is never more than its own line. A line whose newline is not in the message is absent.
"""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import Final

from bpf.automaton import Fold
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Label, Routine, Value
from bpf.isa import Alu, Condition, Helper
from bpf.regex_automaton import matching
from bpf.search import SEEK, seek
from bpf.slices import give_absent, give_slice, load_number, pack_slice, take_bounds, take_slice
from bpf.tables import Tables

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""Bytes of a name (RFC 9110 section 5.6.2, RFC 3261 section 25.1)."""

_TO_THE_LINES: Final = r"^[^\n]*\n(?:(?:[^\r\n]|\r[^\n])[^\n]*\n)*"
"""Behind the start line, or behind the rest of the line that the cursor is in, and behind any lines that are not empty."""

_CARRIAGE_RETURN, _BLANK, _TAB = 0x0D, 0x20, 0x09


def header_line(protocol: str, names: tuple[bytes, ...] | None, *, blanks_before_colon: bool = False) -> Routine:
    """`(context, message, cursor)`: the value of the next line of one of `names` (None: of any name), a slice.

    `protocol` begins the routine's name. A name that has a byte which no header line's name can have is never found. SIP lets blanks
    and tabs stand before the colon (RFC 3261 section 7.3.1), HTTP does not (RFC 9112 section 5.1)."""
    if names is None:
        label, wanted = "any", _class(_TOKEN) + "+"
    else:
        possible = [name for name in names if name and _TOKEN.issuperset(name)]
        label, wanted = "_".join(map(_identifier, names)), "|".join(map(_exactly, possible))
    name = f"{protocol}_line_{label}"
    if len(name) > 60:
        name = f"{protocol}_line__{sha256(name.encode()).hexdigest()[:40]}"
    blanks = "[ \\t]*" if blanks_before_colon else ""
    pattern = f"{_TO_THE_LINES}(?i:{wanted}){blanks}:[ \\t]*[^ \\t]" if wanted else None
    return Routine(name, lambda tables: (_next_line(name, pattern, tables),))


def _identifier(name: bytes) -> str:
    """As a part of a function's name; no two names give the same."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"_{byte:02x}" for byte in name.lower())


def _exactly(name: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in name)


def _class(those: frozenset[int]) -> str:
    return "[" + "".join(f"\\x{byte:02x}" for byte in sorted(those)) + "]"


def _next_line(name: str, pattern: str | None, tables: Tables) -> Function:
    code = Function(name, FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, cursor, _ = code.parameters
    absent, begin = code.label(), code.label()
    if pattern is not None:
        offset, end = take_bounds(code, message, absent)
        code.branch(Condition.EQ, cursor, 0, begin)
        code.branch(Condition.GT, cursor, end, absent)
        code.set(offset, cursor)
        code.place(begin)
        code.update(Alu.SUB, end, offset)
        run = tables.run((matching, (pattern,), Fold.NONE), partial(matching, pattern, Fold.NONE))
        code.give(code.call(_VALUE, context, pack_slice(code, offset, end), run.start, run.classes))
        code.place(absent)
    code.give(0)
    return code


def _value(tables: Tables) -> tuple[Function, ...]:
    """`header_value(context, rest, start, classes)`: the value whose first byte (or line's end) the automaton finds last in the rest."""
    code = Function("header_value", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, rest, start, classes = code.parameters
    absent = code.label()
    offset, length = take_slice(code, rest, absent)
    first = code.call(SEEK, context, rest, start, classes)
    code.branch(Condition.EQ, first, 0, absent)
    code.update(Alu.SUB, first, 1)
    code.update(Alu.ADD, length, offset)
    code.update(Alu.SUB, length, first)
    end = seek(code, tables, context, first, length, r"\n", absent)
    code.update(Alu.SUB, end, first)
    code.update(Alu.SUB, end, 1)
    code.give(code.call(TRIM, context, pack_slice(code, first, end)))
    give_absent(code, absent)
    return (code,)


class _State:
    """On the stack of `header_trim`. What is stored at an odd multiple of 4 the verifier does not track."""

    CONTEXT = 0
    END = 12
    SIZE = 16


def _trim(tables: Tables) -> tuple[Function, ...]:
    """`header_trim(context, line)`: without a carriage return at its end, and then without blanks and tabs there."""
    code = Function("header_trim", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, line, *_ = code.parameters
    absent, empty = code.label(), code.label()
    state = code.buffer(_State.SIZE)
    offset, length = take_slice(code, line, absent)
    code.branch(Condition.EQ, length, 0, empty)
    end = code.alu(Alu.ADD, offset, length)
    drop_return(code, context, end, absent)
    code.store(8, state, _State.CONTEXT, context)
    code.store(4, state, _State.END, end)
    code.helper(Helper.LOOP, code.alu(Alu.SUB, end, offset), FunctionName("header_trim_blank"), At(state), 0)
    code.load_to(end, 4, state, _State.END)
    code.branch(Condition.LT, end, offset, absent)  # cannot be
    give_slice(code, offset, end)
    code.place(empty)
    code.give(line)
    give_absent(code, absent)
    return code, _trim_blank()


def _trim_blank() -> Function:
    """One blank or tab less: bpf_loop's callback."""
    code = Function("header_trim_blank", FunctionKind.LOOP_CALLBACK, 2)
    state_at = code.parameters[1]
    blank, stop = code.label(), code.label()
    scratch = code.buffer(8)
    context = code.load(8, state_at, _State.CONTEXT)
    end = code.load(4, state_at, _State.END)
    code.update(Alu.SUB, end, 1)
    last = load_number(code, context, end, 1, scratch, stop)
    code.branch(Condition.EQ, last, _BLANK, blank)
    code.branch(Condition.NE, last, _TAB, stop)
    code.place(blank)
    code.store(4, state_at, _State.END, end)
    code.give(0)
    code.place(stop)
    code.give(1)
    return code


def drop_return(code: Function, context: Value, end: Value, absent: Label) -> None:
    """`end`, of a line that is not empty, less one where a carriage return stands before it."""
    no_return = code.label()
    last = load_number(code, context, code.alu(Alu.SUB, end, 1), 1, code.buffer(8), absent)
    code.branch(Condition.NE, last, _CARRIAGE_RETURN, no_return)
    code.update(Alu.SUB, end, 1)
    code.place(no_return)


def _start_line(tables: Tables) -> tuple[Function, ...]:
    """`header_start_line(context, message)`."""
    code = Function("header_start_line", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent, empty = code.label(), code.label()
    offset, length = take_slice(code, message, absent)
    end = seek(code, tables, context, offset, length, r"\n", absent)
    code.update(Alu.SUB, end, 1)
    code.branch(Condition.EQ, end, offset, empty)
    drop_return(code, context, end, absent)
    code.place(empty)
    give_slice(code, offset, end)
    give_absent(code, absent)
    return (code,)


def _cut(tables: Tables) -> tuple[Function, ...]:
    """`header_cut(context, message)`."""
    code = Function("header_cut", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent, cut = code.label(), code.label()
    offset, length = take_slice(code, message, absent)
    seek(code, tables, context, offset, length, _TO_THE_LINES + r"\r?\n", cut)
    give_absent(code, absent)
    code.place(cut)
    code.give(message)
    return (code,)


_VALUE: Final = Routine("header_value", _value)
TRIM: Final = Routine("header_trim", _trim)
START_LINE: Final = Routine("header_start_line", _start_line)
CUT: Final = Routine("header_cut", _cut)
