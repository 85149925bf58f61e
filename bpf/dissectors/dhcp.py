"""DHCP for IPv4 (semantics: rules_dsl/dissectors/dhcp.py)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.model import ELEMENT, AddressOf, BitsOf, Each, Place, Present, Slice
from bpf.dissectors.routines import part_of
from bpf.facts import UDP_PAYLOAD, Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Routine
from bpf.isa import Alu, Condition, Helper
from bpf.search import seek
from bpf.slices import at_most, give_absent, give_slice, load_number, pack_slice, resume, take_bounds, take_slice
from bpf.tables import Tables

_COOKIE: Final = 0x63825363
_OPTIONS_AT: Final = 240
_LONGEST_OPTIONS: Final = 2048
_PAD, _END = 0, 255
_HOST_NAME, _REQUESTED_ADDRESS, _MESSAGE_TYPE, _VENDOR_CLASS = 12, 50, 53, 60
_ETHERNET_OF_6, _IEEE_802_OF_6 = 0x0106, 0x0606
"""Type and length of a hardware address."""


def _message(tables: Tables) -> tuple[Function, ...]:
    """`dhcp(context, payload)`: the payload, a slice."""
    code = Function("dhcp", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, payload, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, payload, absent)
    code.branch(Condition.LT, length, _OPTIONS_AT, absent)
    cookie = load_number(code, context, code.alu(Alu.ADD, offset, _OPTIONS_AT - 4), 4, scratch, absent)
    code.branch(Condition.NE, cookie, _COOKIE, absent)
    head = load_number(code, context, offset, 4, scratch, absent)
    operation = code.alu(Alu.RSH, head, 24)
    code.branch(Condition.EQ, operation, 0, absent)
    code.branch(Condition.GT, operation, 2, absent)
    code.update(Alu.RSH, head, 8)
    code.update(Alu.AND, head, 0xFF)
    code.branch(Condition.GT, head, 16, absent)
    code.give(payload)
    give_absent(code, absent)
    return (code,)


def _mac_address(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_mac_address(context, message)`."""
    code = Function("dhcp_mac_address", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, message, *_ = code.parameters
    absent, there = code.label(), code.label()
    offset, _ = take_slice(code, message, absent)
    kind = load_number(code, context, code.alu(Alu.ADD, offset, 1), 2, code.buffer(8), absent)
    code.branch(Condition.EQ, kind, _ETHERNET_OF_6, there)
    code.branch(Condition.NE, kind, _IEEE_802_OF_6, absent)
    code.place(there)
    code.give(pack_slice(code, code.alu(Alu.ADD, offset, 28), 6))
    give_absent(code, absent)
    return (code,)


def _options(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_options(context, message)`: the options that are read."""
    code = Function("dhcp_options", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, message, *_ = code.parameters
    absent = code.label()
    offset, length = take_slice(code, message, absent)
    code.update(Alu.ADD, offset, _OPTIONS_AT)
    code.update(Alu.SUB, length, _OPTIONS_AT)
    at_most(code, length, _LONGEST_OPTIONS)
    code.give(pack_slice(code, offset, length))
    give_absent(code, absent)
    return (code,)


def _next(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_next(context, options, cursor)`: the next option that is no pad, from its code on."""
    code = Function("dhcp_next", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, options, cursor, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, options, absent)
    resume(code, offset, cursor)
    behind = seek(code, tables, context, offset, code.alu(Alu.SUB, end, offset), r"^\x00*[^\x00]", absent)
    start = code.alu(Alu.SUB, behind, 1)
    code.branch(Condition.GE, behind, end, absent)
    head = load_number(code, context, start, 2, scratch, absent)
    code.branch(Condition.GE, head, _END << 8, absent)
    code.update(Alu.AND, head, 0xFF)
    code.update(Alu.ADD, head, start)
    code.update(Alu.ADD, head, 2)
    code.branch(Condition.GT, head, end, absent)
    give_slice(code, start, head)
    give_absent(code, absent)
    return (code,)


class _Search:
    """The state of a search for an option. The 32-bit members stand at odd multiples of 4, where the verifier does not track what is
    stored."""

    CONTEXT = 0
    POSITION = 12
    END = 20
    WANTED = 28
    BEHIND = 36
    """Where the option found at `POSITION` ends; 0: none has been found."""
    SIZE = 40


def _option(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_option(context, options, code)`: the value of the first option of that code."""
    code = Function("dhcp_option", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, options, wanted, _ = code.parameters
    absent = code.label()
    state = code.buffer(_Search.SIZE)
    offset, length = take_slice(code, options, absent)
    code.store(8, state, _Search.CONTEXT, context)
    code.store(4, state, _Search.POSITION, offset)
    code.store(4, state, _Search.END, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Search.WANTED, wanted)
    code.store(4, state, _Search.BEHIND, 0)
    code.helper(Helper.LOOP, _LONGEST_OPTIONS, FunctionName("dhcp_option_step"), At(state), 0)
    behind = code.load(4, state, _Search.BEHIND)
    code.branch(Condition.EQ, behind, 0, absent)
    start = code.load(4, state, _Search.POSITION)
    give_slice(code, code.alu(Alu.ADD, start, 2), behind)
    give_absent(code, absent)
    return code, _option_step()


def _option_step() -> Function:
    """One option or pad further: bpf_loop's callback."""
    code = Function("dhcp_option_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    scratch = code.buffer(8)
    found, pad, stop = code.label(), code.label(), code.label()
    context = code.load(8, state, _Search.CONTEXT)
    position = code.load(4, state, _Search.POSITION)
    end = code.load(4, state, _Search.END)
    code.branch(Condition.GE, position, end, stop)
    kind = load_number(code, context, position, 1, scratch, stop)
    code.branch(Condition.EQ, kind, _PAD, pad)
    code.branch(Condition.EQ, kind, _END, stop)
    behind = load_number(code, context, code.alu(Alu.ADD, position, 1), 1, scratch, stop)
    code.update(Alu.ADD, behind, position)
    code.update(Alu.ADD, behind, 2)
    code.branch(Condition.GT, behind, end, stop)
    code.branch(Condition.EQ, kind, code.load(4, state, _Search.WANTED), found)
    code.store(4, state, _Search.POSITION, behind)
    code.give(0)
    code.place(pad)
    code.update(Alu.ADD, position, 1)
    code.store(4, state, _Search.POSITION, position)
    code.give(0)
    code.place(found)
    code.store(4, state, _Search.BEHIND, behind)
    code.place(stop)
    code.give(1)
    return code


def _exactly(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_exactly(context, value, length)`: the value again, where it has that length."""
    code = Function("dhcp_exactly", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    _, value, wanted, _ = code.parameters
    absent = code.label()
    _, length = take_slice(code, value, absent)
    code.branch(Condition.NE, length, wanted, absent)
    code.give(value)
    give_absent(code, absent)
    return (code,)


def _text(tables: Tables) -> tuple[Function, ...]:
    """`dhcp_text(context, value)`: the value up to its first NUL."""
    code = Function("dhcp_text", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, value, *_ = code.parameters
    absent, whole = code.label(), code.label()
    offset, length = take_slice(code, value, absent)
    behind = seek(code, tables, context, offset, length, r"\x00", whole)
    give_slice(code, offset, code.alu(Alu.SUB, behind, 1))
    code.place(whole)
    code.give(value)
    give_absent(code, absent)
    return (code,)


_MESSAGE: Final = Fact(Routine("dhcp", _message), (UDP_PAYLOAD,))
_OPTIONS: Final = Fact(Routine("dhcp_options", _options), (_MESSAGE,))
_PART: Final = part_of("dhcp_part")
_OPTION: Final = Routine("dhcp_option", _option)
_EXACTLY: Final = Routine("dhcp_exactly", _exactly)
_TEXT: Final = Routine("dhcp_text", _text)


def _address(start: int) -> AddressOf:
    return AddressOf(Fact(_PART, (_MESSAGE,), (start, 4)))


def _value(option: int) -> Fact:
    return Fact(_OPTION, (_OPTIONS,), (option,))


DHCP: Final[Mapping[str, Place]] = MappingProxyType(
    {
        "dhcp": Present(_MESSAGE),
        "dhcp.op": BitsOf(_MESSAGE, 0, 8),
        "dhcp.hw.type": BitsOf(_MESSAGE, 8, 8),
        "dhcp.hw.mac_addr": Slice(Fact(Routine("dhcp_mac_address", _mac_address), (_MESSAGE,))),
        "dhcp.hops": BitsOf(_MESSAGE, 24, 8),
        "dhcp.id": BitsOf(_MESSAGE, 32, 32),
        "dhcp.secs": BitsOf(_MESSAGE, 64, 16),
        "dhcp.ip.client": _address(12),
        "dhcp.ip.your": _address(16),
        "dhcp.ip.server": _address(20),
        "dhcp.ip.relay": _address(24),
        "dhcp.option.type": Each(Routine("dhcp_next", _next), _OPTIONS, BitsOf(ELEMENT, 0, 8)),
        "dhcp.option.dhcp": BitsOf(Fact(_EXACTLY, (_value(_MESSAGE_TYPE),), (1,)), 0, 8),
        "dhcp.option.hostname": Slice(Fact(_TEXT, (_value(_HOST_NAME),))),
        "dhcp.option.vendor_class_id": Slice(Fact(_TEXT, (_value(_VENDOR_CLASS),))),
        "dhcp.option.requested_ip_address": AddressOf(Fact(_EXACTLY, (_value(_REQUESTED_ADDRESS),), (4,))),
    }
)
