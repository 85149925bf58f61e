"""Which nodes there are and which lag, for operators; who changed what, for the admins of an account."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from api.access.audit import newest, record_json
from api.access.caller import Admin, Operator
from api.envelope import Envelope, JsonResponse, answer, documented
from api.routes.dependencies import TheNode

router = APIRouter(tags=["node"], responses=documented())


class NodeAnswer(BaseModel):
    name: str
    this: bool
    """Whether it is the one that answers."""
    since: str
    """When it started."""
    revision: int
    """The store's revision up to which it has followed it."""
    lagging: list[str]
    """Tenants whose stored rules it does not enforce yet."""


@router.get("/nodes", response_model=Envelope[list[NodeAnswer]])
def list_nodes(_: Operator, node: TheNode) -> JsonResponse:
    """The nodes that live, what each enforces, and what it lags behind with."""
    lagging = node.lagging()
    return answer(
        [
            {
                "name": each.name,
                "this": each.name == node.name,
                "since": each.since,
                "revision": each.revision,
                "lagging": list(lagging.get(each.name, ())),
            }
            for each in node.nodes()
        ]
    )


class AuditAnswer(BaseModel):
    id: str
    time: str
    tenant: str
    author: str
    action: str
    object: str
    before: str | None
    after: str | None
    address: str | None
    details: dict[str, Any]


@router.get("/accounts/{account_id}/audit", response_model=Envelope[list[AuditAnswer]])
def list_audit(caller: Admin, node: TheNode, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> JsonResponse:
    """The newest records of the audit log, in the order of time."""
    return answer([record_json(record) for record in newest(node.store, caller.account, limit)])
