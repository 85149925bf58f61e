"""Random identification strings of SSH."""

from __future__ import annotations

import random


def ssh(rng: random.Random) -> bytes:
    version = rng.choice((b"2.0", b"2.0", b"1.99", b"1.5", b"2.", b".0", b"20", b"2.0.1", b""))
    software = rng.choice((b"OpenSSH_9.2p1", b"libssh2_1.8.0", b"paramiko_2.0", b"", b" ", b"Go", b"-", b"a\rb", rng.randbytes(3)))
    comment = rng.choice((b"", b"", b" Debian-2+deb12u3", b" ", b"  x"))
    whole = rng.choice((b"SSH-", b"SSH-", b"SSH-", b"SSH-", b"ssh-", b"xSSH-", b"SSH")) + version + b"-" + software + comment
    whole += rng.choice((b"\r\n", b"\r\n", b"\n", b"\r", b"", b"\r\r\n")) + rng.choice((b"", b"", rng.randbytes(40), b"second line\r\n"))
    return whole[: rng.choice((len(whole), len(whole), len(whole), rng.randint(0, len(whole))))]
