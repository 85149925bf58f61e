"""A captured frame as it arrives at the rules: its IP packet and its interface, the same for both engines."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from firewall.capture import Frame
from firewall.replay.admission import refusal
from firewall.replay.link import NotIp, to_network
from firewall.replay.tap import Interface, interface_of
from rules_dsl.packet import ip_length

OUTSIDE = "outside what these rules protect"
"""Why a packet that the policy's `protect` leaves out is not judged."""

_interface_of = lru_cache(maxsize=4096)(interface_of)
_new = tuple.__new__
"""Makes a named tuple in half the time that its own constructor takes, which shows at 100,000 frames a second."""


class Arrival(NamedTuple):
    """An IP packet at an interface. An IPv4 header checksum that was wrong (captures of machines whose network card computes it
    are full of these) has been repaired."""

    ip: bytes
    """From the IP header on; link padding may follow."""
    interface: Interface
    missing: int
    """Bytes of the frame that the capture left out."""


def arrival_of(frame: Frame) -> Arrival | NotIp:
    """How `frame` arrives, or why no rule can see it."""
    _, _, data, link_type, original_length, name = frame
    if link_type == 1 and data[12:15] == b"\x08\x00\x45":  # most frames: untagged Ethernet, IPv4 without options
        packet = data[14:]
        interface = _interface_of(name, ())
    else:
        network = to_network(frame)
        if isinstance(network, NotIp):
            return network
        packet = network.ip
        interface = _interface_of(network.interface, network.vlan)
    # 65,536 is 1 modulo 65,535, so this is the ones' complement sum; it is 0 over a header with a right checksum.
    if packet[0] < 0x60 and (wrong := int.from_bytes(packet[: (packet[0] & 15) * 4]) % 0xFFFF) and len(packet) >= 20:
        packet = b"".join((packet[:10], ((int.from_bytes(packet[10:12]) - wrong) % 0xFFFF).to_bytes(2), packet[12:]))
    return _new(Arrival, (packet, interface, original_length - len(data)))


def why_dropped(arrival: Arrival) -> str | None:
    """Why the kernel drops the packet before any rule, or None if it does not."""
    packet = arrival.ip
    reason = refusal(packet)
    if reason is None:
        return None
    if arrival.missing > 0 and (len(packet) < (20 if packet[0] >> 4 == 4 else 40) or len(packet) < ip_length(packet)):
        return f"cut by the capture: {arrival.missing} bytes of the frame are missing"
    return f"the kernel drops it: {reason}"
