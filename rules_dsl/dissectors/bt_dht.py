"""BitTorrent's distributed hash table (BEP 5): one bencoded dictionary (BEP 3) a datagram."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

LOOKED_AT: Final = 1500
"""Bytes of the payload."""

_BEGIN: Final = re.compile(rb"d(2:ip6:.{6}|2:ip18:.{18})?1:(ad|rd|el)", re.DOTALL)


def dissect_bt_dht(packet: Packet) -> Mapping[str, Value] | None:
    message = (packet.udp_payload or b"")[:LOOKED_AT]
    if _BEGIN.match(message) is None:
        return None
    arguments, answer = (_dictionary(message, _value(message, 0, key)) for key in (b"a", b"r"))
    sender = arguments if arguments is not None else answer
    found = {
        "bt_dht.type": _text(message, _value(message, 0, b"y")),
        "bt_dht.query": _text(message, _value(message, 0, b"q")),
        "bt_dht.id": _text(message, _value(message, sender, b"id")),
        "bt_dht.info_hash": _text(message, _value(message, arguments, b"info_hash")),
    }
    return {"bt_dht": True, **{name: value for name, value in found.items() if value is not None}}


def _value(data: bytes, dictionary: int | None, key: bytes) -> int | None:
    """Where the value of that key begins in the dictionary that begins at `dictionary`."""
    if dictionary is None:
        return None
    place: int | None = dictionary + 1
    while place is not None and (name := _string(data, place)) is not None:
        if data[name.start : name.stop] == key:
            return name.stop
        place = _behind(data, name.stop)
    return None


def _behind(data: bytes, place: int) -> int | None:
    """The place behind the value that begins there; None where it is not whole."""
    depth = 0
    while True:
        match data[place : place + 1]:
            case b"d" | b"l":
                depth += 1
                place += 1
            case b"e" if depth:
                depth -= 1
                place += 1
            case b"i":
                integer = re.compile(rb"i[-0-9]*e").match(data, place)
                if integer is None:
                    return None
                place = integer.end()
            case _:
                string = _string(data, place)
                if string is None:
                    return None
                place = string.stop
        if depth == 0:
            return place


def _string(data: bytes, place: int) -> range | None:
    """Where the contents of the string are that begins there; None where it is not whole or not a string."""
    length = re.compile(rb"([0-9]{1,5}):").match(data, place)
    if length is None or length.end() + int(length[1]) > len(data):
        return None
    return range(length.end(), length.end() + int(length[1]))


def _text(data: bytes, place: int | None) -> bytes | None:
    string = None if place is None else _string(data, place)
    return None if string is None else data[string.start : string.stop]


def _dictionary(data: bytes, place: int | None) -> int | None:
    return place if place is not None and data[place : place + 1] == b"d" else None
