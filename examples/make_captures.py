"""Makes the captures of this folder: `python examples/make_captures.py [FOLDER]`, the same bytes at every run.

Each capture holds, for every rule of the rule file beside it, packets that the rule matches and packets that it does not. All
addresses are of the documentation ranges (RFC 5737, RFC 3849), but for the spoofed and the public ones that rules name.
"""

from __future__ import annotations

import ipaddress
import struct
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ICMP, TCP, UDP, GRE, ESP, AH, ICMPV6 = 1, 6, 17, 47, 50, 51, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
"""IANA protocol numbers."""

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

# -- headers -----------------------------------------------------------------------------------------------------------


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(
    source: str, destination: str, protocol: int, payload: bytes, *,
    ttl: int = 57, identification: int = 0, offset: int = 0, more: bool = False, options: bytes = b"",
    extensions: tuple[tuple[int, bytes], ...] = (),
) -> bytes:  # fmt: skip
    """An IP packet of the addresses' family. `offset` (bytes) and `more` make a fragment; `options` are IPv4's; `extensions` are
    IPv6 extension headers as (their own number, all of their bytes but the first), in order."""
    if ipaddress.ip_address(source).version == 4:
        words = (20 + len(options)) // 4
        fragment = offset // 8 | (0x2000 if more else 0)
        header = struct.pack("!BBHHHBBH", 0x40 | words, 0, words * 4 + len(payload), identification, fragment, ttl, protocol, 0)
        header += ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed + options
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload
    if offset or more:
        extensions = (*extensions, (FRAGMENT, struct.pack("!BHI", 0, offset | more, identification)))
    chain, following = b"", protocol
    for number, rest in reversed(extensions):
        chain = bytes([following]) + rest + chain
        following = number
    header = struct.pack("!IHBB", 6 << 28, len(chain) + len(payload), following, ttl)
    return header + ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed + chain + payload


def pseudo_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    """What a transport checksum covers besides the transport's bytes (RFC 9293, RFC 8200 section 8.1)."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if len(addresses) == 8:
        return addresses + struct.pack("!BBH", 0, protocol, length)
    return addresses + struct.pack("!II", length, protocol)


def tcp(
    source: str, source_port: int, destination: str, port: int, flags: int, payload: bytes = b"", *, mss: int | None = None, ttl: int = 57
) -> bytes:
    """A TCP segment in its IP packet, with an MSS option where `mss` is given."""
    options = struct.pack("!BBH", 2, 4, mss) if mss is not None else b""
    words = 5 + len(options) // 4
    acknowledged = 0x2000 if flags & ACK else 0
    segment = struct.pack("!HHIIBBHHH", source_port, port, 0x1000, acknowledged, words << 4, flags, 64240, 0, 0) + options + payload
    total = checksum(pseudo_header(source, destination, TCP, len(segment)) + segment)
    return ip(source, destination, TCP, segment[:16] + struct.pack("!H", total) + segment[18:], ttl=ttl)


def udp_datagram(source: str, source_port: int, destination: str, port: int, payload: bytes) -> bytes:
    header = struct.pack("!HHHH", source_port, port, 8 + len(payload), 0)
    total = checksum(pseudo_header(source, destination, UDP, 8 + len(payload)) + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", total) + payload


def udp(source: str, source_port: int, destination: str, port: int, payload: bytes = b"", *, ttl: int = 57) -> bytes:
    """A UDP datagram in its IP packet."""
    return ip(source, destination, UDP, udp_datagram(source, source_port, destination, port, payload), ttl=ttl)


def icmp(source: str, destination: str, kind: int, code: int = 0, rest: bytes = b"\x00\x01\x00\x01ping") -> bytes:
    """An ICMP message, ICMPv6 for IPv6 addresses. `rest` follows the checksum."""
    message = struct.pack("!BBH", kind, code, 0) + rest
    if ipaddress.ip_address(source).version == 4:
        return ip(source, destination, ICMP, message[:2] + struct.pack("!H", checksum(message)) + message[4:])
    total = checksum(pseudo_header(source, destination, ICMPV6, len(message)) + message)
    return ip(source, destination, ICMPV6, message[:2] + struct.pack("!H", total) + message[4:])


def fragments(packet: bytes, source: str, destination: str, protocol: int, cut: int) -> tuple[bytes, bytes]:
    """The transport bytes `packet` as a first and a later fragment, cut at `cut` bytes (a multiple of 8)."""
    return (
        ip(source, destination, protocol, packet[:cut], identification=0x4D4C, more=True),
        ip(source, destination, protocol, packet[cut:], identification=0x4D4C, offset=cut),
    )


def write_pcap(path: Path, packets: Iterable[bytes]) -> None:
    """A pcap file (draft-ietf-opsawg-pcap) of Ethernet frames with microsecond times, 10 ms apart."""
    out = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for index, packet in enumerate(packets):
        frame = b"\x02\x00\x00\x00\x00\x02" + b"\x02\x00\x00\x00\x00\x01" + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet
        out += struct.pack("<IIII", 1_700_000_000 + index // 100, index % 100 * 10_000, len(frame), len(frame)) + frame
    path.write_bytes(out)


# -- what the packets carry --------------------------------------------------------------------------------------------


def dns_name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def dns(name: str, kind: int = 1, *, answer: bool = False, opcode: int = 0, questions: int = 1, cls: int = 1, edns: bool = False) -> bytes:
    """A DNS message (RFC 1035 section 4.1) with one question, asked `questions` times by the header's word."""
    flags = (0x8000 if answer else 0) | opcode << 11 | 0x0100
    additional = b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0) if edns else b""
    return struct.pack("!HHHHHH", 0x1D5, flags, questions, 0, 0, int(edns)) + dns_name(name) + struct.pack("!HH", kind, cls) + additional


def http(request_line: str, agent: str = "Mozilla/5.0", host: str = "shop.example") -> bytes:
    return f"{request_line}\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\r\n".encode()


def client_hello(version: int, server_name: str | None = "shop.example", *, share: int = 0) -> bytes:
    """A TLS ClientHello (RFC 8446 section 4.1.2) with a server name, its version field as given; with a key share of so many bytes
    before the name, 1,184 being one of ML-KEM-768."""
    extensions = b""
    if share:
        entry = struct.pack("!HH", 0x11EC, share) + b"\x5a" * share
        extensions += struct.pack("!HHH", 51, len(entry) + 2, len(entry)) + entry
    if server_name is not None:
        name = server_name.encode()
        extensions += struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    body = (
        struct.pack("!H", version)
        + bytes(range(32))
        + b"\0"
        + struct.pack("!HH", 2, 0x1301)
        + b"\x01\0"
        + struct.pack("!H", len(extensions))
        + extensions
    )
    handshake = b"\x01" + struct.pack("!I", len(body))[1:] + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def quic_initial() -> bytes:
    """An Initial packet of QUIC version 1 (RFC 9000 section 17.2.2), its payload filling."""
    return b"\xc3\x00\x00\x00\x01\x08mantlet!\x00\x00" + struct.pack("!H", 0x4000 | 1180) + b"\x5a" * 1180


def sip(first_line: str, agent: str = "Linphone/5.2", body: str = "", sender: str = "") -> bytes:
    """A SIP message (RFC 3261 section 7), with the headers that a scanner fills in too; `sender` is From's display name."""
    headers = (
        f"Via: SIP/2.0/UDP 198.51.100.20:5060;branch=z9hG4bK776\r\nMax-Forwards: 70\r\nFrom: {sender}<sip:anna@voice.example>;tag=19\r\n"
        "To: <sip:bela@voice.example>\r\nCall-ID: a84b4c76e66710\r\nCSeq: 1 X\r\n"
        f"User-Agent: {agent}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return f"{first_line}\r\n{headers}{body}".encode()


def rtp(sequence: int) -> bytes:
    """An RTP packet (RFC 3550 section 5.1): version 2, PCMU."""
    return struct.pack("!BBHII", 0x80, 0, sequence, sequence * 160, 0x4D414E54) + b"\xff" * 160


def ike(version: int, exchange: int) -> bytes:
    """An ISAKMP header (RFC 7296 section 3.1) and nothing after it but filling."""
    return struct.pack("!QQBBBBII", 0x1122334455667788, 0, 33, version, exchange, 8, 0, 60) + b"\0" * 32


def ber(tag: int, *contents: bytes) -> bytes:
    """An element in BER (X.690), its length below 128 in the short form, else in 4 bytes as Active Directory writes it."""
    body = b"".join(contents)
    return bytes([tag]) + (bytes([len(body)]) if len(body) < 128 else b"\x84" + struct.pack("!I", len(body))) + body


def cldap(*operations: bytes) -> bytes:
    """Messages of LDAP (RFC 4511 section 4) in one datagram."""
    return b"".join(ber(0x30, ber(2, b"\x01"), operation) for operation in operations)


def snmp(kind: int) -> bytes:
    """An SNMP message of version 2c (RFC 1901) with the community `public` and a PDU of that tag, which asks for everything."""
    numbers = (ber(2, b"\x01"), ber(2, b"\x00"), ber(2, b"\x0a" if kind == 0xA5 else b"\x00"))
    variable = ber(0x30, ber(6, b"\x2b\x06\x01\x02\x01"), ber(5))
    return ber(0x30, ber(2, b"\x01"), ber(4, b"public"), ber(kind, *numbers, ber(0x30, variable)))


# -- the captures ------------------------------------------------------------------------------------------------------


def web_server() -> Iterable[bytes]:
    web, web6 = "203.0.113.10", "2001:db8:80::10"
    visitor, visitor6, office, office6 = "192.0.2.77", "2001:db8:77::1", "198.51.100.7", "2001:db8:10::7"
    yield tcp(visitor, 50000, web, 80, SYN, mss=1460)  # 1
    yield tcp(visitor, 50000, web, 80, PSH | ACK, http("GET / HTTP/1.1"))
    yield tcp(visitor6, 50001, web6, 443, SYN, mss=1440)
    yield tcp(visitor6, 50001, web6, 443, PSH | ACK, client_hello(0x0303))
    yield tcp(visitor, 50002, web, 443, PSH | ACK, client_hello(0x0301))  # 5: TLS 1.0
    yield tcp(visitor6, 50003, web6, 443, PSH | ACK, client_hello(0x0300))  # SSL 3
    yield tcp(visitor, 50004, web, 443, PSH | ACK, http("GET / HTTP/1.1"))
    yield tcp(office, 40000, web, 22, SYN, mss=1460)
    yield tcp(office6, 40000, web6, 8080, SYN, mss=1440)
    yield tcp("192.0.2.66", 40001, web, 443, SYN, mss=1460)  # 10: a listed source
    yield tcp("2001:db8:bad::1", 40001, web6, 443, SYN, mss=1440)
    yield tcp("127.0.0.53", 40002, web, 80, SYN, mss=1460)  # spoofed
    yield tcp("fc00::1", 40002, web6, 80, SYN, mss=1440)
    yield udp(visitor, 1900, web, 443, b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\n\r\n")  # reflected
    yield udp(visitor, 50005, web, 443, b"\xc3\x00\x00\x00\x01\x08" + b"\x5a" * 40)  # 15: QUIC
    yield tcp(visitor, 50006, web, 80, FIN | PSH | URG)  # Xmas scan
    yield tcp(visitor6, 50006, web6, 80, 0)  # null scan
    yield tcp(visitor, 50007, web, 80, SYN | FIN)
    yield tcp(visitor, 50008, web, 443, SYN, mss=48)  # the SACK Panic kind of MSS
    first, later = fragments(b"\xc3\x50\x00\x50" + b"\0" * 28, visitor, web, TCP, 16)
    yield first  # 20: TCP in fragments, the ports in the first
    yield later
    yield tcp(visitor, 50009, web, 80, PSH | ACK, http("GET /?id=1%20OR%201=1 HTTP/1.1", "sqlmap/1.8#stable (https://sqlmap.org)"))
    yield tcp(visitor6, 50009, web6, 80, PSH | ACK, http("GET / HTTP/1.1", "Mozilla/5.00 (Nikto/2.5.0)"))
    yield tcp(visitor, 50010, web, 80, PSH | ACK, http("GET /images/../../etc/passwd HTTP/1.1"))
    yield tcp(visitor, 50011, web, 80, PSH | ACK, http("POST /wp-login.php HTTP/1.1"))  # 25
    yield tcp(visitor, 50012, web, 22, SYN, mss=1460)
    yield tcp(visitor, 50013, web, 3306, SYN, mss=1460)
    yield icmp(visitor, web, 8)
    yield icmp(visitor6, web6, 128)
    yield icmp(visitor, web, 13)  # 30: a timestamp request, which nobody needs
    yield tcp("192.0.2.99", 443, web, 50014, ACK, b"\x17\x03\x03\x00\x05hello")  # an answer to our own call
    yield tcp(visitor, 50015, web, 80, PSH | ACK, http("HEAD /sitemap.xml HTTP/1.1"))
    yield udp(visitor, 50016, "192.0.2.200", 9, b"elsewhere")  # not to a protected address
    yield tcp(visitor, 50017, web, 80, PSH | ACK, http("GET /item?id=7%20UniOn%20%20all+SELECT+name HTTP/1.1"))
    yield tcp(visitor6, 50017, web6, 80, PSH | ACK, http("GET /union-selection.html HTTP/1.1"))  # 35: an honest page


def sip_provider() -> Iterable[bytes]:
    proxy, proxy6, media = "203.0.113.60", "2001:db8:60::60", "203.0.113.61"
    trunk, trunk6, phone, phone6, attacker = "198.51.100.20", "2001:db8:20::1", "192.0.2.31", "2001:db8:31::1", "192.0.2.250"
    yield udp(trunk, 5060, proxy, 5060, sip("INVITE sip:bela@voice.example SIP/2.0", "Carrier SBC"))  # 1
    yield udp(trunk6, 5060, proxy6, 5060, sip("SIP/2.0 200 OK", "Carrier SBC"))
    yield udp(trunk, 5060, proxy, 5060, b"")
    yield udp(phone, 5060, proxy, 5060, sip("REGISTER sip:voice.example SIP/2.0"))
    yield udp(phone6, 5060, proxy6, 5060, sip("REGISTER sip:voice.example SIP/2.0"))  # 5
    yield tcp(phone, 40100, proxy, 5060, PSH | ACK, sip("REGISTER sip:voice.example SIP/2.0"))
    yield udp(attacker, 5061, proxy, 5060, sip("OPTIONS sip:100@203.0.113.60 SIP/2.0", "friendly-scanner"))
    yield udp(attacker, 5062, proxy, 5060, sip("REGISTER sip:voice.example SIP/2.0", "sipcli/v1.8"))
    yield tcp(attacker, 40101, proxy, 5060, PSH | ACK, sip("OPTIONS sip:voice.example SIP/2.0", "VaxSIPUserAgent/3.1"))
    yield udp(attacker, 5063, proxy, 5060, sip("OPTIONS sip:100@203.0.113.60 SIP/2.0", "Asterisk PBX"))  # 10: no telltale agent
    yield udp(attacker, 5064, proxy, 5060, sip("INVITE sip:900441632960001@voice.example SIP/2.0"))  # premium numbers
    yield udp(attacker, 5065, proxy, 5060, sip("invite sip:+8835100@voice.example SIP/2.0"))
    yield udp(phone, 5060, proxy, 5060, sip("INVITE sip:00441632960002@voice.example SIP/2.0"))
    yield udp(phone, 5060, proxy, 5060, b"\r\n\r\n")  # a keep-alive (RFC 5626)
    yield udp(attacker, 5066, proxy, 5060, b"GET / HTTP/1.1\r\n\r\n")  # 15: not SIP
    yield udp(attacker, 5067, proxy, 5060, bytes(64))
    yield udp(phone, 30000, media, 10000, rtp(1))
    yield udp(phone6, 30002, proxy6, 19998, rtp(2))
    yield udp(attacker, 30004, media, 10002, b"\x00" * 172)  # not RTP: version 0
    yield udp(attacker, 30006, media, 20002, rtp(3))  # 20: above the media ports
    yield udp(attacker, 5068, proxy, 5060, sip("INVITE sip:bela@voice.example SIP/2.0", body="v=0\r\n" + "a=x\r\n" * 300))
    yield tcp(phone, 40102, proxy, 5061, SYN, mss=1460)
    yield tcp(attacker, 40103, proxy, 23, SYN, mss=1460)
    yield icmp(phone, proxy, 8)
    yield udp(phone, 5060, proxy, 5060, sip("BYE sip:bela@voice.example SIP/2.0"))  # 25
    yield udp(attacker, 5069, proxy, 5060, sip("OPTIONS sip:voice.example SIP/2.0", "PBX", sender='"sipvicious"'))


def dns_resolver() -> Iterable[bytes]:
    resolver, resolver6 = "203.0.113.53", "2001:db8:53::53"
    client, client6, stranger = "198.51.100.9", "2001:db8:10::9", "192.0.2.200"
    authority, authority6 = "192.0.2.4", "2001:db8:4::4"
    yield udp(client, 40001, resolver, 53, dns("www.example.com"))  # 1
    yield udp(client6, 40001, resolver6, 53, dns("www.example.com", 28, edns=True))
    yield udp(client, 40002, resolver, 53, dns("example.com", 255))  # ANY
    yield udp(client6, 40002, resolver6, 53, dns("example.com", 255, edns=True))
    yield udp(client, 40003, resolver, 53, dns("version.bind", 16, cls=3))  # 5
    yield udp(client, 40004, resolver, 53, dns("VERSION.BIND", 16, cls=3))
    yield udp(client, 40005, resolver, 53, dns("aGVsbG8gd29ybGQ.tunnel.example"))
    yield udp(client6, 40005, resolver6, 53, dns("c2VjcmV0.exfil.example"))
    yield udp(client, 40006, resolver, 53, dns("tunnel.examples.org"))
    yield udp(stranger, 40007, resolver, 53, dns("www.example.com"))  # 10: an open resolver would answer
    yield udp(stranger, 53, resolver, 53, dns("www.example.com", answer=True))  # an answer, to the query port
    yield udp(authority, 53, resolver, 50053, dns("www.example.com", answer=True))
    yield udp(authority6, 53, resolver6, 50053, dns("www.example.com", 28, answer=True))
    yield udp(authority, 53, resolver, 50054, dns("www.example.com"))  # a query in an answer's place
    yield udp(client, 40008, resolver, 53, dns("www.example.com", opcode=5))  # 15: a dynamic update
    yield udp(client, 40009, resolver, 53, dns("www.example.com", questions=2))
    yield udp(client, 40010, resolver, 53, b"\x00\x01\x01\x00")  # too short
    yield tcp(client, 40011, resolver, 53, SYN, mss=1460)
    yield tcp(client, 40011, resolver, 53, PSH | ACK, b"\x00\x1d" + dns("example.com", 252))  # a zone transfer
    yield tcp(client6, 40012, resolver6, 53, PSH | ACK, b"\x00\x1d" + dns("example.com", 251))  # 20: an incremental one
    yield tcp(client, 40013, resolver, 53, PSH | ACK, b"\x00\x1d" + dns("example.com", 1))
    yield tcp(client, 40014, resolver, 853, SYN, mss=1460)
    yield tcp(stranger, 40015, resolver, 853, SYN, mss=1460)
    datagram = udp_datagram(authority, 53, resolver, 50055, dns("big.example", 16, answer=True) + b"\x5a" * 99)
    first, later = fragments(datagram, authority, resolver, UDP, 64)
    yield first
    yield later  # 25
    datagram = udp_datagram(authority6, 53, resolver6, 50055, dns("big.example", 16, answer=True) + b"\x5a" * 99)
    yield from fragments(datagram, authority6, resolver6, UDP, 64)
    yield icmp(client, resolver, 8)
    yield icmp(authority6, resolver6, 2, rest=struct.pack("!I", 1280) + bytes(48))  # packet too big
    yield tcp(stranger, 40016, resolver, 22, SYN, mss=1460)  # 30


def game_server() -> Iterable[bytes]:
    game, game6, admin = "203.0.113.27", "2001:db8:27::27", "198.51.100.5"
    info = b"\xff\xff\xff\xffTSource Engine Query\0"
    monlist = b"\xd7\x00\x03\x2a" + struct.pack("!HH", 6, 72) + bytes(72)
    bots = [f"192.0.2.{host}" for host in range(100, 108)]
    yield udp("192.0.2.11", 27005, game, 27015, b"\x2a\x00\x00\x00\x11\x00\x00\x00move")  # 1: players
    yield udp("2001:db8:11::1", 27005, game6, 27015, b"\x2b\x00\x00\x00\x11\x00\x00\x00move")
    yield udp("192.0.2.12", 50001, game, 27015, info)
    yield udp("192.0.2.12", 50001, game, 27015, info + b"\x0b\x16\x21\x2c")  # with the challenge
    yield tcp(admin, 50002, game, 27015, SYN, mss=1460)  # 5: RCON from the office
    for turn, bot in enumerate(bots):  # 6 to 45: five kinds of flood, eight bots each
        yield udp(bot, 123, game, 27015, monlist)
        yield udp(bot, 11211, game, 27015, b"\x00\x01\x00\x00\x00\x01\x00\x00VALUE a 0 1024\r\n" + b"a" * 80)
        yield udp(bot, 1900, game, 27015, b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n\r\n")
        yield udp(bot, 40000 + turn, game, 27015, b"\xff\xff\xff\xffTSource")
        yield udp(bot, 40000 + turn, game, 27016, b"\0")
        if turn % 3 == 0:
            yield udp("192.0.2.11", 27005, game, 27015, b"\x2a\x00\x00\x00\x12\x00\x00\x00shot")  # a player amid it
    yield udp("192.0.2.13", 53, game, 27015, dns("big.example", 255, answer=True))
    yield udp("192.0.2.13", 123, game, 27015, b"\x24\x01\x00\xe9" + bytes(44))  # an NTP answer of the plain kind
    yield udp("192.0.2.14", 50003, game, 27015, b"\xff\xff\xff\xffgetstatus\n")
    yield udp("192.0.2.14", 50004, game, 27015, b"\xff\xff\xff\xffU\xff\xff\xff\xff")
    datagram = udp_datagram("192.0.2.15", 50005, game, 27015, b"\x5a" * 64)
    yield from fragments(datagram, "192.0.2.15", game, UDP, 40)
    yield ip("192.0.2.16", game, GRE, b"\x00\x00\x08\x00" + bytes(24))
    yield tcp("192.0.2.17", 50006, game, 27015, SYN, b"x" * 100)  # a SYN with data
    yield tcp("192.0.2.18", 50007, game, 27015, SYN, mss=1460)
    yield udp("192.0.2.19", 50008, game, 27015, b"\x99" * 32, ttl=250)
    yield udp("192.0.2.19", 50008, game, 80, b"\x99" * 32)
    yield icmp("192.0.2.11", game, 8)
    yield icmp("2001:db8:11::1", game6, 128)


def vpn_edge() -> Iterable[bytes]:
    edge, edge6 = "203.0.113.200", "2001:db8:200::1"
    roamer, roamer6, branch, stranger = "192.0.2.41", "2001:db8:41::1", "198.51.100.44", "192.0.2.240"
    initiation = b"\x01\0\0\0" + bytes(144)
    yield udp(roamer, 40001, edge, 51820, initiation)  # 1
    yield udp(roamer6, 40001, edge6, 51820, initiation)
    yield udp(roamer, 40001, edge, 51820, b"\x04\0\0\0" + bytes(60))
    yield udp(roamer, 40001, edge, 51820, b"\x04\0\0\0" + bytes(28))  # a keep-alive: 32 bytes
    yield udp(stranger, 40002, edge, 51820, b"\x01\0\0\0" + bytes(100))  # 5: an initiation has 148 bytes
    yield udp(stranger, 40002, edge, 51820, b"\x09\0\0\0" + bytes(144))
    yield udp(stranger, 40002, edge, 51820, b"")
    yield udp(roamer, 500, edge, 500, ike(0x20, 34))
    yield udp(roamer6, 500, edge6, 500, ike(0x20, 34))
    yield udp(stranger, 500, edge, 500, ike(0x10, 4))  # 10: IKEv1, aggressive mode
    yield udp(stranger, 500, edge, 500, ike(0x10, 2))
    yield udp(stranger, 500, edge, 500, b"\x00" * 12)  # too short for IKE
    yield udp(roamer, 4500, edge, 4500, b"\0\0\0\0" + ike(0x20, 35))
    yield udp(roamer, 4500, edge, 4500, b"\xff")  # NAT keep-alive
    yield udp(roamer, 4500, edge, 4500, b"\xc0\xff\xee\x01\x00\x00\x00\x01" + bytes(40))  # 15: ESP in UDP
    yield udp(stranger, 4500, edge, 4500, b"\x00\x01")
    yield ip(roamer, edge, ESP, struct.pack("!II", 0xC0FFEE01, 1) + bytes(40))
    yield ip(roamer6, edge6, ESP, struct.pack("!II", 0xC0FFEE02, 1) + bytes(40))
    yield ip(stranger, edge, ESP, struct.pack("!II", 7, 1) + bytes(40))  # a reserved SPI
    yield ip(branch, edge, GRE, b"\x00\x00\x08\x00" + tcp("10.1.0.1", 1, "10.2.0.1", 80, SYN))  # 20
    yield ip(stranger, edge, GRE, b"\x00\x00\x08\x00" + tcp("10.1.0.1", 1, "10.2.0.1", 80, SYN))
    yield ip(branch, edge, GRE, b"\x30\x01\x88\x0b" + bytes(16))  # PPTP's GRE
    yield tcp(stranger, 40003, edge, 1723, SYN, mss=1460)
    yield ip(stranger, edge, ICMP, b"\x08\x00\xf7\xff\x00\x00\x00\x00", options=b"\x83\x07\x04\xc0\x00\x02\x01\x00")  # loose source route
    routing = struct.pack("!BBBI", 2, 0, 1, 0) + ipaddress.IPv6Address("2001:db8::99").packed
    yield ip(roamer6, edge6, UDP, udp_datagram(roamer6, 1, edge6, 51820, initiation), extensions=((ROUTING, routing),))  # 25
    yield ip(roamer6, edge6, UDP, udp_datagram(roamer6, 2, edge6, 51820, initiation), extensions=((DESTINATION, b"\x00\x01\x04\0\0\0\0"),))
    yield tcp(roamer, 40004, edge, 443, PSH | ACK, client_hello(0x0303, "vpn.example"))
    yield tcp(stranger, 40005, edge, 443, PSH | ACK, client_hello(0x0303, "203.0.113.200"))
    yield tcp(roamer, 40004, edge, 443, SYN, mss=1460)
    yield tcp(stranger, 40006, edge, 8443, SYN, mss=1460)  # 30
    yield icmp(roamer, edge, 3, 4, struct.pack("!HH", 0, 1400) + bytes(28))  # fragmentation needed
    yield icmp(roamer6, edge6, 2, rest=struct.pack("!I", 1280) + bytes(48))
    yield icmp(stranger, edge, 5)  # a redirect
    yield udp(branch, 51820, edge, 51820, b"\x02\0\0\0" + bytes(88))  # an answer to our own initiation


def cloudflare() -> Iterable[bytes]:
    endpoint, router, web, other = "203.0.113.20", "203.0.113.1", "203.0.113.80", "203.0.113.99"
    plain, us, brazil, france, anonymizer, cdn = (
        "192.0.2.1",
        "198.51.100.10",
        "198.51.100.70",
        "198.51.100.140",
        "192.0.2.129",
        "173.245.48.9",
    )
    # to the endpoints
    yield tcp(plain, 443, endpoint, 40000, ACK)
    yield tcp(plain, 443, endpoint, 40000, SYN | ACK)
    yield tcp(plain, 50000, endpoint, 40000, SYN)
    yield tcp(plain, 50000, endpoint, 22, ACK)
    yield udp(plain, 443, endpoint, 40000, b"answer")
    yield udp(plain, 50000, endpoint, 1000, b"unasked")
    yield icmp(plain, endpoint, 0)
    yield icmp(plain, endpoint, 8)
    yield icmp(plain, endpoint, 11)
    # to the routers
    yield icmp(plain, router, 8)
    yield icmp(plain, router, 5)
    yield icmp(plain, router, 3, 1)
    # to the web servers
    yield tcp(plain, 40000, web, 443, SYN)
    yield tcp(plain, 40000, web, 443, SYN | ACK)
    yield tcp(plain, 1000, web, 80, SYN)
    yield tcp(cdn, 1000, web, 80, SYN)
    yield tcp(cdn, 1000, web, 80, SYN | ACK)
    yield udp(plain, 53, web, 5000, dns("www.example", answer=True))
    yield udp(plain, 53, web, 500, dns("www.example", answer=True))
    # to others
    yield udp(plain, 1900, other, 5000, b"HTTP/1.1 200 OK\r\n\r\n")
    yield udp(plain, 0, other, 5000, b"x")
    yield udp(plain, 5000, other, 5001, b"x")
    yield tcp(plain, 21, other, 5000, ACK)
    yield tcp(plain, 3306, other, 5000, ACK)
    yield tcp(plain, 80, other, 5000, ACK)
    yield tcp(plain, 5000, other, 8080, SYN)
    yield tcp(plain, 5000, other, 0, SYN)
    yield ip(plain, other, 88, bytes(20))  # EIGRP
    yield ip("2001:db8::1", "2001:db8:99::1", UDP, udp_datagram("2001:db8::1", 9, "2001:db8:99::1", 9, b"x"),
             extensions=((HOP_BY_HOP, b"\x00\x05\x02\0\0\x01\0"),))  # fmt: skip
    yield ip(plain, other, 0, bytes(20))  # IPv4 with protocol 0, "hopopt"
    yield ip(plain, other, GRE, b"\0\0\x08\0" + bytes(20))
    yield ip(plain, other, ESP, struct.pack("!II", 300, 1) + bytes(20))
    yield tcp(us, 5000, other, 5001, SYN)
    yield tcp(brazil, 5000, other, 5001, SYN)
    yield tcp(france, 5000, other, 5001, SYN)
    yield tcp(plain, 5000, france, 5001, SYN)
    yield tcp(anonymizer, 5000, other, 5001, SYN)
    yield tcp("2001:db8:10::1", 5000, "2001:db8:99::1", 5001, SYN)
    yield tcp("fe80::1", 5000, "2001:db8:99::1", 5001, SYN)
    yield udp(plain, 5060, other, 5060, sip("REGISTER sip:voice.example SIP/2.0"))
    yield udp(plain, 5060, other, 5060, b"not sip")
    yield tcp(plain, 5060, other, 5060, PSH | ACK, sip("SIP/2.0 200 OK"))


def amplification() -> Iterable[bytes]:
    web, web6, resolver, resolver6, clock = "203.0.113.80", "2001:db8:71::80", "203.0.113.53", "2001:db8:71::53", "203.0.113.123"
    victim, victim6, open_server, open_server6 = "192.0.2.66", "2001:db8:66::1", "198.51.100.11", "2001:db8:11::1"
    frame = b"\x00\x01\x00\x00\x00\x01\x00\x00"
    search = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'
    ask = ber(4) + ber(10, b"\x00") + ber(10, b"\x00") + ber(2, b"\x00") * 2 + ber(1, b"\x00") + ber(0x87, b"objectclass") + ber(0x30)
    entry = ber(0x64, ber(4), ber(0x30, ber(0x30, ber(4, b"supportedCapabilities"), ber(0x31, ber(4, b"1.2.840.113556.1.4.800") * 9))))
    # questions, with the victim's address as their source
    yield udp(victim, 4444, resolver, 53, dns("big.example", 255, edns=True))  # 1
    yield udp(victim6, 4444, resolver6, 53, dns("big.example", 255, edns=True))
    yield udp(victim, 80, clock, 123, b"\x17\x00\x03\x2a\x00\x00\x00\x00")
    yield udp(victim, 80, clock, 123, b"\x16\x02\x00\x01" + bytes(8))
    yield udp(victim, 80, web, 1900, search)  # 5
    yield udp(victim, 80, web, 389, cldap(ber(0x63, ask)))
    yield udp(victim6, 80, web6, 3389, cldap(ber(0x63, ask)))
    yield udp(victim, 80, web, 161, snmp(0xA5))
    yield udp(victim, 80, web, 69, b"\x00\x01startup-config\x00octet\x00")
    yield udp(victim, 80, web, 11211, frame + b"stats\r\n")  # 10
    yield udp(victim6, 80, web6, 11211, frame + struct.pack("!BBHBBHIIQ", 0x80, 0x10, 0, 0, 0, 0, 0, 0, 0))
    yield udp(victim, 80, web, 19, b"\x00")
    # answers that nobody asked for
    yield udp(open_server, 53, web, 80, dns("big.example", 255, answer=True, edns=True))
    yield udp(open_server6, 53, web6, 80, dns("big.example", 16, answer=True))
    yield udp(open_server, 123, web, 80, b"\xd7\x00\x03\x2a" + struct.pack("!HH", 6, 72) + bytes(432))  # 15
    yield udp(open_server, 123, web, 80, b"\x16\x82\x00\x01\x06\x15\x00\x00\x00\x00\x00\x14" + b'version="ntpd 4.2.8"')
    yield udp(open_server, 123, web, 80, b"\x24\x01\x03\xe9" + bytes(44))
    yield udp(open_server, 1900, web, 80, b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nSERVER: Linux UPnP/1.0\r\n\r\n")
    yield udp(open_server, 389, web, 80, cldap(entry, ber(0x65, ber(10, b"\x00"), ber(4), ber(4))))
    yield udp(open_server6, 389, web6, 80, cldap(ber(0x65, ber(10, b"\x00"), ber(4), ber(4))))  # 20
    yield udp(open_server, 11211, web, 80, b"\x00\x01\x00\x00\x02\xbc\x00\x00VALUE a 0 1048576\r\n" + b"a" * 300)
    yield udp(open_server, 19, web, 80, bytes(range(32, 106)))
    first, later = fragments(udp_datagram(open_server, 389, web, 80, cldap(entry) + bytes(800)), open_server, web, UDP, 600)
    yield first
    yield later
    # honest traffic
    yield udp("192.0.2.10", 40000, resolver, 53, dns("www.example"))  # 25
    yield udp("2001:db8:10::1", 40000, resolver6, 53, dns("www.example", 28))
    yield udp("198.51.100.53", 53, resolver, 40001, dns("www.example", answer=True))
    yield udp("192.0.2.10", 40002, clock, 123, b"\x23" + bytes(47))
    yield udp("198.51.100.123", 123, clock, 123, b"\x24\x01\x06\xe9" + bytes(44))
    yield udp("192.0.2.10", 40003, web, 161, snmp(0xA0))  # 30
    yield tcp("192.0.2.10", 40004, web, 11211, PSH | ACK, b"stats\r\n")
    yield udp("192.0.2.10", 40005, web, 443, b"\xc3\x00\x00\x00\x01\x08" + b"\x5a" * 40)


def tls_egress() -> Iterable[bytes]:
    desk, desk6, server, server6 = "203.0.113.7", "2001:db8:113::7", "198.51.100.80", "2001:db8:80::80"
    resolver, resolver6 = "203.0.113.53", "2001:db8:113::53"

    def hello(name: str | None, version: int = 0x0303, port: int = 443) -> bytes:
        return tcp(desk, 50000, server, port, PSH | ACK, client_hello(version, name))

    yield tcp(desk, 50000, server, 443, SYN, mss=1460)  # 1
    yield hello("corp.example")
    yield tcp(desk6, 50001, server6, 443, PSH | ACK, client_hello(0x0303, "Mail.Corp.Example"))
    yield hello("api.partner.example")
    yield hello("deb.debian.example")  # 5
    yield hello("notcorp.example")  # no subdomain
    yield hello("api.partner.example.attacker.example")
    yield tcp(desk6, 50002, server6, 443, PSH | ACK, client_hello(0x0303, "video.example"))
    yield hello(None)
    long = client_hello(0x0303, "www.corp.example", share=1184)
    yield tcp(desk, 50003, server, 443, ACK, long[:1200])  # 10: the name is in the next segment
    yield tcp(desk, 50003, server, 443, PSH | ACK, long[1200:])
    padded = client_hello(0x0303, "www.corp.example")
    yield tcp(desk6, 50004, server6, 443, ACK, padded[:3] + b"\x07\x00\x01\x00\x06\xfc" + padded[9:])  # the name, and more to come
    yield hello("www.corp.example", 0x0301)  # TLS 1.0
    yield hello("www.corp.example", port=8443)
    yield tcp(desk, 50005, server, 443, PSH | ACK, b"\x17\x03\x03\x00\x20" + b"\x5a" * 32)  # 15: application data
    yield tcp(desk, 50005, server, 443, PSH | ACK, b"\x5a" * 1400)  # the middle of a record
    yield tcp(desk, 50006, server, 443, PSH | ACK, b"\x16")  # one byte of a ClientHello
    yield udp(desk, 50007, server, 443, quic_initial())
    yield udp(desk6, 50007, server6, 8443, quic_initial())
    yield udp(desk, 50007, server, 443, b"\x43mantlet!" + b"\x5a" * 40)  # 20: QUIC under way
    yield tcp(desk, 50008, server, 443, PSH | ACK, http("GET / HTTP/1.1"))
    yield tcp(desk6, 50008, server6, 443, PSH | ACK, http("CONNECT video.example:443 HTTP/1.1"))
    yield tcp(desk, 50009, server, 443, PSH | ACK, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")
    yield udp(desk, 50010, resolver, 53, dns("www.corp.example"))
    yield udp(desk6, 50010, resolver6, 53, dns("www.corp.example", 28, edns=True))  # 25
    yield udp(desk, 50010, server, 53, dns("www.corp.example"))  # somebody else's resolver
    yield udp(desk, 50010, resolver, 53, b"\x5a" * 40)  # not DNS
    yield tcp(desk, 50011, server, 853, SYN, mss=1460)  # DNS over TLS
    yield tcp(desk, 50012, server, 80, SYN, mss=1460)
    yield icmp(desk, server, 8)  # 30
    yield icmp(desk6, server6, 128)


def early_drop() -> Iterable[bytes]:
    shop, shop6 = "203.0.113.80", "2001:db8:80::80"
    client, client6 = "192.0.2.10", "2001:db8:10::10"
    yield tcp("198.51.100.7", 50001, shop, 443, SYN, mss=1460)
    yield icmp("2001:db8:bad::7", shop6, 128)
    yield tcp("198.51.100.8", 50002, shop, 443, SYN, mss=1460)
    yield udp("2001:db8:bad::8", 50003, shop6, 443, quic_initial())
    yield udp(client, 123, shop, 40000, b"\xd7\x00\x03\x2a" + bytes(436))
    yield udp(client6, 11211, shop6, 40001, bytes(1000))
    yield tcp(client, 50004, shop, 80, SYN, mss=1460)
    yield tcp(client6, 50005, shop6, 443, SYN, mss=1440)
    yield udp(client, 50006, shop, 443, quic_initial())
    yield udp(client, 50007, shop, 443, b"no QUIC")  # 10
    yield icmp(client, shop, 3, 4, struct.pack("!HH", 0, 1400) + udp(shop, 443, client, 50006, bytes(8)))
    yield icmp(client6, shop6, 2, 0, struct.pack("!I", 1280) + udp(shop6, 443, client6, 50006, bytes(8)))
    yield tcp(client, 50008, shop, 22, SYN, mss=1460)
    yield icmp(client, shop, 8)


CAPTURES: dict[str, Callable[[], Iterable[bytes]]] = {
    "web-server": web_server,
    "sip-provider": sip_provider,
    "dns-resolver": dns_resolver,
    "game-server": game_server,
    "vpn-edge": vpn_edge,
    "cloudflare": cloudflare,
    "amplification": amplification,
    "tls-egress": tls_egress,
    "early-drop": early_drop,
}
"""The rule file's name without its ending, and its packets in order."""


def main(folder: Path) -> None:
    for name, packets in CAPTURES.items():
        write_pcap(folder / f"{name}.pcap", packets())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
