"""DNS: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

_ANY = "(dns or mdns or llmnr)"
"""Wireshark has one dissector for the three, and fields of one name."""


def _dns(test: str = _ANY) -> str:
    """The outermost packet carries DNS."""
    return f"(({under('udp:(?:dns|mdns|llmnr)')} or {under('tcp:dns')}) and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("dns", _dns()),
    ("dns.id == 0", _dns("dns.id == 0")),
    ("dns.id > 0x8000", _dns("dns.id > 0x8000")),
    ("dns.qr", _dns("dns.flags.response == 1")),
    ("dns and not dns.qr", _dns("dns.flags.response == 0")),
    ("dns.opcode == 0", _dns("dns.flags.opcode == 0")),
    ('dns.opcode in {"STATUS" "NOTIFY" "UPDATE"}', _dns("dns.flags.opcode in {2, 4, 5}")),
    ("dns.rcode == 0", _dns("dns.flags.rcode == 0")),
    ('dns.rcode == "NXDOMAIN"', _dns("dns.flags.rcode == 3")),
    ("dns.rcode > 0", _dns("dns.flags.rcode > 0")),
    ("dns.aa", _dns("dns.flags.authoritative == 1")),
    ("dns.tc", _dns("dns.flags.truncated == 1")),
    ("dns.rd", _dns("dns.flags.recdesired == 1")),
    ("dns.ra", _dns("dns.flags.recavail == 1")),
    ("dns.ad", _dns("dns.flags.authenticated == 1")),
    ("dns.cd", _dns("dns.flags.checkdisable == 1")),
    ("dns.count.queries == 1", _dns("dns.count.queries == 1")),
    ("dns.count.queries in {0 2..65535}", _dns("(dns.count.queries == 0 or dns.count.queries > 1)")),
    ("dns.count.answers > 1", _dns("dns.count.answers > 1")),
    ("dns.count.auth_rr > 0", _dns("dns.count.auth_rr > 0")),
    ("dns.count.add_rr > 0", _dns("dns.count.add_rr > 0")),
    ("dns.count.zones > 0", _dns("dns.count.zones > 0")),
    ("dns.count.prerequisites >= 0", _dns("dns.count.prerequisites >= 0")),
    ("dns.count.updates >= 0", _dns("dns.count.updates >= 0")),
    ('dns.qry.name contains "google"', _dns('lower(dns.qry.name) contains "google"')),
    ('dns.qry.name == "www.facebook.com"', _dns('lower(dns.qry.name) == "www.facebook.com"')),
    ('dns.qry.name matches "^[a-z0-9-]+[.](?:com|org)$"', _dns('lower(dns.qry.name) matches "^[a-z0-9-]+[.](?:com|org)$"')),
    ('dns.qry.name wildcard "*.local"', _dns('lower(dns.qry.name) matches "[.]local$"')),
    ("dns.qry.name.len > 40", _dns("dns.qry.name.len > 40")),
    ("dns.qry.name.len < 12", _dns("dns.qry.name.len < 12")),
    ("dns.count.labels > 4", _dns("dns.count.labels > 4")),
    ("dns.count.labels == 2", _dns("dns.count.labels == 2")),
    ("dns.qry.type == 1", _dns("dns.qry.type == 1")),
    ('dns.qry.type in {"TXT" "NULL" "ANY"}', _dns("dns.qry.type in {16, 10, 255}")),
    ('dns.qry.type == "AAAA"', _dns("dns.qry.type == 28")),
    ("dns.qry.class == 1", _dns("dns.qry.class == 1")),
    ("dns.qry.class > 1", _dns("dns.qry.class > 1")),
    ('dns.resp.name contains "google"', _dns('lower(dns.resp.name) contains "google"')),
    ('dns.resp.name matches "[.]com$"', _dns('lower(dns.resp.name) matches "[.]com$"')),
    ("dns.resp.type == 5", _dns("dns.resp.type == 5")),
    ("dns.resp.type == 16", _dns("dns.resp.type == 16")),
    ("dns.resp.type in {41 46}", _dns("dns.resp.type in {41, 46}")),
    ("dns.resp.class == 1", _dns("dns.resp.class == 1")),
    ("dns.resp.class > 1", _dns("dns.resp.class > 1")),
    ("dns.resp.ttl < 60", _dns("dns.resp.ttl < 60")),
    ("dns.resp.ttl > 86400", _dns("dns.resp.ttl > 86400")),
    ("dns.edns", _dns("dns.resp.type == 41")),
    ("dns.edns.payload_size >= 4096", _dns("dns.rr.udp_payload_size >= 4096")),
    ("dns.edns.payload_size < 1232", _dns("dns.rr.udp_payload_size < 1232")),
    ("dns.edns.version == 0", _dns("dns.resp.edns0_version == 0")),
    ("dns.edns.do", _dns("dns.resp.z.do == 1")),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "DNS on other ports", ("dns",),
        mantlet="dns and not (udp.srcport in {53 5353 5355} or udp.dstport in {53 5353 5355} or tcp.srcport in {53 5353} "
        "or tcp.dstport in {53 5353})",
    ),
    Difference(
        "What is on DNS's ports and is no DNS", ("dns",),
        wireshark="(dns or mdns or llmnr) and (_ws.malformed or dns.flags.opcode == 3 or dns.flags.opcode > 5 "
        'or (dns.qry.type in {32, 33} and dns.qry.name matches "^[A-P]{32}"))',
    ),
    Difference(
        "Names of DNS that are not well-formed, and the root", ("dns.qry", "dns.resp", "dns.count.labels"),
        wireshark='dns.qry.name matches "^<" or dns.resp.name matches "^<[^R]"',
    ),
    Difference(
        "The first 16 questions and records", ("dns.qry", "dns.resp"),
        wireshark="dns.count.queries > 16 or {dns.count.answers + dns.count.auth_rr + dns.count.add_rr} > 16",
    ),
    Difference("Flags of LLMNR", ("dns.aa", "dns.rd"), wireshark="llmnr"),
)  # fmt: skip
