"""The program that looks a packet up in a classifier: loads its keys, walks the tree, counts the rule found and tells it. It is a socket
filter, or an XDP program that drops the packet (`bpf.early_drop`).

Registers of the walk: R4 the frame, R5 the steps left, R6 the order of the best rule found, R7 the unit of its record (0: none), R8 the
address of the node, R9 that of the map's value; R0 to R3 are scratch. A walk that takes more steps than are left goes on in the callback
of a bpf_loop, so that the verifier need not follow more than a few."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bpf.assembler import Assembler
from bpf.classifier.entries import NOT_COUNTED
from bpf.classifier.keys import Family, KeyField, Where, word_count
from bpf.classifier.layout import BOTH, CELL, CELLS, CUT, KEY, LEAF_AND_MORE, MOST_IN_LEAF, MOST_PENDING, RECORD_HEAD, UNIT
from bpf.codegen import frame_of, generate
from bpf.headers import EXTENSIONS, OFFSET_MASK, PROTOCOL, PROTOCOL_SHIFT, TRANSPORT, WALK
from bpf.image import FunctionKind, MapKind, MapSpec, ProgramImage, ProgramKind
from bpf.ir import CONTEXT_LENGTH
from bpf.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10, Alu, Bytes, Condition, Helper, Register
from bpf.tables import Tables
from bpf.xdp import DATA, DATA_END, DROP, ETHERNET, PASS
from rules_dsl.fields import HEADER_BYTES, PROTOCOL_NUMBER, Header

STEPS: Final = 8
"""Of a walk before it goes on in a callback, and in each call of that."""
MOST_CALLS: Final = 1 << 14
"""Of the callback: more than any tree has leaves behind each other."""
MOST_WORDS: Final = 16
"""Of the keys of a classifier."""
SLACK: Final = 512
"""Bytes behind the last unit, which a read from there on may reach."""

COUNTER: Final = 16
"""Bytes of a counter: packets and bytes, 8 each."""
COUNTERS_TOGETHER: Final = 64
"""Counters that may stand in one value of their map, so that the kernel's table of values stays small and in the cache."""
RECORD_NUMBER: Final = 0
"""Where the record has the number of the rule found, plus 1, in 8 bytes; 0 for none."""
RECORD_OUTCOME: Final = 8
"""Where it has the outcome, in 8 bytes."""
RECORD_SIZE: Final = 16

LENGTH_AT: Final = {Family.IPV4: 2, Family.IPV6: 4}
"""Where the IP header has the packet's length, of IPv6 that behind its header."""

_TCP = 6
TCP_LENGTH_AT: Final = 12
"""The byte of a TCP header whose high half is its length in words (RFC 9293)."""
_LEAST_TCP_LENGTH: Final = 0x50


def tree_spec(name: str, units: int) -> MapSpec:
    """A map with room for so many units, which user space writes while programs read it."""
    return MapSpec(name, value_size=units * UNIT + SLACK, read_only=False, shared=True, mapped=True)


def counters_spec(name: str, slots: int, together: int = 1) -> MapSpec:
    """Counters for so many rules; `together` of them, a power of two, stand in each value (COUNTERS_TOGETHER is quick; `read_counters`)."""
    return MapSpec(name, MapKind.PERCPU_ARRAY, value_size=COUNTER * together, entries=max(-(-slots // together), 1), shared=True)


def record_spec(name: str) -> MapSpec:
    """What the program found, for those that ask on the same CPU."""
    return MapSpec(name, MapKind.PERCPU_ARRAY, value_size=RECORD_SIZE, shared=True)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Offsets on the stack, from the frame's start."""

    keys: int
    """A word every KEY bytes, their number rounded up to a power of two."""
    header: int
    """The packet's first bytes."""
    pending: int
    """8 bytes for each second part to be looked at: the lowest order in it, and the unit of its node."""
    depth: int
    """How many there are; this and the next three take 4 bytes at an odd multiple of 4, where the verifier does not follow what is
    stored."""
    order: int
    best: int
    at: int
    """Where a walk goes on: the unit of a node; 0: with what is pending."""
    key: int
    """Of a map."""
    length: int
    """The packet's, from its IP header on."""
    size: int


def _frame(words: int, header: int) -> _Frame:
    slots = 1 << (words - 1).bit_length()
    pending = slots * KEY + (header + 7) // 8 * 8
    depth = pending + MOST_PENDING * 8
    return _Frame(0, slots * KEY, pending, depth + 4, depth + 12, depth + 20, depth + 28, depth + 32, depth + 40, depth + 48)


def compile_classifier(
    name: str,
    family: Family,
    keys: Sequence[KeyField],
    tree: MapSpec,
    *,
    cell: int = 0,
    counters: MapSpec | None = None,
    record: MapSpec | None = None,
    yes: Collection[int] = (),
    gate: MapSpec | None = None,
) -> ProgramImage:
    """A socket-filter program for packets of that family, from their IP header on. It returns 1 where the first rule that contains the
    packet has an outcome of `yes`, else 0. The rule's counter is counted in `counters`, and the rule told in `record`, where they are
    given. The tree begins at the root cell `cell` of the map `tree`.

    With a gate it is an XDP program, entered by `bpf.early_drop`: it drops the frames of which it would say yes, as long as the gate, of 8
    bytes, is not 0, and passes all others.

    Without a record the program may run where another packet can come between on the same CPU (local output); it counts with a lock there.
    A packet without a whole IP header, or of the other family, is contained by no rule."""
    words = word_count(keys)
    assert words <= MOST_WORDS, f"{words} words of keys, and a classifier has {MOST_WORDS}"
    assert 0 <= cell < CELLS
    behind = max((key.offset(family) + key.size for key in keys if key.where is Where.TRANSPORT), default=0)
    if any(key.where is Where.HEADER for key in keys):
        behind = max(behind, TCP_LENGTH_AT + 1)
    kind = ProgramKind.SOCKET_FILTER if gate is None else ProgramKind.XDP
    code = _Code(Assembler(name, kind), family, tuple(keys), tree, _frame(words, family.header_bytes + behind), behind, gate)
    asm = code.asm
    for spec in (tree, counters, record, gate):
        if spec is not None:
            asm.map(spec)
    code.load_keys()
    code.begin(cell)
    code.walk(finished="finished", again="more")
    code.go_on_in_callbacks()
    code.tell(counters, record, yes)
    code.finish_functions()
    return replace(asm.assemble(), multi_buffer=gate is not None)


@dataclass(slots=True)
class _Code:
    """A program while it is written."""

    asm: Assembler
    family: Family
    keys: tuple[KeyField, ...]
    tree: MapSpec
    frame: _Frame
    behind: int
    """Bytes of the transport header that are looked at."""
    gate: MapSpec | None
    """Of an XDP program."""

    @property
    def last_unit(self) -> int:
        return (self.tree.value_size - SLACK) // UNIT - 1

    # -- keys ----------------------------------------------------------------------------------------------------------

    def load_keys(self) -> None:
        asm, frame, family = self.asm, self.frame, self.family
        fixed = family.header_bytes
        asm.line(f"the packet's keys: {', '.join(key.name for key in self.keys)}")
        asm.mov(R6, R1)
        asm.mov(R7, R10)
        asm.alu(Alu.ADD, R7, -frame.size)
        if self.gate is None:
            asm.load(4, R1, R6, CONTEXT_LENGTH)
            asm.store(8, R7, frame.length, R1)
        else:
            self._enter_frame(self.gate)
        slots = (frame.header - frame.keys) // KEY
        for place in range(word_count(self.keys), slots):
            asm.store(8, R7, frame.keys + place * KEY, 0)
        self._packet(0, fixed + self.behind)
        asm.branch(Condition.NE, R0, 0, "short")
        self._ip_keys()
        # A transport header at its usual place.
        if family is Family.IPV4:
            asm.load(1, R1, R7, frame.header)
            asm.branch(Condition.NE, R1, 0x45, "elsewhere")
            asm.load(2, R1, R7, frame.header + 6)
            asm.branch(Condition.SET, R1, 0xFF1F, "without")  # 13 bits of the offset, in network order
            self._protocol_from(frame.header + 9)
        else:
            asm.load(1, R1, R7, frame.header + 6)
            self._store_protocol()
            asm.branch(Condition.EQ, R1, _TCP, "plain")
            for extension in EXTENSIONS:
                asm.branch(Condition.EQ, R1, extension, "elsewhere")
            asm.label("plain")
        for key, place in self._placed(Where.TRANSPORT):
            asm.load(_size(key), R1, R7, frame.header + fixed + key.offset(family))
            self._swap_and_store(key, place)
        if self._placed(Where.HEADER):
            asm.mov(R8, fixed)
            asm.load(1, R9, R7, frame.header + fixed + TCP_LENGTH_AT)
        asm.jump("header")
        self._other_keys()
        self._header()

    def _other_keys(self) -> None:
        """The keys of packets that are short, or whose transport header is not at its usual place."""
        asm, frame, family = self.asm, self.frame, self.family
        fixed = family.header_bytes
        asm.line("keys that are elsewhere, or absent")
        asm.label("short")
        self._packet(0, fixed)
        asm.branch(Condition.NE, R0, 0, "none")
        self._ip_keys()
        asm.label("elsewhere")
        if family is Family.IPV4:
            self._protocol_from(frame.header + 9)
            asm.load(2, R1, R7, frame.header + 6)
            asm.branch(Condition.SET, R1, 0xFF1F, "without")
            asm.load(1, R8, R7, frame.header)
            asm.alu(Alu.AND, R8, 15)
            asm.alu(Alu.LSH, R8, 2)
        elif self.gate is not None:
            asm.load(1, R1, R7, frame.header + 6)
            for extension in EXTENSIONS:
                asm.branch(Condition.EQ, R1, extension, "none")
            self._store_protocol()
            asm.mov(R8, fixed)
        else:
            asm.mov(R1, R6)
            for register in (R2, R3, R4):
                asm.mov(register, 0)
            asm.call_subprogram(WALK.name)
            asm.mov(R8, R0)
            asm.mov(R1, R0)
            asm.alu(Alu.RSH, R1, PROTOCOL_SHIFT)
            asm.alu(Alu.AND, R1, 0xFF)
            asm.branch(Condition.SET, R8, PROTOCOL, "protocol")
            asm.mov(R1, 256)
            asm.label("protocol")
            self._store_protocol()
            asm.mov(R1, R8)
            asm.alu(Alu.AND, R8, OFFSET_MASK)
            asm.alu(Alu.AND, R1, TRANSPORT)
            asm.branch(Condition.EQ, R1, 0, "without")
        for key, place in self._placed(Where.TRANSPORT):
            missing, have = asm.fresh("missing"), asm.fresh("have")
            asm.mov(R2, R8)
            asm.alu(Alu.ADD, R2, key.offset(family))
            self._packet(R2, key.size)
            asm.branch(Condition.NE, R0, 0, missing)
            asm.load(_size(key), R1, R7, frame.header)
            self._swap_and_store(key, place)
            asm.jump(have)
            asm.label(missing)
            assert key.absent is not None
            asm.store(8, R7, frame.keys + place * KEY, key.absent)
            asm.label(have)
        if self._placed(Where.HEADER):
            asm.mov(R2, R8)
            asm.alu(Alu.ADD, R2, TCP_LENGTH_AT)
            self._packet(R2, 1)
            asm.mov(R9, 0)
            asm.branch(Condition.NE, R0, 0, "header")
            asm.load(1, R9, R7, frame.header)
        asm.jump("header")
        if family is Family.IPV6 and self.gate is not None:  # later fragments do not come here
            return
        asm.label("without")
        for key, place in self._placed(Where.TRANSPORT):
            assert key.absent is not None
            asm.store(8, R7, frame.keys + place * KEY, key.absent)
        if family is Family.IPV4:
            self._protocol_from(frame.header + 9)
        asm.jump("begin")

    def _header(self) -> None:
        """Whether the transport header is whole, which begins at R8; R9 has the byte with its length, if it is of TCP."""
        asm = self.asm
        asm.label("header")
        for _, place in self._placed(Where.HEADER):
            key = self.frame.keys + place * KEY
            asm.load(8, R1, R7, key)
            asm.load(8, R2, R7, self.frame.length)
            asm.alu(Alu.SUB, R2, R8)
            for header, octets in HEADER_BYTES.items():
                if octets:
                    other = asm.fresh("other")
                    asm.branch(Condition.NE, R1, 2 * PROTOCOL_NUMBER[header], other)
                    asm.branch(Condition.SLT, R2, octets, "begin")
                    if header is Header.TCP:
                        asm.branch(Condition.LT, R9, _LEAST_TCP_LENGTH, "begin")
                    asm.jump("whole")
                    asm.label(other)
            asm.jump("begin")
            asm.label("whole")
            asm.alu(Alu.ADD, R1, 1)
            asm.store(8, R7, key, R1)

    def _packet(self, offset: int | Register, size: int) -> None:
        """Bytes of the packet to where the header is; R0 is 0 if they are there. A register with the offset is R2."""
        asm = self.asm
        done = asm.fresh("loaded")
        if offset is not R2:
            asm.mov(R2, offset)
        if self.gate is not None:  # behind the packet's end there may be padding
            asm.mov(R0, -1)
            asm.load(8, R1, R7, self.frame.length)
            asm.mov(R3, R2)
            asm.alu(Alu.ADD, R3, size)
            asm.branch(Condition.GT, R3, R1, done)
            asm.alu(Alu.ADD, R2, ETHERNET)
        asm.mov(R1, R6)
        asm.mov(R3, R7)
        asm.alu(Alu.ADD, R3, self.frame.header)
        asm.mov(R4, size)
        asm.call(Helper.SKB_LOAD_BYTES if self.gate is None else Helper.XDP_LOAD_BYTES)
        asm.label(done)

    def _enter_frame(self, gate: MapSpec) -> None:
        """Of an XDP program: the packet's length as its header says it; no kernel lets one through that has less."""
        asm, frame = self.asm, self.frame
        asm.load_map_value(R1, gate.name)
        asm.load(8, R1, R1)
        asm.branch(Condition.EQ, R1, 0, "none")
        asm.load(4, R2, R6, DATA)
        asm.load(4, R3, R6, DATA_END)
        asm.mov(R4, R2)
        asm.alu(Alu.ADD, R4, ETHERNET + self.family.header_bytes)
        asm.branch(Condition.GT, R4, R3, "none")
        asm.load(2, R1, R2, ETHERNET + LENGTH_AT[self.family])
        asm.endian(R1, 16)
        if self.family is Family.IPV6:
            asm.alu(Alu.ADD, R1, self.family.header_bytes)
        asm.store(8, R7, frame.length, R1)

    def _ip_keys(self) -> None:
        """The keys in the IP header's fixed part; to `none` where it is of another family."""
        asm, frame = self.asm, self.frame
        asm.load(1, R1, R7, frame.header)
        asm.alu(Alu.RSH, R1, 4)
        asm.branch(Condition.NE, R1, self.family.value, "none")
        for key, place in self._placed(Where.IP):
            size = min(key.size, 4)
            for word in range(key.words):
                asm.load(_size(key), R1, R7, frame.header + key.offset(self.family) + word * size)
                self._swap_and_store(key, place + word)

    def _placed(self, where: Where) -> list[tuple[KeyField, int]]:
        """The keys that are there, each with the place of its first word."""
        places = []
        place = 0
        for key in self.keys:
            if key.where is where:
                places.append((key, place))
            place += key.words
        return places

    def _swap_and_store(self, key: KeyField, place: int) -> None:
        """The word in R1, in network order."""
        match _size(key):
            case 2:
                self.asm.endian(R1, 16)
            case 4:
                self.asm.endian(R1, 32)
        self.asm.store(8, R7, self.frame.keys + place * KEY, R1)

    def _protocol_from(self, offset: int) -> None:
        if self._placed(Where.PROTOCOL) or self._placed(Where.HEADER):
            self.asm.load(1, R1, R7, offset)
            self._store_protocol()

    def _store_protocol(self) -> None:
        """The protocol's number is in R1."""
        for _, place in self._placed(Where.PROTOCOL):
            self.asm.store(8, R7, self.frame.keys + place * KEY, R1)
        for _, place in self._placed(Where.HEADER):
            self.asm.mov(R2, R1)
            self.asm.alu(Alu.LSH, R2, 1)
            self.asm.store(8, R7, self.frame.keys + place * KEY, R2)

    # -- the walk ------------------------------------------------------------------------------------------------------

    def begin(self, cell: int) -> None:
        asm, frame = self.asm, self.frame
        asm.label("begin")
        asm.line("the walk")
        asm.mov(R4, R7)
        asm.load_map_value(R9, self.tree.name)
        asm.load(4, R1, R9, cell * CELL)
        asm.branch(Condition.EQ, R1, 0, "none")
        # Zeros that the verifier does not know to be zeros: so the walk's first steps look to it like any other.
        asm.load(4, R7, R9, cell * CELL + 4)
        asm.store(4, R4, frame.depth, R7)
        for place in range(MOST_PENDING):
            asm.store(8, R4, frame.pending + place * 8, R7)
        asm.load(4, R6, R9, cell * CELL + 4)
        asm.alu(Alu.SUB, R6, 1, 32)
        asm.load(4, R1, R9, cell * CELL)
        asm.mov(R5, STEPS)
        self._go_to("none")

    def _go_to(self, broken: str) -> None:
        """R8 = the address of the unit in R1."""
        asm = self.asm
        asm.branch(Condition.GT, R1, self.last_unit, broken)
        asm.alu(Alu.LSH, R1, 4)
        asm.mov(R8, R9)
        asm.alu(Alu.ADD, R8, R1)

    def walk(self, finished: str, again: str) -> None:
        """Walk from the node at R8, or (label `pop`) from what is pending. Goes to `finished` in the end, or to `again`, which is behind
        the walk, once no step is left."""
        asm, frame = self.asm, self.frame
        keys_mask = frame.header - frame.keys - KEY
        asm.label("walk")
        asm.alu(Alu.SUB, R5, 1)
        asm.branch(Condition.EQ, R5, 0, "out of steps")
        asm.load(1, R1, R8, 12)
        asm.branch(Condition.NE, R1, CUT, "no cut")
        self._prune(10)
        asm.load(1, R2, R8, 14)
        asm.load(4, R3, R8, 0)
        asm.alu(Alu.AND, R2, keys_mask)
        asm.alu(Alu.ADD, R2, R4)
        asm.load(8, R1, R2, frame.keys)
        asm.load(1, R2, R8, 13)
        asm.alu(Alu.SUB, R1, R3)
        asm.load(4, R3, R8, 4)
        asm.alu(Alu.RSH, R1, R2)
        asm.alu(Alu.ADD, R1, R3)
        self._go_to(finished)
        asm.jump("walk")

        asm.label("no cut")
        asm.branch(Condition.NE, R1, BOTH, "leaf")
        asm.load(4, R1, R4, frame.depth)
        asm.branch(Condition.GE, R1, MOST_PENDING, finished)
        asm.mov(R2, R1)
        asm.alu(Alu.ADD, R1, 1)
        asm.store(4, R4, frame.depth, R1)
        asm.alu(Alu.LSH, R2, 3)
        asm.alu(Alu.ADD, R2, R4)
        asm.load(8, R3, R8, 0)
        asm.store(8, R2, frame.pending, R3)
        asm.load(4, R1, R8, 4)
        self._go_to(finished)
        asm.jump("walk")

        asm.label("leaf")
        self._prune(14)
        for number in range(MOST_IN_LEAF - 1):
            self._record(number, finished)
        asm.load(1, R1, R8, 12)
        asm.load(4, R2, R8, 4 * (MOST_IN_LEAF - 1))
        asm.branch(Condition.NE, R1, LEAF_AND_MORE, "last in leaf")
        asm.mov(R1, R2)
        self._go_to(finished)
        asm.jump("walk")
        asm.label("last in leaf")
        self._record(MOST_IN_LEAF - 1, finished)

        asm.label("pop")
        asm.alu(Alu.SUB, R5, 1)
        asm.branch(Condition.EQ, R5, 0, "out of steps before pop")
        asm.load(4, R1, R4, frame.depth)
        asm.branch(Condition.EQ, R1, 0, finished)
        asm.alu(Alu.SUB, R1, 1)
        asm.branch(Condition.GE, R1, MOST_PENDING, finished)
        asm.store(4, R4, frame.depth, R1)
        asm.alu(Alu.LSH, R1, 3)
        asm.alu(Alu.ADD, R1, R4)
        asm.load(4, R2, R1, frame.pending)
        asm.branch(Condition.GE, R2, R6, "pop")
        asm.load(4, R1, R1, frame.pending + 4)
        asm.alu(Alu.ADD, R1, 1)
        self._go_to(finished)
        asm.jump("walk")

        asm.label("out of steps")
        asm.alu(Alu.SUB, R8, R9)
        asm.alu(Alu.RSH, R8, 4)
        asm.store(4, R4, frame.at, R8)
        asm.jump(again)
        asm.label("out of steps before pop")
        asm.store(4, R4, frame.at, 0)
        asm.label(again)

    def _prune(self, offset: int) -> None:
        """On to what is pending where nothing below the node at R8 comes before the rule found: LOWEST_MASK of the word whose upper half is
        there."""
        self.asm.load(2, R1, R8, offset)
        self.asm.alu(Alu.LSH, R1, 16)
        self.asm.branch(Condition.GE, R1, R6, "pop")

    def _record(self, number: int, finished: str) -> None:
        """Look at that record of the leaf at R8: on where it does not contain the packet."""
        asm, frame = self.asm, self.frame
        miss = f"not record {number}"
        asm.load(4, R1, R8, 4 * number)
        asm.branch(Condition.EQ, R1, 0, "pop")
        asm.branch(Condition.GT, R1, self.last_unit, finished)
        asm.alu(Alu.LSH, R1, 4)
        asm.mov(R3, R9)
        asm.alu(Alu.ADD, R3, R1)
        asm.load(4, R1, R3, 0)
        asm.branch(Condition.GE, R1, R6, "pop")
        asm.mov(R0, 0)
        for place in range(word_count(self.keys)):  # all of them, then one branch: fewer that the processor guesses wrongly
            offset = (RECORD_HEAD + 2 * place) * 4
            asm.load(4, R1, R4, frame.keys + place * KEY)
            asm.load(4, R2, R3, offset)
            asm.alu(Alu.SUB, R1, R2, 32)
            asm.load(4, R2, R3, offset + 4)
            asm.alu(Alu.SUB, R2, R1)
            asm.alu(Alu.OR, R0, R2)
        asm.branch(Condition.SLT, R0, 0, miss)
        asm.load(4, R6, R3, 0)
        asm.load(4, R7, R8, 4 * number)
        asm.jump("pop")
        asm.label(miss)

    def go_on_in_callbacks(self) -> None:
        asm, frame = self.asm, self.frame
        asm.line("a long walk")
        asm.store(4, R4, frame.order, R6)
        asm.store(4, R4, frame.best, R7)
        asm.mov(R6, R4)
        asm.mov(R3, R4)
        asm.mov(R1, MOST_CALLS)
        asm.load_function(R2, "go_on")
        asm.mov(R4, 0)
        asm.call(Helper.LOOP)
        asm.load(4, R7, R6, frame.best)
        asm.mov(R4, R6)
        asm.jump("finished")

    def finish_functions(self) -> None:
        """The callback, and what is called."""
        asm, frame = self.asm, self.frame
        asm.subprogram("go_on", FunctionKind.LOOP_CALLBACK)
        asm.mov(R4, R2)
        asm.load(4, R6, R4, frame.order)
        asm.load(4, R7, R4, frame.best)
        asm.load_map_value(R9, self.tree.name)
        asm.mov(R5, STEPS)
        asm.load(4, R1, R4, frame.at)
        asm.branch(Condition.EQ, R1, 0, "pop")
        self._go_to("finished")
        self.walk(finished="finished", again="more")
        asm.store(4, R4, frame.order, R6)
        asm.store(4, R4, frame.best, R7)
        asm.mov(R0, 0)
        asm.exit()
        asm.label("finished")
        asm.store(4, R4, frame.best, R7)
        asm.mov(R0, 1)
        asm.exit()
        if self.family is Family.IPV6 and self.gate is None:
            for function in WALK.write(Tables()):
                asm.line(function.name)
                generate(function, frame_of(function), asm)

    # -- what was found ------------------------------------------------------------------------------------------------

    def tell(self, counters: MapSpec | None, record: MapSpec | None, yes: Collection[int]) -> None:
        asm, frame = self.asm, self.frame
        no = 0 if self.gate is None else PASS
        is_atomic = record is None and self.gate is None
        asm.line("what was found")
        asm.label("finished")
        asm.mov(R1, R7)
        asm.branch(Condition.EQ, R1, 0, "none")
        asm.mov(R6, R4)
        self._go_to("none")
        if counters is not None:
            asm.load(4, R1, R8, 8)
            asm.load64(R2, NOT_COUNTED)
            asm.branch(Condition.EQ, R1, R2, "counted")
            together = counters.value_size // COUNTER
            if together > 1:
                asm.alu(Alu.RSH, R1, together.bit_length() - 1)
            self._lookup(counters, R1)
            asm.branch(Condition.EQ, R0, 0, "counted")
            if together > 1:
                asm.load(4, R1, R8, 8)
                asm.alu(Alu.AND, R1, together - 1)
                asm.alu(Alu.LSH, R1, COUNTER.bit_length() - 1)
                asm.alu(Alu.ADD, R0, R1)
            asm.load(8, R1, R6, frame.length)
            self._add(0, 1, atomic=is_atomic)
            self._add(8, None, atomic=is_atomic)
            asm.label("counted")
        if record is not None:
            self._lookup(record, 0)
            asm.branch(Condition.EQ, R0, 0, "recorded")
            asm.load(4, R1, R8, 4)
            asm.alu(Alu.ADD, R1, 1)
            asm.store(8, R0, RECORD_NUMBER, R1)
            asm.load(4, R1, R8, 12)
            asm.store(8, R0, RECORD_OUTCOME, R1)
            asm.label("recorded")
        if yes:
            asm.load(4, R1, R8, 12)
            for outcome in sorted(yes):
                asm.branch(Condition.EQ, R1, outcome, "yes")
        asm.mov(R0, no)
        asm.exit()
        if yes:
            asm.label("yes")
            asm.mov(R0, 1 if self.gate is None else DROP)
            asm.exit()
        asm.label("none")
        if record is not None:
            asm.mov(R6, R10)
            asm.alu(Alu.ADD, R6, -frame.size)
            self._lookup(record, 0)
            asm.branch(Condition.EQ, R0, 0, "nothing")
            asm.store(8, R0, RECORD_NUMBER, 0)
            asm.store(8, R0, RECORD_OUTCOME, 0)
            asm.label("nothing")
        asm.mov(R0, no)
        asm.exit()

    def _lookup(self, spec: MapSpec, key: Register | int) -> None:
        """R0 = the address of this CPU's value at the key, or 0. The frame is in R6."""
        asm, frame = self.asm, self.frame
        asm.store(4, R6, frame.key, key)
        asm.mov(R2, R6)
        asm.alu(Alu.ADD, R2, frame.key)
        asm.load_map(R1, spec.name)
        asm.call(Helper.MAP_LOOKUP_ELEM)

    def _add(self, offset: int, number: int | None, *, atomic: bool) -> None:
        """Add the number, or what is in R1, to the 8 bytes at R0. A CPU's own counter takes no lock where nothing comes between."""
        asm = self.asm
        if number is not None:
            asm.mov(R2, number)
        source = R1 if number is None else R2
        if atomic:
            asm.atomic_add(8, R0, offset, source)
            return
        asm.load(8, R3, R0, offset)
        asm.alu(Alu.ADD, R3, source)
        asm.store(8, R0, offset, R3)


def _size(key: KeyField) -> Bytes:
    """Of a load of a word of the key."""
    match key.size:
        case 1:
            return 1
        case 2:
            return 2
        case _:
            return 4
