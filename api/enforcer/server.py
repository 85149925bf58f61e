"""The enforcer's side of the socket: who may speak, one request after the other, and what becomes of a client that goes away.

Each connection has a thread. A connection that ends, in whatever way, leaves nothing behind: what it had prepared is abandoned, its
capture closed."""

from __future__ import annotations

import logging
import os
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, assert_never

from api.enforcer import messages
from api.enforcer.capture import captured
from api.enforcer.changes import BusyError, Change, Changes
from api.enforcer.compile import Compiler, told
from api.enforcer.messages import (
    Abandon,
    Answer,
    Capture,
    Check,
    Commit,
    Counted,
    Counters,
    Done,
    Drift,
    Drifted,
    EnforceAll,
    Enforced,
    Failure,
    MessageError,
    Prepare,
    Ready,
    Refusal,
    Remove,
    Replay,
    Standing,
    Status,
)
from api.enforcer.replay import Replays

log = logging.getLogger(__name__)

SOCKET_MODE: Final = 0o660
_CREDENTIALS = struct.Struct("=iII")
"""struct ucred: pid, uid, gid."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    prepared: float = 60.0
    """How long a generation stays prepared."""
    within_frame: float = 30.0
    """How long the next part of a frame is waited for, and a client to take an answer."""


@dataclass(frozen=True, slots=True)
class Most:
    """How many at a time."""

    connections: int = 128
    captures: int = 32


class Server:
    """Listens from its making on, at a socket that only the owner and the group of `owner` can open, and serves those whose user is in
    `users`. A context manager."""

    def __init__(
        self,
        path: Path,
        changes: Changes,
        compiler: Compiler,
        users: Collection[int],
        *,
        group: int | None = None,
        replays: Replays | None = None,
        patience: Patience = Patience(),
        most: Most = Most(),
    ) -> None:
        self.changes, self.compiler, self.replays, self.patience = changes, compiler, replays or Replays(()), patience
        self._users = frozenset(users)
        self._path = path
        self._connections = threading.BoundedSemaphore(most.connections)
        self.captures = threading.BoundedSemaphore(most.captures)
        self._open: set[socket.socket] = set()
        self._closing = False
        self._listening = _listen(path, group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections; their changes are abandoned."""
        self._closing = True
        with suppress(OSError):  # wakes `serve`
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._path.unlink(missing_ok=True)
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + 5
        while self._open and time.monotonic() < end:
            time.sleep(0.01)

    def serve(self) -> None:
        """Until `close`."""
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                if self._closing:
                    return
                log.exception("a connection cannot be accepted")
                time.sleep(0.1)
                continue
            self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), name="connection", daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        free = self._connections.acquire(blocking=False)
        try:
            with connection:
                connection.settimeout(self.patience.within_frame)
                uid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
                if uid not in self._users:
                    log.warning("user %d asked, who may not", uid)
                    messages.send(connection, Failure(f"user {uid} may not ask the enforcer"))
                elif not free:
                    messages.send(connection, Failure("too many connections"))
                else:
                    _Conversation(self, connection).run()
        except OSError as error:  # the client is gone, or too slow
            log.info("a connection ended: %s", error)
        except Exception:
            log.exception("a connection ended")
        finally:
            self._open.discard(connection)
            if free:
                self._connections.release()


def _listen(path: Path, group: int | None) -> socket.socket:
    """A socket at `path`; one that a killed enforcer left there is replaced. Raises OSError."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        before = os.umask(0o777)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(SOCKET_MODE)
        listening.listen(64)
    except OSError:
        listening.close()
        raise
    return listening


class _Conversation:
    """One connection's requests and answers."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._change: Change | None = None
        self._committed = False
        self._expires = 0.0

    def run(self) -> None:
        try:
            while self._wait():
                try:
                    data = messages.receive(self._connection, messages.MAX_REQUEST)
                except MessageError as error:  # where the next frame begins is unknown
                    self._send(Refusal(str(error)))
                    return
                if data is None:
                    return
                for answer in self._answers(data):
                    self._send(answer)
                    if self._committed:
                        self._settle()
                    elif isinstance(answer, Ready) and self._change is not None:
                        self._server.changes.examine(self._change)
        finally:
            if self._change is not None:
                if not self._committed:
                    log.info("the change of %s is abandoned: its client is gone", self._change.generation.tenant)
                self._settle()

    def _wait(self) -> bool:
        """Until a request comes, or the connection ends."""
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        while self._change is not None:
            left = self._expires - time.monotonic()
            if left > 0 and poll.poll(int(left * 1000) + 1):
                return True
            log.warning("the change of %s is abandoned: its time is over", self._change.generation.tenant)
            self._settle()
        return bool(poll.poll())

    def _send(self, answer: Answer) -> None:
        messages.send(self._connection, answer)

    def _settle(self) -> None:
        change, committed = self._change, self._committed
        self._change, self._committed = None, False
        assert change is not None
        self._server.changes.settle(change, committed=committed)

    def _answers(self, data: bytes) -> Iterator[Answer]:
        try:
            request = messages.decode_request(data)
        except MessageError as error:
            yield Refusal(f"this is no request: {error}")
            return
        try:
            if isinstance(request, Capture):
                yield from self._capture(request)
            else:
                yield self._answer(request)
        except BusyError as error:
            yield Failure(str(error))
        except Exception as error:
            answer = told(error, request.policy if isinstance(request, Check | Prepare | Replay) else None)
            if answer is None:
                log.exception("a request failed")
                answer = Failure(f"a fault of the enforcer: {type(error).__name__}: {error}")
            elif isinstance(answer, Failure):
                log.error("a request failed: %s", answer.message)
            yield answer

    def _answer(self, request: Check | Prepare | Commit | Abandon | EnforceAll | Remove | Status | Drift | Counters | Replay) -> Answer:
        changes = self._server.changes
        if self._change is not None and isinstance(request, Prepare | EnforceAll | Remove | Drift):
            return Refusal("this connection has a change that is prepared: commit or abandon it first")
        match request:
            case Check(policy):
                changes.check(policy)
                return Done()
            case Prepare(policy, revision):
                self._change = changes.prepare(policy, revision)
                self._expires = time.monotonic() + self._server.patience.prepared
                return Ready(self._change.generation.revision)
            case Commit():
                return self._commit()
            case Abandon():
                if self._change is not None:
                    self._settle()
                return Done()
            case EnforceAll(wanted):
                return Enforced(changes.enforce_all(wanted))
            case Remove(tenant):
                changes.remove(tenant)
                return Done()
            case Status():
                return Standing(changes.standing())
            case Drift():
                return Drifted(changes.drift())
            case Counters(tenant):
                return Counted(changes.counters(tenant))
            case Replay(policy, capture, engine):
                return self._server.replays.replayed(self._server.compiler, policy, capture, engine)
            case _:
                assert_never(request)

    def _commit(self) -> Answer:
        """Done, behind which the old generation is cleared away: the client need not wait for that."""
        if self._change is None:
            return Failure("nothing is prepared: it was abandoned when its time was over, or never was")
        try:
            self._server.changes.commit(self._change)
        except BaseException:
            self._settle()
            raise
        self._committed = True
        return Done()

    def _capture(self, request: Capture) -> Iterator[Answer]:
        if not self._server.captures.acquire(blocking=False):
            yield Failure("too many captures are under way")
            return
        try:
            yield from captured(request, self._server.compiler, self._connection.fileno())
        finally:
            self._server.captures.release()
