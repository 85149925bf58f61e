"""The reference dissectors of RTP and RTCP, on packets written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import pytest

from rules_dsl.dissectors.rtcp import dissect_rtcp
from rules_dsl.dissectors.rtp import dissect_rtp
from rules_dsl.value import Value

REST = bytes.fromhex("059c0002e0c0f6bf57dc")
"""Sequence number, timestamp and source."""
WEBRTC = bytes.fromhex("bede0001 51000100")


def rtp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_rtp(SimpleNamespace(udp_payload=payload))  # type: ignore[arg-type]


def rtcp(payload: bytes | None) -> Mapping[str, Value] | None:
    return dissect_rtcp(SimpleNamespace(udp_payload=payload))  # type: ignore[arg-type]


def test_a_packet_of_rtp() -> None:
    assert rtp(b"\x80\x88" + REST + bytes(160)) == {
        "rtp": True,
        "rtp.version": 2,
        "rtp.padding": False,
        "rtp.ext": False,
        "rtp.cc": 0,
        "rtp.marker": True,
        "rtp.p_type": 8,
        "rtp.seq": 0x59C,
        "rtp.timestamp": 0x2E0C0,
        "rtp.ssrc": 0xF6BF57DC,
    }


@pytest.mark.parametrize("first", [0x00, 0x40, 0xC0])
def test_another_version_is_no_rtp(first: int) -> None:
    assert rtp(bytes([first, 0]) + REST + bytes(160)) is None


def test_payload_types() -> None:
    plain = {number for number in range(128) if rtp(bytes([0x80, number]) + REST)}
    marked = {number for number in range(128) if rtp(bytes([0x90, number]) + REST + WEBRTC)}
    assert plain == {0, *range(3, 19), 25, 26, 28, 31, 32, 33, 34, *range(96, 128)}
    assert marked == plain | set(range(35, 64))


def test_the_header_is_whole() -> None:
    assert rtp(None) is None
    assert [length for length in range(13) if rtp((b"\x80\0" + REST)[:length])] == [12]
    extended = b"\x90\0" + REST + b"\0\1\0\2" + bytes(8)
    assert [length for length in range(25) if rtp(extended[:length])] == [24]


def test_a_source_of_0_is_no_rtp() -> None:
    assert rtp(b"\x80\0" + REST[:6] + bytes(4)) is None
    assert rtp(b"\x80\0" + REST[:6] + b"\0\0\0\1") is not None


def test_contributing_sources_need_an_extension_of_rfc_8285() -> None:
    sources = bytes(range(8))
    assert rtp(b"\x82\0" + REST + sources) is None
    assert rtp(b"\x92\0" + REST + sources + b"\x0f\xff\0\0") is None
    for profile in (b"\xbe\xde", b"\x10\x00", b"\x10\x0f"):
        values = rtp(b"\x92\0" + REST + sources + profile + b"\0\0")
        assert values is not None
        assert values["rtp.cc"] == 2
    assert rtp(b"\x92\0" + REST + sources + b"\xbe\xde\0\1") is None


def test_padding_says_how_long_it_is() -> None:
    for last, right in ((0, False), (1, True), (4, True), (5, False), (255, False)):
        assert (rtp(b"\xa0\0" + REST + bytes([0, 0, 0, last])) is not None) == right
    assert rtp(b"\xa0\0" + REST) is None
    assert rtp(b"\xb0\0" + REST + WEBRTC + b"\xff") is not None  # it may be encrypted


def test_packets_of_rtcp() -> None:
    sender_report = b"\x80\xc8\0\6" + bytes(24)
    description = b"\x81\xca\0\2" + bytes(8)
    goodbye = b"\x81\xcb\0\1" + bytes(4)
    assert rtcp(sender_report) == {"rtcp": True, "rtcp.pt": (200,)}
    assert rtcp(sender_report + description + goodbye) == {"rtcp": True, "rtcp.pt": (200, 202, 203)}
    assert rtcp(sender_report + bytes(14)) == {"rtcp": True, "rtcp.pt": (200,)}  # encrypted, with a tag behind
    assert rtcp(sender_report + description[:-1]) == {"rtcp": True, "rtcp.pt": (200,)}
    assert rtcp(None) is None


def test_the_first_packet_of_rtcp_has_a_type_and_is_whole() -> None:
    assert {kind for kind in range(256) if rtcp(bytes([0x80, kind, 0, 7]) + bytes(28))} == set(range(200, 208))
    assert rtcp(b"\x40\xc8\0\6" + bytes(24)) is None
    assert rtcp(b"\x80\xc8\0\6" + bytes(23)) is None
    assert rtcp(b"\x80\xc8\0") is None


@pytest.mark.parametrize(
    ("first", "kind", "words"),
    [
        (0x80, 200, 6), (0x81, 200, 12), (0x80, 201, 1), (0x82, 201, 13), (0x9F, 202, 0), (0x83, 203, 3), (0x80, 204, 2), (0x8F, 205, 2),
        (0x81, 206, 2), (0x80, 207, 1),
    ],
)  # fmt: skip
def test_the_first_packet_of_rtcp_has_what_its_type_needs(first: int, kind: int, words: int) -> None:
    """`words` of 32 bits behind the first one."""
    assert rtcp(bytes([first, kind, 0, words]) + bytes(4 * words + 40)) is not None
    if words:
        assert rtcp(bytes([first, kind, 0, words - 1]) + bytes(4 * words + 40)) is None


def test_packets_that_follow_the_first_end_at_the_first_that_is_wrong() -> None:
    report, odd = b"\x80\xc9\0\1" + bytes(4), b"\x80\xe0\0\0"
    assert rtcp(report + b"\x80\xc0\0\0" + b"\x80\xdf\0\0" + odd + report) == {"rtcp": True, "rtcp.pt": (201, 192, 223)}
