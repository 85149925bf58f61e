"""What routes ask for besides the caller: the node, its enforcer, the settings, and whether a write is only tried."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from fastapi import Depends, Query, Request

from api.enforcer.client import EnforcerClient
from api.errors import ApiError, Code, Problem
from api.node import Node
from api.settings import Settings


async def _node(request: Request) -> Node:
    return cast(Node, request.app.state.node)


async def _enforcer(request: Request) -> EnforcerClient:
    return cast(EnforcerClient, request.app.state.node.enforcer)


async def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


async def _dry_run(
    dry_run: Annotated[
        Literal["true", "false"],
        Query(description="`true`: the write is checked and compiled as if for real, and nothing is stored or enforced; `result` is null"),
    ] = "false",
) -> bool:
    return dry_run == "true"


TheNode = Annotated[Node, Depends(_node)]
TheEnforcer = Annotated[EnforcerClient, Depends(_enforcer)]
TheSettings = Annotated[Settings, Depends(_settings)]
DryRun = Annotated[bool, Depends(_dry_run)]


async def known_parameters(request: Request) -> None:
    """Refuses a write with a query parameter that its route does not have: what is misspelled may be `dry_run`."""
    if not request.query_params or request.method in ("GET", "HEAD"):
        return
    parameters = request.app.state.parameters(request.scope["route"].path, request.method)
    unknown = [name for name in request.query_params if name not in parameters]
    if unknown:
        raise ApiError(400, *(Problem(Code.BAD_REQUEST, f"unknown query parameter `{name}`", parameter=name) for name in unknown))
