"""The OpenAPI document is the truth: whatever is sent, the answer has a status, a type and a form that the document says, and none is
a 5xx. The long run sends over 20,000 requests (MANTLET_REQUESTS says how many)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import schemathesis
from api_lab import ServedNode
from api_server import Paper, Served, served
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rule_lab import Wire
from schemathesis import APIOperation, Case
from schemathesis.checks import CheckFunction, load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from api.app import create_app
from api.node import Node

load_all_checks()
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
DOCUMENT = create_app(cast(Node, SimpleNamespace(store=None, enforcer=None))).openapi()
OPERATIONS: dict[str, APIOperation] = {
    operation.label: operation
    for operation in (each.ok() for each in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations())
    if not operation.path.endswith("/events")  # which does not end
}
FEW = 8
"""Requests of each operation in the usual run."""
MANY = int(os.environ.get("MANTLET_REQUESTS", "21000"))
"""Of all operations in the long run."""
STATUSES: Counter[int] = Counter()


@pytest.fixture(scope="module", params=["paper", pytest.param("kernel", marks=[pytest.mark.long, pytest.mark.kernel])])
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Without a kernel for the few requests, with it for the many. At the end it is told what was answered: without right answers among
    them the requests would have tried little."""
    STATUSES.clear()
    with served() if request.param == "paper" else _with_kernel() as found:
        found.tenant("acme", "203.0.113.0/24", rulesets=100_000, rules=1_000_000, lists=100_000)
        yield found
    print(f"\n{sum(STATUSES.values()):,} requests by status: {dict(sorted(STATUSES.items()))}")
    assert STATUSES[200] > sum(STATUSES.values()) / 20


@contextmanager
def _with_kernel() -> Iterator[Served]:
    with Wire() as wire, ServedNode(wire) as node:
        yield Served(cast(Node, SimpleNamespace(store=node.store)), Paper(), f"http://127.0.0.1:{node.port}/client/v4")


@pytest.fixture(scope="module")
def tokens(server: Served) -> dict[bool, str]:
    """By whether it is the operator's."""
    return {False: server.token("acme", "admin"), True: server.token("-", "admin")}


def things(server: Served, token: str) -> dict[str, str]:
    """Ids of what there is, by the names of parameters; new each time."""
    with server.http(token) as http:
        body = {"rules": [{"action": "block", "expression": "udp.dstport == 53"}]}
        ruleset = http.put("/accounts/acme/rulesets/phases/magic_transit/entrypoint", json=body).json()["result"]
        name = f"list_{server.store.revision()}"
        made = http.post("/accounts/acme/rules/lists", json={"name": name, "kind": "ip"}).json()["result"]
        items = f"/accounts/acme/rules/lists/{made['id']}/items"
        operation = http.post(items, json=[{"ip": "192.0.2.1"}]).json()["result"]["operation_id"]
        (item,) = http.get(items).json()["result"]
    return {
        "account_id": "acme",
        "ruleset_id": ruleset["id"],
        "rule_id": ruleset["rules"][0]["id"],
        "version": ruleset["version"],
        "phase": "magic_transit",
        "list_id": made["id"],
        "item_id": item["id"],
        "operation_id": operation,
        "code": "E0203",
    }


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_are_as_the_document_says(server: Served, tokens: dict[bool, str], label: str, request: pytest.FixtureRequest) -> None:
    number = FEW if "paper" in request.node.name else -(-MANY // len(OPERATIONS))
    operation = OPERATIONS[label]
    known: dict[str, str] = {}
    sent = 0
    often = 8 if operation.method.upper() == "DELETE" else 50

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        derandomize=number == FEW,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), real=st.lists(st.booleans(), min_size=8, max_size=8), data=st.data())
    def answered(case: Case, real: list[bool], data: Any) -> None:
        nonlocal sent
        if sent % often == 0:  # some of them were deleted
            known.update(things(server, tokens[False]))
        sent += 1
        # What stands in a path exists more often than not, or nothing behind it would be reached.
        parameters = dict(case.path_parameters or {})
        case.path_parameters = {name: known[name] if name in known and any(real[:3]) else value for name, value in parameters.items()}
        if "account_id" in case.path_parameters and any(real[3:]):
            case.path_parameters["account_id"] = "acme"
        token = tokens["account_id" not in case.path_parameters or not any(real[5:])]
        response = case.call(base_url=server.root, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        STATUSES[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    answered()
