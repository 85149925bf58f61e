"""Requests to a cluster of etcd, over the JSON gateway of its v3 API: where one server does not answer, the next one is asked.

etcd3gw makes the requests. It knows one server, no users, and nothing of a watch that ends; those parts are here.
Numbers of 64 bits are strings in this JSON, and bytes base64; what is 0, empty or false is left out
(https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/).
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import requests
from etcd3gw.client import Etcd3Client
from etcd3gw.exceptions import Etcd3Exception
from requests.adapters import HTTPAdapter

from api.store.address import EtcdAddress
from api.store.model import StoreError

_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _RESOURCE_EXHAUSTED, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED = 1, 2, 4, 8, 13, 14, 16
"""Status codes of gRPC (https://grpc.github.io/grpc/core/md_doc_statuscodes.html)."""
_NOT_NOW = {_CANCELLED, _UNKNOWN, _DEADLINE_EXCEEDED, _INTERNAL, _UNAVAILABLE}
_IDLE_SECONDS = 60.0
"""A stream on which nothing came for so long is begun anew, as its server may hang."""
_STOP_SECONDS = 0.2
_CONNECTIONS = 64
_TRIES = 4
"""Requests that may hang, one after the other, within the timeout of an address. What a leader had not passed on when it died is lost,
and whoever waits for it hears nothing for six seconds (etcd's ReqTimeout)."""


class RefusedError(Exception):
    """etcd refused a request, and would again: a status code of gRPC, and etcd's words."""

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        self.words = words
        super().__init__(words)


class BrokenError(Exception):
    """A request got no answer, or a stream ended; the next server may do better."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What etcd said."""

    fields: Mapping[str, Any]
    attempts: int
    """How often the request was made: after more than one, etcd may have done it more than once."""


class Gateway:
    """The servers of one cluster. May be used by many threads at once."""

    def __init__(self, address: EtcdAddress) -> None:
        self._address = address
        self._session = _session(address)
        self._servers = [
            Etcd3Client(
                host,
                port,
                "https" if address.tls else "http",
                timeout=address.timeout_seconds / _TRIES,
                api_path="/v3/",
                session=self._session,
            )
            for host, port in address.servers
        ]
        self._turn = 0
        self._token = ""
        self.closed = threading.Event()

    def call(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Makes a request, again and of other servers while none answers. It must be one that does no harm when done twice.

        Raises `RefusedError`, or `StoreError` after the address's timeout."""
        patience = Patience(self._address)
        attempts = 0
        while True:
            attempts += 1
            server = self._server()
            try:
                return Answer(self._post(server, path, body), attempts)
            except BrokenError as error:
                self._next(server)
                patience.wait(server.base_url, str(error))

    def stream(self, path: str, body: Mapping[str, Any], stop: threading.Event | None) -> Iterator[Mapping[str, Any]]:
        """The messages of one answer that goes on; ends when `stop` is set or the gateway is closed.

        Raises `BrokenError`, `RefusedError`, `StoreError`."""
        server = self._server()
        over = threading.Event()

        def stopped() -> bool:
            return self.closed.is_set() or (stop is not None and stop.is_set())

        def shut_when_stopped(response: requests.Response) -> None:
            while not over.wait(_STOP_SECONDS):
                if stopped():
                    with suppress(OSError, ValueError):  # it may have ended just now
                        response.raw.shutdown()  # wakes the thread that reads
                    return

        if stopped():
            return
        try:
            with self._session.post(
                server.get_url(path),
                json=body,
                # so that a server without a leader ends the stream instead of being silent
                headers={**self._headers(server), "Grpc-Metadata-hasleader": "true"},
                stream=True,
                timeout=(self._address.timeout_seconds / _TRIES, _IDLE_SECONDS),
            ) as response:
                threading.Thread(target=shut_when_stopped, args=(response,), daemon=True, name="etcd-watch-stop").start()
                for line in _lines(response):
                    if stopped():
                        return
                    yield self._message(line)
                raise BrokenError("the server ended the stream")
        except (requests.RequestException, OSError, AttributeError, BrokenError) as error:
            # AttributeError: from a TLS connection that is shut while it is read
            if not stopped():
                self._next(server)
                raise BrokenError(f"{server.base_url}: {_reason(error)}") from error
        finally:
            over.set()

    def close(self) -> None:
        self.closed.set()
        self._session.close()

    def _post(self, server: Etcd3Client, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.closed.is_set():
            raise StoreError("the store is closed; open it again")
        try:
            return self._once(server, path, body, self._headers(server))
        except RefusedError as error:
            if error.code != _UNAUTHENTICATED and "auth store is old" not in error.words:
                raise
            self._token = ""  # it has expired, or rights were changed
            return self._once(server, path, body, self._headers(server))

    def _headers(self, server: Etcd3Client) -> dict[str, str]:
        if self._address.user is None:
            return {}
        if not self._token:
            try:
                answer = self._once(server, "/auth/authenticate", {"name": self._address.user, "password": self._address.password}, {})
            except RefusedError as error:
                raise StoreError(f"etcd refused the user {self._address.user}: {error}; look at user and password_file") from error
            self._token = str(answer.get("token", ""))
        return {"Authorization": self._token}

    def _once(self, server: Etcd3Client, path: str, body: Mapping[str, Any], headers: dict[str, str]) -> Mapping[str, Any]:
        try:
            answer = server.post(server.get_url(path), json=body, headers=headers)
        except Etcd3Exception as error:
            raise _refusal(error) from error
        except requests.RequestException as error:
            raise BrokenError(_reason(error)) from error
        except OSError as error:
            raise StoreError(f"{server.base_url}: {error}; look at ca, cert and key in the address of the store") from error
        if not isinstance(answer, dict):
            raise BrokenError("what answers there is no etcd")
        return answer

    def _message(self, line: bytes) -> Mapping[str, Any]:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("result"), dict):
            raise self._stream_error(message)
        result: Mapping[str, Any] = message["result"]
        return result

    def _stream_error(self, message: object) -> Exception:
        error = message.get("error") if isinstance(message, dict) else None
        fields = error if isinstance(error, dict) else message if isinstance(message, dict) else {}
        code = fields.get("grpc_code", fields.get("code", _UNKNOWN))
        if code == _UNAUTHENTICATED:
            self._token = ""
            return BrokenError("the user's token has expired")
        return _by_code(code, str(fields.get("message", "what answers there is no etcd")))

    def _server(self) -> Etcd3Client:
        return self._servers[self._turn % len(self._servers)]

    def _next(self, server: Etcd3Client) -> None:
        """Leaves a server, unless another thread has already done so."""
        if self._server() is server:
            self._turn += 1


class Patience:
    """How long requests without an answer are repeated: all servers in turn, then after a pause again."""

    def __init__(self, address: EtcdAddress) -> None:
        self._servers = len(address.servers)
        self._seconds = address.timeout_seconds
        self._deadline = time.monotonic() + address.timeout_seconds
        self._reasons: dict[str, str] = {}
        self._failures = 0

    def wait(self, server: str, reason: str) -> None:
        """Takes note of a failure. Raises `StoreError` when there were enough."""
        self._failures += 1
        self._reasons[server] = reason
        if time.monotonic() >= self._deadline:
            reasons = ", ".join(f"{server}: {reason}" for server, reason in sorted(self._reasons.items()))
            raise StoreError(
                f"no server of etcd answered within {self._seconds:g} seconds ({reasons}); "
                "see that etcd runs with a majority of its servers, and that the address of the store is theirs"
            )
        if self._failures % self._servers == 0:
            time.sleep(min(0.05 * 2 ** (self._failures // self._servers), 1.0, self._seconds / 10))


def _session(address: EtcdAddress) -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxies, and no passwords out of ~/.netrc
    if address.ca is not None:
        session.verify = str(address.ca)
    if address.cert is not None and address.key is not None:
        session.cert = (str(address.cert), str(address.key))
    session.mount("http://", _Adapter(pool_maxsize=_CONNECTIONS))
    session.mount("https://", _Adapter(pool_maxsize=_CONNECTIONS))
    return session


class _Adapter(HTTPAdapter):
    """Connections on which the kernel finds out that the other machine is gone."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        alive = [
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        ]
        super().init_poolmanager(connections, maxsize, block, socket_options=alive, **options)


def _lines(response: requests.Response) -> Iterator[bytes]:
    pending = b""
    for chunk in response.iter_content(chunk_size=None):
        *lines, pending = (pending + chunk).split(b"\n")
        yield from filter(None, lines)
    if pending:
        yield pending  # an error's text, with no stream at all


def _refusal(error: Etcd3Exception) -> Exception:
    """What etcd3gw raised, by the status in the answer; without one there was no answer."""
    try:
        fields = json.loads(error.detail_text or "")
        code, words = fields["code"], str(fields["message"])
    except (ValueError, TypeError, KeyError):
        return BrokenError(_reason(error))
    return _by_code(code, words)


def _by_code(code: object, words: str) -> Exception:
    if code in _NOT_NOW or "too many requests" in words:
        return BrokenError(words)
    if code == _RESOURCE_EXHAUSTED and "space" in words:
        return StoreError(f"{words}: compact and defragment etcd's database, then `etcdctl alarm disarm`")
    return RefusedError(code if isinstance(code, int) else _UNKNOWN, words)


def _reason(error: BaseException) -> str:
    """What was at the bottom of it: requests and urllib3 wrap the system's word into several others."""
    deepest = error
    tls = False
    while True:
        tls = tls or isinstance(deepest, requests.exceptions.SSLError)
        inner = deepest.__cause__ or deepest.__context__
        if inner is None:
            break
        deepest = inner
    if tls:
        return f"TLS: {deepest}; look at ca, cert and key"
    if isinstance(deepest, OSError) and deepest.strerror:
        return deepest.strerror
    return str(deepest) or type(deepest).__name__
