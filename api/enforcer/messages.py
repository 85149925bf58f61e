"""What a client asks of the enforcer and what it answers: frozen dataclasses, their JSON, and the frames that carry it.

A frame is a length of 4 bytes in network order and as many bytes of JSON: an array of the class's name and an object with a member for
each of its fields, of which those that have a default may be left out. Bytes are in base64 (of RFC 4648's URL-safe alphabet). A request's
answer comes on the same connection before the next request is read; `Capture` is answered by any number of `Packets` and one `Captured`,
and a client ends it early by closing the connection."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, TypeVar, get_args

from pydantic import ConfigDict, TypeAdapter, ValidationError

from api.policy_text import PolicyText, ProtectText

MAX_REQUEST: Final = 96 << 20
"""Bytes of a frame: a million list items are some 20 MB, a capture to replay of 64 MiB in base64 85 MiB."""
MAX_ANSWER: Final = 256 << 20
MOST_TOGETHER: Final = 100
"""Tenants of one EnforceAll."""


class MessageError(Exception):
    """What came is no message; the message of the error says where in it and why."""


# -- requests


@dataclass(frozen=True, slots=True)
class Check:
    """Compile, and have the kernel verify it; nothing is left behind. Answer: Done or Refusal."""

    policy: PolicyText


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build a generation beside the one enforced. From the answer on this connection holds the lock of changes, until Commit, Abandon,
    its end, or the end of its time. Answer: Ready, Refusal or Failure."""

    policy: PolicyText
    revision: int
    """Of the store, for Status."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Enforce what is prepared. Answer: Done or Failure."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """Clear away what is prepared. Answer: Done."""


@dataclass(frozen=True, slots=True)
class Wanted:
    policy: PolicyText
    revision: int
    """Of the store, for Status."""


@dataclass(frozen=True, slots=True)
class EnforceAll:
    """Enforce the rules of several tenants together: MOST_TOGETHER at most, each once. One that is refused keeps none of the others.
    Answer: Enforced."""

    tenants: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """Answer: Done, also where there is no such tenant."""

    tenant: str


@dataclass(frozen=True, slots=True)
class Status:
    """Answer: Standing."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Answer: Drifted."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Answer: Counted."""

    tenant: str


@dataclass(frozen=True, slots=True)
class Capture:
    """Packets of what `protect` says, as they arrive. The limits are the enforcer's own where they are greater. Answer: Packets, then
    Captured; or Refusal."""

    tenant: str
    protect: ProtectText
    expression: str
    packet_limit: int
    time_limit: float
    """Seconds."""
    byte_limit: int
    snap_length: int = 262_144
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replay:
    """Answer: Replayed or Refusal."""

    policy: PolicyText
    capture: bytes
    """A pcap or pcapng file."""
    engine: str
    """kernel, reference or both."""


# -- answers


@dataclass(frozen=True, slots=True)
class Done:
    """It is as was asked."""


@dataclass(frozen=True, slots=True)
class Ready:
    generation: int
    """Its number in the kernel."""


@dataclass(frozen=True, slots=True)
class RuleDiagnostic:
    """What is wrong with a rule's text."""

    rule: str
    code: str
    message: str
    text: str
    """The text that `start` and `end` (characters) are of: one of the rule's expressions, or all of them together."""
    start: int
    end: int
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was asked for cannot be, and will not be when it is asked again."""

    message: str
    rule: str | None = None
    diagnostics: tuple[RuleDiagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """The machine, or another change, is in the way."""

    message: str


@dataclass(frozen=True, slots=True)
class Unenforced:
    """Why a tenant's rules are not enforced."""

    tenant: str
    refusal: Refusal | None
    failure: str = ""
    """Where it is no refusal: what is in the way."""


@dataclass(frozen=True, slots=True)
class Enforced:
    but: tuple[Unenforced, ...]


@dataclass(frozen=True, slots=True)
class EnforcedTenant:
    """A tenant whose rules stand in the kernel."""

    tenant: str
    revision: int | None
    """The store's; None for rules that no API has put there."""
    generation: int
    protects: tuple[str, ...]
    """What comes to its rules: prefixes, `interface eth0`, `mark 0x7`, `everything`."""


@dataclass(frozen=True, slots=True)
class Standing:
    tenants: tuple[EnforcedTenant, ...]


@dataclass(frozen=True, slots=True)
class Drifted:
    tenants: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleCount:
    rule: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Counted:
    rules: tuple[RuleCount, ...]


@dataclass(frozen=True, slots=True)
class CapturedPacket:
    timestamp_ns: int
    """Nanoseconds since 1970-01-01 UTC."""
    data: bytes
    """From the IP header on."""
    original_length: int
    interface: str


@dataclass(frozen=True, slots=True)
class Packets:
    packets: tuple[CapturedPacket, ...]


@dataclass(frozen=True, slots=True)
class Captured:
    """The end of a capture."""

    reason: str
    """`packet limit`, `time limit`, `byte limit` or `stopped`."""
    dropped: int
    """Packets that matched and found no room in the kernel's buffer."""


@dataclass(frozen=True, slots=True)
class Replayed:
    records: tuple[str, ...]
    """A JSON object for each frame, as `mantlet replay --format json` prints them."""
    differences: tuple[str, ...] = ()
    """Where the engines do not agree (engine both)."""


Request = Check | Prepare | Commit | Abandon | EnforceAll | Remove | Status | Drift | Counters | Capture | Replay
Answer = Done | Ready | Refusal | Failure | Enforced | Standing | Drifted | Counted | Packets | Captured | Replayed
Message = Request | Answer

REQUESTS: Final[Mapping[str, type[Request]]] = {each.__name__: each for each in get_args(Request)}
ANSWERS: Final[Mapping[str, type[Answer]]] = {each.__name__: each for each in get_args(Answer)}

M = TypeVar("M")


# -- JSON

_STRICT: Final = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, val_json_bytes="base64", ser_json_bytes="base64")
_KIND: Final = re.compile(rb'\s*\[\s*"([A-Za-z]{1,32})"\s*,')


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    name: Any = Literal[kind.__name__]
    return TypeAdapter(tuple[name, kind], config=_STRICT)


def encode(message: Message) -> bytes:
    """Raises MessageError for text that is not Unicode."""
    kind: Any = type(message)
    try:
        return _adapter(kind).dump_json((kind.__name__, message))
    except ValueError as error:
        raise MessageError(f"it cannot be written as JSON: {error}") from error


def decode_request(data: bytes) -> Request:
    """Raises MessageError."""
    return _message(data, REQUESTS)


def decode_answer(data: bytes) -> Answer:
    """Raises MessageError."""
    return _message(data, ANSWERS)


def _message(data: bytes, known: Mapping[str, type[M]]) -> M:
    found = _KIND.match(data)
    kind: Any = known.get(found[1].decode()) if found is not None else None
    if kind is None:
        raise MessageError(f"expected the JSON of an array of one of {', '.join(known)}, and its members")
    try:
        made: M = _adapter(kind).validate_json(data)[1]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in first["loc"][1:]).removeprefix(".")
        raise MessageError(": ".join(part for part in (place, first["msg"]) if part)) from error
    return made


# -- frames

_LENGTH = struct.Struct(">I")


def send(connection: socket.socket, message: Message) -> None:
    """Raises OSError, MessageError."""
    data = encode(message)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, limit: int) -> bytes | None:
    """The JSON of the next frame; None where the connection has ended. Raises MessageError for a frame that is longer than `limit`
    bytes or cut, OSError (TimeoutError) by the socket."""
    head = _receive_exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > limit:
        raise MessageError(f"a frame of {length:,} bytes: {limit:,} are the most")
    body = _receive_exactly(connection, length)
    if body is None:
        raise MessageError("the connection ended within a frame")
    return body


def _receive_exactly(connection: socket.socket, length: int) -> bytes | None:
    """None where nothing came."""
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 20))
        if not part:
            if parts:
                raise MessageError("the connection ended within a frame")
            return None
        parts += part
    return bytes(parts)
