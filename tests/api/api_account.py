"""A tenant's documents for tests of what changes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from api.bodies import EntryPointBody, PlacedRuleBody, RuleBody, RulesetBody, RulesetUpdateBody
from api.changes import Change, Documents
from api.documents import OPERATOR, Quotas, Tenant, now
from api.errors import ApiError
from api.policy_text import ProtectText
from api.snapshots import OPERATORS

B = TypeVar("B", RuleBody, PlacedRuleBody, RulesetBody, RulesetUpdateBody, EntryPointBody)

IDS = tuple(f"{number:032x}" for number in range(1, 100))


def tenant(name: str = "acme", **quotas: int) -> Documents:
    return Documents(Tenant(name, ProtectText(("203.0.113.0/24",)), now(), quotas=Quotas(**quotas)), offered=operator())


def operator() -> Documents:
    assert OPERATORS.id == OPERATOR
    return Documents(OPERATORS)


def rule(expression: str = "udp.dstport == 53", action: str = "block", **more: Any) -> RuleBody:
    return RuleBody.model_validate({"action": action, "expression": expression, **more})


def ruleset(phase: str = "magic_transit", *rules: RuleBody, kind: str = "root", name: str = "mine") -> RulesetBody:
    return RulesetBody.model_validate({"name": name, "kind": kind, "phase": phase, "rules": list(rules)})


def execute(target: str, expression: str = "ip.proto == 17", **more: Any) -> RuleBody:
    overrides = {"overrides": more.pop("overrides")} if "overrides" in more else {}
    return rule(expression, "execute", action_parameters={"id": target, **overrides}, **more)


def expressions(change: Change) -> list[str]:
    assert change.ruleset is not None
    return [each.expression for each in change.ruleset.rules]


def refused(function: Callable[[], object]) -> tuple[int, int, str, str | None]:
    """Status, and code, message and place of the first problem."""
    try:
        function()
    except ApiError as error:
        first = error.problems[0]
        return error.status, int(first.code), first.message, first.pointer or first.parameter
    raise AssertionError("it was not refused")
