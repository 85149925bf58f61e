"""The door: what every request passes before a route sees it. Who is it, may it know of this account, is it too often or too large.

Nothing of a body is read before the token is found to count.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.caller import Caller
from api.access.rates import Ongoing, Rates
from api.access.tokens import verified
from api.documents import OPERATOR, TENANT_ID, Token, tenant_key
from api.enforcer.client import EnforcerUnavailable
from api.envelope import BASE, refusal
from api.errors import ApiError, Code, Problem, no_route, too_large, too_many_requests, unauthenticated, unavailable
from api.metrics import Requests
from api.settings import Settings
from api.store.model import Store, StoreError
from api.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from api.node import Node

LOG = logging.getLogger("mantlet.api")

METRICS: Final = "/metrics"
_ACCOUNT: Final = re.compile(rf"{BASE}/accounts/([^/]*)(/.*)?", re.DOTALL)
_CAPTURE: Final = re.compile(rf"{BASE}/accounts/[^/]*/replay")
"""Where a body is a capture."""
_STREAM: Final = re.compile(rf"{BASE}/accounts/[^/]*/events")
"""Where an answer does not end by itself."""


class Door:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp, node: Node, settings: Settings, requests: Requests) -> None:
        self._app = app
        self._store: Store = node.store
        self._local = isinstance(self._store, SqliteStore)
        """Whether a read takes microseconds, less than to have another thread do it."""
        self._settings = settings
        self._requests = requests
        self._allowed = Rates(settings.requests)
        self._failed = Rates(settings.failures)
        self._ongoing = Ongoing(settings.at_once)
        self._replays = Ongoing(settings.replays)
        self._streams = Ongoing(settings.streams)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._enter(scope, receive, noting)
        except ApiError as error:
            assert status == 0, "an error after the answer began"
            await refusal(error.status, error.problems, error.headers)(scope, receive, noting)
        except Exception as error:
            if status:  # an answer that has begun cannot become another: the connection is cut
                raise
            await _failure(error)(scope, receive, noting)
        finally:
            self._requests.note(scope["method"], _route(scope), status, time.perf_counter() - started)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if not self._is_closed(scope, path):
            await self._app(scope, _bounded(scope, receive, self._settings.body_limit), send)
            return
        scope.setdefault("state", {})["caller"] = caller = await self._caller(scope, path)
        is_capture = _CAPTURE.fullmatch(path) is not None
        ongoing = self._streams if _STREAM.fullmatch(path) else self._replays if is_capture else self._ongoing
        with ongoing.one(caller.tenant) as free:
            if not free:
                raise too_many_requests(1.0)
            limit = self._settings.capture_limit if is_capture else self._settings.body_limit
            await self._app(scope, _bounded(scope, receive, limit), send)

    def _is_closed(self, scope: Scope, path: str) -> bool:
        """Whether nobody is answered there without a token."""
        if path == METRICS:
            return not (self._settings.open_metrics and ip_address(_address(scope)).is_loopback)
        return path == BASE or path.startswith(BASE + "/")

    async def _caller(self, scope: Scope, path: str) -> Caller:
        address = _address(scope)
        presented = bearer_of(scope)
        token = await self._verified(presented) if presented is not None else None
        if token is None:
            wait = self._failed.wait(address)
            raise too_many_requests(wait) if wait else unauthenticated()
        if wait := self._allowed.wait(token.id):
            raise too_many_requests(wait)
        account = token.tenant
        if found := _ACCOUNT.fullmatch(path):
            account = found[1]
            if account != token.tenant and not (token.tenant == OPERATOR and await self._is_tenant(account)):
                raise no_route()
        return Caller(token.id, token.tenant, token.scope, address, account)

    async def _verified(self, presented: str) -> Token | None:
        if self._local:
            return verified(self._store, presented)
        return await run_in_threadpool(verified, self._store, presented)

    async def _is_tenant(self, account: str) -> bool:
        return TENANT_ID.fullmatch(account) is not None and await run_in_threadpool(self._store.get, tenant_key(account)) is not None


def _address(scope: Scope) -> str:
    """The client's; of a local socket, which has none, the loopback's."""
    client = scope.get("client")
    return client[0] if client and client[0] else "127.0.0.1"


def _route(scope: Scope) -> str | None:
    """The path of the route that answered, with its parameters' names. (Whether that has the router's prefix is FastAPI's version's.)"""
    path: str | None = getattr(scope.get("route"), "path", None)
    return path if path is None or path.startswith(BASE) or not scope["path"].startswith(BASE) else BASE + path


def bearer_of(scope: Scope) -> str | None:
    """What `Authorization: Bearer` bears (RFC 6750, 2.1)."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, presented = value.decode("latin-1").partition(" ")
            return presented.strip() if scheme.lower() == "bearer" else None
    return None


def _bounded(scope: Scope, receive: Receive, limit: int) -> Receive:
    """The same body, as long as it is no larger. Raises ApiError, at once where the request says its length (RFC 9110, 8.6)."""
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > limit):
            raise too_large(limit)
    taken = 0

    async def bounded() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise too_large(limit)
        return message

    return bounded


def _failure(error: Exception) -> ASGIApp:
    """What is not the client's fault: 503 where the environment is to blame, which may pass, 500 where we are."""
    if is_unavailable(error):
        LOG.warning("%s: %s", type(error).__name__, error)
        found = unavailable(f"the node cannot answer now: {_what(error)}")
        return refusal(found.status, found.problems, found.headers)
    incident = secrets.token_hex(8)
    LOG.error("incident %s", incident, exc_info=error)
    return refusal(500, (Problem(Code.INTERNAL, f"internal error; the node's log has it as incident {incident}"),))


def is_unavailable(error: Exception) -> bool:
    return isinstance(error, StoreError | EnforcerUnavailable)


def _what(error: Exception) -> str:
    """No more than which part is away: the rest is the operator's to know, from the log."""
    return "its store does not answer" if isinstance(error, StoreError) else "its enforcer does not answer"
