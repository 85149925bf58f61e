"""Programs in the real kernel: loading, names, lines, runs, pins, bpf_loop, subprograms, and what the verifier's refusals become."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf import bpffs
from bpf.assembler import Assembler
from bpf.image import FunctionKind, MapKind, MapSpec, ProgramImage
from bpf.isa import R0, R1, R2, R3, R4, R5, R6, R10, Alu, Condition, Helper
from bpf.libbpf import BpfError
from bpf.program import Program, VerifierError, load, open_pinned

pytestmark = pytest.mark.kernel

IPV4 = bytes.fromhex("45000014000000004011 0000 c0000201 c0000202")
IPV6 = bytes.fromhex("6000000000003b40") + b"\x20" * 32


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of this test's own."""
    bpffs.mount(tmp_path)
    yield tmp_path
    assert ctypes.CDLL(None).umount2(os.fsencode(tmp_path), 2) == 0  # MNT_DETACH


def _returns(value: int) -> ProgramImage:
    asm = Assembler("returns")
    asm.mov(R0, value)
    asm.exit()
    return asm.assemble()


def _packet_byte(asm: Assembler, offset: int, otherwise: str) -> None:
    """R0 = the packet's byte at `offset`; to `otherwise` where it has none. R6 is the context."""
    asm.mov(R1, R6)
    asm.mov(R2, offset)
    asm.mov(R3, R10)
    asm.alu(Alu.ADD, R3, -8)
    asm.mov(R4, 1)
    asm.call(Helper.SKB_LOAD_BYTES)
    asm.branch(Condition.NE, R0, 0, otherwise)
    asm.load(1, R0, R10, -8)


def _rule_program() -> ProgramImage:
    """Two rules: TTL below 5, or a first byte that a table counts as 1; loops 4 times for the answer 2."""
    asm = Assembler("acme.r1.payload", source="acme.rules")
    asm.map(MapSpec("first", value_size=256, initial=bytes(0x60) + b"\1", read_only=True))
    asm.line('block "low TTL" when ip.ttl < 5', 3)
    asm.mov(R6, R1)
    _packet_byte(asm, 8, "no")
    asm.branch(Condition.LT, R0, 5, "yes")
    asm.line('block "version 6" when ip.version == 6', 4)
    _packet_byte(asm, 0, "no")
    asm.load_map_value(R1, "first")
    asm.alu(Alu.ADD, R1, R0)
    asm.load(1, R0, R1)
    asm.branch(Condition.EQ, R0, 0, "no")
    asm.store(8, R10, -16, 0)
    asm.mov(R1, 4)
    asm.load_function(R2, "count")
    asm.mov(R3, R10)
    asm.alu(Alu.ADD, R3, -16)
    asm.mov(R4, 0)
    asm.call(Helper.LOOP)
    asm.load(8, R1, R10, -16)
    asm.call_subprogram("halve")
    asm.exit()
    asm.label("yes")
    asm.mov(R0, 1)
    asm.exit()
    asm.label("no")
    asm.mov(R0, 0)
    asm.exit()
    asm.subprogram("count", FunctionKind.LOOP_CALLBACK)
    asm.load(8, R1, R2)
    asm.alu(Alu.ADD, R1, 1)
    asm.store(8, R2, 0, R1)
    asm.mov(R0, 0)
    asm.exit()
    asm.subprogram("halve")
    asm.mov(R0, R1)
    asm.alu(Alu.RSH, R0, 1)
    asm.exit()
    return asm.assemble()


# -- running -----------------------------------------------------------------------------------------------------------


def test_a_program_with_table_loop_and_subprogram_runs() -> None:
    with load(_rule_program()) as program:
        assert program.run(IPV4) == 0
        assert program.run(IPV4[:8] + b"\4" + IPV4[9:]) == 1
        assert program.run(IPV6) == 2
        assert program.run(b"") == 0


@pytest.mark.parametrize("length", [0, 1, 19, 20, 39, 40, 1480, 3500])
@pytest.mark.parametrize("version", [4, 6, 15])
def test_a_run_sees_the_packet_from_its_ip_header(length: int, version: int) -> None:
    asm = Assembler("length")
    asm.load(4, R0, R1, 0)  # __sk_buff.len
    asm.exit()
    with load(asm.assemble()) as program:
        assert program.run((bytes([version << 4]) + bytes(length))[:length]) == length


def test_too_long_a_packet_is_refused() -> None:
    with load(_returns(0)) as program, pytest.raises(BpfError, match="a packet of 65000 bytes"):
        program.run(IPV4 + bytes(65000 - len(IPV4)))


def test_a_measured_run_says_its_duration() -> None:
    with load(_returns(7)) as program:
        run = program.measure(IPV4, 1000)
    assert run.returned == 7
    assert 0 <= run.duration < 100_000


def test_maps_are_read_by_user_space() -> None:
    asm = Assembler("counts")
    asm.map(MapSpec("hits", MapKind.PERCPU_ARRAY, value_size=8))
    asm.store(4, R10, -4, 0)
    asm.mov(R2, R10)
    asm.alu(Alu.ADD, R2, -4)
    asm.load_map(R1, "hits")
    asm.call(Helper.MAP_LOOKUP_ELEM)
    asm.branch(Condition.EQ, R0, 0, "out")
    asm.mov(R1, 1)
    asm.atomic_add(8, R0, 0, R1)
    asm.label("out")
    asm.mov(R0, 0)
    asm.exit()
    with load(asm.assemble()) as program:
        program.measure(IPV4, 10)
        value = program.maps["hits"].lookup(bytes(4))
    assert value is not None
    assert sum(each for (each,) in struct.iter_unpack("=Q", value)) == 10


OPERATIONS: dict[Alu, Callable[[int, int, int], int]] = {
    Alu.ADD: lambda a, b, _: a + b,
    Alu.SUB: lambda a, b, _: a - b,
    Alu.MUL: lambda a, b, _: a * b,
    Alu.DIV: lambda a, b, _: a // b if b else 0,
    Alu.MOD: lambda a, b, _: a % b if b else a,
    Alu.OR: lambda a, b, _: a | b,
    Alu.AND: lambda a, b, _: a & b,
    Alu.XOR: lambda a, b, _: a ^ b,
    Alu.LSH: lambda a, b, width: a << b % width,
    Alu.RSH: lambda a, b, width: a >> b % width,
    Alu.ARSH: lambda a, b, width: (a - (a >> width - 1 << width)) >> b % width,
    Alu.MOV: lambda _, b, __: b,
}
numbers = st.integers(0, (1 << 64) - 1) | st.integers(0, 70) | st.sampled_from([1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1, (1 << 32) - 1])


@settings(max_examples=150, deadline=None)
@given(op=st.sampled_from(list(OPERATIONS)), width=st.sampled_from([32, 64]), left=numbers, right=numbers)
def test_arithmetic_is_the_kernels(op: Alu, width: int, left: int, right: int) -> None:
    low = (1 << width) - 1
    asm = Assembler("arithmetic")
    asm.map(MapSpec("operands", value_size=16, initial=struct.pack("<QQ", left, right)))
    asm.load_map_value(R3, "operands")
    asm.load(8, R1, R3, 0)
    asm.load(8, R2, R3, 8)
    asm.alu(op, R1, R2, width=width)  # type: ignore[arg-type]
    asm.store(8, R3, 0, R1)
    asm.mov(R0, 0)
    asm.exit()
    with load(asm.assemble()) as program:
        program.run(IPV4)
        value = program.maps["operands"].lookup(bytes(4))
    assert value is not None
    assert struct.unpack("<QQ", value)[0] == OPERATIONS[op](left & low, right & low, width) & low


COMPARISONS: dict[Condition, Callable[[int, int, int], bool]] = {
    Condition.EQ: lambda a, b, _: a == b,
    Condition.NE: lambda a, b, _: a != b,
    Condition.GT: lambda a, b, _: a > b,
    Condition.GE: lambda a, b, _: a >= b,
    Condition.LT: lambda a, b, _: a < b,
    Condition.LE: lambda a, b, _: a <= b,
    Condition.SET: lambda a, b, _: bool(a & b),
    Condition.SGT: lambda a, b, sign: a ^ sign > b ^ sign,
    Condition.SGE: lambda a, b, sign: a ^ sign >= b ^ sign,
    Condition.SLT: lambda a, b, sign: a ^ sign < b ^ sign,
    Condition.SLE: lambda a, b, sign: a ^ sign <= b ^ sign,
}


@settings(max_examples=100, deadline=None)
@given(condition=st.sampled_from(list(COMPARISONS)), width=st.sampled_from([32, 64]), left=numbers, right=numbers, same=st.booleans())
def test_branches_are_the_kernels(condition: Condition, width: int, left: int, right: int, same: bool) -> None:
    right = left if same else right
    low = (1 << width) - 1
    asm = Assembler("branches")
    asm.map(MapSpec("operands", value_size=16, initial=struct.pack("<QQ", left, right)))
    asm.load_map_value(R3, "operands")
    asm.load(8, R1, R3, 0)
    asm.load(8, R2, R3, 8)
    asm.mov(R0, 1)
    asm.branch(condition, R1, R2, "taken", width=width)  # type: ignore[arg-type]
    asm.mov(R0, 0)
    asm.label("taken")
    asm.exit()
    with load(asm.assemble()) as program:
        assert program.run(IPV4) == COMPARISONS[condition](left & low, right & low, 1 << width - 1)


# -- names, lines, pins ------------------------------------------------------------------------------------------------


def test_the_kernel_knows_its_name_and_tag() -> None:
    with load(_rule_program()) as first, load(_rule_program()) as second:
        assert first.info.name == "acme.r1.payload"
        assert (first.info.kind, len(first.info.tag)) == (1, 16)
        assert first.info.tag == second.info.tag
        assert first.id != second.id


def test_bpftool_shows_each_line_above_its_code() -> None:
    with load(_rule_program()) as program:
        shown = _bpftool("prog", "dump", "xlated", "id", str(program.id))
    assert "int acme_r1_payload(struct __sk_buff * context):" in shown
    assert "long count(u64 index, void * context):" in shown
    assert shown.index('; block "low TTL" when ip.ttl < 5') < shown.index("if r0 < 0x5") < shown.index('; block "version 6"')


def test_bpftool_shows_the_maps_names() -> None:
    with load(_rule_program()) as program:
        [identity] = json.loads(_bpftool("--json", "prog", "show", "id", str(program.id)))["map_ids"]
        assert json.loads(_bpftool("--json", "map", "show", "id", str(identity)))["name"] == "first"


def test_a_pinned_program_outlives_its_owner(file_system: Path) -> None:
    folder = bpffs.make_directory(file_system / "mantlet" / "acme")
    with load(_returns(9)) as program:
        program.pin(folder / "rule1")
    with open_pinned(folder / "rule1") as again:
        assert (again.run(IPV4), again.info.name) == (9, "returns")
    assert bpffs.pins(file_system) == (folder / "rule1",)


def _pin_twice(program: Program, folder: Path) -> None:
    program.pin(folder / "a")
    program.pin(folder / "a")


PIN_ERRORS: list[tuple[str, int, Callable[[Program, Path], None]]] = [
    ("there is a pin of that name", errno.EEXIST, _pin_twice),
    ("names with a dot", errno.EPERM, lambda program, folder: program.pin(folder / "a.b")),
    ("is not there", errno.ENOENT, lambda program, folder: program.pin(folder / "none" / "a")),
    ("in a BPF file system", errno.EPERM, lambda program, _: program.pin(Path("/tmp/mantlet-pin"))),
]


@pytest.mark.parametrize(("message", "number", "pin"), PIN_ERRORS, ids=[message for message, _, _ in PIN_ERRORS])
def test_a_pin_that_cannot_be(file_system: Path, message: str, number: int, pin: Callable[[Program, Path], None]) -> None:
    with load(_returns(0)) as program, pytest.raises(BpfError, match=message) as caught:
        pin(program, file_system)
    assert caught.value.errno == number


def test_a_missing_pin_is_named(file_system: Path) -> None:
    with pytest.raises(BpfError, match=r"open the pin .*/none: No such file") as caught:
        open_pinned(file_system / "none")
    assert caught.value.errno == errno.ENOENT


# -- refusals ----------------------------------------------------------------------------------------------------------


def _refusal(write: Callable[[Assembler], None]) -> VerifierError:
    asm = Assembler("wrong", source="acme.rules")
    asm.line("allow everything", 1)
    asm.mov(R6, R1)
    asm.line('block "wrong" when true', 2)
    write(asm)
    with pytest.raises(VerifierError) as caught:
        load(asm.assemble())
    return caught.value


def _wild_read(asm: Assembler) -> None:
    asm.mov(R1, 5)
    asm.load(4, R0, R1, 0)
    asm.exit()


def test_a_refused_program_names_rule_line_and_reason() -> None:
    error = _refusal(_wild_read)
    assert error.rule == 'block "wrong" when true'
    assert (error.line and error.line.number, error.slot) == (2, 2)
    assert error.excerpt[-2:] == ("2: (61) r0 = *(u32 *)(r1 +0)", "R1 invalid mem access 'scalar'")
    assert len(error.excerpt) == 3
    assert "acme.rules:2" in error.log
    assert str(error).splitlines()[0] == "the verifier refuses the program 'wrong', at `block \"wrong\" when true` (line 2, instruction 2):"


def _endless(asm: Assembler) -> None:
    asm.mov(R0, 0)
    asm.label("again")
    asm.alu(Alu.ADD, R0, 1)
    asm.jump("again")


def _dead(asm: Assembler) -> None:
    asm.mov(R0, 0)
    asm.exit()
    asm.exit()


def _write_table(asm: Assembler) -> None:
    asm.map(MapSpec("fixed", read_only=True))
    asm.load_map_value(R1, "fixed")
    asm.store(8, R1, 0, 0)
    asm.mov(R0, 0)
    asm.exit()


REFUSED: list[tuple[str, int | None, Callable[[Assembler], None]]] = [
    ("program is too large", None, _endless),
    ("unreachable insn 3", 3, _dead),
    ("write into map forbidden", 3, _write_table),
    ("R5 !read_ok", 1, lambda asm: (asm.mov(R0, R5), asm.exit())[0]),
    ("invalid func unknown#9999", 1, lambda asm: (asm.call(9999), asm.exit())[0]),
    ("last insn is not an exit or jmp", None, lambda asm: asm.mov(R0, 0)),
    ("invalid bpf_context access off=4096", 1, lambda asm: (asm.load(4, R0, R6, 4096), asm.exit())[0]),
]


@pytest.mark.parametrize(("reason", "slot", "write"), REFUSED, ids=[reason for reason, _, _ in REFUSED])
def test_the_excerpt_holds_the_reason(reason: str, slot: int | None, write: Callable[[Assembler], None]) -> None:
    error = _refusal(write)
    assert any(reason in row for row in error.excerpt), error.excerpt
    assert len(error.excerpt) <= 8
    assert slot is None or error.slot == slot


def test_a_refused_program_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    _refusal(_write_table)
    assert os.listdir("/proc/self/fd") == before


def test_a_closed_program_leaves_nothing_open() -> None:
    before = os.listdir("/proc/self/fd")
    program = load(_rule_program())
    program.close()
    program.close()
    assert os.listdir("/proc/self/fd") == before


def _bpftool(*arguments: str) -> str:
    return subprocess.run(["bpftool", *arguments], capture_output=True, text=True, check=True).stdout
