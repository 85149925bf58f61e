"""What happens to an account's rules, as it happens: server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.access.caller import Caller, Reader
from api.access.tokens import counts
from api.documents import OPERATOR, Token, from_json, token_key
from api.envelope import documented
from api.errors import bad_request
from api.events import Event
from api.node import Node
from api.routes.dependencies import TheNode, TheSettings
from api.settings import Settings
from api.store import Store, StoreError

router = APIRouter(tags=["events"], responses=documented())

POLL_S: Final = 0.1
"""How often it is looked whether something happened: one number is compared."""
TOKEN_S: Final = 1.0
"""How often it is looked whether the token still counts."""


@router.get(
    "/accounts/{account_id}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events, until the client goes", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def stream_events(
    caller: Reader,
    node: TheNode,
    settings: TheSettings,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that was received: those after it come first")
    ] = None,
) -> StreamingResponse:
    """Rules enforced, not enforced, removed, and found changed by others and mended, on the node that answers.

    An event is `id`, `event` (`enforced`, `failed`, `removed`, `drift`) and `data`, a JSON object. Without `Last-Event-ID` the stream
    begins with what happens next. A comment comes where nothing else does for some seconds."""
    number = await run_in_threadpool(_after, node, last_event_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(caller, node, settings, number), media_type="text/event-stream", headers=headers)


def _after(node: Node, last: str | None) -> int:
    """The number of the event after which the stream begins. Of another run of the node, or another node: all that are kept."""
    if last is None:
        return node.events.last
    run, _, number = last.rpartition("/")
    if not run or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise bad_request("this is no event's id", parameter="Last-Event-ID")
    return int(number) if run == _run(node) else 0


def _run(node: Node) -> str:
    return f"{node.name}/{node.since}"


async def _stream(caller: Caller, node: Node, settings: Settings, number: int) -> AsyncIterator[str]:
    tenant = None if caller.account == OPERATOR else caller.account
    yield f": {_run(node)}\n\n"
    said = asked = time.monotonic()
    while True:
        if number < (last := node.events.last):
            for event in node.events.after(number, tenant):
                yield _text(node, event)
                said = time.monotonic()
            number = last
        now = time.monotonic()
        if now - said >= settings.heartbeat_s:
            yield ":\n\n"
            said = now
        if now - asked >= TOKEN_S:
            if not await run_in_threadpool(_counts, node.store, caller.token):
                return
            asked = now
        await asyncio.sleep(POLL_S)


def _counts(store: Store, token: str) -> bool:
    try:
        entry = store.get(token_key(token))
    except StoreError:  # asked again in a second
        return True
    return entry is not None and counts(from_json(Token, entry.value), datetime.now(UTC))


def _text(node: Node, event: Event) -> str:
    data = {"time": event.time, "account": event.tenant, "node": node.name, **event.details}
    return f"id: {_run(node)}/{event.number}\nevent: {event.kind}\ndata: {json.dumps(data)}\n\n"
