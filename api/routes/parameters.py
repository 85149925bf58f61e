"""What routes of rulesets and lists take besides a body and a dry run, and how a write is asked of the node."""

from __future__ import annotations

import base64
from functools import partial
from typing import Annotated, Final

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Header, Query, Request

from api.access.caller import Writer
from api.changes import Change
from api.errors import bad_request
from api.node import Author, Operate
from api.routes.dependencies import DryRun, TheNode

WRITES: Final = 8
"""That wait for a node at a time; further ones wait for these."""

IfMatch = Annotated[str | None, Header(description='The version that is to be written over, as `ETag` said it: `"3"`')]
Cursor = Annotated[str | None, Query(description="Where the page before ended, from its `result_info`")]
PerPage = Annotated[int, Query(ge=1, le=1_000)]


class Write:
    """Asks the node for the write of a request. Few wait for the node at a time, in threads that reads do not need."""

    def __init__(self, request: Request, node: TheNode, caller: Writer, dry_run: DryRun) -> None:
        self.node = node
        self.account = caller.account
        self.dry_run = dry_run
        self._author = Author(f"token {caller.token}", caller.address)
        state = request.app.state
        if not hasattr(state, "writing"):
            state.writing = CapacityLimiter(WRITES)
        self._limiter: CapacityLimiter = state.writing

    async def __call__(self, operate: Operate) -> Change:
        """Raises what `Node.write` does."""
        wanted = partial(self.node.write, self.account, operate, self._author, dry_run=self.dry_run)
        return await run_sync(wanted, limiter=self._limiter)


TheWrite = Annotated[Write, Depends()]


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def text_of(cursor: str | None) -> str:
    """Raises ApiError."""
    try:
        return base64.urlsafe_b64decode((cursor or "").encode("ascii")).decode()
    except ValueError:
        raise bad_request("this is no cursor of this listing", parameter="cursor") from None
