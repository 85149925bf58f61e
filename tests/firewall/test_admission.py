"""Admission against crafted packets, and against the kernel itself: `refusal` is None exactly where the prerouting hook sees the
packet, and what the hook has is what the reference decodes."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest
from generators.packets import damaged, hop_by_hop_options, packet

from firewall.namespace import Namespace
from firewall.replay.admission import refusal, repair_checksum
from rules_dsl.packet import Packet, Place

V4 = repair_checksum(bytes.fromhex("45000014 0001 0000 40110000 c0000201 c0000202"))
V6 = bytes.fromhex("60000000 0000 3b40") + bytes.fromhex("20010db8 00000000 00000000 00000001 20010db8 00000000 00000000 00000002")


def v4(**changes: bytes) -> bytes:
    """V4 with bytes replaced: `at2=b"..."` from offset 2 on; the checksum is mended."""
    return repair_checksum(changed(V4, changes))


def v6(**changes: bytes) -> bytes:
    return changed(V6, changes)


def changed(data: bytes, changes: dict[str, bytes]) -> bytes:
    mutable = bytearray(data)
    for name, value in changes.items():
        mutable[int(name[2:]) : int(name[2:]) + len(value)] = value
    return bytes(mutable)


def options(content: bytes) -> bytes:
    """An IPv6 packet with a hop-by-hop header of these options, and no next header."""
    header = bytes([59, (len(content) + 2) // 8 - 1]) + content
    return v6(at4=len(header).to_bytes(2, "big"), at6=b"\x00") + header


LOOPBACK, GROUP = bytes(15) + b"\x01", b"\xff\x02" + bytes(14)

ADMITTED = {
    "plain IPv4": V4,
    "IPv4 with bytes behind it": V4 + b"padding",
    "the longest IPv4 header": repair_checksum(v4(at0=b"\x4f", at2=b"\x00\x3c") + bytes(40)),
    "nonsense in the IPv4 options": repair_checksum(v4(at0=b"\x46", at2=b"\x00\x18") + b"\x07\xff\xff\xff"),
    "IPv4 from loopback": v4(at12=b"\x7f\x00\x00\x01"),
    "plain IPv6": V6,
    "IPv6 with bytes behind it": V6 + b"padding",
    "IPv6 from a mapped IPv4 address": v6(at8=bytes(10) + b"\xff\xff\xc0\x00\x02\x01"),
    "IPv6 to a group": v6(at24=GROUP),
    "six bytes of PadN": options(b"\x01\x04" + bytes(4)),
    "six Pad1": options(bytes(6)),
    "router alert": options(b"\x05\x02\x00\x00\x01\x00"),
    "unknown option that may be skipped": options(b"\x1e\x04evil"),
    "eight options": options(b"\x1e\x00" * 8 + bytes(6)),
    "padding before and behind an option": options(bytes(6) + b"\x1e\x00" + bytes(6)),
    "IOAM, aligned": options(b"\x01\x00\x31\x04" + bytes(4) + b"\x01\x04" + bytes(4)),
    "no length, and options": v6(at6=b"\x00") + b"\x3b\x00\x01\x04" + bytes(4) + b"and more",
    "damage behind the first header": v6(at4=b"\x00\x08", at6=b"\x3c") + b"\x3b\xff" + bytes(6),
}

REFUSED = {
    "no IP packet": (b"", "there is no IP packet in the frame"),
    "version 5": (b"\x55" + V4[1:], "the IP version is 5"),
    "cut IPv4 header": (V4[:19], "the IPv4 header is cut: 19 of 20 bytes"),
    "header length below 20": (b"\x44" + V4[1:], "the IPv4 header length is 16 bytes, less than 20"),
    "cut IPv4 options": (v4(at0=b"\x46"), "the IPv4 header is cut: 20 of 24 bytes"),
    "wrong checksum": (V4[:10] + b"\x00\x01" + V4[12:], "the IPv4 header checksum is wrong"),
    "longer than the frame": (v4(at2=b"\x00\x15"), "the IPv4 total length is 21 bytes, the frame holds 20"),
    "shorter than the header": (v4(at2=b"\x00\x13"), "the IPv4 total length is 19 bytes, less than the header's 20"),
    "cut IPv6 header": (V6[:39], "the IPv6 header is cut: 39 of 40 bytes"),
    "from loopback": (v6(at8=LOOPBACK), "the IPv6 source is the loopback address"),
    "to loopback": (v6(at24=LOOPBACK), "the IPv6 destination is the loopback address"),
    "interface-local": (v6(at24=b"\xff\x01"), "the IPv6 destination is a multicast address of interface-local scope"),
    "scope 0": (v6(at24=b"\xff\x10"), "the IPv6 destination is a multicast address of the reserved scope 0"),
    "from a group": (v6(at8=GROUP), "the IPv6 source is a multicast address"),
    "payload longer than the frame": (v6(at4=b"\x00\x01"), "the IPv6 payload length is 1 bytes, the frame holds 0"),
    "no room for options": (v6(at6=b"\x00"), "the hop-by-hop header is cut: 0 of 8 bytes"),
    "cut options": (v6(at4=b"\x00\x08", at6=b"\x00") + b"\x3b\x01" + bytes(6), "the hop-by-hop header is cut: 8 of 16 bytes"),
    "option past its header": (options(b"\x1e\x05" + bytes(4)), "hop-by-hop option 30 runs past its header"),
    "option without length": (options(bytes(5) + b"\x1e"), "hop-by-hop option 30 runs past its header"),
    "eight Pad1": (
        options(b"\x1e\x00" + bytes(8) + b"\x1e\x02\x00\x00"),
        "the hop-by-hop options have more than 7 bytes of padding in a row",
    ),
    "PadN of 8": (options(b"\x01\x06" + bytes(6) + b"\x1e\x04evil"), "the hop-by-hop options have more than 7 bytes of padding in a row"),
    "PadN with content": (options(b"\x01\x04\x00\x00\x00\x01"), "the padding in the hop-by-hop options is not zero"),
    "nine options": (options(b"\x1e\x00" * 9 + bytes(4)), "there are more than 8 hop-by-hop options"),
    "router alert of 3": (options(b"\x05\x03\x00\x00\x00\x00"), "the router alert option has 3 bytes of data, not 2"),
    "option that drops": (options(b"\x7e\x04evil"), "hop-by-hop option 126 is unknown and says to drop the packet"),
    "CALIPSO": (options(b"\x07\x0a" + bytes(10) + bytes(2)), "the CALIPSO option names a domain that is not configured"),
    "IOAM, not aligned": (options(b"\x31\x04" + bytes(4)), "the IOAM option is not aligned to 4 bytes"),
    "jumbo of wrong length": (options(b"\xc2\x02\x00\x00\x00\x00"), "the jumbo payload option has a wrong length or alignment"),
    "small jumbo": (options(b"\xc2\x04\x00\x00\x00\x10"), "the jumbo payload length is 16 bytes, which needs no jumbo payload"),
    "jumbo with a length": (
        options(b"\xc2\x04\x00\x01\x00\x00"),
        "a jumbo payload option stands in a packet whose payload length is not 0",
    ),
    "jumbo past the frame": (
        v6(at6=b"\x00") + b"\x3b\x00\xc2\x04\x00\x01\x00\x00",
        "the jumbo payload length is 65536 bytes, the frame holds 8",
    ),
}


@pytest.mark.parametrize("case", ADMITTED)
def test_admits(case: str) -> None:
    assert refusal(ADMITTED[case]) is None


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_the_reason(case: str) -> None:
    data, reason = REFUSED[case]
    assert refusal(data) == reason


def test_the_frame_s_type_decides_who_receives_it() -> None:
    assert refusal(V6, 0x86DD) is None
    assert refusal(V6, 0x0800) == "the frame's type says IPv4, the IP version is 6"
    assert refusal(V4, 0x86DD) == "the frame's type says IPv6, the IP version is 4"
    assert refusal(V4, 0x0806) == "the frame's type 0x0806 is not IP"


def test_repair_mends_the_checksum_and_nothing_else() -> None:
    broken = V4[:10] + b"\xff\xff" + V4[12:] + b"payload"
    assert repair_checksum(broken) == V4 + b"payload"


@pytest.mark.parametrize("data", [b"", V4[:19], b"\x44" + V4[1:], b"\x46" + V4[1:], V6])
def test_repair_leaves_what_has_no_whole_ipv4_header(data: bytes) -> None:
    assert repair_checksum(data) == data


# -- the kernel --------------------------------------------------------------------------------------------------------

MAC = bytes.fromhex("020000000001")
NFLOG_GROUP = 5


class Hook:
    """A prerouting chain that reports each packet of a tap interface, and drops it."""

    def __init__(self, namespace: Namespace) -> None:
        self._tap = namespace.tap("tap0", mac=MAC, mtu=65000)
        ruleset = (
            "table inet probe { chain seen { type filter hook prerouting priority -450; policy drop;"
            f' iifname "tap0" log group {NFLOG_GROUP} queue-threshold 1; }}; }};'
        )
        namespace.call(subprocess.run, ["nft", ruleset], check=True)
        self._log = namespace.call(_nflog)
        self.call = namespace.call

    def sees(self, data: bytes, ethertype: int) -> bytes | None:
        """The packet as the hook has it, or None if the hook does not see it."""
        os.write(self._tap, MAC + bytes.fromhex("020000000002") + ethertype.to_bytes(2, "big") + data)
        seen = None
        while True:
            try:
                message = self._log.recv(1 << 17)
            except BlockingIOError:
                return seen
            except OSError as error:  # ENOBUFS: a report was lost, and the comparison with it
                raise AssertionError("the NFLOG socket lost a report") from error
            payload = _attributes(message[20:]).get(9)  # NFULA_PAYLOAD
            if payload is not None:
                assert seen is None
                seen = payload

    def close(self) -> None:
        self._log.close()
        os.close(self._tap)


def _nflog() -> socket.socket:
    """A socket bound to the group, whole packets copied (linux/netfilter/nfnetlink_log.h)."""
    log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)  # NETLINK_NETFILTER
    log.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
    log.bind((0, 0))
    bind = struct.pack("=HHB3x", 5, 1, 1)  # NFULA_CFG_CMD: bind
    mode = struct.pack("=HH", 10, 2) + struct.pack(">IBx", 0xFFFF, 2) + bytes(2)  # NFULA_CFG_MODE: copy packet
    for attributes in (bind, mode):
        body = struct.pack(">BBH", 0, 0, NFLOG_GROUP) + attributes
        log.send(struct.pack("=IHHII", 16 + len(body), 4 << 8 | 1, 5, 0, 0) + body)
        assert struct.unpack_from("=i", log.recv(4096), 16)[0] == 0
    log.setblocking(False)
    return log


def _attributes(data: bytes) -> dict[int, bytes]:
    found, place = {}, 0
    while place + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, place)
        found[kind & 0x7FFF] = data[place + 4 : place + length]
        place += (length + 3) & ~3
    return found


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with Namespace() as namespace:
        probe = Hook(namespace)
        yield probe
        probe.close()


def check(hook: Hook, data: bytes, ethertype: int) -> None:
    reason, seen = refusal(data, ethertype), hook.sees(data, ethertype)
    assert (reason is None) == (seen is not None), (reason, ethertype, data.hex())
    if seen is not None:
        decoded = Packet(data, Place("tap0")).data
        assert decoded[:65000] == seen[:65000], data.hex()


@pytest.mark.kernel
@pytest.mark.parametrize("case", ADMITTED)
def test_the_kernel_admits(case: str, hook: Hook) -> None:
    data = ADMITTED[case]
    check(hook, data, 0x0800 if data[0] >> 4 == 4 else 0x86DD)


@pytest.mark.kernel
@pytest.mark.parametrize("case", REFUSED)
def test_the_kernel_refuses(case: str, hook: Hook) -> None:
    data, _ = REFUSED[case]
    for ethertype in (0x0800, 0x86DD):
        check(hook, data, ethertype)


@pytest.mark.kernel
def test_the_kernel_agrees_on_random_and_damaged_packets(hook: Hook) -> None:
    rng = random.Random(20)
    for _ in range(6000):
        data = packet(rng, padding=True)
        if rng.random() < 0.6:
            data = damaged(rng, data)
        if len(data) <= 65000:
            natural = 0x0800 if data[:1] and data[0] >> 4 == 4 else 0x86DD
            check(hook, data, natural if rng.random() < 0.95 else 0x0800 + 0x86DD - natural)


@pytest.mark.kernel
def test_the_kernel_agrees_on_random_hop_by_hop_options(hook: Hook) -> None:
    rng = random.Random(21)
    for _ in range(4000):
        content = hop_by_hop_options(rng)
        check(hook, options(content) + rng.randbytes(rng.choice((0, 8))), 0x86DD)
