"""Who calls: the dependencies by which a route says whom it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer

from api.documents import OPERATOR, Scope
from api.errors import forbidden, no_route, unauthenticated

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "admin")
"""Each may do what those before it may."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The token that a request bears, and the account that it is about."""

    token: str
    """The token's id."""
    tenant: str
    """Whose token it is: a tenant's id, or OPERATOR."""
    scope: Scope
    address: str
    account: str
    """The account of the path; the token's own where the path has none."""

    @property
    def is_operator(self) -> bool:
        return self.tenant == OPERATOR


_BEARER = HTTPBearer(auto_error=False, scheme_name="token", description="`mantlet token create` makes one")


class _Needs:
    """The dependency of a route that needs a scope."""

    def __init__(self, scope: Scope, *, operator: bool = False) -> None:
        self._scope = scope
        self._operator = operator

    def check(self, request: Request) -> Caller:
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is None:
            raise unauthenticated()
        if self._operator and not caller.is_operator:
            raise no_route()
        if SCOPES.index(caller.scope) < SCOPES.index(self._scope):
            raise forbidden(f"this token may {caller.scope}; the request needs one that may {self._scope}")
        return caller


class _OfAccount(_Needs):
    async def __call__(
        self,
        request: Request,
        account_id: Annotated[str, Path(description="The tenant's id", examples=["acme"])],
        _token: Annotated[object, Security(_BEARER)],
    ) -> Caller:
        return self.check(request)


class _OfNode(_Needs):
    async def __call__(self, request: Request, _token: Annotated[object, Security(_BEARER)]) -> Caller:
        return self.check(request)


class _Measuring(_Needs):
    """Whether a caller is needed is the door's to know: it lets nobody in without one who may not be."""

    async def __call__(self, request: Request, _token: Annotated[object, Security(_BEARER)]) -> Caller | None:
        return None if getattr(request.state, "caller", None) is None else self.check(request)


Reader = Annotated[Caller, Depends(_OfAccount("read"))]
"""May see what the account of the path has."""
Writer = Annotated[Caller, Depends(_OfAccount("write"))]
"""May change it."""
Admin = Annotated[Caller, Depends(_OfAccount("admin"))]
"""May also see who changed what."""
Operator = Annotated[Caller, Depends(_OfNode("read", operator=True))]
"""May see the whole node; to anyone else there is no such route."""
Scraper = Annotated[Caller | None, Depends(_Measuring("read", operator=True))]
"""The operator, or where /metrics is open, anyone on loopback."""
