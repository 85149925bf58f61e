"""Random, boundary-valued and damaged IP packets.

`packet` makes packets that the kernel lets through to the rules, but for a few (`firewall.replay.admission` tells them); what is wrong
in them is behind the IP header. `damaged` breaks a packet anywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from generators.messages import MESSAGES
from generators.pools import COLOS, INTERFACES, MARKS, PORTS, V4_ADDRESSES, V6_ADDRESSES, V6_GROUPS, VLAN_IDS, WORDS

from rules_dsl.fields import PROTOCOLS, Header
from rules_dsl.packet import Place, ones_complement_sum

CARRYING = 0.25
"""How often TCP and UDP carry a message of a protocol of the catalogue."""

Transport = tuple[int, list[bytes]]
"""A protocol number and its bytes in pieces; between two pieces a header ends."""


def packet(rng: random.Random, *, padding: bool = False, longest: int = 65535) -> bytes:
    """One IP packet of at most `longest` bytes (1 KiB or more), from its IP header; with `padding`, some have bytes behind the IP
    length, as a short Ethernet frame has."""
    while True:
        protocol, pieces = _transport(rng)
        make = _ipv4 if rng.random() < 0.5 else _ipv6
        if rng.random() < 0.8:  # seldom the other family's ICMP
            protocol = {_ipv4: {58: 1}, _ipv6: {1: 58}}[make].get(protocol, protocol)
        data = make(rng, protocol, pieces)
        if padding and rng.random() < 0.15:
            data += rng.choice((b"\x00", b"\x00" * 20, b"evil", rng.randbytes(rng.randint(1, 46))))
        if len(data) <= longest:
            return data


def carrying(rng: random.Random, protocol: str) -> bytes:
    """A packet with a message of that protocol (tests/generators/messages), right or wrong, on any ports."""
    message = MESSAGES[protocol](rng)
    if isinstance(message, tuple):
        number, pieces = message[0], [message[1]]
    else:
        number, pieces = (_tcp if rng.choice(PROTOCOLS[protocol].carriers) is Header.TCP else _udp)(rng, message)
    return (_ipv4 if rng.random() < 0.5 else _ipv6)(rng, number, pieces)


def packets(rng: random.Random, count: int, *, padding: bool = False, longest: int = 65535) -> list[bytes]:
    return [packet(rng, padding=padding, longest=longest) for _ in range(count)]


def place(rng: random.Random) -> Place:
    """Where a packet came in; half of the places are the plainest one."""
    if rng.random() < 0.5:
        return Place(INTERFACES[0])
    name, region = rng.choice(COLOS)
    return Place(
        rng.choice(INTERFACES),
        mark=rng.choice(MARKS),
        vlan_id=rng.choice((None, *VLAN_IDS)),
        colo_name=name,
        colo_region=region,
    )


def damaged(rng: random.Random, whole: bytes) -> bytes:
    """`whole` with one to three random damages: changed header bytes, lengths that lie, a cut, a wrong checksum. The IPv4 header
    checksum is mended in three of four."""
    data = bytearray(whole)
    for _ in range(rng.randint(1, 3)):
        match rng.randrange(6):
            case 0 if data:
                data[rng.randrange(min(len(data), 80))] = rng.choice((0, 1, 4, 0x45, 0x60, 0xFF, rng.randrange(256)))
            case 1 if len(data) >= 6:
                at = 2 if data[0] >> 4 == 4 else 4
                data[at : at + 2] = _near(rng, len(data) - (0 if at == 2 else 40)).to_bytes(2, "big")
            case 2:
                del data[rng.randint(0, min(len(data), 100)) :]
            case 3:
                data += rng.randbytes(rng.randint(1, 20))
            case 4 if len(data) >= 48 and data[0] >> 4 == 6:
                data[6] = 0
                options = hop_by_hop_options(rng)
                data[41] = len(options) // 8 if rng.random() < 0.8 else rng.randrange(256)
                data[42 : 42 + len(options)] = options
            case 5 if len(data) >= 40 and data[0] >> 4 == 6:
                at = rng.choice((8, 24))
                data[at : at + 16] = rng.choice(
                    (
                        bytes(15) + b"\x01",
                        bytes(16),
                        b"\xff" + bytes([rng.randrange(256)]) + bytes(13) + b"\x01",
                        b"\x00" * 10 + b"\xff" * 6,
                    )
                )
            case _ if data:
                data[0] = rng.choice((0x44, 0x45, 0x46, 0x4F, 0x50, 0x60, 0x65, 0x75, rng.randrange(256)))
            case _:
                pass
    return with_checksum(bytes(data)) if rng.random() < 0.75 else bytes(data)


def with_checksum(data: bytes) -> bytes:
    """`data` with a right IPv4 header checksum, if it has a whole IPv4 header."""
    length = (data[0] & 15) * 4 if data else 0
    if not data or data[0] >> 4 != 4 or not 20 <= length <= len(data):
        return data
    cleared = data[:10] + bytes(2) + data[12:]
    return data[:10] + (0xFFFF - ones_complement_sum(cleared[:length])).to_bytes(2, "big") + data[12:]


def hop_by_hop_options(rng: random.Random) -> bytes:
    """What follows the first two bytes of a hop-by-hop header: valid and invalid options, filled up to a multiple of 8."""
    options = b""
    for _ in range(rng.choice((0, 1, 1, 2, 3, 9))):
        options += rng.choice(
            (
                b"\x00" * rng.randint(1, 8),
                b"\x01" + bytes([length := rng.randrange(7)]) + bytes(length),
                b"\x01\x02\x00\x01",
                b"\x05\x02\x00\x00",
                b"\x05\x03\x00\x00\x00",
                b"\x1e\x00",
                b"\x3e\x04evil",
                b"\x7e\x00",
                b"\xbe\x01x",
                b"\xfe\x00",
                b"\x31\x04\x00\x00\x00\x00",
                b"\xc2\x04\x00\x00\x00\x10",
                b"\xc2\x04\x00\x01\x00\x00",
                b"\x07\x08" + bytes(8),
                rng.randbytes(4),
            )
        )
    return options + _zero_padding(rng, 6 - len(options))


# -- network headers ---------------------------------------------------------------------------------------------------


def _ipv4(rng: random.Random, protocol: int, pieces: list[bytes]) -> bytes:
    options = _ipv4_options(rng) if rng.random() < 0.25 else b""
    flags = rng.choice((0, 0x4000, 0x8000, 0xC000))
    match rng.randrange(10):
        case 0:  # first fragment
            flags |= 0x2000
        case 1:  # later fragment
            flags |= rng.choice((0, 0x2000)) | rng.choice((1, 2, 0xFF, 0x100, 0x1000, 0x1FFF))
        case _:
            pass
    if rng.random() < 0.05:
        protocol = rng.choice((0, 43, 44, 51, 58, 59, 60))
    rest = _cut(rng, pieces) if rng.random() < 0.25 else b"".join(pieces)
    rest = rest[: 65535 - 20 - len(options)]
    header = bytes([0x45 + len(options) // 4, rng.choice((0, 3, 0xB8, 0xFC, 0xFF, rng.randrange(256)))])
    header += (20 + len(options) + len(rest)).to_bytes(2, "big") + _u16(rng) + flags.to_bytes(2, "big")
    header += bytes([rng.choice((0, 1, 5, 64, 128, 255, rng.randrange(256))), protocol, 0, 0])
    header += rng.choice(V4_ADDRESSES).to_bytes(4, "big") + rng.choice(V4_ADDRESSES).to_bytes(4, "big")
    return with_checksum(header + options + rest)


def _ipv4_options(rng: random.Random) -> bytes:
    words = rng.choice((1, 1, 2, 3, 10))
    first = rng.choice(
        (
            b"\x00",
            b"\x01",
            b"\x07\x03\x04",
            b"\x44\x08\x05\x00",
            b"\x83\x03\x04",
            b"\x88\x04\x00\x01",
            b"\x94\x04\x00\x00",
            rng.randbytes(4),
        )
    )
    return (first + b"\x00" * 40)[: words * 4]


def _ipv6(rng: random.Random, protocol: int, pieces: list[bytes]) -> bytes:
    if rng.random() < 0.05:
        protocol = rng.choice((1, 4, 41, 59))
    chain = _extension_chain(rng) if rng.random() < 0.6 else []
    headers: list[bytes] = []
    following = protocol
    for kind in reversed(chain):
        headers.insert(0, _extension_header(rng, kind, following, is_first=len(headers) == len(chain) - 1))
        following = kind
    # The kernel wants a first hop-by-hop header whole, so a cut comes behind it.
    whole = headers.pop(0) if chain and chain[0] == 0 else b""
    rest = whole + (_cut(rng, headers + pieces) if rng.random() < 0.25 else b"".join(headers + pieces))
    rest = rest[:65535]
    length = len(rest)
    if whole and rng.random() < 0.03:
        length = 0  # with a hop-by-hop header: no statement about the length
    traffic_and_flow = rng.choice((0, 1, 0xFFFFF, 0xFFFFFFF, rng.getrandbits(28)))
    header = (6 << 28 | traffic_and_flow).to_bytes(4, "big") + length.to_bytes(2, "big")
    header += bytes([following, rng.choice((0, 1, 5, 64, 128, 255, rng.randrange(256)))])
    destination = rng.choice(V6_GROUPS) if rng.random() < 0.1 else rng.choice(V6_ADDRESSES)
    return header + rng.choice(V6_ADDRESSES).to_bytes(16, "big") + destination.to_bytes(16, "big") + rest


def _extension_chain(rng: random.Random) -> list[int]:
    kinds = [0, 43, 44, 51, 60]
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            return [rng.choice(kinds)]
        case 4 | 5:
            return rng.choices(kinds, k=rng.randint(2, 4))
        case 6:
            rng.shuffle(kinds)
            return kinds
        case _:
            return rng.choices(kinds, k=rng.choice((7, 8, 9, 10, 12, 16, 30)))


def _extension_header(rng: random.Random, kind: int, following: int, *, is_first: bool) -> bytes:
    if kind == 44:
        offset = rng.choice((0, 0, 0, 1, 2, 0x100, 0x1FFF))
        return bytes([following, rng.choice((0, 0xFF))]) + (offset << 3 | rng.randrange(8)).to_bytes(2, "big") + rng.randbytes(4)
    if kind == 0 and is_first:
        options = rng.choice((b"\x01\x04" + bytes(4), b"\x05\x02\x00\x00\x01\x00", b"\x1e\x04evil", b"\x3e\x0c" + bytes(12), bytes(6)))
        return bytes([following, len(options) // 8]) + options
    length = rng.choice((0, 0, 1, 1, 2, 3, 12))
    if kind == 51:
        return bytes([following, length]) + rng.randbytes(length * 4 + 6)
    content = rng.choice((bytes, rng.randbytes))(length * 8 + 6)
    if rng.random() < 0.03:
        length = rng.choice((length + 1, 254, 255))  # longer than it is: what follows, or nothing, is taken for it
    return bytes([following, length]) + content


def _cut(rng: random.Random, pieces: list[bytes]) -> bytes:
    """The pieces, cut at the end of one of them, one byte before or one after."""
    end = sum(len(piece) for piece in pieces[: rng.randint(0, len(pieces))])
    return b"".join(pieces)[: max(0, end + rng.choice((-1, 0, 1)))]


# -- transport headers -------------------------------------------------------------------------------------------------


def _transport(rng: random.Random) -> Transport:
    make: Callable[[random.Random], Transport] = rng.choices(
        (_tcp, _udp, _icmp, _icmpv6, _sctp, _gre, _esp, _other), weights=(30, 30, 6, 6, 6, 8, 5, 9)
    )[0]
    return make(rng)


def _tcp(rng: random.Random, message: bytes | None = None) -> Transport:
    options = _tcp_options(rng) if rng.random() < 0.5 else b""
    offset = 5 + len(options) // 4
    if rng.random() < 0.08:
        offset = rng.choice((0, 4, 5, 6, 15))
    header = _ports(rng) + _u32(rng) + _u32(rng) + bytes([offset << 4 | rng.choice((0, 1, 15))])
    header += bytes([rng.choice((0, 1, 2, 4, 8, 16, 18, 24, 32, 64, 128, 255, rng.randrange(256)))]) + _u16(rng) + rng.randbytes(4)
    return 6, [header, *([options] if options else []), _content(rng, Header.TCP) if message is None else message]


def _tcp_options(rng: random.Random) -> bytes:
    options = b"\x02\x04" + rng.choice((b"\x05\xb4", b"\x02\x18", b"\xff\xff")) if rng.random() < 0.4 else b""
    options += b"".join(
        rng.choice(
            (
                b"\x01",
                b"\x01\x01",
                b"\x02\x04" + rng.choice((b"\x05\xb4", b"\x00\x00", b"\xff\xff", b"\x02\x18")),
                b"\x03\x03\x07",
                b"\x04\x02",
                b"\x08\x0a" + rng.randbytes(8),
                b"\x05\x0a" + rng.randbytes(8),
                b"\x02\x03\x05",
                b"\x02\x05\x05\xb4\x00",
                b"\x02\x02",
                b"\x00",
                b"\x1e\x00",
                b"\x1e\x01",
                b"\x1e\xff",
                b"\xfd\x03x",
                rng.randbytes(3),
            )
        )
        for _ in range(rng.choice((1, 1, 2, 3, 5)))
    )
    return (options + b"\x00" * (-len(options) % 4))[:40]


def _udp(rng: random.Random, message: bytes | None = None) -> Transport:
    content = _content(rng, Header.UDP) if message is None else message
    length = min(8 + len(content), 65535)
    if rng.random() < 0.2:
        length = rng.choice((0, 1, 7, 8, 9, max(0, length - 1), min(length + 1, 65535), 65535))
    return 17, [_ports(rng) + length.to_bytes(2, "big") + rng.randbytes(2), content]


def _icmp(rng: random.Random) -> Transport:
    return 1, [bytes([rng.choice((0, 3, 5, 8, 11, 255)), rng.choice((0, 1, 3, 4, 255))]) + rng.randbytes(6), payload(rng)]


def _icmpv6(rng: random.Random) -> Transport:
    return 58, [bytes([rng.choice((0, 1, 2, 128, 129, 135, 255)), rng.choice((0, 1, 4, 255))]) + rng.randbytes(6), payload(rng)]


def _sctp(rng: random.Random) -> Transport:
    return 132, [_ports(rng) + rng.randbytes(8), payload(rng)]


def _gre(rng: random.Random) -> Transport:
    flags = rng.choice((0, 0x8000, 0x4000, 0xC000, 0x2000, 0x1000, 0x3000, 0xB000, 0xF000, 0x0800, 0x0001, rng.getrandbits(16)))
    words = (flags & 0xC000 != 0) + (flags & 0x2000 != 0) + (flags & 0x1000 != 0)
    pieces = [flags.to_bytes(2, "big") + rng.choice((b"\x08\x00", b"\x86\xdd", b"\x65\x58", b"\x00\x00", b"\xff\xff"))]
    pieces += [rng.randbytes(4) for _ in range(words)]
    return 47, [*pieces, payload(rng)]


def _esp(rng: random.Random) -> Transport:
    return 50, [_u32(rng) + _u32(rng), payload(rng)]


def _other(rng: random.Random) -> Transport:
    return rng.choice((2, 4, 41, 59, 89, 112, 136, 253, 254, 255, rng.randrange(61, 256))), [payload(rng)]


def _content(rng: random.Random, carrier: Header) -> bytes:
    """A payload, or a message of a protocol."""
    if rng.random() < CARRYING:
        message = MESSAGES[rng.choice([name for name in MESSAGES if carrier in PROTOCOLS[name].carriers])](rng)
        if isinstance(message, bytes):  # else it brings its own transport header
            return message
    return payload(rng)


def payload(rng: random.Random) -> bytes:
    """Bytes with words of the pool at their start, their end and between, of 0 to some 1,500 bytes, seldom far more."""
    match rng.randrange(12):
        case 0 | 1:
            return b""
        case 2:
            return rng.choice((b"\x00", b"\xff", b"a")) * rng.choice((1, 2, 3, 8, 64, 100))
        case 3:
            return rng.randbytes(rng.randint(1, 40))
        case 4 | 5:
            return rng.choice(WORDS)
        case 6:
            return rng.choice(WORDS)[: rng.randint(1, 64)]
        case 7:
            filler = rng.choice((rng.randbytes, bytes))
            return rng.choice(WORDS) + filler(rng.randint(0, 1500)) + rng.choice(WORDS)
        case 8 if rng.random() < 0.05:
            return rng.choice(WORDS) + bytes(rng.choice((1452, 1460, 1472, 4000, 9000, 40000))) + rng.choice(WORDS)
        case _:
            parts = [rng.choice(WORDS) if rng.random() < 0.7 else rng.randbytes(rng.randint(0, 12)) for _ in range(rng.randint(1, 8))]
            text = b"".join(parts)
            return text.swapcase() if rng.random() < 0.2 else text


# -- numbers -----------------------------------------------------------------------------------------------------------


def _ports(rng: random.Random) -> bytes:
    return rng.choice(PORTS).to_bytes(2, "big") + rng.choice(PORTS).to_bytes(2, "big")


def _u16(rng: random.Random) -> bytes:
    return rng.choice((0, 1, 0x7FFF, 0x8000, 0xFFFF, rng.getrandbits(16))).to_bytes(2, "big")


def _u32(rng: random.Random) -> bytes:
    return rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32))).to_bytes(4, "big")


def _near(rng: random.Random, number: int) -> int:
    return min(max(rng.choice((0, 1, 19, 20, 21, number - 1, number, number + 1, 0xFFFF)), 0), 0xFFFF)


def _zero_padding(rng: random.Random, space: int) -> bytes:
    """Padding options for `space` bytes modulo 8."""
    missing = space % 8
    if missing < 2 or rng.random() < 0.3:
        return bytes(missing)
    return b"\x01" + bytes([missing - 2]) + bytes(missing - 2)
