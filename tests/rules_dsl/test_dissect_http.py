"""The reference dissectors of HTTP/1 and SSDP, and what they share, on messages written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.header_lines import read_header_block
from rules_dsl.dissectors.http import dissect_http
from rules_dsl.dissectors.ssdp import dissect_ssdp
from rules_dsl.value import Keyed, Value

REQUEST = b"GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.0\r\n\r\n"
RESPONSE = b"HTTP/1.1 404 Not Found\r\nServer: nginx\r\nContent-Length: 3\r\n\r\nno\n"
SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n'


def http(payload: bytes) -> Mapping[str, Value] | None:
    return dissect_http(SimpleNamespace(tcp_payload=payload))  # type: ignore[arg-type]


def ssdp(payload: bytes) -> Mapping[str, Value] | None:
    return dissect_ssdp(SimpleNamespace(udp_payload=payload))  # type: ignore[arg-type]


def valid(payload: bytes) -> Mapping[str, Value]:
    values = http(payload)
    assert values is not None
    return values


def with_line(line: bytes) -> Mapping[str, Value]:
    return valid(b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n")


# -- header lines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"Host: a\r\n", b"a"),
        (b"hOST:a\n", b"a"),
        (b"Host: \t a b \t \r\n", b"a b"),
        (b"Host:\r\n", b""),
        (b"Host:\n", b""),
        (b"Host: a\r\r\n", b"a\r"),
        (b"Host: a:b\r\n", b"a:b"),
        (b"Host : a\r\n", None),
        (b" Host: a\r\n", None),
        (b"X-Host: a\r\n", None),
        (b"Host a\r\n", None),
        (b"Host: a", None),
        (b"Host: a\r", None),
    ],
)
def test_a_value_is_what_stands_between_the_colon_and_the_lines_end(line: bytes, value: bytes | None) -> None:
    assert read_header_block(b"GET / HTTP/1.1\r\n" + line).first(b"host") == value


def test_blanks_before_the_colon_where_the_protocol_lets_them_stand() -> None:
    assert read_header_block(b"INVITE\r\nTo \t: a\r\n", blanks_before_colon=True).first(b"to", b"t") == b"a"


def test_the_search_ends_at_the_empty_line() -> None:
    block = read_header_block(b"start\n\rA: 1\n\nHost: body\r\n")
    assert (block.start_line, block.lines, block.whole) == (b"start", (), True)


def test_lines_that_are_no_header_lines_are_skipped() -> None:
    block = read_header_block(b"start\r\nno header\r\n folded: 1\r\nA: 1\r\n : 2\r\na: 3\r\n")
    assert block.lines == (Keyed(b"A", b"1"), Keyed(b"a", b"3"))
    assert block.values(b"a") == (b"1", b"3")
    assert not block.whole


# -- HTTP ----------------------------------------------------------------------------------------------------------------


def test_a_request() -> None:
    assert http(REQUEST) == {
        "http": True,
        "http.request": True,
        "http.response": False,
        "http.method": b"GET",
        "http.uri": b"/a?b=c",
        "http.version": b"HTTP/1.1",
        "http.request.version": b"HTTP/1.1",
        "http.host": b"example.com",
        "http.user_agent": b"curl/8.0",
        "http.header": (Keyed(b"Host", b"example.com"), Keyed(b"User-Agent", b"curl/8.0")),
        "http.truncated": False,
    }


def test_a_response() -> None:
    assert http(RESPONSE) == {
        "http": True,
        "http.request": False,
        "http.response": True,
        "http.version": b"HTTP/1.1",
        "http.response.version": b"HTTP/1.1",
        "http.code": 404,
        "http.response.phrase": b"Not Found",
        "http.server": b"nginx",
        "http.content_length": 3,
        "http.header": (Keyed(b"Server", b"nginx"), Keyed(b"Content-Length", b"3")),
        "http.truncated": False,
    }


@pytest.mark.parametrize(
    ("line", "method", "target"),
    [
        (b"GET / HTTP/1.1\r\n", b"GET", b"/"),
        (b"GET / HTTP/1.0\n", b"GET", b"/"),
        (b"GET / HTTP/1.1 \t\r\n", b"GET", b"/"),
        (b"GET /a b HTTP/1.1\r\n", b"GET", b"/a b"),
        (b"GET  / HTTP/1.1\r\n", b"GET", b" /"),
        (b"GET / HTTP/1.0 HTTP/1.1\r\n", b"GET", b"/ HTTP/1.0"),
        (b"get \x00 HTTP/1.9\r\n", b"get", b"\x00"),
        (b"\r\n\n\r\nPOST * HTTP/1.1\r\n", b"POST", b"*"),
        (b"X" * 32 + b" / HTTP/1.1\r\n", b"X" * 32, b"/"),
    ],
)
def test_request_lines(line: bytes, method: bytes, target: bytes) -> None:
    values = valid(line)
    assert (values["http.method"], values["http.uri"], values["http.truncated"]) == (method, target, True)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\r\n",
        b"GET /\r\n",
        b"GET HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / HTTP/1.10\r\n",
        b"GET / HTTP/1.1x\r\n",
        b"G(T / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"X" * 33 + b" / HTTP/1.1\r\n",
        b"OPTIONS sip:a@b SIP/2.0\r\n",
        b"EHLO HTTP/1.1\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
    ],
)
def test_what_is_no_message(payload: bytes) -> None:
    assert http(payload) is None


def test_a_request_line_that_goes_on_beyond_the_packet_counts_with_a_known_method_and_the_begin_of_a_target() -> None:
    line = b"POST /abc HTTP/1.1\r"
    for end in range(len(line) + 1):
        values = http(line[:end])
        assert (values is not None) == (end > len(b"POST "))
        if values is not None:
            assert (values["http.method"], values["http.truncated"]) == (b"POST", True)
            assert "http.uri" not in values
            assert "http.version" not in values


@pytest.mark.parametrize(
    ("payload", "is_message"),
    [
        (b"GET *", True),
        (b"GET http://", True),
        (b"GET https://a", True),
        (b"GET http:/", False),
        (b"GET rtsp://a", False),
        (b"CONNECT example.com:443", True),
        (b"CONNECT [2001", True),
        (b"CONNECT ", False),
        (b"FOO /a", False),
        (b"GET /a\x00b", False),
        (b"GET /a\rb", False),
        (b"GET /a\xff", True),
    ],
)
def test_request_lines_that_the_packet_cuts(payload: bytes, is_message: bool) -> None:
    assert (http(payload) is not None) == is_message


def test_a_status_line_that_goes_on_beyond_the_packet_counts_with_its_code() -> None:
    line = b"HTTP/1.1 200 OK\r"
    for end in range(len(line) + 1):
        values = http(line[:end])
        assert (values is not None) == (end >= len(b"HTTP/1.1 200"))
        if values is not None:
            assert values["http.code"] == 200
            assert "http.response.phrase" not in values


@pytest.mark.parametrize(
    ("line", "phrase"), [(b"HTTP/1.1 200", b""), (b"HTTP/1.1 200 ", b""), (b"HTTP/1.1 200 OK ", b"OK "), (b"HTTP/1.1 200\tOK", b"OK")]
)
def test_phrases(line: bytes, phrase: bytes) -> None:
    assert valid(line + b"\r\n\r\n")["http.response.phrase"] == phrase


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"0", 0),
        (b"00000000000000042", 42),
        (b"4294967295", 4294967295),
        (b"4294967296", 4294967295),
        (b"5000000000", 4294967295),
        (b"9" * 5000, 4294967295),
        (b"0" * 5000, 0),
        (b"", None),
        (b"-1", None),
        (b"5, 5", None),
        (b"0x5", None),
    ],
)
def test_the_content_length_is_a_number(value: bytes, number: int | None) -> None:
    assert with_line(b"Content-Length: " + value).get("http.content_length") == number


def test_the_first_of_several_lines_of_one_name_counts_but_every_forwarder_does() -> None:
    values = with_line(b"Host: a\r\nX-Forwarded-For: 10.0.0.1\r\nHost: b\r\nx-forwarded-for: 10.0.0.2")
    assert (values["http.host"], values["http.x_forwarded_for"]) == (b"a", (b"10.0.0.1", b"10.0.0.2"))


def test_a_header_block_that_the_packet_cuts() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for end in range(len(b"GET / HTTP/1.1\r\n"), len(head) + 1):
        values = valid(head[:end])
        assert values["http.truncated"] == (end < len(head))
        assert values.get("http.host") == (b"a" if end >= len(head) - 2 else None)


# -- SSDP ----------------------------------------------------------------------------------------------------------------


def test_a_search() -> None:
    assert ssdp(SEARCH) == {
        "ssdp": True,
        "ssdp.response": False,
        "ssdp.method": b"M-SEARCH",
        "ssdp.host": b"239.255.255.250:1900",
        "ssdp.man": b'"ssdp:discover"',
        "ssdp.mx": b"1",
        "ssdp.st": b"ssdp:all",
    }


def test_an_announcement() -> None:
    values = ssdp(b"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nUSN: uuid:1\r\nLocation: http://a/\r\nSERVER: b\r\n\r\n")
    assert values == {
        "ssdp": True,
        "ssdp.response": False,
        "ssdp.method": b"NOTIFY",
        "ssdp.nt": b"upnp:rootdevice",
        "ssdp.nts": b"ssdp:alive",
        "ssdp.usn": b"uuid:1",
        "ssdp.location": b"http://a/",
        "ssdp.server": b"b",
    }


def test_an_answer() -> None:
    assert ssdp(b"HTTP/1.1 200 OK\r\nST: a\r\n\r\n") == {"ssdp": True, "ssdp.response": True, "ssdp.code": 200, "ssdp.st": b"a"}


@pytest.mark.parametrize(
    ("payload", "is_message"),
    [
        (b"M-SEARCH * HTTP/1.1\r\n", True),
        (b"M-SEARCH * HTTP/1.1 \n", True),
        (b"HTTP/1.1 200\n", True),
        (b"", False),
        (b"M-SEARCH * HTTP/1.1", False),
        (b"HTTP/1.1 200 OK\r", False),
        (b"HTTP/1.1 200\rOK\r\n", False),
        (b"M-SEARCH HTTP/1.1\r\n", False),
        (b"m-search * HTTP/1.1\r\n", False),
        (b"GET / HTTP/1.1\r\n", False),
        (b"NOTIFY * HTTP/2.0\r\n", False),
        (b"NOTIFY sip:a@b SIP/2.0\r\n", False),
        (b"\r\nNOTIFY * HTTP/1.1\r\n", False),
    ],
)
def test_first_lines_of_ssdp(payload: bytes, is_message: bool) -> None:
    assert (ssdp(payload) is not None) == is_message


def test_a_line_that_the_datagram_cuts_is_absent() -> None:
    values = ssdp(b"M-SEARCH * HTTP/1.1\r\nMX: 1\r\nST: ssdp:a")
    assert values is not None
    assert "ssdp.st" not in values
    assert values["ssdp.mx"] == b"1"
