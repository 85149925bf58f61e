"""What routes of rulesets and lists take besides a body and a dry run, and how a write is asked of the node."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import Header, Query

from api.access.caller import Caller
from api.changes import Change
from api.errors import bad_request
from api.node import Author, Node, Operate

IfMatch = Annotated[str | None, Header(description='The version that is to be written over, as `ETag` said it: `"3"`')]
Cursor = Annotated[str | None, Query(description="Where the page before ended, from its `result_info`")]
PerPage = Annotated[int, Query(ge=1, le=1_000)]


def write(node: Node, caller: Caller, operate: Operate, dry_run: bool) -> Change:
    return node.write(caller.account, operate, Author(f"token {caller.token}", caller.address), dry_run=dry_run)


def cursor_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def text_of(cursor: str | None) -> str:
    """Raises ApiError."""
    try:
        return base64.urlsafe_b64decode((cursor or "").encode("ascii")).decode()
    except ValueError:
        raise bad_request("this is no cursor of this listing", parameter="cursor") from None
