"""BTF: the blob's layout by an own reader, function and line records, and that the kernel takes it."""

from __future__ import annotations

import os
import struct

import pytest

from bpf.assembler import Assembler
from bpf.btf import debug_info
from bpf.image import Function, FunctionKind, ProgramImage, ProgramKind
from bpf.isa import R0, decode
from bpf.libbpf import libbpf

_KINDS = {1: "int", 2: "pointer", 4: "struct", 12: "function", 13: "prototype"}


def _example(kind: ProgramKind = ProgramKind.SOCKET_FILTER) -> ProgramImage:
    asm = Assembler("DNS ANY", kind, source="acme.rules")
    asm.line("block one", 3)
    asm.mov(R0, 0)
    asm.line('block "zwei ✓"', 5000000)
    asm.exit()
    asm.subprogram("step", FunctionKind.LOOP_CALLBACK)
    asm.mov(R0, 0)
    asm.exit()
    asm.subprogram("part")
    asm.mov(R0, 0)
    asm.exit()
    return asm.assemble()


def _read(blob: bytes) -> tuple[list[tuple[str, str, int, int]], bytes]:
    """(kind, name, count or linkage, size or type) of each type, and the string section."""
    magic, version, flags, header, type_off, type_len, string_off, string_len = struct.unpack_from("<HBBIIIII", blob)
    assert (magic, version, flags, header, type_off, string_off) == (0xEB9F, 1, 0, 24, 0, type_len)
    assert len(blob) == header + type_len + string_len
    strings = blob[header + string_off :]
    assert (strings[0], strings[-1]) == (0, 0)
    types = []
    position = header
    while position < header + type_len:
        name, info, size_or_type = struct.unpack_from("<III", blob, position)
        kind = _KINDS[info >> 24 & 0x1F]
        types.append((kind, _string(strings, name), info & 0xFFFF, size_or_type))
        position += 12 + {"int": 4, "prototype": 8 * (info & 0xFFFF)}.get(kind, 0)
    return types, strings


def _string(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(b"\0", offset)].decode()


def test_functions_have_names_linkage_and_prototypes() -> None:
    types, _ = _read(debug_info(_example()).btf)
    functions = [(name, linkage, types[prototype - 1][2]) for kind, name, linkage, prototype in types if kind == "function"]
    assert functions == [("DNS_ANY", 1, 1), ("step", 0, 2), ("part", 0, 0)]


def test_the_context_is_the_struct_of_the_program_kind() -> None:
    for kind, name in ((ProgramKind.SOCKET_FILTER, "__sk_buff"), (ProgramKind.XDP, "xdp_md")):
        types, _ = _read(debug_info(_example(kind)).btf)
        assert [row[1] for row in types if row[0] == "struct"] == [name, "record"]


def test_function_records_point_at_functions() -> None:
    info = debug_info(_example())
    types, _ = _read(info.btf)
    records = list(struct.iter_unpack("<II", info.func_info))
    assert [(slot, types[type_id - 1][:2]) for slot, type_id in records] == [
        (0, ("function", "DNS_ANY")),
        (2, ("function", "step")),
        (4, ("function", "part")),
    ]


def test_line_records_hold_file_text_and_number() -> None:
    info = debug_info(_example())
    _, strings = _read(info.btf)
    records = [
        (slot, _string(strings, file), _string(strings, text), line >> 10)
        for slot, file, text, line in struct.iter_unpack("<IIII", info.line_info)
    ]
    assert records == [
        (0, "acme.rules", "block one", 3),
        (1, "acme.rules", 'block "zwei ✓"', (1 << 22) - 1),  # the highest that fits
        (2, "acme.rules", 'block "zwei ✓"', (1 << 22) - 1),
        (4, "acme.rules", 'block "zwei ✓"', (1 << 22) - 1),
    ]


def test_a_function_without_a_line_gets_its_name() -> None:
    code = bytes.fromhex("b700000000000000 9500000000000000")
    image = ProgramImage("plain", decode(code), functions=(Function(0, "plain", FunctionKind.PROGRAM),))
    info = debug_info(image)
    _, strings = _read(info.btf)
    [(slot, file, text, line)] = struct.iter_unpack("<IIII", info.line_info)
    assert (slot, _string(strings, file), _string(strings, text), line) == (0, "plain", "plain", 0)


@pytest.mark.kernel
def test_the_kernel_takes_it() -> None:
    os.close(libbpf().btf_load(debug_info(_example()).btf))
