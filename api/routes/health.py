"""The node's health and measurements, and what an error of the language means. Of these only the measurements need a token."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import PlainTextResponse

from api.access.caller import Scraper
from api.documents import kernel_name
from api.enforcer.client import EnforcerClient, EnforcerUnavailable
from api.envelope import Refusal
from api.errors import STATUSES, not_found
from api.metrics import Requests, Sample, family
from api.node import Node
from api.routes.dependencies import TheEnforcer, TheNode
from api.store import StoreError
from firewall.cli.reference import code_text
from rules_dsl import CODES

router = APIRouter(tags=["node"], default_response_class=PlainTextResponse)


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors in JSON, of routes that answer well in text."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{Refusal.__name__}"}}}
    return {status: {"description": STATUSES[status], "content": content} for status in statuses}


@router.get("/healthz")
async def healthz() -> str:
    """The process lives."""
    return "ok\n"


class Readiness:
    """Whether store and enforcer answer, asked at most once a second, however often it is asked for."""

    def __init__(self) -> None:
        self._asked = float("-inf")
        self._missing: tuple[str, ...] = ()

    def missing(self, node: Node) -> tuple[str, ...]:
        if time.monotonic() - self._asked >= 1:
            self._missing = tuple(_missing(node))
            self._asked = time.monotonic()
        return self._missing


def _missing(node: Node) -> Iterator[str]:
    try:
        node.store.revision()
    except StoreError:
        yield "the store does not answer"
    try:
        node.enforcer.status()
    except EnforcerUnavailable:
        yield "the enforcer does not answer"


@router.get("/readyz", responses={503: {"description": "What is missing", "content": {"text/plain": {"schema": {"type": "string"}}}}})
def readyz(request: Request, node: TheNode) -> PlainTextResponse:
    """Store and enforcer answer, so that writes can be made."""
    missing = request.app.state.readiness.missing(node)
    return PlainTextResponse("".join(f"{each}\n" for each in missing) or "ok\n", 503 if missing else 200)


@router.get("/errors/{code}", responses=_documented(404))
async def explain_error(code: Annotated[str, Path(description="Of a diagnostic", examples=["E0203"])]) -> str:
    """What an error of the rule language means, with an example."""
    if code not in CODES:
        raise not_found("error")
    return code_text(CODES[code]) + "\n"


# -- measurements ------------------------------------------------------------------------------------------------------


@router.get("/metrics", responses=_documented(401, 403, 404, 429, 500, 503))
def metrics(request: Request, _: Scraper, node: TheNode, enforcer: TheEnforcer) -> PlainTextResponse:
    """Measurements for Prometheus: for an operator's token, or, where the operator said so, for anyone on loopback."""
    requests: Requests = request.app.state.requests
    lines = [*requests.exposition(), *_of_node(node), *_of_rules(node, enforcer)]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _of_node(node: Node) -> Iterator[str]:
    tally = node.events.tally()
    reports, lagging, revision = node.nodes(), node.lagging(), node.store.revision()
    yield from family(
        "mantlet_events_total",
        "counter",
        "What happened to tenants' rules on this node: enforced, failed, drift (mended), removed",
        (Sample({"tenant": tenant, "kind": kind}, count) for (tenant, kind), count in tally.items()),
    )
    yield from family("mantlet_store_revision", "gauge", "The revision of the store's last commit", (Sample({}, revision),))
    yield from family(
        "mantlet_enforced_revision",
        "gauge",
        "The store's revision up to which a node has followed it",
        (Sample({"node": each.name}, each.revision) for each in reports),
    )
    yield from family(
        "mantlet_lagging_tenants",
        "gauge",
        "Tenants whose stored rules a node does not enforce yet",
        (Sample({"node": each.name}, len(lagging.get(each.name, ()))) for each in reports),
    )


def _of_rules(node: Node, enforcer: EnforcerClient) -> Iterator[str]:
    counted = [(tenant, enforcer.counters(kernel_name(tenant))) for tenant in node.tenants()]
    for place, name, about in ((0, "mantlet_rule_packets_total", "Packets"), (1, "mantlet_rule_bytes_total", "Bytes of packets")):
        yield from family(
            name,
            "counter",
            f"{about} that a rule matched",
            (Sample({"tenant": tenant, "rule": rule}, found[place]) for tenant, rules in counted for rule, found in rules.items()),
        )
