"""What is not right is answered in the envelope: with a number, a message that names it, and the place in the request."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_server import Served, served

from api.errors import Code
from api.reference import CODES, document

RULESETS = "/accounts/a/rulesets"
ENTRY = f"{RULESETS}/phases/magic_transit/entrypoint"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        found.tenant("a", "203.0.113.0/24")
        yield found


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    with server.http(server.token("a")) as found:
        yield found


def errors(answer: httpx.Response) -> list[dict[str, Any]]:
    content = answer.json()
    assert (content["result"], content["success"], content["messages"]) == (None, False, [])
    found = content["errors"]
    assert isinstance(found, list)
    return found


def test_what_is_well_has_no_errors(http: httpx.Client) -> None:
    content = http.get(RULESETS).json()
    assert {key: content[key] for key in ("success", "errors", "messages")} == {"success": True, "errors": [], "messages": []}


def test_a_path_that_is_none(http: httpx.Client, server: Served) -> None:
    for answer in (http.get("/accounts/a/nothing"), http.get("/nothing"), httpx.get(f"{server.root}/nothing")):
        assert (answer.status_code, [error["code"] for error in errors(answer)]) == (404, [7003, 7000])


def test_a_method_that_is_none(http: httpx.Client) -> None:
    answer = http.request("PATCH", RULESETS)
    assert (answer.status_code, answer.headers["allow"], errors(answer)[0]["code"]) == (405, "GET, POST", 10405)


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        ({"rulez": []}, "/rulez", "unknown key `rulez`"),
        ({"rules": [{"action": "block", "expression": "ip", "enabled": "yes"}]}, "/rules/0/enabled", "valid boolean"),
        ({"rules": [{"action": "block"}, {"action": "explode"}]}, "/rules/1/action", "should be"),
        ({"rules": [{"~/": 1}]}, "/rules/0/~0~1", "unknown key `~/`"),
        ([], "", "is to be a JSON object"),
    ],
)
def test_a_body_that_is_not_right_is_told_where(http: httpx.Client, body: Any, pointer: str, message: str) -> None:
    answer = http.put(ENTRY, json=body)
    first = errors(answer)[0]
    assert (answer.status_code, first["code"], first["source"]["pointer"]) == (400, 10004, pointer)
    assert message in first["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body"),
        (b"[" * 100_000, "the body"),
        (b'{"rules": NaN}', "valid list"),
        (b'{"description": "\\ud800"}', "`description`"),
        (b"", "the request has no body"),
    ],
)
def test_a_body_that_cannot_be_read(http: httpx.Client, content: bytes, message: str) -> None:
    answer = http.put(ENTRY, content=content, headers=JSON)
    assert answer.status_code == 400
    assert message in errors(answer)[0]["message"]


@pytest.mark.parametrize(
    ("query", "message"), [("dryrun=true", "unknown query parameter `dryrun`"), ("dry_run=1", "query parameter `dry_run`")]
)
def test_a_misspelled_parameter_writes_nothing(http: httpx.Client, server: Served, query: str, message: str) -> None:
    before = server.store.revision()
    answer = http.put(f"{ENTRY}?{query}", json={"rules": []})
    (error,) = errors(answer)
    assert (answer.status_code, error["source"]) == (400, {"parameter": query.partition("=")[0]})
    assert error["message"].startswith(message)
    assert [entry for entry in server.store.list("rulesets/").entries if entry.revision > before] == []


def test_many_problems_are_told_in_part(http: httpx.Client) -> None:
    found = errors(http.put(ENTRY, json={"rules": [{"wrong": 1}] * 100}))
    assert (len(found), found[-1]["message"]) == (21, "and 80 more")


def test_a_lists_body_has_a_number_of_its_own(http: httpx.Client) -> None:
    assert errors(http.post("/accounts/a/rules/lists", json={"nam": "x"}))[0]["code"] == 10026


def test_our_own_fault_is_logged_and_told_by_a_number_alone(
    http: httpx.Client, server: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise RuntimeError("a secret of the node")

    monkeypatch.setattr(server.node, "documents", broken)
    with caplog.at_level(logging.ERROR, "mantlet.api"):
        answer = http.get(RULESETS)
    (error,) = errors(answer)
    assert (answer.status_code, error["code"]) == (500, 10500)
    incident = error["message"].rpartition(" ")[2]
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)
    assert "secret" not in answer.text


def test_every_number_has_its_meaning_and_every_operation_its_errors() -> None:
    assert list(CODES) == list(Code)
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/client/v4"):
                assert {"400", "401", "403", "404", "413", "429", "500", "503"} <= set(operation["responses"]), (path, method)
                assert operation["security"] == [{"token": []}]
