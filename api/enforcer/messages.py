"""What a client asks of the enforcer and what it answers: frozen dataclasses, their JSON, and the frames that carry it.

A frame is a length of 4 bytes in network order and as many bytes of JSON: an object whose member `kind` is the class's name, beside a
member for each of its fields. Bytes are in base64. A request's answer comes on the same connection before the next request is read;
`Capture` is answered by any number of `Packets` and one `Captured`, and a client ends it early by closing the connection."""

from __future__ import annotations

import base64
import binascii
import json
import socket
import struct
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

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


def encode(message: Message) -> bytes:
    members = {"kind": type(message).__name__, **_members(message)}
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _members(value: Any) -> dict[str, Any]:
    kind: Any = type(value)
    return {name: _plain(getattr(value, name)) for name in _names(kind)}


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


_AS_IT_IS: Final = frozenset((str, int, bool, float, type(None)))


def _plain(value: Any) -> Any:
    if type(value) in _AS_IT_IS:
        return value
    if type(value) is tuple:
        return [_plain(each) for each in value]
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case Enum():
            return value.value
        case Mapping():
            return {name: _plain(each) for name, each in value.items()}
        case _ if is_dataclass(value):
            return _members(value)
        case _:
            return value


def decode_request(data: bytes) -> Request:
    """Raises MessageError."""
    return _message(data, REQUESTS)


def decode_answer(data: bytes) -> Answer:
    """Raises MessageError."""
    return _message(data, ANSWERS)


def _message(data: bytes, known: Mapping[str, type[M]]) -> M:
    try:
        value = json.loads(data, parse_constant=_no_number, object_pairs_hook=_object)
    except RecursionError as error:
        raise MessageError("the JSON is nested too deep") from error
    except ValueError as error:  # also of bytes that are no UTF-8
        raise MessageError(f"this is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise MessageError(f"expected an object, got {_kind_of(value)}")
    kind = value.pop("kind", None)
    if not isinstance(kind, str) or kind not in known:
        raise MessageError(f"kind: expected one of {', '.join(known)}")
    made: M = _dataclass(known[kind], value, "")
    return made


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a member twice")
    return found


@cache
def _types(kind: Any) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _dataclass(kind: Any, value: object, place: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(place, "an object", value)
    hints = _types(kind)
    unknown = next((name for name in value if name not in hints), None)
    if unknown is not None:
        raise MessageError(f"{_at(place, unknown)}: no such member")
    missing = next((each.name for each in fields(kind) if each.name not in value), None)
    if missing is not None:
        raise MessageError(f"{_at(place, missing)}: is missing")
    return kind(**{name: _value(hints[name], each, _at(place, name)) for name, each in value.items()})


def _at(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


@cache
def _shape(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)


def _value(kind: Any, value: object, place: str) -> Any:
    """`value` as a `kind`: str, int, float, bool, bytes, a dataclass, an Enum, X | None, tuple[X, ...] or Mapping[str, X]."""
    if type(value) is kind and kind in _AS_IT_IS:
        return value
    origin, arguments = _shape(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (each for each in arguments if each is not types.NoneType)
        return None if value is None else _value(inner, value, place)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(place, "an array", value)
        return tuple([_value(arguments[0], each, f"{place}[{at}]") for at, each in enumerate(value)])
    if origin is not None:
        if not isinstance(value, dict):
            raise _wrong(place, "an object", value)
        return {name: _value(arguments[1], each, _at(place, name)) for name, each in value.items()}
    if is_dataclass(kind):
        return _dataclass(kind, value, place)
    if issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError:
            raise _wrong(place, "one of " + ", ".join(repr(each.value) for each in kind), value) from None
    if kind is bytes:
        try:
            return base64.b64decode(_value(str, value, place), validate=True)
        except (binascii.Error, ValueError):
            raise MessageError(f"{place}: expected base64") from None
    if kind is float and type(value) is int:
        return _number(value, place)
    if type(value) is not kind:
        raise _wrong(place, _NAMES[kind], value)
    return value


def _number(value: int, place: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise MessageError(f"{place}: the number is too large") from None


_NAMES: Final[Mapping[type, str]] = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def _wrong(place: str, wanted: str, value: object) -> MessageError:
    return MessageError(f"{place}: expected {wanted}, got {_kind_of(value)}")


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case dict():
            return "an object"
        case list():
            return "an array"
        case str():
            return f"{value!r}" if len(value) < 40 else "a string"
        case _:
            return str(value).lower() if len(str(value)) < 40 else "a number"


# -- frames

_LENGTH = struct.Struct(">I")


def send(connection: socket.socket, message: Message) -> None:
    """Raises OSError."""
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
