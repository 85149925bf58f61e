"""Reads of rulesets out of memory: what a tenant's documents alone decide is made once, and is answered for as long as they stay.

Only what the door has let pass comes here. The documents are those of the store's heads as they are at each request, so an answer is never
older than the one that the routes would give; what is not told here (another method, a query, an error) is theirs to answer."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast, get_args

from fastapi import Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from api.access.caller import Caller
from api.changes import Documents
from api.documents import Phase
from api.envelope import BASE
from api.node import Node
from api.routes import rulesets
from api.store.sqlite import SqliteStore

Read = Callable[[Node, Caller, str], Response]

KEPT_BYTES: Final = 32 << 20
"""Of bodies; a ruleset of a thousand rules has some 300,000."""
_RULESETS: Final = rf"{BASE}/accounts/[^/]*/rulesets"
_PATHS: Final = re.compile(
    rf"{_RULESETS}(?:(?P<all>)|/(?P<one>[0-9a-f]{{32}})|/phases/(?P<phase>{'|'.join(get_args(Phase))})/entrypoint)", re.ASCII
)
_ROUTES: Final[dict[str, BaseRoute]] = {route.name: route for route in rulesets.router.routes if isinstance(route, Route)}
_READS: Final[dict[str, tuple[BaseRoute, Read]]] = {
    "all": (_ROUTES["list_rulesets"], lambda node, caller, _: rulesets.list_rulesets(node, caller)),
    "one": (_ROUTES["get_ruleset"], rulesets.get_ruleset),
    "phase": (_ROUTES["get_entry_point"], cast(Read, rulesets.get_entry_point)),  # the pattern has no other phase
}
"""By the group of the path that has matched: the route that it is, and what makes its answer."""


@dataclass(frozen=True, slots=True)
class _Kept:
    documents: Documents
    """Of which it is the answer, and of no others."""
    response: Response


class Reads:
    """ASGI middleware between the door and the routes. Not locked: one event loop asks it."""

    def __init__(self, app: ASGIApp, node: Node) -> None:
        self._app = app
        self._node = node
        self._is_local = isinstance(node.store, SqliteStore)
        """Whether the heads are read faster than another thread is asked to."""
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]
        found = _PATHS.fullmatch(scope["path"]) if asked else None
        if found is None or found.lastgroup is None:
            await self._app(scope, receive, send)
            return
        scope["route"], read = _READS[found.lastgroup]
        caller: Caller = scope["state"]["caller"]
        kept = self._kept.get(scope["path"])
        if kept is not None and self._is_local:
            documents = self._node.documents(caller.account)
        else:
            documents = await run_in_threadpool(self._node.documents, caller.account)
        if kept is None or kept.documents is not documents:
            response = await run_in_threadpool(read, self._node, caller, found[found.lastgroup])
            kept = _Kept(documents, response)
            self._keep(scope["path"], kept)
        else:
            self._kept.move_to_end(scope["path"])
        await send({"type": "http.response.start", "status": kept.response.status_code, "headers": list(kept.response.raw_headers)})
        await send({"type": "http.response.body", "body": kept.response.body})

    def _keep(self, path: str, made: _Kept) -> None:
        before = self._kept.pop(path, None)
        self._bytes += len(made.response.body) - (0 if before is None else len(before.response.body))
        self._kept[path] = made
        while self._bytes > KEPT_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.response.body)
