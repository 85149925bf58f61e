"""The page `/docs`: every call of the API, made from its OpenAPI document. It has no script, and loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

POLICY: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "code{font-size:.9rem}details{border-bottom:1px solid #ccc;padding:.4rem 0}"
    "td,th{text-align:left;vertical-align:top;padding:.1rem 1rem .1rem 0}"
)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    return HTMLResponse("".join(_page(request.app.openapi())), headers=POLICY)


def _page(document: Mapping[str, Any]) -> Iterator[str]:
    title = escape(f"{document['info']['title']}: REST API")
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>'
    yield f'<p>{escape(document["info"]["description"])} For programs: <a href="/openapi.json">/openapi.json</a>.</p>'
    operations = [(path, method.upper(), operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
    for tag in dict.fromkeys(operation["tags"][0] for _, _, operation in operations):
        yield f"<h2>{escape(tag.capitalize())}</h2>"
        for path, method, operation in operations:
            if operation["tags"][0] == tag:
                yield from _operation(path, method, operation, document["components"]["schemas"])


def _operation(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<details><summary><code><b>{method}</b> {escape(path)}</code></summary><p>{escape(operation.get('description', ''))}</p>"
    rows = [(each["name"], each["in"], _type(each["schema"]), each.get("description", "")) for each in operation.get("parameters", ())]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        rows.append(("", f"body, {kind}", _type(content["schema"]), ""))
        schema = content["schema"].get("items", content["schema"])
        keys = schemas.get(_name(schema), {}).get("properties", {})
        rows += [(name, "", _type(each), each.get("description", "")) for name, each in keys.items()]
    yield from _table(("parameter", "in", "type", ""), rows)
    answers = [(status, found.get("description", "")) for status, found in operation["responses"].items()]
    yield from _table(("status", ""), answers)
    yield "</details>"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield "<table><tr>" + "".join(f"<th>{cell}</th>" for cell in head)
    for row in rows:
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row)
    yield "</table>"


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _name(schema)
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    return str(schema.get("type", schema.get("const", "any")))
