# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of SSH."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, text

SSH: Final = Protocol(
    "ssh",
    "Secure Shell, identification string (RFC 4253 section 4.2)",
    (Header.TCP,),
    "TCP's payload begins with `SSH-`, a protocol version of digits and a dot (`2.0`, `1.99`), and `-`.",
    (
        flag("ssh", "An identification string of SSH: the first packet of each side. What follows it has no mark of its own."),
        text("ssh.protocol", "The identification string without the line's end; absent where the packet ends before it.", wireshark="ssh.protocol"),
        text("ssh.software", "What stands behind the version in the identification string, up to a space: `OpenSSH_9.2p1`; absent where the line's end is not in the packet."),
    ),
)  # fmt: skip
