"""What a TLS hello holds: cipher suites and extensions (semantics: rules_dsl/dissectors/tls.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bpf.dissectors.model import ELEMENT, BitsOf, Each, Number, Place, Slice
from bpf.dissectors.routines import next_number
from bpf.facts import Fact
from bpf.image import FunctionKind
from bpf.ir import At, Function, FunctionName, Routine
from bpf.isa import Alu, Condition, Helper
from bpf.slices import at_most, give_absent, give_number, give_slice, load_number, resume, take_bounds, take_slice
from bpf.tables import Tables

CLIENT_HELLO, SERVER_HELLO = 1, 2
"""Message types."""

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43

_EXTENSIONS: Final = 64
"""So many are looked at."""


def _suites(tables: Tables) -> tuple[Function, ...]:
    """`tls_suites(context, hello)`: the cipher suites without their length, as far as they go."""
    code = Function("tls_suites", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, *_ = code.parameters
    absent, client = code.label(), code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, hello, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.LT, length, 39, absent)
    session_id = load_number(code, context, code.alu(Alu.ADD, offset, 38), 1, scratch, absent)
    code.branch(Condition.GT, session_id, 32, absent)
    kind = load_number(code, context, offset, 1, scratch, absent)
    code.update(Alu.ADD, offset, 39)
    code.update(Alu.ADD, offset, session_id)
    start = code.alu(Alu.ADD, offset, 2)
    code.branch(Condition.GT, start, end, absent)
    code.branch(Condition.EQ, kind, CLIENT_HELLO, client)
    give_slice(code, offset, start)
    code.place(client)
    size = load_number(code, context, offset, 2, scratch, absent)
    code.update(Alu.ADD, size, start)
    give_slice(code, start, at_most(code, size, end))
    give_absent(code, absent)
    return (code,)


def _suites_length(tables: Tables) -> tuple[Function, ...]:
    """`tls_suites_length(context, hello, suites)`: as the ClientHello states it."""
    code = Function("tls_suites_length", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, suites, _ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, _ = take_slice(code, hello, absent)
    code.branch(Condition.NE, load_number(code, context, offset, 1, scratch, absent), CLIENT_HELLO, absent)
    start, _ = take_slice(code, suites, absent)
    code.update(Alu.SUB, start, 2)
    give_number(code, load_number(code, context, start, 2, scratch, absent))
    give_absent(code, absent)
    return (code,)


def _extensions(tables: Tables) -> tuple[Function, ...]:
    """`tls_extensions(context, hello, suites)`: the extensions from their length on, as far as they go."""
    code = Function("tls_extensions", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, suites, _ = code.parameters
    absent, behind = code.label(), code.label()
    scratch = code.buffer(8)
    offset, end = take_bounds(code, hello, absent)
    kind = load_number(code, context, offset, 1, scratch, absent)
    at, _ = take_slice(code, suites, absent)
    code.update(Alu.ADD, at, 3)  # the suite chosen and the compression method of a ServerHello
    code.branch(Condition.NE, kind, CLIENT_HELLO, behind)
    code.update(Alu.SUB, at, 5)
    size = load_number(code, context, at, 2, scratch, absent)
    code.update(Alu.ADD, at, size)
    code.update(Alu.ADD, at, 2)
    code.branch(Condition.GE, at, end, absent)
    size = load_number(code, context, at, 1, scratch, absent)
    code.update(Alu.ADD, at, size)
    code.update(Alu.ADD, at, 1)
    code.place(behind)
    content = code.alu(Alu.ADD, at, 2)
    code.branch(Condition.GT, content, end, absent)
    size = load_number(code, context, at, 2, scratch, absent)
    code.update(Alu.ADD, size, content)
    give_slice(code, at, at_most(code, size, end))
    give_absent(code, absent)
    return (code,)


def _each_extension(tables: Tables) -> tuple[Function, ...]:
    """`tls_each_extension(context, extensions, cursor)`: the next one, with its type and length."""
    code = Function("tls_each_extension", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extensions, cursor, _ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, extensions, absent)
    code.update(Alu.ADD, offset, 2)
    resume(code, offset, cursor)
    content = code.alu(Alu.ADD, offset, 4)
    code.branch(Condition.GT, content, end, absent)
    size = load_number(code, context, offset, 4, code.buffer(8), absent)
    code.update(Alu.AND, size, 0xFFFF)
    code.update(Alu.ADD, size, content)
    give_slice(code, offset, at_most(code, size, end))
    give_absent(code, absent)
    return (code,)


class _Search:
    """The state of the search for an extension. The 32-bit members stand at odd multiples of 4, where the verifier does not track
    what is stored."""

    CONTEXT = 0
    TYPE = 12
    END = 20
    POSITION = 28
    FOUND_END = 36
    """Where the content ends that begins at POSITION; 0: not found."""
    SIZE = 40


def _extension(tables: Tables) -> tuple[Function, ...]:
    """`tls_extension(context, extensions, type)`: the content of the first of that type."""
    code = Function("tls_extension", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extensions, kind, _ = code.parameters
    absent = code.label()
    state = code.buffer(_Search.SIZE)
    offset, length = take_slice(code, extensions, absent)
    code.store(8, state, _Search.CONTEXT, context)
    code.store(4, state, _Search.TYPE, kind)
    code.store(4, state, _Search.END, code.alu(Alu.ADD, offset, length))
    code.store(4, state, _Search.POSITION, code.alu(Alu.ADD, offset, 2))
    code.store(4, state, _Search.FOUND_END, 0)
    code.helper(Helper.LOOP, _EXTENSIONS, FunctionName("tls_extension_step"), At(state), 0)
    end = code.load(4, state, _Search.FOUND_END)
    code.branch(Condition.EQ, end, 0, absent)
    give_slice(code, code.load(4, state, _Search.POSITION), end)
    give_absent(code, absent)
    return code, _extension_step()


def _extension_step() -> Function:
    """One extension further: bpf_loop's callback."""
    code = Function("tls_extension_step", FunctionKind.LOOP_CALLBACK, 2)
    state = code.parameters[1]
    stop, other = code.label(), code.label()
    context = code.load(8, state, _Search.CONTEXT)
    position = code.load(4, state, _Search.POSITION)
    end = code.load(4, state, _Search.END)
    content = code.alu(Alu.ADD, position, 4)
    code.branch(Condition.GT, content, end, stop)
    head = load_number(code, context, position, 4, code.buffer(8), stop)
    behind = code.alu(Alu.ADD, code.alu(Alu.AND, head, 0xFFFF), content)
    code.update(Alu.RSH, head, 16)
    code.branch(Condition.NE, head, code.load(4, state, _Search.TYPE), other)
    code.store(4, state, _Search.POSITION, content)
    code.store(4, state, _Search.FOUND_END, at_most(code, behind, end))
    code.place(stop)
    code.give(1)
    code.place(other)
    code.store(4, state, _Search.POSITION, behind)
    code.give(0)
    return code


def _server_name(tables: Tables) -> tuple[Function, ...]:
    """`tls_server_name(context, extension)`: the first name, where it is a host's."""
    code = Function("tls_server_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extension, *_ = code.parameters
    absent = code.label()
    scratch = code.buffer(8)
    offset, length = take_slice(code, extension, absent)
    end = code.alu(Alu.ADD, offset, length)
    code.branch(Condition.LT, length, 5, absent)
    size = load_number(code, context, code.alu(Alu.ADD, offset, 1), 4, scratch, absent)
    kind = code.alu(Alu.AND, size, 0xFF_0000)
    code.branch(Condition.NE, kind, 0, absent)
    code.update(Alu.AND, size, 0xFFFF)
    code.branch(Condition.EQ, size, 0, absent)
    code.update(Alu.ADD, offset, 5)
    code.update(Alu.ADD, size, offset)
    code.branch(Condition.GT, size, end, absent)
    give_slice(code, offset, size)
    give_absent(code, absent)
    return (code,)


def _protocol_name(tables: Tables) -> tuple[Function, ...]:
    """`tls_protocol_name(context, extension, cursor)`: the next name of the list."""
    code = Function("tls_protocol_name", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, extension, cursor, _ = code.parameters
    absent = code.label()
    offset, end = take_bounds(code, extension, absent)
    code.update(Alu.ADD, offset, 2)
    resume(code, offset, cursor)
    code.branch(Condition.GE, offset, end, absent)
    size = load_number(code, context, offset, 1, code.buffer(8), absent)
    code.branch(Condition.EQ, size, 0, absent)
    code.update(Alu.ADD, offset, 1)
    code.update(Alu.ADD, size, offset)
    code.branch(Condition.GT, size, end, absent)
    give_slice(code, offset, size)
    give_absent(code, absent)
    return (code,)


def _versions(tables: Tables) -> tuple[Function, ...]:
    """`tls_versions(context, hello, extension)`: the versions, as far as they go."""
    code = Function("tls_versions", FunctionKind.GLOBAL_SUBPROGRAM, 4)
    context, hello, extension, _ = code.parameters
    absent, server = code.label(), code.label()
    scratch = code.buffer(8)
    first, _ = take_slice(code, hello, absent)
    kind = load_number(code, context, first, 1, scratch, absent)
    offset, length = take_slice(code, extension, absent)
    end = code.alu(Alu.ADD, offset, length)
    size = code.copy(2)
    code.branch(Condition.NE, kind, CLIENT_HELLO, server)
    code.branch(Condition.EQ, length, 0, absent)
    code.set(size, load_number(code, context, offset, 1, scratch, absent))
    code.update(Alu.ADD, offset, 1)
    code.place(server)
    code.update(Alu.ADD, size, offset)
    give_slice(code, offset, at_most(code, size, end))
    give_absent(code, absent)
    return (code,)


def places_in_hello(hello: Fact) -> Mapping[str, Place]:
    """Where the fields of a hello are; the fact gives the message from its type on, a slice."""
    suites = Fact(Routine("tls_suites", _suites), (hello,))
    extensions = Fact(Routine("tls_extensions", _extensions), (hello, suites))
    number = next_number("tls_number", 2)

    def content(kind: int) -> Fact:
        return Fact(Routine("tls_extension", _extension), (extensions,), (kind,))

    versions = Fact(Routine("tls_versions", _versions), (hello, content(_SUPPORTED_VERSIONS)))
    return {
        "tls.handshake.version": BitsOf(hello, 32, 16),
        "tls.handshake.session_id_length": BitsOf(hello, 304, 8),
        "tls.handshake.cipher_suites_length": Number(Fact(Routine("tls_suites_length", _suites_length), (hello, suites))),
        "tls.handshake.ciphersuite": Each(number, suites, BitsOf(ELEMENT, 0, 16)),
        "tls.handshake.extensions_length": BitsOf(extensions, 0, 16),
        "tls.handshake.extension.type": Each(Routine("tls_each_extension", _each_extension), extensions, BitsOf(ELEMENT, 0, 16)),
        "tls.sni": Slice(Fact(Routine("tls_server_name", _server_name), (content(_SERVER_NAME),))),
        "tls.alpn": Each(Routine("tls_protocol_name", _protocol_name), content(_ALPN), Slice(ELEMENT)),
        "tls.supported_version": Each(number, versions, BitsOf(ELEMENT, 0, 16)),
    }
