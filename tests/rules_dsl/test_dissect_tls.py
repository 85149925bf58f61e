"""The reference's reading of TLS: messages written by hand, the bounds of what counts, and what a cut packet still says."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value


def dissect(payload: bytes, protocol: int = 6) -> dict[str, Value] | None:
    """The fields of a segment with that payload; None where it has no TLS."""
    segment = bytes([0, 1, 1, 0xBB]) + bytes(8) + b"\x50\x18" + bytes(6) + payload
    header = b"\x45\x00" + (20 + len(segment)).to_bytes(2, "big") + bytes(4) + bytes([64, protocol]) + bytes(10)
    values = DISSECTORS["tls"](Packet(header + segment, Place("eth0")))
    return None if values is None else dict(values)


def found(payload: bytes) -> dict[str, Value]:
    values = dissect(payload)
    assert values is not None
    return values


def vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width, "big") + data


def record(content: bytes, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + version.to_bytes(2, "big") + vector(content, 2)


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(body, 3)


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(data, 2)


SNI = extension(0, vector(b"\x00" + vector(b"www.example.com", 2), 2))
ALPN = extension(16, vector(b"\x02h2\x08http/1.1", 2))
VERSIONS = extension(43, vector(bytes.fromhex("0304 0303"), 1))


def client_hello(*extensions: bytes, suites: bytes = bytes.fromhex("1301 c02f 00ff"), session_id: bytes = b"") -> bytes:
    head = b"\x03\x03" + bytes(32) + vector(session_id, 1) + vector(suites, 2) + b"\x01\x00"
    return message(1, head + (vector(b"".join(extensions), 2) if extensions else b""))


def server_hello(*extensions: bytes) -> bytes:
    return message(2, b"\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x01\x00" + vector(b"".join(extensions), 2))


def test_a_client_hello() -> None:
    assert found(record(client_hello(SNI, ALPN, VERSIONS, session_id=bytes(32)))) == {
        "tls": True,
        "tls.truncated": False,
        "tls.record.type": (22,),
        "tls.record.version": (0x0301,),
        "tls.record.length": (134,),
        "tls.handshake.type": (1,),
        "tls.handshake.length": (130,),
        "tls.handshake.version": 0x0303,
        "tls.handshake.session_id_length": 32,
        "tls.handshake.cipher_suites_length": 6,
        "tls.handshake.ciphersuite": (0x1301, 0xC02F, 0x00FF),
        "tls.handshake.extensions_length": 51,
        "tls.handshake.extension.type": (0, 16, 43),
        "tls.sni": b"www.example.com",
        "tls.alpn": (b"h2", b"http/1.1"),
        "tls.supported_version": (0x0304, 0x0303),
    }


def test_a_server_hello_names_one_suite_and_one_version() -> None:
    values = found(record(server_hello(extension(43, b"\x03\x04"), extension(51, bytes(36)))))
    assert values["tls.handshake.ciphersuite"] == (0x1301,)
    assert values["tls.supported_version"] == (0x0304,)
    assert values["tls.handshake.extension.type"] == (43, 51)
    assert "tls.handshake.cipher_suites_length" not in values
    assert "tls.sni" not in values


def test_all_messages_of_all_records_count() -> None:
    flight = (
        record(server_hello() + message(11, bytes(9))) + record(message(14, b"")) + record(b"\x01", kind=20) + record(bytes(40), kind=23)
    )
    values = found(flight)
    assert values["tls.record.type"] == (22, 22, 20, 23)
    assert values["tls.handshake.type"] == (2, 11, 14)
    assert values["tls.handshake.length"] == (72, 9, 0)


def test_a_hello_behind_another_record_is_found() -> None:
    assert found(record(b"\x01", kind=20) + record(client_hello(SNI)))["tls.sni"] == b"www.example.com"


@pytest.mark.parametrize(
    "head", ["13 0301 0001", "19 0301 0001", "16 0200 0001", "16 0305 0001", "16 0101 0001", "16 0303 0000", "15 0303 0000", "17 0303 4801"]
)
def test_what_no_record_begins_with(head: str) -> None:
    assert dissect(bytes.fromhex(head) + bytes(20)) is None


@pytest.mark.parametrize("head", ["14 0300 0001", "18 0304 0001", "17 0303 0000", "17 0303 4800", "16 0303 4800"])
def test_what_a_record_begins_with(head: str) -> None:
    assert dissect(bytes.fromhex(head) + bytes(20)) is not None


def test_the_header_must_be_whole() -> None:
    assert dissect(record(client_hello())[:4]) is None
    assert dissect(b"") is None
    values = found(record(client_hello())[:5])
    assert values["tls.truncated"] is True
    assert "tls.handshake.type" not in values


def test_tls_over_udp_is_none() -> None:
    assert dissect(record(client_hello()), protocol=17) is None


def test_what_follows_the_last_record_is_no_record() -> None:
    assert found(record(bytes(3), kind=23) + b"GET / HTTP/1.1\r\n")["tls.record.type"] == (23,)


@pytest.mark.parametrize("content", ["ffffffff", "00000000 00000001", "07000000", "0e000001", "01020001", "02000100"])
def test_an_encrypted_record_of_handshake_has_no_message(content: str) -> None:
    values = found(record(bytes.fromhex(content)))
    assert "tls.handshake.type" not in values
    assert values["tls.truncated"] is False


def test_a_hello_request_is_the_last_of_its_record() -> None:
    assert found(record(message(0, b"")))["tls.handshake.type"] == (0,)
    assert found(record(message(14, b"") + message(0, b"")))["tls.handshake.type"] == (14, 0)
    assert "tls.handshake.type" not in found(record(message(0, b"") + message(14, b"")))


@pytest.mark.parametrize("kind", [1, 11, 13])
def test_a_message_may_go_on_in_further_records(kind: int) -> None:
    values = found(record(message(kind, bytes(100))[:60]))
    assert values["tls.handshake.type"] == (kind,)
    assert values["tls.handshake.length"] == (100,)
    assert values["tls.truncated"] is True
    assert "tls.handshake.type" not in found(record(message(2, bytes(100))[:60]))


def test_a_record_with_less_than_a_messages_head_is_truncated() -> None:
    values = found(record(client_hello()[:3]) + record(client_hello()[3:]))
    assert values["tls.truncated"] is True
    assert "tls.sni" not in values


def test_a_cut_client_hello_says_what_it_has() -> None:
    """The fields come one after the other, each with its last byte."""
    whole = record(client_hello(SNI, ALPN))
    last_byte = {
        9: "tls.handshake.type",
        11: "tls.handshake.version",
        44: "tls.handshake.session_id_length",
        46: "tls.handshake.cipher_suites_length",
        48: "tls.handshake.ciphersuite",
        56: "tls.handshake.extensions_length",
        60: "tls.handshake.extension.type",
        80: "tls.sni",
        89: "tls.alpn",
    }
    for length, name in last_byte.items():
        assert name not in found(whole[: length - 1])
        assert name in found(whole[:length])
        assert found(whole[:length])["tls.truncated"] is True
    assert found(whole[:89])["tls.alpn"] == (b"h2",)
    assert found(whole)["tls.truncated"] is False


def test_a_session_id_of_more_than_32_bytes_ends_the_hello() -> None:
    values = found(record(client_hello(SNI, session_id=bytes(33))))
    assert values["tls.handshake.session_id_length"] == 33
    assert "tls.handshake.ciphersuite" not in values
    assert "tls.sni" not in values


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x00", b"\x00\x03\x00\x00\x00", vector(b"\x01" + vector(b"a.b", 2), 2), b"\x00\x06\x00\x00\x04a.b"],
    ids=["empty", "no name", "an empty name", "no host's name", "a name beyond its extension"],
)
def test_extensions_without_a_server_name(content: bytes) -> None:
    assert "tls.sni" not in found(record(client_hello(extension(0, content), ALPN)))


def test_the_first_extension_of_a_type_counts() -> None:
    other = extension(0, vector(b"\x00" + vector(b"other", 2), 2))
    assert found(record(client_hello(SNI, other)))["tls.sni"] == b"www.example.com"


def test_the_64th_extension_is_the_last() -> None:
    filler = [extension(0x0A0A, b"")] * 63
    assert "tls.sni" in found(record(client_hello(*filler, SNI)))
    assert "tls.sni" not in found(record(client_hello(*filler, extension(0x0A0A, b""), SNI)))


def test_128_cipher_suites_are_looked_at() -> None:
    suites = b"".join(number.to_bytes(2, "big") for number in range(200))
    assert found(record(client_hello(suites=suites)))["tls.handshake.ciphersuite"] == tuple(range(128))


def test_records_and_messages_behind_the_32nd_are_not_looked_at() -> None:
    filler = record(bytes(2), kind=23) * 30
    assert "tls.sni" in found(filler + record(client_hello(SNI)))
    values = found(filler + record(bytes(2), kind=23) + record(client_hello(SNI)))
    assert "tls.sni" not in values
    assert len(values["tls.record.type"]) == 32  # type: ignore[arg-type]  # a tuple


def test_an_alert() -> None:
    values = found(record(b"\x02\x28", kind=21))
    assert (values["tls.alert.level"], values["tls.alert.description"]) == ((2,), (40,))
    values = found(record(b"\x01\x70", kind=21) + record(b"\x02\x00", kind=21)[:6])
    assert (values["tls.alert.level"], values["tls.alert.description"]) == ((1, 2), (112,))


def test_an_encrypted_alert_says_nothing() -> None:
    assert "tls.alert.level" not in found(record(bytes(26), kind=21))
