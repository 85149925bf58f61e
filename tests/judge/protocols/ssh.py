"""SSH: pairs of expressions."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _ssh(test: str) -> str:
    return f"({under('tcp(?::mptcp)*:ssh')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("ssh", _ssh("ssh.protocol")),
    ('ssh.protocol == "SSH-2.0-OpenSSH_5.5p1 Debian-6+squeeze1"', _ssh('ssh.protocol == "SSH-2.0-OpenSSH_5.5p1 Debian-6+squeeze1"')),
    ('ssh.protocol contains "OpenSSH"', _ssh('ssh.protocol contains "OpenSSH"')),
    ('starts_with(ssh.software, "OpenSSH_")', _ssh('ssh.protocol matches "^SSH-[0-9.]+-OpenSSH_"')),
    ('ssh.software == "OpenSSH_5.5p1"', _ssh('ssh.protocol matches "^SSH-2.0-OpenSSH_5.5p1( |$)"')),
)

DIFFERENCES: tuple[Difference, ...] = ()
"""None on the corpus: what the page says of other ports does not excuse a message of another protocol."""
