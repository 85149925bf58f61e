"""The assembler: names resolve to distances, lines and functions to slots, and misuse is an assertion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bpf.assembler import Assembler
from bpf.image import FunctionKind, MapKind, MapSpec, SourceLine, identifier, kernel_name
from bpf.isa import R0, R1, R2, R6, R10, Alu, Condition, Helper


def test_labels_resolve_both_ways_over_wide_instructions() -> None:
    asm = Assembler()
    asm.label("top")
    asm.load64(R1, 1 << 40)
    asm.branch(Condition.EQ, R1, 0, "end")
    asm.load64(R1, 2)
    asm.jump("top")
    asm.label("end")
    asm.exit()
    image = asm.assemble()
    assert [i.offset for i in image.instructions] == [0, 3, 0, -6, 0]
    assert image.slots == 7


def test_the_disassembly_names_functions_lines_and_maps() -> None:
    asm = Assembler("DNS ANY")
    asm.map(MapSpec("table", value_size=64))
    asm.line('block "DNS ANY"\n  when dns', 3)
    asm.mov(R6, R1)
    asm.load_map_value(R2, "table", 8)
    asm.load_map(R1, "table")
    asm.load_function(R2, "step")
    asm.branch(Condition.EQ, R0, 5, "out", width=32)
    asm.call(Helper.LOOP)
    asm.call_subprogram("step")
    asm.endian(R0, 16)
    asm.label("out")
    asm.exit()
    asm.subprogram("step", FunctionKind.LOOP_CALLBACK)
    asm.mov(R0, 0)
    asm.exit()
    assert asm.assemble().disassemble().splitlines() == [
        "; map 0: table, array, key 4, value 64, 1 entries",
        "DNS_ANY:",
        '; block "DNS ANY" when dns',
        "    0: r6 = r1",
        "    1: r2 = map table value + 8",
        "    3: r1 = map table",
        "    5: r2 = function step",
        "    7: if w0 == 5 goto 11",
        "    8: call loop",
        "    9: call step",
        "   10: r0 = be16 r0",
        "   11: exit",
        "step:",
        '; block "DNS ANY" when dns',
        "   12: r0 = 0",
        "   13: exit",
    ]


def test_lines_start_at_slots_and_a_repeated_or_empty_one_adds_nothing() -> None:
    asm = Assembler()
    asm.line("never", 1)
    asm.line("first", 2)
    asm.load64(R0, 0)
    asm.line("first", 2)
    asm.mov(R0, 0)
    asm.line("second", 3)
    asm.exit()
    asm.line("behind the end", 4)
    image = asm.assemble()
    assert image.lines == (SourceLine(0, "first", 2), SourceLine(3, "second", 3))
    assert [line.number for slot in range(4) if (line := image.line_at(slot))] == [2, 2, 2, 3]


def test_a_long_line_is_cut() -> None:
    asm = Assembler()
    asm.line("x" * 1000)
    asm.exit()
    assert asm.assemble().lines[0].text == "x" * 197 + "..."


def test_labels_belong_to_their_subprogram() -> None:
    asm = Assembler()
    asm.jump("end")
    asm.label("end")
    asm.exit()
    asm.subprogram("other")
    asm.jump("end")
    asm.mov(R0, 0)
    asm.label("end")
    asm.exit()
    assert [i.offset for i in asm.assemble().instructions] == [0, 0, 1, 0, 0]


def test_fresh_labels_differ() -> None:
    asm = Assembler()
    assert asm.fresh("x") != asm.fresh("x")


@pytest.mark.parametrize("width", [32, 64])
def test_immediates_are_bounded_by_the_width(width: int) -> None:
    asm = Assembler()
    asm.mov(R0, -(1 << 31), width=width)  # type: ignore[arg-type]
    asm.mov(R0, (1 << (32 if width == 32 else 31)) - 1, width=width)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="immediate"):
        asm.mov(R0, 1 << 32, width=width)  # type: ignore[arg-type]


def test_an_unsigned_32_bit_immediate_keeps_its_bits() -> None:
    asm = Assembler()
    asm.branch(Condition.EQ, R0, 0xFFFFFFFF, "x", width=32)
    asm.label("x")
    asm.exit()
    assert asm.assemble().code[4:8] == b"\xff\xff\xff\xff"


def _far(asm: Assembler) -> None:
    asm.jump("end")
    for _ in range(1 << 15):
        asm.mov(R0, 0)
    asm.label("end")


MISUSE: list[tuple[str, Callable[[Assembler], None]]] = [
    ("label 'x' is not defined", lambda asm: asm.jump("x")),
    ("label 'x' is defined twice", lambda asm: (asm.label("x"), asm.label("x"))[0]),
    ("32768 slots away", _far),
    ("subprogram 'x' is not defined", lambda asm: asm.call_subprogram("x")),
    ("subprogram 'x' is defined twice", lambda asm: (asm.subprogram("x"), asm.subprogram("x"))[0]),
    ("not a C identifier", lambda asm: asm.subprogram("a b")),
    ("entered in one place", lambda asm: asm.subprogram("x", FunctionKind.PROGRAM)),
    ("map 'x' is not defined", lambda asm: asm.load_map(R1, "x")),
    ("outside the value", lambda asm: (asm.map(MapSpec("m", value_size=8)), asm.load_map_value(R1, "m", 8))[0]),
    ("no direct value", lambda asm: (asm.map(MapSpec("m", entries=2)), asm.load_map_value(R1, "m"))[0]),
    ("map 'm' is defined twice", lambda asm: (asm.map(MapSpec("m")), asm.map(MapSpec("m", value_size=16)))[0]),
    ("offset 32768", lambda asm: asm.load(1, R0, R1, 1 << 15)),
    ("offset -32769", lambda asm: asm.store(1, R1, -(1 << 15) - 1, 0)),
    ("frame pointer", lambda asm: asm.mov(R10, 1)),
    ("not a register", lambda asm: asm.mov(3, 1)),  # type: ignore[arg-type]
    ("shift by 64", lambda asm: asm.alu(Alu.LSH, R0, 64)),
    ("shift by 32", lambda asm: asm.alu(Alu.RSH, R0, 32, width=32)),
    ("constant 0", lambda asm: asm.alu(Alu.MOD, R0, 0)),
    ("more than 64 bits", lambda asm: asm.load64(R0, 1 << 64)),
]


@pytest.mark.parametrize(("message", "misuse"), MISUSE, ids=[message for message, _ in MISUSE])
def test_misuse_is_an_assertion(message: str, misuse: Callable[[Assembler], None]) -> None:
    asm = Assembler()
    with pytest.raises(AssertionError, match=message):  # noqa: PT012 - some show at once, some when names are resolved
        misuse(asm)
        asm.exit()
        asm.assemble()


def test_a_label_behind_the_last_instruction_is_refused() -> None:
    asm = Assembler()
    asm.jump("end")
    asm.label("end")
    with pytest.raises(AssertionError, match="behind the end"):
        asm.assemble()


def test_the_farthest_jump_fits() -> None:
    asm = Assembler()
    asm.jump("end")
    for _ in range((1 << 15) - 1):
        asm.mov(R0, 0)
    asm.label("end")
    asm.exit()
    assert asm.assemble().instructions[0].offset == (1 << 15) - 1


def test_only_arrays_have_initial_values() -> None:
    with pytest.raises(AssertionError, match="only an array"):
        MapSpec("m", kind=MapKind.HASH, initial=b"x")
    with pytest.raises(AssertionError, match="9 initial bytes"):
        MapSpec("m", value_size=4, entries=2, initial=bytes(9))


@pytest.mark.parametrize(
    ("text", "kernel", "c"),
    [
        ("DNS ANY", "DNS_ANY", "DNS_ANY"),
        ("acme.r12", "acme.r12", "acme_r12"),
        ("1st", "1st", "_1st"),
        ("", "", "_"),
        ("ünï" + "x" * 200, "_n_" + "x" * 12, "_n_" + "x" * 124),
    ],
)
def test_names_are_made_fit(text: str, kernel: str, c: str) -> None:
    assert (kernel_name(text), identifier(text)) == (kernel, c)
