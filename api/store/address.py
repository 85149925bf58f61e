"""Where a store is: the text that the operator writes, and what it means.

/var/lib/mantlet/api.db                       a file, by its path
sqlite:///var/lib/mantlet/api.db?history=1000
etcd://10.0.0.1:2379,10.0.0.2:2379/prefix?timeout=10
etcds://10.0.0.1/prefix?ca=FILE&cert=FILE&key=FILE&user=NAME&password_file=FILE
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from api.store.model import StoreError

HISTORY = 1_000
"""Revisions of an SQLite store that can be watched from behind."""
TIMEOUT_SECONDS = 10.0
"""How long the servers of an etcd cluster are tried."""
ETCD_PORT = 2379
PREFIX = "mantlet"
"""What all keys in etcd begin with."""

_FORMS = "write a path, sqlite:///path, or etcd://host:port[,host:port]/prefix (etcds:// with TLS)"
_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<servers>[^/?#]*)(?P<path>/[^?#]*)?(\?(?P<query>[^#]*))?", re.IGNORECASE)
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_ETCD_OPTIONS = ("timeout", "user", "password_file")
_TLS_OPTIONS = ("ca", "cert", "key")


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """An SQLite file."""

    path: Path
    history: int = HISTORY
    """The least number of revisions that are kept for watches."""


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """A cluster of etcd, and the part of it that is the store's."""

    servers: tuple[tuple[str, int], ...]
    """Hosts and ports, in the order in which they are tried."""
    prefix: str = PREFIX
    tls: bool = False
    ca: Path | None = None
    """The certificates that may have signed the servers'; None: those of well-known authorities."""
    cert: Path | None = None
    """This client's certificate, with `key`."""
    key: Path | None = None
    user: str | None = None
    password: str = field(default="", repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS


def parse_address(text: str) -> SqliteAddress | EtcdAddress:
    """What a store's address means. Raises `StoreError`, whose message never has the query's or the user's part in it."""
    if "://" not in text:
        if not text or re.match(r"(sqlite|etcds?):", text):
            raise StoreError(f'"{text}" is no address of a store; {_FORMS}')
        return SqliteAddress(Path(text))
    match = _URL.fullmatch(text)
    if match is None:
        raise StoreError(f"this is no address of a store; {_FORMS}")
    scheme = match["scheme"].lower()
    try:
        options = dict(parse_qsl(match["query"] or "", keep_blank_values=True, strict_parsing=bool(match["query"])))
    except ValueError:
        raise StoreError("the address of the store has options that are not name=value, with & between them") from None
    path = unquote(match["path"] or "")
    match scheme:
        case "sqlite":
            return _sqlite(match["servers"], path, options)
        case "etcd" | "etcds":
            return _etcd(scheme == "etcds", match["servers"], path, options)
        case _:
            raise StoreError(f'there is no store "{scheme}://"; {_FORMS}')


def _sqlite(host: str, path: str, options: dict[str, str]) -> SqliteAddress:
    if host:
        raise StoreError("an address of an SQLite file has three slashes before an absolute path: sqlite:///var/lib/mantlet/api.db")
    if not path.strip("/"):
        raise StoreError("the address of the store has no path: write it as in sqlite:///var/lib/mantlet/api.db")
    _only(options, ("history",))
    history = options.get("history", str(HISTORY))
    if not history.isdecimal() or int(history) < 1:
        raise StoreError("the address of the store: history is a number of revisions, at least 1")
    return SqliteAddress(Path("/" + path.lstrip("/")), int(history))


def _etcd(tls: bool, servers: str, path: str, options: dict[str, str]) -> EtcdAddress:
    if "@" in servers:
        raise StoreError("the address of the store: give the user as ?user=NAME&password_file=FILE, not before the servers")
    _only(options, _ETCD_OPTIONS + (_TLS_OPTIONS if tls else ()))
    if ("cert" in options) != ("key" in options):
        raise StoreError("the address of the store: cert and key are given together")
    if "user" in options and "password_file" not in options:
        raise StoreError("the address of the store: a user needs a password_file")
    try:
        timeout = float(options.get("timeout", str(TIMEOUT_SECONDS)))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout <= 3600:
        raise StoreError("the address of the store: timeout is a number of seconds, greater than 0 and at most 3600")
    return EtcdAddress(
        servers=tuple(_server(server) for server in servers.split(",")),
        prefix=path.strip("/") or PREFIX,
        tls=tls,
        ca=_file(options, "ca"),
        cert=_file(options, "cert"),
        key=_file(options, "key"),
        user=options.get("user"),
        password=_password(options),
        timeout_seconds=timeout,
    )


def _server(text: str) -> tuple[str, int]:
    match = _SERVER.fullmatch(text)
    port = int(match["port"] or ETCD_PORT) if match is not None else 0
    if match is None or not 0 < port <= 65535:
        raise StoreError(f'the address of the store: "{text}" is no server; write host:port, with a comma before the next one')
    return match["host"].strip("[]"), port


def _file(options: dict[str, str], name: str) -> Path | None:
    if name not in options:
        return None
    path = Path(options[name])
    if not path.is_file():
        raise StoreError(f"the address of the store: there is no file {path}, which is said to have the {name}")
    return path


def _password(options: dict[str, str]) -> str:
    path = _file(options, "password_file")
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeError) as error:
        raise StoreError(f"the password cannot be read from {path}: {error}") from error


def _only(options: dict[str, str], known: tuple[str, ...]) -> None:
    for name in options:
        if name not in known:
            raise StoreError(f'the address of the store has an option "{name}"; there are {", ".join(known)}')
