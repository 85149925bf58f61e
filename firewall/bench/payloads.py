"""Patterns, the payloads that meet them, and rules for them in each tool's words: random, but the same at every run."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from firewall.replay.admission import repair_checksum

LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
PAYLOAD: Final = 512
PACKETS: Final = 256
ONE_IN: Final = 32
"""So many packets have one with a pattern."""
UDP, TCP = 17, 6


def words(count: int, seed: int = 1) -> list[bytes]:
    """`count` distinct words of 8 to 16 letters."""
    rng = random.Random(seed)
    found: dict[bytes, None] = {}
    while len(found) < count:
        found[bytes(rng.choices(LETTERS, k=rng.randint(8, 16)))] = None
    return list(found)


def texts(patterns: Sequence[bytes], seed: int = 2) -> list[bytes]:
    """UDP packets with random text; one in ONE_IN begins with a pattern, the others have none."""
    rng = random.Random(seed)
    packets: list[bytes] = []
    while len(packets) < PACKETS:
        text = bytes(rng.choices(LETTERS + b" ", k=PAYLOAD))
        if any(pattern in text for pattern in patterns):
            continue
        if len(packets) % ONE_IN == 0:
            text = (rng.choice(patterns) + text)[:PAYLOAD]
        packets.append(udp(text, 40_000))
    rng.shuffle(packets)
    return packets


def udp(payload: bytes, port: int) -> bytes:
    """Over IPv4, whole."""
    return _ip4(UDP, struct.pack(">HHHH", 40_000, port, 8 + len(payload), 0) + payload)


def tcp(payload: bytes, port: int) -> bytes:
    return _ip4(TCP, struct.pack(">HHIIBBHHH", 40_000, port, 1, 1, 0x50, 0x18, 0xFFFF, 0, 0) + payload)


def _ip4(protocol: int, rest: bytes) -> bytes:
    header = struct.pack(">BBHHHBBHII", 0x45, 0, 20 + len(rest), 1, 0, 64, protocol, 0, 0x0B000001, 0x0B000002)
    return repair_checksum(header + rest)


def held(packets: Sequence[bytes]) -> int:
    """Bytes of each that a trace has to hold."""
    return max(-(-len(packet) // 8) * 8 for packet in packets)


# -- a list of patterns in each tool's words ---------------------------------------------------------------------------


def as_rules(patterns: Sequence[bytes]) -> str:
    """A rule file with a rule a pattern."""
    rules = [f'block "rule {number}" when udp.payload contains "{word.decode()}"' for number, word in enumerate(patterns)]
    return "\n".join(["tenant bench", *rules]) + "\n"


def as_one_rule(patterns: Sequence[bytes]) -> str:
    """A rule file with one rule for all."""
    listed = " ".join(f'"{word.decode()}"' for word in patterns)
    return f'tenant bench\nlist words = {{ {listed} }}\nblock "any" when udp.payload contains any $words\n'


def as_nft(patterns: Sequence[bytes]) -> str:
    """One nft rule a pattern, which looks for it at the payload's start alone."""
    text = ["table inet bench {", " chain rules {", "  type filter hook prerouting priority -450; policy accept;"]
    text += [f"  meta l4proto udp @ih,0,{len(word) * 8} 0x{word.hex()} counter drop" for word in patterns]
    return "\n".join([*text, " }", "}"]) + "\n"


def as_iptables(patterns: Sequence[bytes]) -> str:
    """Input of iptables-restore: the match `string` with the algorithm of Boyer and Moore."""
    rules = [f'-A PREROUTING -p udp -m string --algo bm --string "{word.decode()}" -j DROP' for word in patterns]
    return "\n".join(["*raw", ":PREROUTING ACCEPT", *rules, "COMMIT"]) + "\n"


# -- messages of deep fields -------------------------------------------------------------------------------------------


def client_hello(name: bytes) -> bytes:
    """A TLS record with a ClientHello that names a server (RFC 8446, RFC 6066)."""
    entry = b"\0" + len(name).to_bytes(2, "big") + name
    listed = len(entry).to_bytes(2, "big") + entry
    server_name = b"\0\0" + len(listed).to_bytes(2, "big") + listed
    versions = bytes.fromhex("002b0003020304")
    groups = bytes.fromhex("000a00080006001d00170018")
    extensions = groups + versions + server_name
    body = b"\x03\x03" + bytes(range(32)) + b"\x20" + bytes(32) + bytes.fromhex("0008130113021303c02f0100")
    body += len(extensions).to_bytes(2, "big") + extensions
    hello = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello


def http_request(host: bytes) -> bytes:
    lines = [
        b"GET /index.html?page=1 HTTP/1.1",
        b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        b"Accept: text/html,application/xhtml+xml",
        b"Host: " + host,
        b"Connection: keep-alive",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def dns_query(name: bytes) -> bytes:
    labels = b"".join(bytes([len(label)]) + label for label in name.split(b"."))
    return bytes.fromhex("123401000001000000000000") + labels + b"\0" + bytes.fromhex("00010001")


def sip_request(agent: bytes) -> bytes:
    lines = [
        b"OPTIONS sip:100@192.0.2.1 SIP/2.0",
        b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK1",
        b'From: "1" <sip:1@192.0.2.1>;tag=1',
        b"To: <sip:100@192.0.2.1>",
        b"Call-ID: 1@198.51.100.1",
        b"CSeq: 1 OPTIONS",
        b"User-Agent: " + agent,
        b"Content-Length: 0",
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


MESSAGES: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {
        "tls.sni": lambda name: tcp(client_hello(name), 443),
        "http.host": lambda name: tcp(http_request(name), 80),
        "dns.qry.name": lambda name: udp(dns_query(name), 53),
        "sip.user_agent": lambda name: udp(sip_request(name), 5060),
    }
)
"""By deep field: a packet in which it has that value."""

LAST: Final = "last.example"
"""The constant of the last deep rule."""


def deep_rules(fields: Sequence[str], count: int) -> str:
    """A rule file: the fields in turn, each rule with another constant; the last rule is for the first field and LAST."""
    rules = [f'block "rule {number}" when {fields[-number % len(fields)]} == "host{number}.example"' for number in range(1, count)]
    return "\n".join(["tenant bench", *rules, f'block "last" when {fields[0]} == "{LAST}"']) + "\n"


def deep_packets(fields: Sequence[str], *, hit: bool) -> list[bytes]:
    """Packets of the fields in turn that match no rule, or, of the first field, the last."""
    packets = []
    for number in range(64):
        field = fields[number % len(fields)]
        name = LAST if hit and field == fields[0] else f"www{number}.example"
        packets.append(MESSAGES[field](name.encode()))
    return packets


# -- packets that are to cost the most ---------------------------------------------------------------------------------

HOSTILE: Final = 1_460
"""Bytes of payload."""


def hostile() -> Mapping[str, tuple[str, bytes]]:
    """By a word on it: a rule file, and a packet that makes its program work as long as it can. No rule holds before the last."""
    ends = [f"udp.payload contains {_text(b'a' * size)}" for size in range(1, 65)]
    letters = [f"udp.payload contains {_text(bytes((byte,)))}" for byte in range(256)]
    keyed = [f'http.header["x-{name}"] == "no"' for name in "abcd"]
    return {
        "every byte ends one of 64 patterns": (_file([f'{test} and ends_with(udp.payload, "z")' for test in ends]), udp(b"a" * HOSTILE, 2)),
        "every byte ends one of 256 patterns": (
            _file([f'{test} and ends_with(udp.payload, "zz")' for test in letters]),
            udp((bytes(range(256)) * 6)[:HOSTILE], 2),
        ),
        "one pattern, nearly there at every byte": (_file(['udp.payload contains "baaaaaaaaaaaaaaa"']), udp(b"a" * HOSTILE, 2)),
        "one pattern that moves by little": (_file(['udp.payload contains "aaaaaaaaaaaaaaba"']), udp(b"ab" * (HOSTILE // 2), 2)),
        "a regular expression that never gives up": (
            _file(['udp.payload matches r"(?:a.*b|b.*c).{0,8}d$"']),
            udp((b"abc" * HOSTILE)[:HOSTILE], 2),
        ),
        "a DNS name of pointers": (_file([f'dns.qry.name contains "{word}"' for word in ("zz", "zy", "zx")]), udp(_pointers(), 53)),
        "an HTTP request of hundreds of header lines": (
            _file(keyed),
            tcp((b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * HOSTILE)[: HOSTILE - 2] + b"\r\n", 80),
        ),
    }


def _file(tests: Sequence[str]) -> str:
    return "\n".join(["tenant bench", *(f'block "rule {number}" when {test}' for number, test in enumerate(tests))]) + "\n"


def _text(data: bytes) -> str:
    """A literal of these bytes."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


_POINTERS: Final = 16
"""Of a name, at most."""


def _pointers() -> bytes:
    """A query of HOSTILE bytes: a name of a hundred labels, then names of a label and a pointer to the name before, as deep as a name may
    go, again and again."""
    kind = bytes.fromhex("00010001")
    questions = [b"\x01a" * 100 + b"\0" + kind]
    place = 12 + len(questions[0])
    before = 12
    while place + 8 <= HOSTILE:
        if len(questions) % _POINTERS == 0:
            before = 12
        questions.append(b"\x01b" + (0xC000 | before).to_bytes(2, "big") + kind)
        before, place = place, place + 8
    return bytes.fromhex("12340100") + len(questions).to_bytes(2, "big") + bytes(6) + b"".join(questions)
