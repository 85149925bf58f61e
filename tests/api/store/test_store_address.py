"""Addresses of stores: what they mean, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.store import StoreError, open_store
from api.store.address import EtcdAddress, SqliteAddress, parse_address


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("/var/lib/m.db", SqliteAddress(Path("/var/lib/m.db"))),
        ("m.db", SqliteAddress(Path("m.db"))),
        ("what?.db", SqliteAddress(Path("what?.db"))),
        ("sqlite:///var/lib/m.db", SqliteAddress(Path("/var/lib/m.db"))),
        ("SQLITE:////var/lib/m%20n.db?history=5", SqliteAddress(Path("/var/lib/m n.db"), 5)),
        ("etcd://h", EtcdAddress((("h", 2379),))),
        ("etcd://10.0.0.1:1,h-2.example:65535/a/b/", EtcdAddress((("10.0.0.1", 1), ("h-2.example", 65535)), "a/b")),
        ("etcd://[::1]:99,[2001:db8::1]", EtcdAddress((("::1", 99), ("2001:db8::1", 2379)))),
        ("etcds://h?timeout=2.5", EtcdAddress((("h", 2379),), tls=True, timeout_seconds=2.5)),
    ],
)
def test_addresses(text: str, meaning: SqliteAddress | EtcdAddress) -> None:
    assert parse_address(text) == meaning


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r'"" is no address of a store; write a path, sqlite:///path, or etcd://host:port'),
        ("etcd:h", r'"etcd:h" is no address of a store; write a path'),
        ("redis://h", r'there is no store "redis://"; write a path'),
        ("etcd://h#x", r"this is no address of a store; write a path"),
        ("sqlite://m.db", r"three slashes before an absolute path: sqlite:///var"),
        ("sqlite://", r"has no path: write it as in sqlite:///var"),
        ("sqlite:///m.db?history=0", r"history is a number of revisions, at least 1"),
        ("sqlite:///m.db?mode=ro", r'has an option "mode"; there are history'),
        ("etcd://", r'"" is no server; write host:port'),
        ("etcd://h:1,", r'"" is no server; write host:port'),
        ("etcd://h:0", r'"h:0" is no server'),
        ("etcd://h:65536", r'"h:65536" is no server'),
        ("etcd://h h", r'"h h" is no server'),
        ("etcd://h?timeout=0", r"timeout is a number of seconds, greater than 0"),
        ("etcd://h?timeout=nan", r"timeout is a number of seconds, greater than 0"),
        ("etcd://h?timeout", r"options that are not name=value"),
        ("etcd://h?ca=/x", r'has an option "ca"; there are timeout, user, password_file$'),
        ("etcds://h?cert=/x", r"cert and key are given together"),
        ("etcds://h?ca=/nonexistent", r"there is no file /nonexistent, which is said to have the ca"),
        ("etcd://h?user=u", r"a user needs a password_file"),
        ("etcd://h?user=u&password_file=/nonexistent", r"there is no file /nonexistent"),
        ("etcd://u:secret@h", r"give the user as \?user=NAME&password_file=FILE"),
    ],
)
def test_wrong_addresses(text: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as error:
        open_store(text)
    assert "secret" not in str(error.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("secret\n")
    address = parse_address(f"etcd://h?user=u&password_file={tmp_path}/pw")
    assert isinstance(address, EtcdAddress)
    assert address.password == "secret"
    assert "secret" not in repr(address)
