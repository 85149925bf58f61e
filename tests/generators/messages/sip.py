"""Random messages of SIP."""

from __future__ import annotations

import random

_METHODS = (b"INVITE", b"OPTIONS", b"REGISTER", b"invite", b"X-Ping", b"A/B", b"", b"IN VITE")
_URIS = (
    b"sip:100@198.51.100.7",
    b"sips:a@b",
    b"tel:+15551234",
    b"urn:service:sos",
    b"SIP:x",
    b"sip:",
    b"b.example",
    b"1:x",
    b":x",
    b"a:\0",
)
_CODES = (b"200", b"401", b"100", b"000", b"999", b"20", b"2000", b"2x0")
_PARTIES = (
    b"<sip:alice@example.org>;tag=1",
    b'"Alice \\"<sip:no@x>\\"" <sips:alice:secret@example.org>',
    b"sip:bob@example.org;tag=a@b",
    b"Bob <SIP:bob@example.org>",
    b"sip:x <sip:alice@example.org>",
    b"sip:a:b:c@example.org",
    b"<sip:example.org>",
    b"<sip:@example.org>",
    b"<  sip:alice@example.org",
    b"tel:+15551234",
    b'"sip:alice@x',
    b"*",
    b"",
)
_MANDATORY = (
    ((b"To", b"t", b"TO"), _PARTIES),
    ((b"From", b"f", b"fRoM"), _PARTIES),
    ((b"Call-ID", b"i", b"call-id"), (b"a84b4c76e66710", b"1@x", b"")),
    ((b"CSeq", b"CSEQ"), (b"1 INVITE", b"102 OPTIONS", b"x")),
    ((b"Via", b"v"), (b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776", b"SIP/2.0/TCP nm;branch=foo")),
)
_OTHERS = (
    ((b"Max-Forwards", b"max-forwards"), (b"70", b"0", b"4294967295", b"4294967296", b"00000000070", b"+1", b"7 0", b"")),
    ((b"User-Agent",), (b"friendly-scanner", b"sipvicious", b"Linphone/5.2", b"")),
    ((b"Server",), (b"Asterisk PBX", b"kamailio", b"x" * 200)),
    ((b"Contact", b"m"), (b"<sip:alice@192.0.2.1>", b"*")),
    ((b"Content-Type", b"c"), (b"application/sdp", b"text/plain; charset=utf-8")),
    ((b"Content-Length", b"l"), (b"0", b"4", b"5", b"9999999999", b"-1", b"000")),
    ((b"Tos", b"vi", b"s", b"k", b"X y", b""), (b"To: no", b"sip:x@y")),
)


def _line(rng: random.Random, header: tuple[tuple[bytes, ...], tuple[bytes, ...]]) -> bytes:
    names, values = header
    line = rng.choice((b"", b"", b"", b"", b"", b"", b"", b" ", b"\t", b"\r")) + rng.choice(names)
    line += rng.choice((b"", b"", b"", b" ", b"\t ")) + rng.choice((b":", b":", b":", b":", b":", b":", b":", b"", b"::"))
    return line + rng.choice((b" ", b"", b"\t  ")) + rng.choice(values) + rng.choice((b"", b"", b"", b" ", b" \t", b"\r"))


def _plain_line(rng: random.Random, header: tuple[tuple[bytes, ...], tuple[bytes, ...]]) -> bytes:
    names, values = header
    return rng.choice(names) + b": " + rng.choice(values)


def sip(rng: random.Random) -> bytes:
    odd = rng.random() < 0.3
    if rng.random() < 0.6:
        first = (rng.choice(_METHODS if odd else _METHODS[:4]), rng.choice(_URIS if odd else _URIS[:4]), b"SIP/2.0")
    else:
        first = (b"SIP/2.0", rng.choice(_CODES if odd else _CODES[:3]), rng.choice((b"OK", b"", b"Not\tFound \xc3\xa4")))
    space = b" " if not odd else rng.choice((b" ", b" ", b" ", b"  ", b"\t"))
    start = space.join(first) + (rng.choice((b"", b"", b" ", b"\r", b"\0", b"x")) if odd else b"")
    if odd and rng.random() < 0.2:
        start = rng.choice((b"\r\n", b" ", b"sip/2.0 200 OK", b"SIP/3.0 200 OK", b"SIP/2.0/UDP")) + start
    headers = [
        *_MANDATORY,
        *rng.sample(_OTHERS, rng.randint(0, len(_OTHERS))),
        *rng.choices((*_MANDATORY, *_OTHERS), k=rng.choice((0, 0, 1, 4))),
    ]
    if rng.random() < 0.25:
        del headers[rng.randrange(len(_MANDATORY))]
    if rng.random() < 0.7:
        rng.shuffle(headers)
    if rng.random() < 0.02:
        headers[rng.randrange(len(headers)) :] = [((b"a",), (b"",))] * rng.choice((40, 400))
    crooked = rng.random() < 0.4
    lines = [start, *((_line if crooked else _plain_line)(rng, header) for header in headers)]
    ends = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r") if odd else (b"\r\n",) if rng.random() < 0.8 else (b"\n",)
    whole = b"".join(line + rng.choice(ends) for line in lines)
    whole += rng.choice((b"\r\n", b"\r\n", b"\r\n", b"\n", b"", b"\r")) + rng.choice((b"", b"v=0\n", b"v=0\r\n", rng.randbytes(30)))
    if rng.random() < 0.2:
        boundaries = [at for at, byte in enumerate(whole) if byte in b"\r\n :"] or [0]
        whole = whole[: rng.choice(boundaries) + rng.randint(0, 2)] if rng.random() < 0.7 else whole[: rng.randint(0, len(whole))]
    return whole[:2900]
