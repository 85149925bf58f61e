"""The generated page of docs/reference about the API, made from its OpenAPI document. `python -m api.reference FOLDER` writes it; a test
holds that it is fresh."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from api.app import create_app
from api.envelope import BASE, EVERYWHERE
from api.errors import STATUSES, Code
from api.node import Node
from api.settings import DEFAULTS

TAGS: Final = {
    "rulesets": "Rulesets",
    "lists": "Lists",
    "rules": "Counters",
    "replay": "Replay and tests",
    "pcaps": "Packet captures",
    "events": "Events",
    "node": "Node",
}
"""The groups of routes, and their headings."""

CODES: Final = {
    Code.BAD_REQUEST: "the request is not right",
    Code.NO_ROUTE: "no such route, or no such account",
    Code.NO_SUCH_URI: "comes beside 7003",
    Code.AUTHENTICATION: "no token, or none that counts",
    Code.SCOPE: "the token's scope does not reach that far",
    Code.NOT_FOUND: "no such thing",
    Code.METHOD: "no such method",
    Code.CONFLICT: "another write was quicker, or `If-Match` names another version",
    Code.TOO_LARGE: "the body is too large",
    Code.RATE: "too many requests",
    Code.INTERNAL: "a fault of the node",
    Code.UNAVAILABLE: "store or enforcer do not answer",
    Code.EXPRESSION: "a rule's expression is not right, or the kernel refused the rule",
    Code.QUOTA: "a quota is used up",
    Code.TOO_MANY_RULESETS: "the phase has its entry point already",
    Code.LIST_BODY: "a list's body is not right",
    Code.LIST_IN_USE: "a rule names the list",
    Code.LIST_ITEM: "an item is not right",
}
"""What errors' numbers say; a test holds that these are all."""


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return create_app(cast(Node, SimpleNamespace(store=None, enforcer=None))).openapi()


def page() -> str:
    return "\n".join(_lines(document()))


def _lines(openapi: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "# The REST API",
        "",
        "Every call. This page is made from the API's OpenAPI document, which a node answers at `/openapi.json` and shows at `/docs`.",
        f"Paths of accounts begin with `{BASE}/accounts/{{account_id}}`, here written A; an account is a tenant, `-` is the operator.",
        "[How to begin](../howto/tenants.md) shows the first calls.",
        "",
        "## Answers",
        "",
        'An answer is JSON, `{"result": ..., "success": true, "errors": [], "messages": []}`, lists also with `result_info`. Where a',
        "request fails, `success` is false, `result` null, and each of `errors` has",
        "",
        "| key | |",
        "| --- | --- |",
        "| `code` | a number, as below |",
        "| `message` | what is wrong |",
        "| `source` | where: `pointer` (JSON pointer into the body) or `parameter` (of path or query, or a header) |",
        "| `diagnostic` | of a wrong expression the language's own: code, place (`start`, `end`), message, help |",
        "| `documentation_url` | a page of the node about such a diagnostic |",
        "",
        "| status | meaning |",
        "| --- | --- |",
        *(f"| {status} | {meaning} |" for status, meaning in STATUSES.items()),
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {int(code)} | {meaning} |" for code, meaning in sorted(CODES.items())),
        "",
        f"Any call under `{BASE}` may be answered with {', '.join(map(str, EVERYWHERE[:-1]))} or {EVERYWHERE[-1]};",
        "below each call stand the others.",
        "",
        "## Tokens, rates and sizes",
        "",
        "A request bears its token as `Authorization: Bearer mantlet_...`. A token is of one tenant or of the operator, and may `read`,",
        "`write` (and read) or is `admin` (and also sees the audit log). What belongs to another tenant is not found. The operator's",
        "tokens reach all accounts.",
        "",
        "The numbers are those of a node that is told no others:",
        "",
        "| bound | |",
        "| --- | --- |",
        f"| requests of a token | {DEFAULTS.requests.per_second:g} a second, {DEFAULTS.requests.burst:g} at once |",
        f"| body | {DEFAULTS.body_limit >> 20} MiB; a capture to replay {DEFAULTS.capture_limit >> 20} MiB |",
        f"| event streams of an account | {DEFAULTS.streams} |",
        "",
    )
    schemas: Mapping[str, Any] = openapi["components"]["schemas"]
    for tag, heading in TAGS.items():
        yield from (f"## {heading}", "")
        for path, methods in openapi["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    yield from _operation(method.upper(), path, operation, schemas)
    yield from ("## Parts of bodies", "")
    for name in sorted(_parts(openapi, schemas)):
        yield from (f"### {name}", "")
        if "description" in schemas[name]:
            yield from (schemas[name]["description"], "")
        yield from ("| key | in | type | |", "| --- | --- | --- | --- |", *_body({"$ref": name}, schemas), "")


def _operation(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    account = f"{BASE}/accounts/{{account_id}}"
    yield from (f"### {method} {path.replace(account, 'A') if path.startswith(account) else path}", "")
    if operation.get("description"):
        yield from (operation["description"], "")
    parameters = [each for each in operation.get("parameters", ()) if each["name"] != "account_id"]
    rows = [
        _row(each["name"], each["in"], _type(each["schema"]), each.get("description") or each["schema"].get("description", ""))
        for each in parameters
    ]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            rows += _body(content["schema"], schemas)
        else:
            rows.append(_row("", "body", kind, operation["requestBody"].get("description", "")))
    if rows:
        yield from ("| parameter | in | type | |", "| --- | --- | --- | --- |", *rows, "")
    others = [status for status in operation["responses"] if int(status) not in EVERYWHERE]
    yield from (f"Answers: {', '.join(sorted(others))}.", "")


def _body(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    if "items" in schema:
        yield _row("", "body", "array", "of objects with these keys:")
        schema = schema["items"]
    found = schemas[_name(schema)]
    for name, each in found["properties"].items():
        about = each.get("description", "")
        yield _row(name, "body", _type(each), about if name in found.get("required", ()) else f"{about} (optional)".lstrip())


def _parts(openapi: Mapping[str, Any], schemas: Mapping[str, Any]) -> set[str]:
    """The schemas that stand within bodies, at any depth."""
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for methods in openapi["paths"].values()
        for operation in methods.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    whole = {_name(body.get("items", body)) for body in bodies}
    found: set[str] = set()
    waiting = list(whole)
    while waiting:
        within = {name for each in schemas[waiting.pop()]["properties"].values() for name in _named(each)}
        waiting += within - found
        found |= within
    return found


def _named(schema: Any) -> Iterator[str]:
    match schema:
        case {"$ref": str()}:
            yield _name(schema)
        case {"anyOf": list(some)}:
            for each in some:
                yield from _named(each)
        case {"items": each}:
            yield from _named(each)


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"].rpartition("/")[2])


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _row(*cells: str) -> str:
    name, *rest = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {f'`{name}`' if name else ''} | {' | '.join(rest)} |"


if __name__ == "__main__":
    (Path(sys.argv[1]) / "rest-api.md").write_text(page(), encoding="utf-8")
