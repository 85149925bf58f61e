"""The program at an interface that hands frames to the tenants' XDP programs: each to that of the tenant that protects its destination.

It hands on what the kernel is certain to bring to the prerouting hook in the same shape: frames to the interface's own address, without
a VLAN tag, with an IPv4 header without options and with a right checksum, or an IPv6 header without extension headers. All other frames
it passes, and nftables judges them. The checks are those of eth_type_trans, ip_rcv_core (net/ipv4/ip_input.c) and ip6_rcv_core
(net/ipv6/ip6_input.c)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import Final

from bpf.assembler import Assembler
from bpf.headers import EXTENSIONS
from bpf.image import MapKind, MapSpec, ProgramImage, ProgramKind
from bpf.isa import R0, R1, R2, R3, R6, R7, R8, R9, R10, Alu, Condition, Helper
from bpf.xdp import DATA, DATA_END, ETHERNET, PASS

PROGRAMS: Final = MapSpec("programs", MapKind.PROGRAM_ARRAY, entries=4096, value_size=4, shared=True)
"""The tenants' programs; a place for each of a tenant's families."""
GATE: Final = MapSpec("early_gate", value_size=8, shared=True)
"""Of a tenant: its programs pass every frame while it is 0."""

_MOST_PREFIXES: Final = 1 << 20
_V4, _V6 = 4, 16
_BYTES: Final = {4: _V4, 6: _V6}
PREFIXES: Final = {
    version: MapSpec(f"prefixes{version}", MapKind.LPM_TRIE, key_size=4 + size, value_size=4, entries=_MOST_PREFIXES, shared=True)
    for version, size in _BYTES.items()
}
"""By IP version: from destination prefixes to places in PROGRAMS."""

_IPV4_TYPE, _IPV6_TYPE = (int.from_bytes(kind, "little") for kind in (b"\x08\x00", b"\x86\xdd"))
_V4_LENGTH, _V4_DESTINATION = ETHERNET + 2, ETHERNET + 16
_V6_LENGTH, _V6_NEXT, _V6_SOURCE, _V6_DESTINATION = ETHERNET + 4, ETHERNET + 6, ETHERNET + 8, ETHERNET + 24
_KEY: Final = -24
"""Of a map, on the stack."""


def prefix_keys(version: int, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
    """The keys of PREFIXES that together are the ranges of addresses."""
    size = _BYTES[version]
    address: type[IPv4Address | IPv6Address] = IPv4Address if version == 4 else IPv6Address
    return [
        network.prefixlen.to_bytes(4, "little") + int(network.network_address).to_bytes(size, "big")
        for low, high in ranges
        for network in summarize_address_range(address(low), address(high))
    ]


def compile_root(mac: bytes) -> ProgramImage:
    """For an interface with that hardware address."""
    assert len(mac) == 6
    asm = Assembler("early_drop", ProgramKind.XDP)
    for spec in (PROGRAMS, *PREFIXES.values()):
        asm.map(spec)
    asm.line("a frame to the interface itself")
    asm.mov(R6, R1)
    asm.call(Helper.XDP_GET_BUFF_LEN)
    asm.mov(R9, R0)
    asm.load(4, R7, R6, DATA)
    asm.load(4, R8, R6, DATA_END)
    asm.mov(R1, R7)
    asm.alu(Alu.ADD, R1, _V4_DESTINATION + _V4)
    asm.branch(Condition.GT, R1, R8, "pass")
    asm.load(4, R1, R7, 0)
    asm.load64(R2, int.from_bytes(mac[:4], "little"))
    asm.branch(Condition.NE, R1, R2, "pass")
    asm.load(2, R1, R7, 4)
    asm.branch(Condition.NE, R1, int.from_bytes(mac[4:], "little"), "pass")
    asm.load(2, R1, R7, 12)
    asm.branch(Condition.EQ, R1, _IPV6_TYPE, "IPv6")
    asm.branch(Condition.NE, R1, _IPV4_TYPE, "pass")
    _ipv4(asm)
    _ipv6(asm)
    asm.line("no tenant's, or none that is certain to come to its rules")
    asm.label("pass")
    asm.mov(R0, PASS)
    asm.exit()
    return replace(asm.assemble(), multi_buffer=True)


def _ipv4(asm: Assembler) -> None:
    """The packet begins at R7, its frame has R9 bytes."""
    asm.line("an IPv4 header that the kernel takes")
    asm.load(1, R1, R7, ETHERNET)
    asm.branch(Condition.NE, R1, 0x45, "pass")
    asm.load(2, R1, R7, _V4_LENGTH)
    asm.endian(R1, 16)
    asm.branch(Condition.LT, R1, 20, "pass")
    asm.alu(Alu.ADD, R1, ETHERNET)
    asm.branch(Condition.GT, R1, R9, "pass")
    asm.mov(R1, 0)
    for offset in range(0, 20, 4):
        asm.load(4, R2, R7, ETHERNET + offset)
        asm.alu(Alu.ADD, R1, R2)
    for bits in (32, 16, 16):  # at most 35 bits, then 33, 18, 17; one fold more is below
        asm.mov(R2, R1)
        asm.alu(Alu.RSH, R2, bits)
        asm.alu(Alu.AND, R1, -1 if bits == 32 else 0xFFFF, 32)
        asm.alu(Alu.ADD, R1, R2)
    asm.mov(R2, R1)
    asm.alu(Alu.RSH, R2, 16)
    asm.alu(Alu.AND, R1, 0xFFFF)
    asm.alu(Alu.ADD, R1, R2)
    asm.branch(Condition.NE, R1, 0xFFFF, "pass")
    asm.line("the tenant that protects its destination")
    asm.store(4, R10, _KEY, 8 * _V4)
    asm.load(4, R1, R7, _V4_DESTINATION)
    asm.store(4, R10, _KEY + 4, R1)
    _enter(asm, 4)


def _ipv6(asm: Assembler) -> None:
    asm.label("IPv6")
    asm.line("an IPv6 header that the kernel takes")
    asm.mov(R1, R7)
    asm.alu(Alu.ADD, R1, _V6_DESTINATION + _V6)
    asm.branch(Condition.GT, R1, R8, "pass")
    asm.load(1, R1, R7, ETHERNET)
    asm.alu(Alu.RSH, R1, 4)
    asm.branch(Condition.NE, R1, 6, "pass")
    asm.load(2, R1, R7, _V6_LENGTH)
    asm.endian(R1, 16)
    asm.alu(Alu.ADD, R1, ETHERNET + 40)
    asm.branch(Condition.GT, R1, R9, "pass")
    asm.load(1, R1, R7, _V6_NEXT)
    for extension in EXTENSIONS:
        asm.branch(Condition.EQ, R1, extension, "pass")
    for address in (_V6_SOURCE, _V6_DESTINATION):
        asm.load(1, R1, R7, address)
        asm.branch(Condition.EQ, R1, 0xFF, "pass")  # multicast: some scopes are dropped
        asm.load(4, R1, R7, address)
        asm.load(4, R2, R7, address + 4)
        asm.alu(Alu.OR, R1, R2)
        asm.branch(Condition.EQ, R1, 0, "pass")  # the loopback address is in there
    asm.line("the tenant that protects its destination")
    asm.store(4, R10, _KEY, 8 * _V6)
    for offset in range(0, _V6, 4):
        asm.load(4, R1, R7, _V6_DESTINATION + offset)
        asm.store(4, R10, _KEY + 4 + offset, R1)
    _enter(asm, 6)


def _enter(asm: Assembler, version: int) -> None:
    """Goes on in the program of the tenant whose key is on the stack; where there is none, passes."""
    asm.mov(R2, R10)
    asm.alu(Alu.ADD, R2, _KEY)
    asm.load_map(R1, PREFIXES[version].name)
    asm.call(Helper.MAP_LOOKUP_ELEM)
    asm.branch(Condition.EQ, R0, 0, "pass")
    asm.load(4, R3, R0)
    asm.load_map(R2, PROGRAMS.name)
    asm.mov(R1, R6)
    asm.call(Helper.TAIL_CALL)
    asm.jump("pass")
