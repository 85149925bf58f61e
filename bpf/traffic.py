"""A packet generator in the kernel, for benchmarks: an XDP program whose test run hands its frames to the network stack.

`BPF_PROG_TEST_RUN` with BPF_F_TEST_XDP_LIVE_FRAMES (Linux 5.18, `Documentation/bpf/bpf_prog_run.rst`) makes frames as fast as one core
takes them; XDP_PASS lets each go up the stack as if `interface` had received it. All of it happens in the calling thread, in the
thread's network namespace.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from bpf.assembler import Assembler
from bpf.image import MapSpec, ProgramImage, ProgramKind
from bpf.isa import R0, R1, R2, R3, R4, R5, R6, Alu, Condition, Helper
from bpf.libbpf import TEST_XDP_LIVE_FRAMES, libbpf, refused
from bpf.program import Program, load

HEADER: Final = 64
"""Bytes that a trace holds of each packet unless told, from its IP header on: an IPv6 and a TCP header fit."""
BATCH: Final = 64
"""Frames that go up the stack together, as many as a network driver polls at once (NAPI_POLL_WEIGHT)."""
ETHERNET: Final = 14

_XDP_ABORTED, _XDP_PASS = 0, 2
_DATA, _DATA_END, _XDP_MD_SIZE = 0, 4, 24  # struct xdp_md in linux/bpf.h
_SIOCGIFHWADDR: Final = 0x8927
_SOURCE: Final = bytes.fromhex("020000000002")


@dataclass(frozen=True, slots=True)
class Burst:
    """What one run sent and took."""

    packets: int
    cpu_time: int
    """Nanoseconds of the thread's CPU time. (A run also sleeps 20 ms at its end, so the wall clock says nothing.)"""

    @property
    def per_packet(self) -> float:
        """Nanoseconds of CPU time a packet."""
        return self.cpu_time / self.packets


class Traffic:
    """Frames for `interface` of the calling thread's network namespace; made by `one_packet` or `trace`."""

    def __init__(self, interface: str, image: ProgramImage, packet: bytes) -> None:
        """`packet` starts with its IP header; raises BpfError where there is no such interface, or no XDP."""
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        self._frame = hardware_address(interface) + _SOURCE + struct.pack(">H", kind) + packet
        self._context = struct.pack("=IIIIII", 0, len(self._frame), 0, socket.if_nametoindex(interface), 0, 0)
        assert len(self._context) == _XDP_MD_SIZE
        self._program: Program = load(image)

    def send(self, count: int) -> Burst:
        """Send `count` frames now. The stack judges them before this returns. Raises BpfError (EINVAL: too long a packet, EINTR)."""
        before = time.thread_time_ns()
        libbpf().test_run(self._program.fd, self._frame, context=self._context, repeat=count, flags=TEST_XDP_LIVE_FRAMES, batch_size=BATCH)
        return Burst(count, time.thread_time_ns() - before)

    def close(self) -> None:
        self._program.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def one_packet(interface: str, packet: bytes) -> Traffic:
    """The same `packet`, from its IP header on, again and again. The kernel reuses frames, so what the stack writes into one (a
    forwarded packet's TTL) stays: use a trace of one packet where that matters. An IPv4 header's checksum must be right."""
    return Traffic(interface, _pass_image(), packet)


def trace(interface: str, packets: Sequence[bytes], rest: bytes = b"", *, held: int = HEADER, peer: str | None = None) -> Traffic:
    """The `packets` in turn, over and over, IPv4 and IPv6 mixed as they are. Of each the first `held` bytes count, a multiple of 8, from
    its IP header on (a shorter one is padded behind its end, as Ethernet does); `rest` follows in every frame. Checksums must be right.
    Each frame's bytes are copied by the generator, which takes part in the time.

    With a `peer`, the other end of a veth pair, frames leave by that and come to `interface` as over a wire, where its driver runs XDP; it
    must poll for them (`ethtool -K INTERFACE gro on`, or an XDP program)."""
    assert packets, "a trace has at least one packet"
    assert held % 8 == 0
    headers = b"".join(packet[:held].ljust(held, b"\0") for packet in packets)
    leaves_by = None if peer is None else socket.if_nametoindex(peer)
    return Traffic(interface, _trace_image(headers, held, leaves_by), headers[:held] + rest)


def hardware_address(interface: str) -> bytes:
    """The 6 bytes of an interface's MAC address. Raises BpfError where there is none of that name."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
        except OSError as error:
            raise refused(f"find the interface {interface}", error.errno or 0) from error
    return answer[18:24]


def _pass_image() -> ProgramImage:
    asm = Assembler("traffic", ProgramKind.XDP)
    asm.line("the frame as it is")
    asm.mov(R0, _XDP_PASS)
    asm.exit()
    return asm.assemble()


def _trace_image(headers: bytes, held: int, leaves_by: int | None = None) -> ProgramImage:
    """Puts the next header into the frame, and the Ethernet type that goes with its version."""
    count = len(headers) // held
    asm = Assembler("traffic_trace", ProgramKind.XDP)
    asm.map(MapSpec("trace", value_size=len(headers), initial=headers, read_only=True))
    asm.map(MapSpec("position", value_size=8))
    asm.line("the next of the trace, or the first again")
    asm.load_map_value(R2, "position")
    asm.load(8, R3, R2)
    asm.branch(Condition.LT, R3, count, "have")
    asm.mov(R3, 0)
    asm.label("have")
    asm.mov(R4, R3)
    asm.alu(Alu.ADD, R4, 1)
    asm.store(8, R2, 0, R4)
    asm.load_map_value(R6, "trace")
    asm.alu(Alu.MUL, R3, held)
    asm.alu(Alu.ADD, R6, R3)
    asm.line("room for it in the frame")
    asm.load(4, R2, R1, _DATA)
    asm.load(4, R3, R1, _DATA_END)
    asm.mov(R4, R2)
    asm.alu(Alu.ADD, R4, ETHERNET + held)
    asm.mov(R0, _XDP_ABORTED)
    asm.branch(Condition.GT, R4, R3, "out")
    asm.line("the Ethernet type by the IP version")
    asm.load(1, R4, R6)
    asm.alu(Alu.RSH, R4, 4)
    asm.mov(R5, int.from_bytes(b"\x08\x00", "little"))
    asm.branch(Condition.NE, R4, 6, "type")
    asm.mov(R5, int.from_bytes(b"\x86\xdd", "little"))
    asm.label("type")
    asm.store(2, R2, ETHERNET - 2, R5)
    asm.line("the header")
    for offset in range(0, held, 8):
        asm.load(8, R4, R6, offset)
        asm.store(8, R2, ETHERNET + offset, R4)
    if leaves_by is None:
        asm.mov(R0, _XDP_PASS)
    else:
        asm.mov(R1, leaves_by)
        asm.mov(R2, 0)
        asm.call(Helper.REDIRECT)
    asm.label("out")
    asm.exit()
    return asm.assemble()
