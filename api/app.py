"""The application: routes under one envelope, every error documented and none without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.access.door import Door
from api.access.retention import prune
from api.captures import Captures
from api.enforcer.client import EnforcerClient
from api.envelope import BASE, documented, refusal
from api.errors import ApiError, Code, Problem, no_route
from api.metrics import Requests
from api.routes import BELOW_BASE, OUTSIDE, health
from api.routes.dependencies import known_parameters
from api.routes.reads import Reads
from api.settings import Settings
from api.store.model import Store, StoreError

if TYPE_CHECKING:
    from api.node import Node

SHOWN_PROBLEMS: Final = 20
"""Problems of one body that are told."""


LOG = logging.getLogger("mantlet.api")

PRUNING_SECONDS: Final = 3_600.0
THREADS: Final = 256
"""That answer requests: some times what one tenant may have at a time (`Settings.at_once`)."""


def create_app(node: Node, settings: Settings | None = None) -> FastAPI:
    """The application of a node, which is started and closed by its caller."""
    app = FastAPI(
        title="Mantlet",
        version="4",
        description="Rulesets, lists and captures of tenants, as Cloudflare's API has them, enforced by this machine's kernel.",
        redirect_slashes=False,
        docs_url=None,  # a page of ours: FastAPI's load their scripts from elsewhere
        redoc_url=None,
        lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
        separate_input_output_schemas=False,
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            RequestValidationError: _invalid,
        },
    )
    app.state.node = node
    app.state.settings = chosen = settings or Settings()
    app.state.requests = requests = Requests()
    app.state.readiness = health.Readiness()
    app.state.captures = Captures(cast(EnforcerClient, node.enforcer))
    app.add_middleware(Reads, node=node)
    app.add_middleware(Door, node=node, settings=chosen, requests=requests)
    app.state.methods = [
        (compile_path(BASE + route.path)[0], route.methods)
        for router in BELOW_BASE
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    for router in BELOW_BASE:
        app.include_router(router, prefix=BASE, responses=documented(), dependencies=[Depends(known_parameters)])
    for router in OUTSIDE:
        app.include_router(router)
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _without_422(made())
        return app.openapi_schema

    @cache
    def parameters(path: str, method: str) -> frozenset[str]:
        """The query parameters of a route."""
        operation = openapi()["paths"][path if path.startswith(BASE) else BASE + path][method.lower()]
        return frozenset(each["name"] for each in operation.get("parameters", ()) if each["in"] == "query")

    app.state.parameters = parameters
    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to change the document
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    # A tenant's slow requests must leave threads to the others; anyio's own number is 40 (its `to_thread` documentation).
    current_default_thread_limiter().total_tokens = THREADS
    pruning = asyncio.create_task(_prune(app.state.node.store, app.state.settings.audit_days))
    yield
    pruning.cancel()
    await run_in_threadpool(app.state.captures.close)


async def _prune(store: Store, days: int) -> None:
    """Keeps the audit log at its age, as long as the API is served."""
    while True:
        try:
            await run_in_threadpool(prune, store, days)
        except StoreError as error:
            LOG.warning("the audit log is not pruned: %s", error)
        await asyncio.sleep(PRUNING_SECONDS)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _without_422(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document without the answer that FastAPI adds by itself; here what is not valid is a 400."""
    for methods in document["paths"].values():
        for operation in methods.values():
            operation["responses"].pop("422", None)
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


# -- errors ------------------------------------------------------------------------------------------------------------


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return refusal(error.status, error.problems, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses by itself."""
    assert isinstance(error, HTTPException)
    match error.status_code:
        case 404:
            found = no_route()
            return refusal(404, found.problems)
        case 405:
            # The framework names those of the first route that fits.
            methods = {method for path, found in request.app.state.methods if path.fullmatch(request.url.path) for method in found}
            allow = {"Allow": ", ".join(sorted(methods))} if methods else error.headers
            return refusal(405, (Problem(Code.METHOD, "the resource has no such method"),), allow)
        case status:
            code = Code.BAD_REQUEST if status < 500 else Code.INTERNAL
            return refusal(status, (Problem(code, str(error.detail)),), error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    code = Code.LIST_BODY if "/rules/lists" in request.url.path else Code.BAD_REQUEST
    found = error.errors()
    problems = [_problem(each, code) for each in found[:SHOWN_PROBLEMS]]
    if len(found) > SHOWN_PROBLEMS:
        problems.append(Problem(code, f"and {len(found) - SHOWN_PROBLEMS} more"))
    return refusal(400, problems)


def _problem(found: Mapping[str, Any], code: int) -> Problem:
    place, *path = found["loc"]
    kind, message = str(found["type"]), str(found["msg"])
    name = str(path[-1]) if path else ""
    if place != "body":
        what = f"{place} parameter" if place in ("query", "path") else str(place)
        return Problem(code, f"{what} `{name}`: {_lower(message)}", parameter=name)
    match kind:
        case "json_invalid":
            return Problem(code, f"the body is not JSON: {_lower(str(found['ctx']['error']))} at character {name}", "")
        case "extra_forbidden":
            return Problem(code, f"unknown key `{name}`", pointer_of(path))
        case "missing":
            return Problem(code, f"key `{name}` is missing" if path else "the request has no body", pointer_of(path))
        case "model_attributes_type" | "list_type" | "dict_type" if not path:
            wanted = "array" if kind == "list_type" else "object"
            return Problem(code, f"the body is to be a JSON {wanted}, sent as application/json", "")
    return Problem(code, f"`{name}`: {_lower(message)}" if name else _lower(message), pointer_of(path))


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def pointer_of(path: Sequence[object]) -> str:
    """The JSON pointer (RFC 6901) of keys and indexes."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
