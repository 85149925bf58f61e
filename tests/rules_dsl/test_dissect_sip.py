"""The reference dissector of SIP, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.sip import dissect_sip
from rules_dsl.value import Value

VIA = b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776\r\n"
FROM = b'From: "Anna" <sip:anna@voice.example>;tag=19\r\n'
TO = b"To: <sip:bela@voice.example>\r\n"
CALL_ID = b"Call-ID: a84b4c76e66710@192.0.2.1\r\n"
CSEQ = b"CSeq: 7 INVITE\r\n"
MANDATORY = (VIA, FROM, TO, CALL_ID, CSEQ)
HEADERS = b"".join(MANDATORY)
REQUEST = b"INVITE sip:bela@voice.example SIP/2.0\r\n"
RESPONSE = b"SIP/2.0 486 Busy Here\r\n"


def dissect(message: bytes, *, tcp: bool = False) -> Mapping[str, Value] | None:
    packet = SimpleNamespace(udp_payload=None if tcp else message, tcp_payload=message if tcp else None)
    return dissect_sip(packet)  # type: ignore[arg-type]


@pytest.mark.parametrize("tcp", [False, True])
def test_a_request(tcp: bool) -> None:
    more = b"Contact: <sip:anna@192.0.2.1>\r\nUser-Agent: Linphone/5.2\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n"
    assert dissect(REQUEST + HEADERS + more + b"Content-Length: 5\r\n\r\nv=0\r\n", tcp=tcp) == {
        "sip": True,
        "sip.request": True,
        "sip.response": False,
        "sip.method": b"INVITE",
        "sip.uri": b"sip:bela@voice.example",
        "sip.from": b'"Anna" <sip:anna@voice.example>;tag=19',
        "sip.from.user": b"anna",
        "sip.to": b"<sip:bela@voice.example>",
        "sip.to.user": b"bela",
        "sip.call_id": b"a84b4c76e66710@192.0.2.1",
        "sip.cseq": b"7 INVITE",
        "sip.via": b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776",
        "sip.contact": b"<sip:anna@192.0.2.1>",
        "sip.user_agent": b"Linphone/5.2",
        "sip.content_type": b"application/sdp",
        "sip.max_forwards": 70,
        "sip.truncated": False,
    }


def test_a_response() -> None:
    values = dissect(RESPONSE + HEADERS + b"Server: Kamailio\r\n\r\n")
    assert values is not None
    assert (values["sip.request"], values["sip.response"], values["sip.code"], values["sip.server"]) == (False, True, 486, b"Kamailio")
    assert "sip.method" not in values
    assert "sip.uri" not in values


@pytest.mark.parametrize(
    "line",
    [
        b"OPTIONS sip:100@198.51.100.7 SIP/2.0", b"options SIP:a SIP/2.0", b"X-New.1 sips:a SIP/2.0", b"INVITE tel:+1555 SIP/2.0",
        b"INVITE urn:service:sos SIP/2.0", b"SIP/2.0 200 OK", b"SIP/2.0 200 ", b"SIP/2.0 699 \xc3\xa4",
    ],
)  # fmt: skip
def test_first_lines_that_are_right(line: bytes) -> None:
    assert dissect(line + b"\r\n" + HEADERS + b"\r\n") is not None
    assert dissect(line + b"\n" + HEADERS + b"\r\n") is not None


@pytest.mark.parametrize(
    "line",
    [
        b"GET / HTTP/1.1", b"INVITE sip:a SIP/1.0", b"INVITE sip:a sip/2.0", b"INVITE a SIP/2.0", b"INVITE sip: SIP/2.0",
        b"INVITE  sip:a SIP/2.0", b"INVITE sip:a b SIP/2.0", b"INVITE sip:a SIP/2.0 ", b" INVITE sip:a SIP/2.0",
        b"A/B sip:a SIP/2.0", b"INVITE 1:5060 SIP/2.0",
        b"SIP/2.0 200", b"SIP/2.0 20 OK", b"SIP/2.0 2000 OK", b"SIP/2.0  200 OK", b"SIP/2.0 200 O\0K", b"\r\nSIP/2.0 200 OK", b"",
    ],
)  # fmt: skip
def test_first_lines_that_are_wrong(line: bytes) -> None:
    assert dissect(line + b"\r\n" + HEADERS + b"\r\n") is None


@pytest.mark.parametrize("missing", range(5))
def test_each_mandatory_header_is_asked_for_in_a_whole_header_block(missing: int) -> None:
    others = b"".join(header for index, header in enumerate(MANDATORY) if index != missing)
    assert dissect(REQUEST + others + b"\r\n") is None
    assert dissect(REQUEST + others + b"\r\n" + MANDATORY[missing]) is None  # in the body
    assert dissect(REQUEST + others) is not None  # it may follow in the next segment


def test_compact_forms_are_the_same_headers() -> None:
    compact = b"v: SIP/2.0/TCP a\r\nf: sip:anna@b;tag=1\r\nT : <sip:c@d>\r\ni:7\r\nCSEQ: 2 BYE\r\nm: *\r\nc: text/plain\r\nl: 3\r\n\r\n"
    values = dissect(b"BYE sip:c@d SIP/2.0\r\n" + compact)
    assert values is not None
    names = ("via", "from", "from.user", "to", "to.user", "call_id", "cseq", "contact", "content_type", "truncated")
    assert [values[f"sip.{name}"] for name in names] == [
        b"SIP/2.0/TCP a", b"sip:anna@b;tag=1", b"anna", b"<sip:c@d>", b"c", b"7", b"2 BYE", b"*", b"text/plain", True,
    ]  # fmt: skip


def test_the_first_of_several_headers_counts_and_a_continued_one_ends_with_its_line() -> None:
    values = dissect(REQUEST + b"v: first\r\nSubject: a\r\n b\r\n" + HEADERS + b"\r\n")
    assert values is not None
    assert values["sip.via"] == b"first"
    values = dissect(REQUEST + HEADERS.replace(b";tag=19", b"\r\n\t;tag=19") + b"\r\n")
    assert values is not None
    assert values["sip.from"] == b'"Anna" <sip:anna@voice.example>'


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (b"sip:anna@b", b"anna"), (b"SIPS:anna@b", b"anna"), (b"Anna <sip:anna@b>", b"anna"),
        (b'"a <sip:no@x> \\" " <sip:anna@b>', b"anna"),
        (b"<sip:anna:secret@b>", b"anna:secret"), (b"<sip:@b>", b""), (b"sip:a@b;x=<sip:c@d>", b"a"), (b"<sip:b:5060>", None),
        (b"<tel:+1555>", None), (b"sip:b;tag=1", None), (b'"sip:anna@b', None), (b"", None),
    ],
)  # fmt: skip
def test_the_user_of_a_uri(value: bytes, user: bytes | None) -> None:
    values = dissect(REQUEST + VIA + TO + CALL_ID + CSEQ + b"From: " + value + b"\r\n\r\n")
    assert values is not None
    assert values.get("sip.from.user") == user


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"70", 70),
        (b"0", 0),
        (b"4294967295", 4294967295),
        (b"0000000070", 70),
        (b"4294967296", None),
        (b"00000000070", None),
        (b"7x", None),
        (b"", None),
    ],
)
def test_max_forwards_is_a_number(value: bytes, number: int | None) -> None:
    values = dissect(REQUEST + HEADERS + b"Max-Forwards: " + value + b"\r\n\r\n")
    assert values is not None
    assert values.get("sip.max_forwards") == number


def test_a_message_is_truncated_where_it_goes_on_beyond_the_packet() -> None:
    whole = REQUEST + HEADERS + b"Content-Length: 5\r\n\r\nv=0\r\n"
    for end in range(len(REQUEST) - 2, len(whole)):
        values = dissect(whole[:end])
        assert values is not None
        assert values["sip.truncated"]
    for end in range(len(REQUEST) - 2):
        assert dissect(whole[:end]) is None
    for more in (b"", b"x"):
        values = dissect(whole + more)
        assert values is not None
        assert not values["sip.truncated"]


def test_a_header_whose_line_ends_beyond_the_packet_is_absent() -> None:
    values = dissect((REQUEST + FROM)[:-1])
    assert values is not None
    assert "sip.from" not in values
