"""BTF for a program: the types of its functions and which source line each instruction came from.

The kernel wants function types for bpf_loop callbacks; `bpftool prog dump xlated` and the verifier print the lines. Formats: Linux
`include/uapi/linux/btf.h`, `struct bpf_func_info` and `struct bpf_line_info` in linux/bpf.h, `Documentation/bpf/btf.rst`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final, assert_never

from bpf.image import FunctionKind, ProgramImage, ProgramKind

FUNC_INFO_SIZE: Final = 8
LINE_INFO_SIZE: Final = 16
"""Bytes of one record."""

_MAGIC: Final = 0xEB9F
_HEADER_SIZE: Final = 24
_KIND_INT, _KIND_PTR, _KIND_STRUCT, _KIND_FUNC, _KIND_FUNC_PROTO = 1, 2, 4, 12, 13
_SIGNED: Final = 1
_STATIC, _GLOBAL = 0, 1
_MAX_LINE_NUMBER: Final = (1 << 22) - 1
"""The line shares 32 bits with a 10-bit column."""

_CONTEXT: Final = {ProgramKind.SOCKET_FILTER: "__sk_buff", ProgramKind.XDP: "xdp_md"}
"""The struct that a program of each kind is given."""


@dataclass(frozen=True, slots=True)
class DebugInfo:
    """What goes beside the instructions into the kernel."""

    btf: bytes = field(repr=False)
    func_info: bytes = field(repr=False)
    """FUNC_INFO_SIZE bytes a function."""
    line_info: bytes = field(repr=False)
    """LINE_INFO_SIZE bytes a line."""


class _Blob:
    """Types, numbered from 1, and the strings that they name."""

    def __init__(self) -> None:
        self._types = bytearray()
        self._count = 0
        self._strings = bytearray(b"\0")
        self._offsets = {"": 0}

    def string(self, text: str) -> int:
        """The offset of `text`, which is added where it is new."""
        offset = self._offsets.get(text)
        if offset is None:
            offset = self._offsets[text] = len(self._strings)
            self._strings += text.replace("\0", "\\0").encode() + b"\0"
        return offset

    def _type(self, name: str, kind: int, size_or_type: int, count: int = 0, rest: bytes = b"") -> int:
        self._types += struct.pack("<III", self.string(name), kind << 24 | count, size_or_type) + rest
        self._count += 1
        return self._count

    def integer(self, name: str, size: int, *, signed: bool) -> int:
        return self._type(name, _KIND_INT, size, rest=struct.pack("<I", (_SIGNED if signed else 0) << 24 | size * 8))

    def opaque_struct(self, name: str, size: int = 0) -> int:
        """A struct by name, and size in bytes: the kernel knows a program's context by its name."""
        return self._type(name, _KIND_STRUCT, size)

    def pointer(self, to: int) -> int:
        """`to` 0 is void."""
        return self._type("", _KIND_PTR, to)

    def prototype(self, returns: int, parameters: tuple[tuple[str, int], ...]) -> int:
        rest = b"".join(struct.pack("<II", self.string(name), of) for name, of in parameters)
        return self._type("", _KIND_FUNC_PROTO, returns, len(parameters), rest)

    def function(self, name: str, prototype: int, linkage: int) -> int:
        return self._type(name, _KIND_FUNC, prototype, linkage)

    def encode(self) -> bytes:
        header = struct.pack("<HBBIIIII", _MAGIC, 1, 0, _HEADER_SIZE, 0, len(self._types), len(self._types), len(self._strings))
        return header + bytes(self._types) + bytes(self._strings)


def debug_info(image: ProgramImage) -> DebugInfo:
    """BTF, function and line records of `image`. The kernel wants a line at each function; one without gets its own name for a line."""
    blob = _Blob()
    integer = blob.integer("int", 4, signed=True)
    long = blob.integer("long", 8, signed=True)
    unsigned = blob.integer("u64", 8, signed=False)
    anything = blob.pointer(0)
    context = blob.pointer(blob.opaque_struct(_CONTEXT[image.kind]))
    record = blob.pointer(blob.opaque_struct("record", image.record_size))
    functions = []
    for function in image.functions:
        match function.kind:
            case FunctionKind.PROGRAM:
                prototype, linkage = blob.prototype(integer, (("context", context),)), _GLOBAL
            case FunctionKind.LOOP_CALLBACK:
                prototype, linkage = blob.prototype(long, (("index", unsigned), ("context", anything))), _STATIC
            case FunctionKind.SUBPROGRAM:  # no parameters: the verifier then takes the registers as the caller leaves them
                prototype, linkage = blob.prototype(unsigned, ()), _STATIC
            case FunctionKind.GLOBAL_SUBPROGRAM:
                parameters = (("context", context), *((name, unsigned) for name in ("first", "second", "third")))
                prototype, linkage = blob.prototype(unsigned, parameters), _GLOBAL
            case FunctionKind.PART:
                prototype, linkage = (
                    blob.prototype(unsigned, (("context", context), ("record", record), ("first", unsigned), ("second", unsigned))),
                    _GLOBAL,
                )
            case _:
                assert_never(function.kind)
        functions.append(struct.pack("<II", function.slot, blob.function(function.name, prototype, linkage)))
    lines = {function.slot: (function.name, 0) for function in image.functions}
    lines |= {line.slot: (line.text, line.number) for line in image.lines}
    file_name = blob.string(image.source or image.name)
    records = [
        struct.pack("<IIII", slot, file_name, blob.string(text), min(number, _MAX_LINE_NUMBER) << 10)
        for slot, (text, number) in sorted(lines.items())
    ]
    return DebugInfo(blob.encode(), b"".join(functions), b"".join(records))
