"""memcached's text and binary protocols (doc/protocol.txt and doc/protocol-binary.xml of memcached)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

# The words behind the first: k is a key, n a number, i a number that may have a minus sign. In brackets what may be left out;
# a plus is any words.
_STORE: Final = "k n i n [noreply]"
_FORMS: Final[Mapping[bytes, str]] = {
    b"get": "k +", b"gets": "k +", b"gat": "i k +", b"gats": "i k +",
    b"set": _STORE, b"add": _STORE, b"replace": _STORE, b"append": _STORE, b"prepend": _STORE, b"cas": "k n i n n [noreply]",
    b"delete": "k [n] [noreply]", b"incr": "k n [noreply]", b"decr": "k n [noreply]", b"touch": "k i [noreply]",
    b"mg": "k +", b"md": "k +", b"ma": "k +", b"ms": "k n +",
    b"stats": "+", b"version": "", b"verbosity": "n [noreply]", b"flush_all": "[i] [noreply]",
    b"VALUE": "k n n [n]", b"STAT": "k +", b"VERSION": "k +", b"CLIENT_ERROR": "k +", b"SERVER_ERROR": "k +",
    b"STORED": "", b"NOT_STORED": "", b"EXISTS": "", b"NOT_FOUND": "", b"DELETED": "", b"TOUCHED": "", b"END": "", b"RESET": "",
}  # fmt: skip
_WITHOUT_KEY: Final = (b"STAT", b"VERSION", b"CLIENT_ERROR", b"SERVER_ERROR")


def dissect_memcached(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.tcp_payload if packet.udp_payload is None else _in_frame(packet.udp_payload)
    if message is None:
        return None
    return _text(message) or _binary(message)


def _in_frame(payload: bytes) -> bytes | None:
    """The message in the first datagram of a request or a response."""
    sequence, datagrams, reserved = (int.from_bytes(payload[place : place + 2]) for place in (2, 4, 6))
    return payload[8:] if len(payload) >= 8 and sequence == 0 and datagrams and reserved == 0 else None


def _text(message: bytes) -> Mapping[str, Value] | None:
    line, newline, _ = message.partition(b"\n")
    if not newline or line.startswith(b" "):
        return None
    first, *words = [word for word in line.removesuffix(b"\r").split(b" ") if word] or [b""]
    if first not in _FORMS or not all(map(_is_key, words)) or not _has_form(words, _FORMS[first].split()):
        return None
    values: dict[str, Value] = {"memcached": True, "memcached.command" if first.islower() else "memcached.response": first}
    if "k" in _FORMS[first].split() and first not in _WITHOUT_KEY:
        values["memcached.key"] = words[_FORMS[first].split().index("k")]
    return values


def _has_form(words: list[bytes], form: list[str]) -> bool:
    for part in form:
        if part == "+":
            return True
        if words and _is_of(words[0], part.strip("[]")):
            words = words[1:]
        elif not part.startswith("["):
            return False
    return not words


def _is_of(word: bytes, part: str) -> bool:
    match part:
        case "k":
            return True
        case "n":
            return word.isdigit()
        case "i":
            return word.removeprefix(b"-").isdigit()
        case _:
            return word == part.encode()


def _is_key(word: bytes) -> bool:
    return all(byte > 0x20 and byte != 0x7F for byte in word)


def _binary(message: bytes) -> Mapping[str, Value] | None:
    if len(message) < 24:
        return None
    magic, opcode, extras, data_type = message[0], message[1], message[4], message[5]
    key, body = int.from_bytes(message[2:4]), int.from_bytes(message[8:12])
    if magic not in (0x80, 0x81) or data_type != 0 or key > 250 or extras > 32 or body < extras + key:
        return None
    values: dict[str, Value] = {"memcached": True, "memcached.magic": magic, "memcached.opcode": opcode}
    start = 24 + extras
    if key and start + key <= len(message):
        values["memcached.key"] = message[start : start + key]
    return values
