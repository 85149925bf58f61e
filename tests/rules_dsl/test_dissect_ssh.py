"""The reference on identification strings of SSH."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value


def get(payload: bytes) -> dict[str, Value] | None:
    segment = bytes(12) + b"\x50\x18" + bytes(6) + payload
    packet = b"\x45\0" + (20 + len(segment)).to_bytes(2) + bytes(4) + b"\x40\x06" + bytes(10) + segment
    values = DISSECTORS["ssh"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


def test_a_server_names_itself() -> None:
    line = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"
    assert get(line + b"\r\n") == {"ssh": True, "ssh.protocol": line, "ssh.software": b"OpenSSH_9.2p1"}


def test_a_bare_newline_and_what_follows_it() -> None:
    assert get(b"SSH-1.99-x\nmore\n") == {"ssh": True, "ssh.protocol": b"SSH-1.99-x", "ssh.software": b"x"}


def test_software_may_be_empty() -> None:
    assert get(b"SSH-2.0-\r\n") == {"ssh": True, "ssh.protocol": b"SSH-2.0-", "ssh.software": b""}


def test_without_the_lines_end_there_is_no_text() -> None:
    assert get(b"SSH-2.0-OpenSSH_9.2p1\r") == {"ssh": True}


@pytest.mark.parametrize(
    "payload", [b"", b"SSH-", b"SSH-2.0", b"ssh-2.0-x\r\n", b"SSH-2-x\r\n", b"SSH-.0-x\r\n", b"SSH-2.-x\r\n", b" SSH-2.0-x\r\n"]
)
def test_what_is_none(payload: bytes) -> None:
    assert get(payload) is None
