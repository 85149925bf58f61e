"""Errors that the API answers with: each a status, and problems that say what is wrong and where in the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from starlette.exceptions import HTTPException

from rules_dsl import Diagnostic, to_json


class Code(IntEnum):
    """Numbers of errors. Those that Cloudflare's clients know keep their meaning."""

    BAD_REQUEST = 10004
    NO_ROUTE = 7003
    NO_SUCH_URI = 7000
    AUTHENTICATION = 10000
    SCOPE = 9109
    NOT_FOUND = 10007
    METHOD = 10405
    CONFLICT = 10409
    TOO_LARGE = 10413
    RATE = 971
    INTERNAL = 10500
    UNAVAILABLE = 10503
    EXPRESSION = 20127
    """A rule's expression is not right; `diagnostic` says why."""
    QUOTA = 20120
    TOO_MANY_RULESETS = 20217
    LIST_BODY = 10026
    LIST_IN_USE = 10031
    LIST_ITEM = 10035


STATUSES: Final[Mapping[int, str]] = {
    400: "The request is not right; `source` says where",
    401: "No token, or none that counts",
    403: "The token's scope does not reach that far",
    404: "There is no such thing, or none that this token may know of",
    405: "The resource has no such method; `Allow` names those that it has",
    406: "None of the formats that `Accept` names is offered",
    409: "Someone else wrote at the same time; again may help",
    412: "`If-Match` names another version than the latest",
    413: "The body is too large",
    429: "Too many requests; `Retry-After` says how many seconds to wait",
    500: "A fault of this node; the message has an id that stands in its log",
    503: "The store or the enforcer does not answer; `Retry-After` says how many seconds to wait",
}
"""The statuses of errors, and what they mean."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    code: int
    message: str
    pointer: str | None = None
    """JSON pointer (RFC 6901) into the body."""
    parameter: str | None = None
    """A parameter of the path or the query, or a header."""
    diagnostic: Diagnostic | None = None
    documentation_url: str | None = None

    def as_json(self) -> dict[str, object]:
        content: dict[str, object] = {"code": int(self.code), "message": self.message}
        if self.documentation_url is not None:
            content["documentation_url"] = self.documentation_url
        source = {"pointer": self.pointer, "parameter": self.parameter}
        if any(place is not None for place in source.values()):
            content["source"] = {name: place for name, place in source.items() if place is not None}
        if self.diagnostic is not None:
            content["diagnostic"] = to_json(self.diagnostic)
        return content


class ApiError(HTTPException):
    """Ends a request with a status of `STATUSES` and at least one problem."""

    def __init__(self, status: int, *problems: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, problems[0].message, dict(headers) if headers else None)
        self.status = status
        self.problems = problems


def bad_request(message: str, *, pointer: str | None = None, parameter: str | None = None, code: int = Code.BAD_REQUEST) -> ApiError:
    return ApiError(400, Problem(code, message, pointer, parameter))


def not_found(what: str = "resource", *, code: int = Code.NOT_FOUND) -> ApiError:
    """The same text whether there is no such thing or it is another tenant's: `what` names its kind, never its id."""
    return ApiError(404, Problem(code, f"{what} not found"))


def no_route() -> ApiError:
    return ApiError(
        404,
        Problem(Code.NO_ROUTE, "could not route to this path, perhaps your object identifier is invalid"),
        Problem(Code.NO_SUCH_URI, "no route for that URI"),
    )


def unauthenticated() -> ApiError:
    return ApiError(401, Problem(Code.AUTHENTICATION, "Authentication error"), headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> ApiError:
    return ApiError(403, Problem(Code.SCOPE, message))


def conflict(message: str) -> ApiError:
    """Only for what the same request may cure when it is sent again."""
    return ApiError(409, Problem(Code.CONFLICT, message), headers={"Retry-After": "1"})


def too_large(limit: int) -> ApiError:
    return ApiError(413, Problem(Code.TOO_LARGE, f"the body may have {limit:,} bytes"), headers={"Connection": "close"})


def too_many_requests(seconds: float) -> ApiError:
    after = max(1, -int(-seconds // 1))
    return ApiError(429, Problem(Code.RATE, f"too many requests; wait {after} s"), headers={"Retry-After": str(after)})


def unavailable(message: str) -> ApiError:
    return ApiError(503, Problem(Code.UNAVAILABLE, message), headers={"Retry-After": "1"})


def expression_problems(diagnostics: Iterable[Diagnostic], pointer: str) -> tuple[Problem, ...]:
    """A problem for each diagnostic of the expression at `pointer`."""
    return tuple(
        Problem(
            Code.EXPRESSION,
            f"{diagnostic.code}: {diagnostic.message}" + (f" ({diagnostic.help})" if diagnostic.help else ""),
            pointer,
            diagnostic=diagnostic,
            documentation_url=f"/errors/{diagnostic.code}",
        )
        for diagnostic in diagnostics
    )


def within(error: ApiError, pointer: str) -> ApiError:
    """The same error, its pointers below `pointer`: what was found in a part is told of the whole."""
    moved = (replace(problem, pointer=pointer + (problem.pointer or "")) for problem in error.problems)
    return ApiError(error.status, *moved, headers=error.headers)
