"""Who calls: the dependencies by which a route says whom it answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer

from api.errors import forbidden, no_route, unauthenticated

OPERATOR: Final = "-"
"""What stands for a tenant's id in what belongs to the operator."""


class Scope(StrEnum):
    """What a token may do; each scope may do what those before it may."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    def reaches(self, other: Scope) -> bool:
        order = tuple(Scope)
        return order.index(self) >= order.index(other)


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
        if not caller.scope.reaches(self._scope):
            raise forbidden(f"this token may {caller.scope}; the request needs a token that may {self._scope}")
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


Reader = Annotated[Caller, Depends(_OfAccount(Scope.READ))]
"""May see what the account of the path has."""
Writer = Annotated[Caller, Depends(_OfAccount(Scope.WRITE))]
"""May change it."""
Admin = Annotated[Caller, Depends(_OfAccount(Scope.ADMIN))]
"""May also see who changed what."""
Operator = Annotated[Caller, Depends(_OfNode(Scope.READ, operator=True))]
"""May see the whole node; to anyone else there is no such route."""
