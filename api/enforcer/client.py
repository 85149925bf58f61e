"""The API's side of the enforcer's socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from api.enforcer import messages
from api.enforcer.messages import (
    Abandon,
    Answer,
    Capture,
    Captured,
    CapturedPacket,
    Check,
    Commit,
    Counted,
    Counters,
    Done,
    Drift,
    Drifted,
    EnforceAll,
    Enforced,
    EnforcedTenant,
    Failure,
    MessageError,
    Packets,
    Prepare,
    Ready,
    Refusal,
    Remove,
    Replay,
    Replayed,
    Request,
    RuleDiagnostic,
    Standing,
    Status,
    Wanted,
)
from api.policy_text import PolicyText, ProtectText

__all__ = [
    "CapturedPacket",
    "Capturing",
    "EnforcedTenant",
    "EnforcerClient",
    "EnforcerUnavailable",
    "Prepared",
    "Refused",
    "RuleDiagnostic",
]

SOCKET: Final = Path("/run/mantlet/enforcer.sock")
IDLE_CONNECTIONS: Final = 8
"""That are kept for the next requests."""

TOGETHER: Final = 2
"""Parts of what is to be enforced that are asked for at a time."""

A = TypeVar("A", bound=Answer)


class Refused(Exception):  # noqa: N818 (it is what the request asked for)
    """What was asked for cannot be, and will not be when it is asked again. The message says why; `rule` names the rule it is about,
    where that is known, and `diagnostics` what is wrong in the rules' texts."""

    def __init__(self, message: str, rule: str | None = None, diagnostics: tuple[RuleDiagnostic, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.diagnostics = diagnostics


class EnforcerUnavailable(Exception):  # noqa: N818
    """The enforcer cannot be reached, or the machine did not let it do as asked; the message says what. After a `commit` it is not known
    whether the change was made: `status` tells."""


class EnforcerClient:
    """Asks the enforcer at a socket; for any number of threads. A context manager. Each call raises Refused and EnforcerUnavailable.

    `patience` is how long (seconds) an enforcer that is not there is waited for, and `timeout` how long its answer."""

    def __init__(self, path: Path = SOCKET, *, patience: float = 5.0, timeout: float = 180.0) -> None:
        self._path = path
        self._patience = patience
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections that nothing uses now."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    # --- requests

    def check(self, text: PolicyText) -> None:
        """Compiles, has nft check and the verifier verify; nothing is left behind."""
        self._ask(Check(text), Done)

    def prepare(self, text: PolicyText, revision: int) -> Prepared:
        """Builds a generation beside what is enforced. No other change can be made before it is committed or abandoned, or its time is
        over (a minute)."""
        connection, answer = self._exchange(Prepare(text, revision), Ready)
        return Prepared(self, connection, answer.generation)

    def enforce(self, text: PolicyText, revision: int) -> None:
        with self.prepare(text, revision) as prepared:
            prepared.commit()

    def enforce_all(self, wanted: Sequence[tuple[PolicyText, int]]) -> Mapping[str, Refused | EnforcerUnavailable]:
        """Enforces the rules of many tenants, each with the store's revision, many at a time; those that are not enforced, and why."""
        parts = [wanted[at : at + messages.MOST_TOGETHER] for at in range(0, len(wanted), messages.MOST_TOGETHER)]
        with ThreadPoolExecutor(TOGETHER) as threads:  # one part is compiled while another is put into the kernel
            found = [each for answer in threads.map(self._enforce_all, parts) for each in answer]
        return dict(found)

    def _enforce_all(self, wanted: Sequence[tuple[PolicyText, int]]) -> list[tuple[str, Refused | EnforcerUnavailable]]:
        answer = self._ask(EnforceAll(tuple(Wanted(text, revision) for text, revision in wanted)), Enforced)
        return [(each.tenant, EnforcerUnavailable(each.failure) if each.refusal is None else _refused(each.refusal)) for each in answer.but]

    def remove(self, tenant: str) -> None:
        """Takes a tenant's rules out of the kernel, if there are any."""
        self._ask(Remove(tenant), Done)

    def status(self) -> tuple[EnforcedTenant, ...]:
        """What stands in the kernel, by tenant."""
        return self._ask(Status(), Standing).tenants

    def drift(self) -> tuple[str, ...]:
        """The tenants whose state in the kernel is not what this enforcer has put there since it was started: enforce them again."""
        return self._ask(Drift(), Drifted).tenants

    def counters(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        """Packets and bytes by rule name."""
        return {each.rule: (each.packets, each.bytes) for each in self._ask(Counters(tenant), Counted).rules}

    def capture(
        self,
        tenant: str,
        protect: ProtectText,
        expression: str,
        packet_limit: int,
        time_limit: float,
        byte_limit: int,
        *,
        snap_length: int = 262_144,
        lists: Mapping[str, tuple[str, ...]] | None = None,
    ) -> Capturing:
        """Captures from now on, until a limit (packets, seconds, bytes) or `close`."""
        request = Capture(tenant, protect, expression, packet_limit, time_limit, byte_limit, snap_length, lists or {})
        connection, _ = self._exchange(request, Packets)
        return Capturing(connection)

    def replay(self, text: PolicyText, capture: bytes, engine: str = "kernel") -> list[dict[str, Any]]:
        """Every frame of a pcap or pcapng file, with its verdict and rule, as `mantlet replay --format json` prints it. Where the
        engine is "both" and they differ, which is a fault of ours, EnforcerUnavailable says how."""
        answer = self._ask(Replay(text, capture, engine), Replayed)
        if answer.differences:
            raise EnforcerUnavailable(answer.differences[0])
        return [json.loads(record) for record in answer.records]

    # --- connections

    def _ask(self, request: Request, wanted: type[A]) -> A:
        connection, answer = self._exchange(request, wanted)
        self.give_back(connection)
        return answer

    def _exchange(self, request: Request, wanted: type[A]) -> tuple[socket.socket, A]:
        """The answer, and the connection it came by, which is the caller's. A connection that was idle may have ended with an enforcer
        that is no more: then a new one is tried. What a request did whose connection ended is undone, or is done again alike."""
        while True:
            connection, is_new = self._connection()
            try:
                with contextlib.suppress(BrokenPipeError):  # it may have said why before it closed the connection
                    messages.send(connection, request)
                answer = received(connection)
            except MessageError as error:
                self.give_back(connection)
                raise Refused(str(error)) from error
            except EnforcerUnavailable:
                connection.close()
                if is_new:
                    raise
                continue
            except OSError as error:
                connection.close()
                if is_new or isinstance(error, TimeoutError):
                    raise EnforcerUnavailable(f"the enforcer does not take requests: {error}") from error
                continue
            except BaseException:
                connection.close()
                raise
            try:
                return connection, expected(answer, wanted)
            except EnforcerUnavailable:
                connection.close()
                raise
            except Refused:
                self.give_back(connection)
                raise

    def _connection(self) -> tuple[socket.socket, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        end = time.monotonic() + self._patience
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            connection.settimeout(self._timeout)
            try:
                connection.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError) as error:  # not yet there, or its queue is full
                connection.close()
                if time.monotonic() >= end:
                    raise EnforcerUnavailable(f"no enforcer listens at {self._path}: {error.strerror}") from error
                time.sleep(0.05)
            except OSError as error:
                connection.close()
                raise EnforcerUnavailable(f"the enforcer at {self._path} cannot be reached: {error.strerror}") from error
            else:
                return connection, True

    def give_back(self, connection: socket.socket) -> None:
        """A connection that waits for nothing."""
        with self._lock:
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


class Prepared:
    """A generation that stands beside what is enforced. A context manager, which abandons it unless it was committed."""

    def __init__(self, client: EnforcerClient, connection: socket.socket, generation: int) -> None:
        self.generation = generation
        """Its number in the kernel."""
        self._client = client
        self._connection: socket.socket | None = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.abandon()

    def commit(self) -> None:
        """Enforces it. Raises Refused or EnforcerUnavailable; after the latter `status` tells whether it is enforced."""
        if self._connection is None:
            raise ValueError("it has been committed or abandoned already")
        self._last(Commit())

    def abandon(self) -> None:
        """Clears it away, unless it was committed; says nothing of an enforcer that is no more, which holds nothing either."""
        if self._connection is not None:
            try:
                self._last(Abandon())
            except EnforcerUnavailable:
                return

    def _last(self, request: Commit | Abandon) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        try:
            messages.send(connection, request)
            expected(received(connection), Done)
        except OSError as error:
            connection.close()
            raise EnforcerUnavailable(f"the enforcer went away: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._client.give_back(connection)


class Capturing:
    """The packets of a capture as they arrive: an iterator, and a context manager that ends the capture. Raises EnforcerUnavailable."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        self._connection = connection
        self.reason: str | None = None
        """Why it ended: `packet limit`, `time limit`, `byte limit`; None as long as it goes on, and where it was closed."""
        self.dropped: int | None = None
        """Packets that matched and found no room in the kernel; known at the end."""
        self._packets = self._arriving()

    def __iter__(self) -> Iterator[CapturedPacket]:
        return self._packets

    def __next__(self) -> CapturedPacket:
        return next(self._packets)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the capture where it goes on; `next` in another thread then ends too."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def stop(self) -> None:
        """Asks for the end of the capture: the packets that came until now still come, then `reason` is `stopped`."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def _arriving(self) -> Iterator[CapturedPacket]:
        while self.reason is None:
            try:
                answer = received(self._connection)
            except OSError as error:
                raise EnforcerUnavailable(f"the capture ended: {error}") from error
            if isinstance(answer, Captured):
                self.reason, self.dropped = answer.reason, answer.dropped
                self._connection.close()
                return
            yield from expected(answer, Packets).packets


def received(connection: socket.socket) -> Answer:
    """The next answer. Raises EnforcerUnavailable, OSError."""
    try:
        data = messages.receive(connection, messages.MAX_ANSWER)
        if data is not None:
            return messages.decode_answer(data)
    except MessageError as error:
        raise EnforcerUnavailable(f"the enforcer's answer cannot be understood: {error}") from error
    raise EnforcerUnavailable("the enforcer closed the connection")


def expected(answer: Answer, wanted: type[A]) -> A:
    """The answer, if it is what was asked for. Raises Refused, EnforcerUnavailable."""
    match answer:
        case Refusal():
            raise _refused(answer)
        case Failure(message):
            raise EnforcerUnavailable(message)
        case _ if isinstance(answer, wanted):
            return answer
        case _:
            raise EnforcerUnavailable(f"the enforcer answered {type(answer).__name__}, not {wanted.__name__}")


def _refused(answer: Refusal) -> Refused:
    return Refused(answer.message, answer.rule, answer.diagnostics)
