"""From frames to IP packets, link type by link type."""

import struct

import pytest

from firewall.capture import Frame
from firewall.replay.link import NetworkPacket, NotIp, to_network

V4 = bytes.fromhex("450000140001000040110000c0000201c6336407")
V6 = bytes.fromhex("6000000000003b40") + bytes(32)
MACS = bytes(12)


def frame(data: bytes, link_type: int) -> Frame:
    return Frame(1, 0, data, link_type, len(data), "wan")


def ip(packet: bytes, *vlan: int) -> NetworkPacket:
    return NetworkPacket(packet, vlan, "wan")


def ether(*words: int) -> bytes:
    return MACS + b"".join(word.to_bytes(2) for word in words)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ether(0x0800) + V4, ip(V4)),
        (ether(0x86DD) + V6, ip(V6)),
        (ether(0x0800) + V4 + b"padding", ip(V4 + b"padding")),
        (ether(0x8100, 0xE00A, 0x0800) + V4, ip(V4, 10)),
        (ether(0x88A8, 100, 0x8100, 200, 0x86DD) + V6, ip(V6, 100, 200)),
        (ether(0x8100, 100, 0x8100, 200, 0x8100, 300, 0x0800) + V4, ip(V4, 100, 200, 300)),
        (ether(0x8100, 0xE000, 0x0800) + V4, ip(V4)),
        (ether(0x8100, 0, 0x8100, 10, 0x0800) + V4, ip(V4, 10)),
        (ether(0x8100, 0x1FFF, 0x0800) + V4, ip(V4, 4095)),
        (ether(0x0800) + V4[:3], ip(V4[:3])),
    ],
)
def test_ethernet(data, expected):
    assert to_network(frame(data, 1)) == expected


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ether(0x0806) + bytes(28), "ARP, not IP"),
        (ether(0x8100, 5, 0x0806) + bytes(28), "ARP, not IP"),
        (ether(0x8847) + bytes(4) + V4, "MPLS, not IP"),
        (ether(0x8864) + bytes(8) + V4, "PPPoE session, not IP"),
        (ether(0x9100, 5, 0x0800) + V4, "VLAN tag of EtherType 0x9100, not IP"),
        (ether(0x1234) + V4, "EtherType 0x1234, not IP"),
        (ether(38) + bytes(38), "IEEE 802.3 frame with LLC header, not IP"),
        (ether(0) + V4, "IEEE 802.3 frame with LLC header, not IP"),
        (b"", "cut inside its link header (0 bytes captured)"),
        (MACS + b"\x08", "cut inside its link header (13 bytes captured)"),
        (ether(0x8100, 5) + b"\x08", "cut inside its link header (17 bytes captured)"),
        (ether(0x8100), "cut inside its link header (14 bytes captured)"),
        (ether(0x0800), "nothing captured behind the link header"),
        (ether(0x0800) + V6, "IPv4 by its link header, version 6 by its own: the kernel drops it"),
        (ether(0x86DD) + b"\x50" + V4, "IPv6 by its link header, version 5 by its own: the kernel drops it"),
    ],
)
def test_ethernet_without_ip(data, reason):
    assert to_network(frame(data, 1)) == NotIp(reason)


@pytest.mark.parametrize(("link_type", "right", "wrong"), [(228, V4, V6), (229, V6, V4)])
def test_raw_ip_of_one_version_holds_no_other(link_type, right, wrong):
    assert to_network(frame(right, link_type)) == ip(right)
    refused = to_network(frame(wrong, link_type))
    assert isinstance(refused, NotIp)
    assert "the kernel drops it" in refused.reason


@pytest.mark.parametrize("link_type", [12, 14, 101])
def test_raw_ip(link_type):
    assert to_network(frame(V4, link_type)) == ip(V4)
    assert to_network(frame(V6, link_type)) == ip(V6)
    assert to_network(frame(b"\x50" + V4, link_type)) == NotIp("IP version 5, neither 4 nor 6")
    assert to_network(frame(b"", link_type)) == NotIp("nothing captured behind the link header")


@pytest.mark.parametrize("link_type", [0, 108])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("family", "packet"), [(2, V4), (10, V6), (23, V6), (24, V6), (28, V6), (30, V6)])
def test_bsd_loopback(link_type, order, family, packet):
    assert to_network(frame(struct.pack(order + "I", family) + packet, link_type)) == ip(packet)


def test_bsd_loopback_without_ip():
    assert to_network(frame(struct.pack("<I", 7) + V4, 0)) == NotIp("BSD address family 7, not IP")
    assert to_network(frame(b"\2\0\0", 0)) == NotIp("cut inside its link header (3 bytes captured)")
    assert to_network(frame(b"\2\0\0\0", 0)) == NotIp("nothing captured behind the link header")


def cooked_v1(device: int, protocol: int, data: bytes) -> Frame:
    return frame(struct.pack("!HHH8sH", 0, device, 6, bytes(8), protocol) + data, 113)


def cooked_v2(device: int, protocol: int, data: bytes) -> Frame:
    return frame(struct.pack("!HHIHBB8s", protocol, 0, 3, device, 0, 6, bytes(8)) + data, 276)


@pytest.mark.parametrize("cooked", [cooked_v1, cooked_v2])
def test_linux_cooked(cooked):
    assert to_network(cooked(1, 0x0800, V4)) == ip(V4)
    assert to_network(cooked(772, 0x86DD, V6)) == ip(V6)
    assert to_network(cooked(1, 0x8100, b"\x00\x0a\x08\x00" + V4)) == ip(V4, 10)
    assert to_network(cooked(1, 0x0806, bytes(28))) == NotIp("ARP, not IP")
    assert to_network(cooked(824, 0, bytes(28))) == NotIp("netlink message, not IP")
    assert to_network(cooked(1, 0x8100, b"\x00\x0a")).reason.startswith("cut inside its link header")
    assert to_network(cooked(1, 4, bytes(28))) == NotIp("IEEE 802.3 frame with LLC header, not IP")
    cut = cooked(1, 0x0800, b"")
    assert to_network(cut._replace(data=cut.data[:-1])).reason == f"cut inside its link header ({len(cut.data) - 1} bytes captured)"


@pytest.mark.parametrize(
    ("link_type", "reason"),
    [
        (105, "link type 105 (IEEE 802.11) is not supported"),
        (9, "link type 9 (PPP) is not supported"),
        (999, "link type 999 is not supported"),
    ],
)
def test_other_link_types_are_not_supported(link_type, reason):
    assert to_network(frame(V4, link_type)) == NotIp(reason)
