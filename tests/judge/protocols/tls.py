"""TLS: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import tcp

PAIRS: tuple[tuple[str, str], ...] = (
    ("tls", tcp("tls")),
    ("tls.record.type == 22", tcp("tls.record.content_type == 22")),
    ("tls.record.type == 23", tcp("(tls.record.content_type == 23 or tls.record.opaque_type == 23)")),
    ("tls.record.type == 21", tcp("(tls.record.content_type == 21 or tls.record.opaque_type == 21)")),
    ("tls.record.type == 20", tcp("(tls.record.content_type == 20 or tls.record.opaque_type == 20)")),
    ("tls.record.version == 0x0301", tcp("tls.record.version == 0x0301")),
    ("tls.record.length > 1000", tcp("tls.record.length > 1000")),
    ("tls.record.length == 2", tcp("tls.record.length == 2")),
    ("tls.handshake.type == 0", tcp("tls.handshake.type == 0")),
    ("tls.handshake.type == 1", tcp("tls.handshake.type == 1")),
    ("tls.handshake.type == 2", tcp("tls.handshake.type == 2")),
    ("tls.handshake.type == 4", tcp("tls.handshake.type == 4")),
    ("tls.handshake.type == 11", tcp("tls.handshake.type == 11")),
    ("tls.handshake.type == 12", tcp("tls.handshake.type == 12")),
    ("tls.handshake.type == 13", tcp("tls.handshake.type == 13")),
    ("tls.handshake.type == 14", tcp("tls.handshake.type == 14")),
    ("tls.handshake.type == 15", tcp("tls.handshake.type == 15")),
    ("tls.handshake.type == 16", tcp("tls.handshake.type == 16")),
    ("tls.handshake.type == 20", tcp("tls.handshake.type == 20")),
    ("tls.handshake.type == 22", tcp("tls.handshake.type == 22")),
    ("tls.handshake.length > 300", tcp("tls.handshake.length > 300")),
    ("tls.handshake.version == 0x0303", tcp("tls.handshake.version == 0x0303")),
    ("tls.handshake.version < 0x0303", tcp("tls.handshake.version < 0x0303")),
    ("tls.handshake.session_id_length == 32", tcp("tls.handshake.session_id_length == 32")),
    ("tls.handshake.session_id_length == 0", tcp("tls.handshake.session_id_length == 0")),
    ("tls.handshake.cipher_suites_length > 30", tcp("tls.handshake.cipher_suites_length > 30")),
    ("tls.handshake.ciphersuite == 0x1301", tcp("tls.handshake.ciphersuite == 0x1301")),
    ("tls.handshake.ciphersuite == 0x0005", tcp("tls.handshake.ciphersuite == 0x0005")),
    ("tls.handshake.ciphersuite == 0x00ff", tcp("tls.handshake.ciphersuite == 0x00ff")),
    ("tls.handshake.extensions_length > 100", tcp("tls.handshake.extensions_length > 100")),
    ("tls.handshake.extension.type == 0", tcp("tls.handshake.extension.type == 0")),
    ("tls.handshake.extension.type == 51", tcp("tls.handshake.extension.type == 51")),
    ("tls.handshake.extension.type == 65281", tcp("tls.handshake.extension.type == 65281")),
    ('tls.sni contains "google"', tcp('tls.handshake.extensions_server_name contains "google"')),
    ("len(tls.sni) > 0", tcp("tls.handshake.extensions_server_name")),
    ('tls.alpn == "h2"', tcp('tls.handshake.extensions_alpn_str == "h2"')),
    ('tls.alpn == "http/1.1"', tcp('tls.handshake.extensions_alpn_str == "http/1.1"')),
    ("tls.supported_version == 0x0304", tcp("tls.handshake.extensions.supported_version == 0x0304")),
    ("tls.supported_version == 0x0301", tcp("tls.handshake.extensions.supported_version == 0x0301")),
    ("tls.supported_version > 0x0304", tcp("tls.handshake.extensions.supported_version > 0x0304")),
    ("tls.alert.level == 1", tcp("tls.alert_message.level == 1")),
    ("tls.alert.level == 2", tcp("tls.alert_message.level == 2")),
    ("tls.alert.description == 0", tcp("tls.alert_message.desc == 0")),
    ("tls.alert.description >= 40", tcp("tls.alert_message.desc >= 40")),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("TLS within a record", ("tls",), wireshark="tls and not tls.record"),
    Difference("TLS records that are not whole", ("tls",), mantlet="tls.truncated"),
    Difference("TLS where Wireshark looks for something else", ("tls",), wireshark="tcp and not tls"),
    Difference("TLS whose lengths do not fit", ("tls",), wireshark='tls and _ws.expert.message contains "is too large, truncating it"'),
    Difference("The first 64 records", ("tls.record",), wireshark="count(tls.record) > 64"),
    Difference("SSL 2.0", ("tls",), wireshark="tls.record.version == 0x0002"),
)
