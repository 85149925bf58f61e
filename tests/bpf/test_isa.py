"""Instructions: bytes as the kernel and bpftool know them, text, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf import isa
from bpf.isa import Alu, Condition, Helper, Instruction

# Bytes put together by hand from the tables of Documentation/bpf/standardization/instruction-set.rst; text as this module writes it.
KNOWN = [
    ("bf 16 00 00 00 00 00 00", "r6 = r1"),
    ("b7 00 00 00 ff ff ff ff", "r0 = -1"),
    ("b4 03 00 00 05 00 00 00", "w3 = 5"),
    ("07 03 00 00 f8 ff ff ff", "r3 += -8"),
    ("0f 20 00 00 00 00 00 00", "r0 += r2"),
    ("54 01 00 00 0f 00 00 00", "w1 &= 15"),
    ("c7 01 00 00 20 00 00 00", "r1 s>>= 32"),
    ("87 02 00 00 00 00 00 00", "r2 = -r2"),
    ("84 02 00 00 00 00 00 00", "w2 = -w2"),
    ("dc 00 00 00 10 00 00 00", "r0 = be16 r0"),
    ("d4 04 00 00 40 00 00 00", "r4 = le64 r4"),
    ("71 10 04 00 00 00 00 00", "r0 = *(u8 *)(r1 + 4)"),
    ("69 a2 f8 ff 00 00 00 00", "r2 = *(u16 *)(r10 - 8)"),
    ("79 21 00 00 00 00 00 00", "r1 = *(u64 *)(r2 + 0)"),
    ("63 1a fc ff 00 00 00 00", "*(u32 *)(r10 - 4) = r1"),
    ("7a 0a f0 ff 00 00 00 00", "*(u64 *)(r10 - 16) = 0"),
    ("db 12 08 00 00 00 00 00", "lock *(u64 *)(r2 + 8) += r1"),
    ("30 00 00 00 09 00 00 00", "r0 = *(be8 *)skb[9]"),
    ("48 60 00 00 02 00 00 00", "r0 = *(be16 *)skb[r6 + 2]"),
    ("18 01 00 00 78 56 34 12 00 00 00 00 f0 de bc 9a", "r1 = 0x9abcdef012345678 ll"),
    ("18 22 00 00 11 00 00 00 00 00 00 00 00 00 00 00", "r2 = 0x11 ll"),
    ("18 42 00 00 10 00 00 00 00 00 00 00 00 00 00 00", "r2 = function[+16]"),
    ("18 53 00 00 02 00 00 00 00 00 00 00 00 00 00 00", "r3 = map[2]"),
    ("18 63 00 00 01 00 00 00 00 00 00 00 40 00 00 00", "r3 = map[1] value + 64"),
    ("05 00 fd ff 00 00 00 00", "goto -3"),
    ("06 00 00 00 00 00 01 00", "goto +65536"),
    ("15 01 02 00 05 00 00 00", "if r1 == 5 goto +2"),
    ("1d 21 02 00 00 00 00 00", "if r1 == r2 goto +2"),
    ("56 01 ff ff 00 00 00 00", "if w1 != 0 goto -1"),
    ("45 01 02 00 10 00 00 00", "if r1 & 16 goto +2"),
    ("cd 21 02 00 00 00 00 00", "if r1 s< r2 goto +2"),
    ("85 00 00 00 1a 00 00 00", "call skb_load_bytes"),
    ("85 00 00 00 0f 27 00 00", "call helper#9999"),
    ("85 10 00 00 03 00 00 00", "call +3"),
    ("95 00 00 00 00 00 00 00", "exit"),
]


@pytest.mark.parametrize(("code", "text"), KNOWN, ids=[text for _, text in KNOWN])
def test_known_bytes_read_as_text_and_back(code: str, text: str) -> None:
    instruction = Instruction.decode(bytes.fromhex(code))
    assert instruction.text() == text
    assert instruction.encode() == bytes.fromhex(code)


opcodes = st.sampled_from([bytes.fromhex(code)[0] for code, _ in KNOWN if not code.startswith("18")])
registers = st.integers(0, 10)
narrow = st.builds(
    Instruction, opcodes, registers, registers, st.integers(-(1 << 15), (1 << 15) - 1), st.integers(-(1 << 31), (1 << 31) - 1)
)
wide = st.builds(Instruction, st.just(isa.LOAD_IMMEDIATE_64), registers, registers, st.just(0), st.integers(-(1 << 63), (1 << 63) - 1))


@given(st.lists(narrow | wide))
def test_decode_is_the_inverse_of_encode(instructions: list[Instruction]) -> None:
    assert isa.decode(isa.encode(instructions)) == tuple(instructions)


@pytest.mark.parametrize("code", ["", "95 00 00 00", "18 01 00 00 00 00 00 00"])
def test_a_cut_instruction_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="8 or 16 bytes"):
        Instruction.decode(bytes.fromhex(code))


def test_an_unknown_opcode_has_no_text() -> None:
    with pytest.raises(ValueError, match=r"opcode 0xe0 is not known"):
        Instruction(0xE0).text()


def test_text_with_a_slot_names_the_target() -> None:
    assert Instruction(isa.JUMP, offset=-3).text(10) == "goto 8"
    assert Instruction(isa.branch_opcode(Condition.LT, 32, register=False), 1, immediate=7, offset=2).text(10) == "if w1 < 7 goto 13"
    assert Instruction(isa.CALL, source=isa.PSEUDO_CALL, immediate=4).text(10) == "call 15"


def test_the_inverse_of_an_inverse_is_the_condition() -> None:
    for condition in set(Condition) - {Condition.SET}:
        assert condition.inverse is not condition
        assert condition.inverse.inverse is condition


def test_opcodes_of_every_operation_are_distinct() -> None:
    opcodes = [isa.alu_opcode(op, width, register=register) for op in Alu for width in (32, 64) for register in (False, True)]
    opcodes += [isa.branch_opcode(c, width, register=register) for c in Condition for width in (32, 64) for register in (False, True)]
    opcodes += [isa.load_opcode(size) for size in (1, 2, 4, 8)]
    opcodes += [isa.store_opcode(size, immediate=immediate) for size in (1, 2, 4, 8) for immediate in (False, True)]
    opcodes += [isa.atomic_opcode(4), isa.atomic_opcode(8), isa.endian_opcode(big=True), isa.endian_opcode(big=False)]
    opcodes += [isa.CALL, isa.EXIT, isa.JUMP, isa.JUMP_FAR, isa.LOAD_IMMEDIATE_64]
    assert len(opcodes) == len(set(opcodes))


def test_helper_numbers_are_the_kernels() -> None:
    header = "/usr/include/linux/bpf.h"
    try:
        text = open(header, encoding="utf-8").read()  # noqa: SIM115
    except FileNotFoundError:
        pytest.skip(f"{header} is missing (Debian: linux-libc-dev)")
    for helper in Helper:
        assert f"FN({helper.name.lower()}, {helper.value}," in text or f"\tFN({helper.name.lower()})," in text
