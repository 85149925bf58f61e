"""Packets that are nearly those of a capture: changed, cut, spliced, and carried by another transport or family."""

from __future__ import annotations

import random

from generators.packets import with_checksum

from rules_dsl.fields import Header
from rules_dsl.packet import Packet

_NUMBERS = {Header.TCP: 6, Header.UDP: 17}


def mutated(rng: random.Random, packet: Packet, other: Packet) -> bytes:
    """`packet` with one to three changes of what follows its transport header (`other`'s is at hand for splices), or of how it is carried;
    IP and UDP lengths are mended mostly."""
    start = message_start(packet)
    message, others = packet.data[start:], other.data[message_start(other) :]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        message = changed(rng, message, others)
    match rng.randrange(12):
        case 0:
            return (packet.data[:start] + message)[: rng.randint(start, len(packet.data))]  # the lengths say more than is there
        case 1:
            lying = bytearray(resized(packet, message))
            at = rng.choice((2, 3, 4, 5, start - 4, start - 3))
            lying[at] = (lying[at] + rng.choice((-1, 1))) & 0xFF
            return with_checksum(bytes(lying))
        case 2 if packet.transport_header in _NUMBERS:
            return carried(rng.choice(tuple(_NUMBERS)), rng.choice((4, 6)), packet, message)
        case _:
            return resized(packet, message)


def message_start(packet: Packet) -> int:
    """Where the payload of TCP or UDP begins; with any other protocol, and where TCP is cut, what follows the IP headers."""
    at = packet.layout.transport or 20
    match packet.transport_header:
        case Header.UDP:
            at += 8
        case Header.TCP if at + 12 < len(packet.data):
            at += max(20, (packet.data[at + 12] >> 4) * 4)
        case _:
            pass
    return min(at, len(packet.data))


def resized(packet: Packet, message: bytes) -> bytes:
    """`packet` with that message, and IP and UDP lengths that fit it."""
    start = message_start(packet)
    data = bytearray(packet.data[:start] + message)
    at = packet.layout.transport
    if packet.transport_header is Header.UDP and at is not None and at + 6 <= len(data):
        data[at + 4 : at + 6] = min(len(data) - at, 0xFFFF).to_bytes(2, "big")
    place, length = (2, len(data)) if packet.version == 4 else (4, len(data) - 40)
    data[place : place + 2] = min(length, 0xFFFF).to_bytes(2, "big")
    return with_checksum(bytes(data))


def carried(transport: Header, version: int, packet: Packet, message: bytes) -> bytes:
    """The message behind a plain header of TCP or UDP, with the packet's ports, in a plain IP header."""
    at = packet.layout.transport or 0
    ports = packet.data[at : at + 4].ljust(4, b"\0")
    if transport is Header.UDP:
        segment = ports + (8 + len(message)).to_bytes(2, "big") + bytes(2) + message
    else:
        segment = ports + bytes(8) + b"\x50\x18" + bytes(6) + message
    number = _NUMBERS[transport]
    if version == 4:
        return with_checksum(b"\x45\0" + (20 + len(segment)).to_bytes(2, "big") + bytes(5) + bytes([number, 0, 0]) + bytes(8) + segment)
    return b"\x60\0\0\0" + len(segment).to_bytes(2, "big") + bytes([number, 64]) + bytes(32) + segment


def changed(rng: random.Random, message: bytes, other: bytes) -> bytes:
    """One change."""
    data = bytearray(message)
    if not data:
        return bytes(rng.choice((b"\0", b"\xff", other)))
    near = min(len(data), rng.choice((8, 32, 128, 1 << 16)))  # what tells is mostly at the beginning
    at = rng.randrange(near)
    match rng.randrange(13):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at] = rng.choice((0, 0xFF, 0x20, 0x0A, 0x0D, 0x7F, 0x80))
        case 2:
            data[at] = data[rng.choice((max(at - 1, 0), min(at + 1, len(data) - 1)))]
        case 3:
            data[at] = (data[at] + rng.choice((-1, 1))) & 0xFF
        case 4:
            _change_length(rng, data, near)
        case 5:
            del data[at:]
        case 6:
            del data[rng.randrange(len(data)) :]
        case 7:
            del data[at : at + rng.choice((1, 1, 1, 2, 4, rng.randint(1, 40)))]
        case 8:
            data[at:at] = rng.choice(
                (b"\0", b"\xff", b" ", b"\r\n", b"\n", b"\t", rng.randbytes(rng.randint(1, 8)), bytes(data[at : at + 8]))
            )
        case 9:
            lines = bytes(data).split(b"\n")
            line = rng.choice(lines)
            lines.insert(
                rng.randint(0, len(lines)), rng.choice((line, line.upper(), line.replace(b": ", rng.choice((b":", b" : ", b":  ")))))
            )
            return b"\n".join(lines)
        case 10:
            return bytes(data[:at]) + other[rng.randrange(len(other) + 1) :]
        case 11:
            return rng.choice((message + other, other + message, message + message, message + b"\0", message + b"\r\n"))
        case _:
            size = rng.choice((2, 4, 8, 16, 24))
            chunk = bytes(data[at : at + size]) * rng.choice((2, 3, 20, 70))
            data[at : at + size] = chunk
    return bytes(data)


def _change_length(rng: random.Random, data: bytearray, near: int) -> None:
    """One or two bytes that could be the length of what follows them, one more, one less, or what is exactly there or one beyond."""
    places = [at for at in range(near) if 0 < data[at] <= len(data) - at]
    wide = [at for at in range(min(near, len(data) - 1)) if 0 < int.from_bytes(data[at : at + 2], "big") <= len(data) - at]
    if wide and rng.random() < 0.5:
        at, size = rng.choice(wide), 2
    elif places:
        at, size = rng.choice(places), 1
    else:
        return
    number, rest = int.from_bytes(data[at : at + size], "big"), len(data) - at - size
    new = rng.choice((number - 1, number + 1, number + 2, number - 2, rest, rest + 1, rest - 1, 0))
    data[at : at + size] = (new & ((1 << 8 * size) - 1)).to_bytes(size, "big")
