"""Random messages of SIP."""

from __future__ import annotations

import random


def sip(rng: random.Random) -> bytes:
    return rng.choice((b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"GET / HTTP/1.1\r\n"))
