"""TLS records and handshake messages (RFC 8446, RFC 5246; extensions: RFC 6066, RFC 7301)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_ALERT, _HANDSHAKE, _APPLICATION_DATA = 21, 22, 23
_LONGEST_RECORD = (1 << 14) + 2048
"""RFC 5246 section 6.2.3."""

_HELLO_REQUEST, _CLIENT_HELLO, _SERVER_HELLO = 0, 1, 2
_MESSAGE_TYPES = {*range(7), 8, *range(11, 17), *range(20, 26)}
_OF_SEVERAL_RECORDS = (_CLIENT_HELLO, 11, 13)
"""ClientHello, Certificate, CertificateRequest."""
_LONGEST_OF_SEVERAL_RECORDS = 1 << 17

_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43

_RECORDS, _RECORDS_AND_MESSAGES, _MESSAGES, _SUITES, _EXTENSIONS, _NAMES = 64, 32, 16, 128, 64, 16
"""So many are looked at."""


@dataclass(frozen=True, slots=True)
class _Record:
    type: int
    version: int
    length: int
    content: bytes
    """What of it is in the packet."""


@dataclass(frozen=True, slots=True)
class _Message:
    type: int
    length: int
    body: bytes
    """What of it is in its record and in the packet."""


def dissect_tls(packet: Packet) -> Mapping[str, Value] | None:
    records = list(islice(_records(packet.tcp_payload or b""), _RECORDS))
    if not records:
        return None
    items = [item for record in records for item in _items(record)][:_RECORDS_AND_MESSAGES]
    messages = [item for item in items if isinstance(item, _Message)]
    alerts = [item.content for item in items if isinstance(item, _Record) and item.type == _ALERT and item.length == 2]
    lists = {
        "tls.record.type": [record.type for record in records],
        "tls.record.version": [record.version for record in records],
        "tls.record.length": [record.length for record in records],
        "tls.handshake.type": [message.type for message in messages[:_MESSAGES]],
        "tls.handshake.length": [message.length for message in messages[:_MESSAGES]],
        "tls.alert.level": [alert[0] for alert in alerts if alert],
        "tls.alert.description": [alert[1] for alert in alerts if len(alert) == 2],
    }
    values: dict[str, Value] = {name: tuple(found) for name, found in lists.items() if found}
    values["tls"] = True
    values["tls.truncated"] = any(_is_cut(item) for item in items)
    hello = next((message for message in messages if message.type in (_CLIENT_HELLO, _SERVER_HELLO)), None)
    if hello is not None:
        values |= _hello(hello)
    return values


def _is_cut(item: _Record | _Message) -> bool:
    match item:
        case _Record(kind, _, length, content):
            return length > len(content) or (kind == _HANDSHAKE and length < 4)
        case _Message(_, length, body):
            return length > len(body)


def _records(payload: bytes) -> Iterator[_Record]:
    while len(payload) >= 5:
        kind, version, length = payload[0], int.from_bytes(payload[1:3], "big"), int.from_bytes(payload[3:5], "big")
        if not 20 <= kind <= 24 or not 0x0300 <= version <= 0x0304 or length > _LONGEST_RECORD:
            return
        if length == 0 and kind != _APPLICATION_DATA:
            return
        yield _Record(kind, version, length, payload[5 : 5 + length])
        payload = payload[5 + length :]


def _items(record: _Record) -> Iterator[_Record | _Message]:
    yield record
    yield from _messages(record)


def _messages(record: _Record) -> Iterator[_Message]:
    if record.type != _HANDSHAKE:
        return
    content, room = record.content, record.length
    while len(content) >= 4:
        kind, length = content[0], int.from_bytes(content[1:4], "big")
        room -= 4
        may_go_on = kind in _OF_SEVERAL_RECORDS and length <= _LONGEST_OF_SEVERAL_RECORDS
        if kind not in _MESSAGE_TYPES or (length > room and not may_go_on):
            return
        if kind == _HELLO_REQUEST and room:
            return
        yield _Message(kind, length, content[4 : 4 + length])
        content, room = content[4 + length :], room - length


def _hello(hello: _Message) -> Mapping[str, Value]:
    """The fields of a ClientHello or a ServerHello (RFC 8446 section 4.1), as far as it goes."""
    body, is_client = hello.body, hello.type == _CLIENT_HELLO
    values: dict[str, Value] = {}
    if len(body) >= 2:
        values["tls.handshake.version"] = int.from_bytes(body[:2], "big")
    if len(body) < 35:
        return values
    values["tls.handshake.session_id_length"] = body[34]
    rest = body[35 + body[34] :]
    if body[34] > 32 or len(rest) < 2:
        return values
    if is_client:
        length = int.from_bytes(rest[:2], "big")
        values["tls.handshake.cipher_suites_length"] = length
        suites, rest = _numbers(rest[2 : 2 + length]), rest[2 + length :]
        if suites:
            values["tls.handshake.ciphersuite"] = suites[:_SUITES]
        rest = rest[1 + rest[0] :] if rest else b""  # compression methods
    else:
        values["tls.handshake.ciphersuite"] = (int.from_bytes(rest[:2], "big"),)
        rest = rest[3:]
    if len(rest) < 2:
        return values
    length = int.from_bytes(rest[:2], "big")
    values["tls.handshake.extensions_length"] = length
    extensions = list(_extensions(rest[2 : 2 + length]))[:_EXTENSIONS]
    if extensions:
        values["tls.handshake.extension.type"] = tuple(kind for kind, _ in extensions)
    return {**values, **_content_of(dict(reversed(extensions)), is_client)}


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The type of each extension, and its data as far as they go."""
    while len(block) >= 4:
        kind, length = int.from_bytes(block[:2], "big"), int.from_bytes(block[2:4], "big")
        yield kind, block[4 : 4 + length]
        block = block[4 + length :]


def _content_of(extensions: Mapping[int, bytes], is_client: bool) -> Mapping[str, Value]:
    """The fields out of extensions, the first one of each type."""
    values: dict[str, Value] = {}
    data = extensions.get(_SERVER_NAME, b"")
    if len(data) >= 5 and data[2] == 0:  # host_name
        length = int.from_bytes(data[3:5], "big")
        if 0 < length <= len(data) - 5:
            values["tls.sni"] = data[5 : 5 + length]
    names = tuple(_protocol_names(extensions.get(_ALPN, b"")[2:]))[:_NAMES]
    if names:
        values["tls.alpn"] = names
    data = extensions.get(_SUPPORTED_VERSIONS, b"")
    versions = _numbers(data[1 : 1 + data[0]] if is_client and data else data[:2])
    if versions:
        values["tls.supported_version"] = versions[:_NAMES]
    return values


def _protocol_names(names: bytes) -> Iterator[bytes]:
    while names and 0 < names[0] < len(names):
        yield names[1 : 1 + names[0]]
        names = names[1 + names[0] :]


def _numbers(data: bytes) -> tuple[int, ...]:
    """Numbers of 16 bits each."""
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))
