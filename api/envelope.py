"""The envelope around every answer: `{"result", "success", "errors", "messages", "result_info"}`, as Cloudflare's API has it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from api.errors import STATUSES, Problem

BASE: Final = "/client/v4"
"""Where the API begins."""

T = TypeVar("T")


class Source(BaseModel):
    """Where in the request an error lies."""

    pointer: str | None = Field(default=None, description="JSON pointer into the body (RFC 6901)", examples=["/rules/0/expression"])
    parameter: str | None = Field(default=None, description="The name of a parameter of the path or the query, or of a header")


class Diagnostic(BaseModel):
    """An error of the rule language: lines and columns from 1, `start` and `end` character offsets, ends exclusive."""

    model_config = ConfigDict(extra="allow")
    code: str = Field(examples=["E0203"])
    severity: str
    message: str
    start: int
    end: int
    label: str = ""
    help: str | None = None


class Error(BaseModel):
    code: int
    message: str
    documentation_url: str | None = None
    source: Source | None = None
    diagnostic: Diagnostic | None = None


class ResultInfo(BaseModel):
    """How a list goes on."""

    model_config = ConfigDict(extra="allow")
    count: int | None = None
    page: int | None = None
    per_page: int | None = None
    total_count: int | None = None
    total_pages: int | None = None
    cursors: dict[str, str] | None = None


class Envelope(BaseModel, Generic[T]):
    """An answer that is well: `result` is what was asked for, null where a dry run has none."""

    result: T | None
    success: bool
    errors: list[Error]
    messages: list[Error]
    result_info: ResultInfo | None = None


class Refusal(BaseModel):
    """An answer that is not: `errors` says what is wrong, and where."""

    result: None
    success: bool
    errors: list[Error] = Field(min_length=1)
    messages: list[Error]


class JsonResponse(Response):
    """JSON in the fewest bytes. Escapes what is not ASCII, so that a string with a lone surrogate (RFC 8259, 8.2) is no failure."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


def answer(
    result: object,
    *,
    result_info: Mapping[str, object] | None = None,
    messages: Iterable[Mapping[str, object]] = (),
    headers: Mapping[str, str] | None = None,
) -> JsonResponse:
    """200 with `result`, which is JSON values."""
    content: dict[str, object] = {"result": result, "success": True, "errors": [], "messages": list(messages)}
    if result_info is not None:
        content["result_info"] = dict(result_info)
    return JsonResponse(content, headers=dict(headers) if headers else None)


def refusal(status: int, problems: Iterable[Problem], headers: Mapping[str, str] | None = None) -> JsonResponse:
    """An answer with errors."""
    content = {"result": None, "success": False, "errors": [problem.as_json() for problem in problems], "messages": []}
    return JsonResponse(content, status, headers=dict(headers) if headers else None)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route that answers with errors of these statuses, besides those that any route has (`EVERYWHERE`)."""
    return {status: {"model": Refusal, "description": STATUSES[status]} for status in sorted({*EVERYWHERE, *statuses})}


EVERYWHERE: Final = (400, 401, 403, 404, 413, 429, 500, 503)
"""Statuses of errors that any route below `BASE` may answer with."""
