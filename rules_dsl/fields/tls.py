# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of TLS."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

TLS: Final = Protocol(
    "tls",
    "Transport Layer Security (RFC 8446, RFC 5246, RFC 6101)",
    (Header.TCP,),
    "TCP's payload begins with the 5 bytes of a record's header: a content type of 20 to 24, a version of 3.0 to 3.4, and a length of at "
    "most 18432, which is 0 only for application data (RFC 8446 section 5.1, RFC 5246 section 6.2). Further records of the segment "
    "are those that follow without a gap and whose headers are whole and of that form. Their content need not be in the packet. "
    "A handshake message stands at the start of a record of type 22 or behind another message in it. It counts where its 4 bytes of type and "
    "length are in the record and in the packet, the type is 0 to 6, 8, 11 to 16 or 20 to 25, and the record has room for the length; "
    "a ClientHello, a Certificate or a CertificateRequest may go on in further records, its length being at most 131072; "
    "a HelloRequest is the last of its record. (What is encrypted has no such form, but for rare chances; it is still a record.) "
    "The records and messages of a segment are counted together as they stand: what stands behind the 32nd is not looked at, and of the records the fields have the first 64. The hello is the "
    "first ClientHello or ServerHello; bytes behind its length, its record's or the packet's end are not there. Of its extensions the first 64 are looked at.",
    (
        flag("tls", "A segment that begins with a record of TLS or SSL 3.0. A segment in which only the rest of an earlier record stands has no mark of its own.", wireshark="tls.record"),
        number("tls.record.type", 8, "The content type of each record: 20 change cipher spec, 21 alert, 22 handshake, 23 application data, 24 heartbeat.", aliases=("tls.record.content_type",), multiple=True, bound=64, wireshark="tls.record.content_type"),
        number("tls.record.version", 16, "The version of each record: 0x0300 SSL 3.0, 0x0301 TLS 1.0, 0x0303 TLS 1.2 and 1.3.", multiple=True, bound=64, wireshark="tls.record.version"),
        number("tls.record.length", 16, "The length of each record, without its header of 5 bytes.", multiple=True, bound=64, wireshark="tls.record.length"),
        flag("tls.truncated", "A record goes on beyond the packet, a handshake message beyond its record or the packet, or a record of type 22 has less than 4 bytes: what stands behind that is absent."),
        number("tls.handshake.type", 8, "The type of each handshake message: 1 ClientHello, 2 ServerHello, 11 Certificate, 14 ServerHelloDone, 16 ClientKeyExchange; absent where there is none or all are encrypted.", multiple=True, wireshark="tls.handshake.type"),
        number("tls.handshake.length", 24, "The length of each handshake message, without its 4 bytes of type and length.", multiple=True, wireshark="tls.handshake.length"),
        number("tls.handshake.version", 16, "The version of the hello, which TLS 1.3 leaves at 0x0303; absent without one.", wireshark="tls.handshake.version"),
        number("tls.handshake.session_id_length", 8, "The length of the hello's session id; where it is more than 32, the fields behind it are absent.", wireshark="tls.handshake.session_id_length"),
        number("tls.handshake.cipher_suites_length", 16, "The length in bytes of the ClientHello's cipher suites; absent without a ClientHello.", wireshark="tls.handshake.cipher_suites_length"),
        number("tls.handshake.ciphersuite", 16, "Each cipher suite that the ClientHello offers, or the one that the ServerHello chose.", multiple=True, bound=128, wireshark="tls.handshake.ciphersuite"),
        number("tls.handshake.extensions_length", 16, "The length of the hello's extensions; absent where it has none.", wireshark="tls.handshake.extensions_length"),
        number("tls.handshake.extension.type", 16, "The type of each extension of the hello: 0 server_name, 16 ALPN, 43 supported_versions, 51 key_share, 65037 encrypted_client_hello.", multiple=True, bound=64, wireshark="tls.handshake.extension.type"),
        text("tls.sni", "The host name in the hello's server_name extension (RFC 6066 section 3), as on the wire: `lower(tls.sni)` for any case; absent where it is not whole.", aliases=("tls.handshake.extensions_server_name",), wireshark="tls.handshake.extensions_server_name"),
        text("tls.alpn", "Each protocol name in the hello's ALPN extension (RFC 7301): `h2`, `http/1.1`.", aliases=("tls.handshake.extensions_alpn_str",), multiple=True, wireshark="tls.handshake.extensions_alpn_str"),
        number("tls.supported_version", 16, "Each version in the hello's supported_versions extension: 0x0304 is TLS 1.3.", aliases=("tls.handshake.extensions.supported_version",), multiple=True, wireshark="tls.handshake.extensions.supported_version"),
        number("tls.alert.level", 8, "The level of each alert: 1 warning, 2 fatal; absent where there is none or it is encrypted.", aliases=("tls.alert_message.level",), multiple=True, wireshark="tls.alert_message.level"),
        number("tls.alert.description", 8, "The description of each alert: 0 close_notify, 40 handshake_failure, 48 unknown_ca; absent where there is none or it is encrypted.", aliases=("tls.alert_message.desc",), multiple=True, wireshark="tls.alert_message.desc"),
    ),
)  # fmt: skip
