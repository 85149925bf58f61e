"""Random messages of BitTorrent's distributed hash table."""

from __future__ import annotations

import random

_IDS = (b"\xf6\x02w\x01\x98b\xc1\x1c\x95\xbe\xf4\xf3\0\xefPV\xb7hJp", b"\0" * 20, b"e" * 20)
_QUERIES = (b"ping", b"find_node", b"get_peers", b"announce_peer", b"", b"vote")

Bencoded = int | bytes | list["Bencoded"] | dict[bytes, "Bencoded"]


def bt_dht(rng: random.Random) -> bytes:
    message = bytearray(_encoded(_message(rng)))
    if rng.random() < 0.2:
        message[rng.randrange(len(message))] = rng.choice(b"deil:09-a\0\xff")
    if rng.random() < 0.15:
        del message[rng.randrange(len(message) + 1) :]
    return bytes(message) + rng.choice((b"", b"", b"", b"", b"e", bytes(30)))


def _message(rng: random.Random) -> dict[bytes, Bencoded]:
    message: dict[bytes, Bencoded] = {}
    if rng.random() < 0.3:
        message[b"ip"] = rng.randbytes(rng.choice((6, 6, 18, 18, 7)))
    kind = rng.choice(b"qqqrre")
    match kind:
        case 0x71:
            arguments: dict[bytes, Bencoded] = {b"bs": 1} if rng.random() < 0.1 else {}
            arguments |= {b"id": rng.choice(_IDS)} if rng.random() < 0.95 else {}
            arguments |= {b"info_hash": rng.choice(_IDS)} if rng.random() < 0.7 else {b"target": rng.choice(_IDS)}
            arguments |= {b"port": 6881, b"token": b"aoeusnth", b"want": [b"n4", b"n6"]} if rng.random() < 0.4 else {}
            message |= {b"a": arguments, b"q": rng.choice(_QUERIES)}
        case 0x72:
            message[b"r"] = {
                b"id": rng.choice(_IDS),
                b"nodes": rng.randbytes(rng.choice((0, 26, 208, 1450))),
                b"values": [rng.randbytes(6)] * 9,
            }
        case _:
            message[b"e"] = [rng.choice((201, 203, -1)), b"A Generic Error"]
    if rng.random() < 0.1:
        message[rng.choice((b"n", b"r", b"a", b"q", b"y"))] = rng.choice(
            (7, b"x", [[1, [2]], {b"q": b"no"}], {b"id": b"two", b"y": b"no"}, _deep(rng))
        )
    if rng.random() < 0.2:
        message[b"ro"] = rng.choice((1, -5, 12345678901234567890))
    return message | {b"t": rng.randbytes(2), b"v": b"LT\1\2"} | ({b"y": bytes([kind])} if rng.random() < 0.95 else {})


def _deep(rng: random.Random) -> Bencoded:
    value: Bencoded = []
    for _ in range(rng.choice((3, 700))):
        value = [value]
    return value


def _encoded(value: Bencoded) -> bytes:
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            depth = 0
            while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):  # no recursion into deep ones
                value, depth = value[0], depth + 1
            assert isinstance(value, list)
            return b"l" * (depth + 1) + b"".join(map(_encoded, value)) + b"e" * (depth + 1)
        case _:
            return b"d" + b"".join(_encoded(key) + _encoded(item) for key, item in value.items()) + b"e"
