"""Rule lists and the packets that meet them: random, but the same at every run."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from firewall.replay.admission import repair_checksum

PREFIX: Final = 24
SHAPES: Final = ("one shape", "mixed shapes")
"""`one shape`: every rule tests the same fields. `mixed shapes`: each rule leaves one or two of them out, at random."""
TRACE_PACKETS: Final = 1024
UDP: Final = 17


@dataclass(frozen=True, slots=True)
class Line:
    """`block` what goes from a /24 to an address and port; None: any."""

    source: int | None
    """First address of the /24."""
    destination: int | None
    port: int | None


def lines(count: int, shape: str, seed: int = 1) -> list[Line]:
    """`count` distinct rules over UDP."""
    rng = random.Random(f"{shape} {seed}")
    found: dict[Line, None] = {}
    while len(found) < count:
        whole = (rng.randrange(1 << 24) << 8, rng.randrange(1 << 32), rng.randrange(1, 65536))
        left_out = rng.sample(range(3), rng.choice((1, 2))) if shape == "mixed shapes" else ()
        source, destination, port = (None if at in left_out else value for at, value in enumerate(whole))
        found[Line(_unicast(source), _unicast(destination), port)] = None
    return list(found)


def _unicast(address: int | None) -> int | None:
    """In 10.0.0.0/8, where no address is special."""
    return None if address is None else 0x0A000000 | (address & 0x00FFFFFF)


def trace(rules: list[Line], *, hits: float, seed: int = 2) -> list[bytes]:
    """UDP packets of 64 bytes on the wire; a share of `hits` is made to match a rule of the list."""
    rng = random.Random(seed)
    packets = []
    for at in range(TRACE_PACKETS):
        source, destination, port = 0x0B000000 | rng.randrange(1 << 24), 0x0B000000 | rng.randrange(1 << 24), rng.randrange(1, 65536)
        if at < TRACE_PACKETS * hits:
            line = rng.choice(rules)
            source = source if line.source is None else line.source | rng.randrange(256)
            destination = destination if line.destination is None else line.destination
            port = port if line.port is None else line.port
        packets.append(udp_packet(source, destination, port))
    rng.shuffle(packets)
    return packets


def udp_packet(source: int, destination: int, port: int) -> bytes:
    payload = bytes(18)
    header = struct.pack(">BBHHHBBHII", 0x45, 0, 28 + len(payload), 1, 0, 64, UDP, 0, source, destination)
    return repair_checksum(header + struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload)


# -- the list in each tool's words -------------------------------------------------------------------------------------


def as_mantlet(rules: list[Line]) -> str:
    """A rule file."""
    statements = ["tenant bench"]
    for number, line in enumerate(rules):
        tests = []
        if line.source is not None:
            tests.append(f"ip.src in {{{IPv4Address(line.source)}/{PREFIX}}}")
        if line.destination is not None:
            tests.append(f"ip.dst == {IPv4Address(line.destination)}")
        tests.append("udp" if line.port is None else f"udp.dstport == {line.port}")
        statements.append(f'block "rule {number}" when {" and ".join(tests)}')
    return "\n".join(statements) + "\n"


def as_nft(rules: list[Line], family: str) -> str:
    """One nft rule a line, with its counter, in the family `ip` or `inet`, at Mantlet's hook and priority."""
    text = [f"table {family} bench {{", " chain rules {", "  type filter hook prerouting priority -450; policy accept;"]
    for line in rules:
        words = [] if line.source is None else [f"ip saddr {IPv4Address(line.source)}/{PREFIX}"]
        words += [] if line.destination is None else [f"ip daddr {IPv4Address(line.destination)}"]
        words.append("meta l4proto udp" if line.port is None else f"udp dport {line.port}")
        text.append("  " + " ".join(words) + " counter drop")
    return "\n".join([*text, " }", "}"]) + "\n"


def as_iptables(rules: list[Line]) -> str:
    """Input of iptables-restore: the table raw, whose chain PREROUTING is the earliest there is."""
    text = ["*raw", ":PREROUTING ACCEPT"]
    for line in rules:
        words = ["-A PREROUTING -p udp"]
        words += [] if line.source is None else [f"-s {IPv4Address(line.source)}/{PREFIX}"]
        words += [] if line.destination is None else [f"-d {IPv4Address(line.destination)}"]
        words += [] if line.port is None else [f"-m udp --dport {line.port}"]
        text.append(" ".join([*words, "-j DROP"]))
    return "\n".join([*text, "COMMIT"]) + "\n"
