# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of memcached."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

MEMCACHED: Final = Protocol(
    "memcached",
    "memcached, text and binary protocol (doc/protocol.txt, doc/protocol-binary.xml)",
    (Header.UDP, Header.TCP),
    "TCP's payload begins with a message; UDP's with a frame header of 8 bytes, whose sequence number and reserved word are 0 and whose number of datagrams is not, and then with a message. "
    "A message in text is a whole line, closed by LF or CR LF, of words of bytes above 0x20 (not 0x7f) with spaces between them: `get` or `gets` and keys; `gat` or `gats`, a number and keys; `set`, "
    "`add`, `replace`, `append` or `prepend`, a key and three numbers; `cas`, a key and four; `incr` or `decr`, a key and a number; `touch`, a key and a number; "
    "`delete`, a key and perhaps a number; `mg`, `md` or `ma`, a key and any words; `ms`, a key, a number and any words; `stats` and any words; `version`; `verbosity` and a "
    "number; `flush_all` and perhaps a number; all those that change something perhaps with `noreply` at the end; or a response: `VALUE`, a key and two or three "
    "numbers; `STAT`, `VERSION`, `CLIENT_ERROR` or `SERVER_ERROR` and words; `STORED`, `NOT_STORED`, `EXISTS`, `NOT_FOUND`, `DELETED`, `TOUCHED`, `END` or `RESET` alone. "
    "(`quit`, `OK` and `ERROR` are of many protocols, and do not count.) A binary message has a header of 24 bytes with magic 0x80 or 0x81, a key of at most 250 bytes, extras of at "
    "most 32 bytes, data type 0, and a body that is not shorter than extras and key.",
    (
        flag("memcached", "A message of memcached.", aliases=("memcache",), wireshark="memcache"),
        text("memcached.command", "The command of a request in text: `get`, `stats`, `set`, ...; absent in others.", aliases=("memcache.command",), wireshark="memcache.command"),
        text("memcached.response", "The first word of a response in text: `VALUE`, `STAT`, `STORED`, ...; absent in others."),
        number("memcached.magic", 8, "The magic of a binary message: 0x80 request, 0x81 response; absent in text.", aliases=("memcache.magic",), wireshark="memcache.magic"),
        number("memcached.opcode", 8, "The opcode of a binary message: 0 get, 1 set, 16 stat; absent in text.", aliases=("memcache.opcode",), wireshark="memcache.opcode"),
        text("memcached.key", "The first key of a command in text, of `VALUE`, or of a binary message; absent where it has none, and where it is not whole.", aliases=("memcache.key",), wireshark="memcache.key"),
    ),
)  # fmt: skip
