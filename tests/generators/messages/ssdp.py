"""Random messages of SSDP."""

from __future__ import annotations

import random

from generators.messages.http import ENDS, cut, header_block

_STARTS = (
    b"M-SEARCH * HTTP/1.1", b"M-SEARCH * HTTP/1.1", b"NOTIFY * HTTP/1.1", b"NOTIFY * HTTP/1.1", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK",
    b"NOTIFY /a b HTTP/1.0 \t", b"M-SEARCH  HTTP/1.1", b"M-SEARCH HTTP/1.1", b"m-search * HTTP/1.1", b"GET / HTTP/1.1",
    b"NOTIFY * HTTP/2.0",
    b"M-SEARCH * HTTP/1.1x", b"M-SEARCH *", b"HTTP/1.0 500", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200\rOK", b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 20 OK",
    b"HTTP/2.0 200 OK", b"M-SEARCHX * HTTP/1.1", b"", b"\r\nM-SEARCH * HTTP/1.1", b"INVITE sip:a@b SIP/2.0", b"HTTP/1.1 200 ",
)  # fmt: skip
_NAMES = (
    b"HOST", b"Host", b"ST", b"ST", b"st", b"MAN", b"Man", b"MX", b"NT", b"NTS", b"USN", b"LOCATION", b"SERVER", b"USER-AGENT",
    b"S", b"STT", b"NT ",
    b"CACHE-CONTROL", b"EXT", b"",
)  # fmt: skip
_VALUES = (
    b"ssdp:all", b"ssdp:all", b"upnp:rootdevice", b'"ssdp:discover"', b"ssdp:alive", b"ssdp:byebye", b"3", b"239.255.255.250:1900",
    b"http://192.0.2.1:49152/a.xml", b"Linux/5.0 UPnP/1.0 a/1", b"uuid:1::upnp:rootdevice", b"", b"max-age=1800", b"a\rb",
)  # fmt: skip


def ssdp(rng: random.Random) -> bytes:
    start = rng.choice(_STARTS[:6]) if rng.random() < 0.6 else rng.choice(_STARTS)
    return cut(rng, start + rng.choice(ENDS) + header_block(rng, _NAMES, _VALUES))
