"""A captured frame as it arrives at the rules: its IP packet and its interface, the same for both engines."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from firewall.capture import Frame
from firewall.replay.admission import refusal, repair_checksum
from firewall.replay.link import NotIp, to_network
from firewall.replay.tap import Interface, interface_of
from rules_dsl.packet import ip_length

OUTSIDE = "outside what these rules protect"
"""Why a packet that the policy's `protect` leaves out is not judged."""

_interface_of = lru_cache(maxsize=4096)(interface_of)


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
    network = to_network(frame)
    if isinstance(network, NotIp):
        return network
    packet = network.ip
    # 65,536 is 1 modulo 65,535, so this is the ones' complement sum; it is 0 over a header with a right checksum.
    if packet[0] < 0x60 and int.from_bytes(packet[: (packet[0] & 15) * 4]) % 0xFFFF:
        packet = repair_checksum(packet)
    return Arrival(packet, _interface_of(network.interface, network.vlan), frame.original_length - len(frame.data))


def why_dropped(arrival: Arrival) -> str | None:
    """Why the kernel drops the packet before any rule, or None if it does not."""
    packet = arrival.ip
    reason = refusal(packet)
    if reason is None:
        return None
    if arrival.missing > 0 and (len(packet) < (20 if packet[0] >> 4 == 4 else 40) or len(packet) < ip_length(packet)):
        return f"cut by the capture: {arrival.missing} bytes of the frame are missing"
    return f"the kernel drops it: {reason}"
