"""From a captured frame to the IP packet in it: link headers and VLAN tags come off, as the kernel's devices take them off.

Link types are those of the pcap registry (draft-ietf-opsawg-pcaplinktype). What the kernel's IP layer would never get from such
a frame is `NotIp`, with the reason.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from firewall.capture import Frame

IPV4, IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = frozenset({0x8100, 0x88A8})
"""802.1Q and 802.1ad: the two that the kernel's VLAN devices take."""


class NetworkPacket(NamedTuple):
    """An IP packet as it reaches the IP layer; it may be damaged or cut, and padding may follow it."""

    ip: bytes
    """From the IP header on; not empty, and its version nibble is 4 or 6."""
    vlan: tuple[int, ...]
    """VLAN ids, the outermost first. Id 0 is no VLAN (802.1p priority only), and the kernel ignores it."""
    interface: str


class NotIp(NamedTuple):
    """A frame that no rule can see."""

    reason: str


def to_network(frame: Frame) -> NetworkPacket | NotIp:
    """The IP packet in `frame`, or why there is none."""
    _, _, data, link_type, _, interface = frame
    vlan: tuple[int, ...] = ()
    if link_type == _ETHERNET:
        start, protocol = 14, int.from_bytes(data[12:14])
        if protocol in _VLAN_TAGS:
            start, protocol, vlan = _untag(data, start, protocol)
        if len(data) < start:
            return NotIp(f"cut inside its link header ({len(data)} bytes captured)")
    elif link_type in _RAW:
        start, protocol = 0, _RAW[link_type]
    elif (layout := _OTHERS.get(link_type)) is not None:
        if len(data) < layout:
            return NotIp(f"cut inside its link header ({len(data)} bytes captured)")
        start = layout
        if link_type in _BSD:
            family = _bsd_family(data)
            if family is None:
                return NotIp(f"BSD address family {int.from_bytes(data[:4], 'little')}, not IP")
            protocol = family
        else:
            device, protocol = _COOKED_V1(data) if link_type == _LINUX_COOKED else _COOKED_V2(data)[::-1]
            if device in _NO_ETHERTYPE:
                return NotIp(f"{_NO_ETHERTYPE[device]}, not IP")
            if protocol in _VLAN_TAGS:
                start, protocol, vlan = _untag(data, start, protocol)
                if len(data) < start:
                    return NotIp(f"cut inside its link header ({len(data)} bytes captured)")
    else:
        name = _LINK_TYPES.get(link_type)
        return NotIp(f"link type {link_type}{f' ({name})' if name else ''} is not supported")

    if protocol not in (IPV4, IPV6, _BY_VERSION):
        return NotIp(f"{_protocol_name(protocol)}, not IP")
    if len(data) == start:
        return NotIp("nothing captured behind the link header")
    version = data[start] >> 4
    if protocol == _BY_VERSION:
        if version not in (4, 6):
            return NotIp(f"IP version {version}, neither 4 nor 6")
    elif version != (4 if protocol == IPV4 else 6):
        return NotIp(f"IPv{4 if protocol == IPV4 else 6} by its link header, version {version} by its own: the kernel drops it")
    return NetworkPacket(data[start:] if start else data, vlan, interface)


def _untag(data: bytes, start: int, protocol: int) -> tuple[int, int, tuple[int, ...]]:
    """Behind the VLAN tags whose first EtherType is `protocol` and whose first tag begins at `start`: the offset there (past the
    end where a tag is cut), the EtherType, the ids."""
    ids = []
    while protocol in _VLAN_TAGS:
        if len(data) < start + 4:
            return start + 4, protocol, ()
        tag, protocol = struct.unpack_from("!HH", data, start)
        start += 4
        if tag & 0xFFF:
            ids.append(tag & 0xFFF)
    return start, protocol, tuple(ids)


_ETHERNET = 1
_BY_VERSION = -1
"""In place of an EtherType: the packet's version nibble says which."""
_RAW = {12: _BY_VERSION, 14: _BY_VERSION, 101: _BY_VERSION, 228: IPV4, 229: IPV6}
"""LINKTYPE_RAW 101, its DLT numbers (12; 14 on OpenBSD), LINKTYPE_IPV4 and LINKTYPE_IPV6: no header at all."""
_BSD = frozenset({0, 108})
"""LINKTYPE_NULL and LINKTYPE_LOOP: an address family in the byte order of the capturing machine, or of the network."""
_LINUX_COOKED, _LINUX_COOKED_V2 = 113, 276
_OTHERS = {0: 4, 108: 4, _LINUX_COOKED: 16, _LINUX_COOKED_V2: 20}
"""Length of the link header of the other supported link types."""

_COOKED_V1 = struct.Struct("!2xH10xH").unpack_from
"""ARPHRD_ type, protocol (LINKTYPE_LINUX_SLL)."""
_COOKED_V2 = struct.Struct("!H6xH").unpack_from
"""Protocol, ARPHRD_ type (LINKTYPE_LINUX_SLL2)."""
_NO_ETHERTYPE = {770: "Frame Relay", 803: "IEEE 802.11 with radiotap header", 824: "netlink message"}
"""ARPHRD_ types whose cooked header holds no EtherType."""


_FAMILIES = {2: IPV4, 24: IPV6, 28: IPV6, 30: IPV6, 10: IPV6, 23: IPV6}
"""AF_INET everywhere; AF_INET6 of NetBSD and OpenBSD, FreeBSD, macOS, Linux and Windows."""


def _bsd_family(data: bytes) -> int | None:
    """The EtherType that the address family in the first four bytes, of either byte order, stands for."""
    return _FAMILIES.get(int.from_bytes(data[:4], "little")) or _FAMILIES.get(int.from_bytes(data[:4], "big"))


_PROTOCOLS = {
    0x0806: "ARP", 0x8035: "RARP", 0x8847: "MPLS", 0x8848: "MPLS multicast", 0x8863: "PPPoE discovery", 0x8864: "PPPoE session",
    0x888E: "EAPOL", 0x88CC: "LLDP", 0x8902: "connectivity fault management", 0x8906: "Fibre Channel over Ethernet",
    0x88E5: "MACsec", 0x88F7: "PTP", 0x8892: "PROFINET", 0x88B8: "GOOSE", 0x9000: "loopback test", 0x6003: "DECnet",
    0x809B: "AppleTalk", 0x8137: "IPX", 0x893A: "IEEE 1905", 0x88A2: "ATA over Ethernet", 0x8809: "Ethernet slow protocols",
    0x894F: "network service header", 0x6558: "transparent Ethernet bridging", 0x88BE: "ERSPAN",
    0x8947: "GeoNetworking", 0x88CA: "TIPC", 0x886F: "Microsoft network load balancing", 0x880B: "PPP", 0x8899: "Realtek",
    0x9100: "VLAN tag of EtherType 0x9100", 0x22F0: "AVTP", 0x22F3: "TRILL", 0x88E1: "HomePlug AV", 0x8903: "Cisco FabricPath",
}  # fmt: skip


def _protocol_name(protocol: int) -> str:
    if protocol < 0x0600:  # IEEE 802.3: a length; the cooked link types put 1 (802.3) or 4 (802.2) there
        return "IEEE 802.3 frame with LLC header"
    return _PROTOCOLS.get(protocol) or f"EtherType 0x{protocol:04x}"


_LINK_TYPES = {
    3: "AX.25", 6: "Token Ring", 7: "ARCNET", 8: "SLIP", 9: "PPP", 10: "FDDI", 50: "PPP in HDLC framing", 51: "PPPoE",
    100: "ATM, RFC 1483", 104: "Cisco HDLC", 105: "IEEE 802.11", 107: "Frame Relay", 109: "OpenBSD enc", 114: "LocalTalk",
    117: "OpenBSD pflog", 119: "IEEE 802.11 with Prism header", 122: "IP over Fibre Channel", 123: "SunATM",
    127: "IEEE 802.11 with radiotap header",
    129: "Linux ARCNET", 135: "Juniper ATM2", 140: "MTP2", 141: "MTP3", 142: "SCCP", 143: "DOCSIS", 144: "Linux IrDA",
    147: "user 0", 163: "IEEE 802.11 with AVS header", 165: "BACnet MS/TP", 166: "PPP with direction", 169: "GPRS LLC", 177: "Linux LAPD",
    187: "Bluetooth HCI H4", 189: "Linux USB", 192: "PPI", 195: "IEEE 802.15.4", 196: "SITA", 201: "Bluetooth HCI H4 with header",
    203: "LAPD", 204: "PPP with direction", 205: "Cisco HDLC with direction", 215: "IEEE 802.15.4 non-ASK PHY",
    220: "Linux USB, memory-mapped",
    224: "Fibre Channel FC-2", 226: "Solaris ipnet", 227: "CAN", 230: "IEEE 802.15.4 without FCS", 231: "D-Bus", 235: "DVB-CI",
    239: "nflog", 240: "netANALYZER", 242: "IP over InfiniBand", 243: "MPEG-2 TS", 245: "NFC LLCP", 247: "InfiniBand",
    248: "SCTP", 249: "USBPcap", 251: "Bluetooth LE", 252: "Wireshark upper PDU", 253: "Linux netlink", 254: "Bluetooth Linux monitor",
    256: "Bluetooth LE with header", 264: "ISO 14443", 266: "USB, macOS", 272: "nRF sniffer", 274: "EtherCAT mailbox", 278: "OpenVizsla",
    280: "Z-Wave serial", 283: "IEEE 802.15.4 TAP", 288: "USB 2.0",
}  # fmt: skip
"""Names, for the message alone."""
