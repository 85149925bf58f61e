"""How often a rule matched."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api.access.caller import Reader
from api.documents import kernel_name
from api.envelope import Envelope, JsonResponse, answer, documented
from api.errors import not_found
from api.routes.dependencies import TheEnforcer, TheNode

router = APIRouter(tags=["rules"], responses=documented())


class CountersAnswer(BaseModel):
    id: str
    packets: int
    """That matched since the rule came to be enforced, on the node that answers."""
    bytes: int


@router.get("/accounts/{account_id}/rules/{rule_id}/counters", response_model=Envelope[CountersAnswer])
def get_counters(
    caller: Reader,
    rule_id: Annotated[str, Path(description="Of one's own rule, or of one that is executed")],
    node: TheNode,
    enforcer: TheEnforcer,
) -> JsonResponse:
    """Packets and bytes that a rule matched on this node; of a rule that is executed, by all that execute it together."""
    documents = node.documents(caller.account)
    offered = documents.offered.rulesets if documents.offered is not None else {}
    rulesets = (*documents.rulesets.values(), *offered.values())
    if not any(rule.id == rule_id for ruleset in rulesets for rule in ruleset.rules):
        raise not_found("rule")
    # By name: a rule's id, `EXECUTING.EXECUTED`, and `ID.log` of what is also logged, which is the same packets again.
    found = [
        count
        for name, count in enforcer.counters(kernel_name(caller.account)).items()
        if rule_id in (parts := name.split("."))[:2] and parts[-1] != "log"
    ]
    return answer({"id": rule_id, "packets": sum(packets for packets, _ in found), "bytes": sum(size for _, size in found)})
