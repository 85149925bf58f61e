# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of DNS."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

_TYPES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "WKS": 11, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "RP": 17,
        "AFSDB": 18, "SIG": 24, "KEY": 25, "AAAA": 28, "LOC": 29, "SRV": 33, "NAPTR": 35, "CERT": 37, "DNAME": 39, "OPT": 41,
        "APL": 42, "DS": 43, "SSHFP": 44, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50, "NSEC3PARAM": 51, "TLSA": 52,
        "SMIMEA": 53, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "ZONEMD": 63, "SVCB": 64, "HTTPS": 65, "SPF": 99,
        "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252, "MAILB": 253, "MAILA": 254, "ANY": 255, "URI": 256, "CAA": 257,
    }
)  # fmt: skip
"""IANA, Resource Record (RR) TYPEs."""
_CLASSES: Final[Mapping[str, int]] = MappingProxyType({"IN": 1, "CH": 3, "HS": 4, "NONE": 254, "ANY": 255})
_OPCODES: Final[Mapping[str, int]] = MappingProxyType({"QUERY": 0, "IQUERY": 1, "STATUS": 2, "NOTIFY": 4, "UPDATE": 5})
_RCODES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5, "YXDOMAIN": 6, "YXRRSET": 7,
        "NXRRSET": 8, "NOTAUTH": 9, "NOTZONE": 10,
    }
)  # fmt: skip

_RECORDS = "of the first 16 records, those of the answer, authority and additional section in this order"

DNS: Final = Protocol(
    "dns",
    "Domain Name System (RFC 1035, RFC 2136, RFC 6891), mDNS (RFC 6762) and LLMNR (RFC 4795), which have its format",
    (Header.UDP, Header.TCP),
    "The message is UDP's payload; or follows a length of 2 bytes at the start of TCP's payload, and may be cut by the segment's end. "
    "It has a header of 12 bytes with opcode 0, 1, 2, 4 or 5. By the length that UDP or the 2 bytes state, all that the header counts "
    "has room, 5 bytes a question and 11 a record (the records need not where the TC bit is set). The first question, or where there are "
    "none the first record, is whole: its name well-formed, its type not 0, its class 1, 3, 4, 254 or 255, the highest bit aside, which is mDNS's own "
    "(any class in a record of type OPT), and it is not NetBIOS (a first label of 32 letters from A to P in upper case, with type 32 or 33). A "
    "message that counts nothing is valid as a response of the 12 bytes alone. A name is well-formed where it lies within the message, "
    "with its length bytes has at most 255 bytes, and each of its pointers, at most 16, points to behind the header and in front of the name's "
    "start and of where the pointer before pointed to.",
    (
        flag("dns", "A message of DNS, mDNS or LLMNR, whatever the port.", wireshark="dns"),
        number("dns.id", 16, "The transaction id.", wireshark="dns.id"),
        flag("dns.qr", "The message is a response.", aliases=("dns.flags.response",), wireshark="dns.flags.response"),
        number("dns.opcode", 4, "The kind of message: 0 query, 4 notify, 5 dynamic update.", aliases=("dns.flags.opcode",), names=_OPCODES, wireshark="dns.flags.opcode"),
        number("dns.rcode", 4, "The response code: 0 no error, 3 no such name, 5 refused; absent in queries.", aliases=("dns.flags.rcode",), names=_RCODES, wireshark="dns.flags.rcode"),
        flag("dns.aa", "A response with the bit AA: from a server with authority over the name.", aliases=("dns.flags.authoritative",), wireshark="dns.flags.authoritative"),
        flag("dns.tc", "The bit TC: the message is truncated, and the client shall come back over TCP.", aliases=("dns.flags.truncated",), wireshark="dns.flags.truncated"),
        flag("dns.rd", "The bit RD: recursion is desired.", aliases=("dns.flags.recdesired",), wireshark="dns.flags.recdesired"),
        flag("dns.ra", "A response with the bit RA: recursion is available.", aliases=("dns.flags.recavail",), wireshark="dns.flags.recavail"),
        flag("dns.ad", "The bit AD: the server has authenticated the data, or the client would know it (RFC 6840).", aliases=("dns.flags.authenticated",), wireshark="dns.flags.authenticated"),
        flag("dns.cd", "The bit CD: checking is disabled.", aliases=("dns.flags.checkdisable",), wireshark="dns.flags.checkdisable"),
        number("dns.count.queries", 16, "The header's count of questions; absent in updates.", wireshark="dns.count.queries"),
        number("dns.count.answers", 16, "The header's count of records in the answer section; absent in updates.", wireshark="dns.count.answers"),
        number("dns.count.auth_rr", 16, "The header's count of records in the authority section; absent in updates.", wireshark="dns.count.auth_rr"),
        number("dns.count.add_rr", 16, "The header's count of records in the additional section.", wireshark="dns.count.add_rr"),
        number("dns.count.zones", 16, "The header's count of zones in an update; absent in other messages.", wireshark="dns.count.zones"),
        number("dns.count.prerequisites", 16, "The header's count of prerequisites in an update; absent in other messages.", wireshark="dns.count.prerequisites"),
        number("dns.count.updates", 16, "The header's count of updates in an update; absent in other messages.", wireshark="dns.count.updates"),
        text("dns.qry.name", "The names of the first 16 questions that are whole, labels with dots between them, the root the empty text; without those that are not well-formed.", multiple=True, caseless=True, wireshark="dns.qry.name"),
        number("dns.qry.name.len", 8, "The length of each of dns.qry.name, 0 to 253 bytes.", multiple=True, wireshark="dns.qry.name.len"),
        number("dns.count.labels", 7, "How many labels each of dns.qry.name has; the root has none.", multiple=True, wireshark="dns.count.labels"),
        number("dns.qry.type", 16, "The types of the first 16 questions that are whole: 1 A, 16 TXT, 28 AAAA, 255 ANY.", names=_TYPES, multiple=True, wireshark="dns.qry.type"),
        number("dns.qry.class", 15, "The classes of the first 16 questions that are whole, without mDNS's highest bit: 1 IN, 3 CH.", names=_CLASSES, multiple=True, wireshark="dns.qry.class"),
        text("dns.resp.name", f"The names {_RECORDS}, of each that is whole; without names that are not well-formed, and absent where the questions are not whole or more than 64.", multiple=True, caseless=True, wireshark="dns.resp.name"),
        number("dns.resp.type", 16, f"The types {_RECORDS}; absent where dns.resp.name's records are.", names=_TYPES, multiple=True, wireshark="dns.resp.type"),
        number("dns.resp.class", 15, f"The classes {_RECORDS}, without mDNS's highest bit and records of type OPT; absent where dns.resp.name's records are.", names=_CLASSES, multiple=True, wireshark="dns.resp.class"),
        number("dns.resp.ttl", 32, f"The times to live in seconds {_RECORDS}, without records of type OPT; absent where dns.resp.name's records are.", multiple=True, wireshark="dns.resp.ttl"),
        flag("dns.edns", "A record of type OPT (EDNS, RFC 6891) is among the first 64 records, and whole."),
        number("dns.edns.payload_size", 16, "The sender's UDP payload size in that record; absent without one.", aliases=("dns.rr.udp_payload_size",), wireshark="dns.rr.udp_payload_size"),
        number("dns.edns.version", 8, "The version of EDNS in that record; absent without one.", aliases=("dns.resp.edns0_version",), wireshark="dns.resp.edns0_version"),
        flag("dns.edns.do", "The bit DO in that record: the sender understands DNSSEC.", aliases=("dns.resp.z.do",), wireshark="dns.resp.z.do"),
    ),
)  # fmt: skip
