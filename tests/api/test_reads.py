"""Rulesets that are read out of memory: the answers are those of the routes, never older than the store, and for whoever may read alone."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from api_account import rule
from api_server import Served, served

from api import rulesets, tenants
from api.access.tokens import parts_of
from api.bodies import EntryPointBody
from api.documents import Token, from_json, to_json, token_key
from api.node import Author, Node
from api.policy_text import ProtectText
from api.routes import reads
from api.store import Put, open_store

ENTRY = "/rulesets/phases/magic_transit/entrypoint"


@pytest.fixture
def server() -> Iterator[Served]:
    with served() as found:
        found.tenant("acme", "203.0.113.0/24")
        yield found


@pytest.fixture
def http(server: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{server.url}/accounts/acme", headers=bearing(server.token("acme")), timeout=30) as client:
        yield client


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def put(http: httpx.Client, *expressions: str) -> str:
    """The ruleset's id."""
    answer = http.put(ENTRY, json={"rules": [{"action": "block", "expression": each} for each in expressions]})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"]["id"])


def read(http: httpx.Client, path: str) -> list[str]:
    return [each["expression"] for each in http.get(path).json()["result"]["rules"]]


def test_the_answers_are_those_of_the_routes(http: httpx.Client) -> None:
    found = put(http, "ip.ttl == 1", 'udp.payload contains "\u00e9"')
    for path in ("/rulesets", f"/rulesets/{found}", ENTRY):
        by_route = http.get(f"{path}?a=b")  # with a query it is the route's
        for _ in range(2):
            answer = http.get(path)
            assert answer.status_code == by_route.status_code == 200
            assert answer.content == by_route.content
            ignored = {"date"}
            assert {k: v for k, v in answer.headers.items() if k not in ignored} == {
                k: v for k, v in by_route.headers.items() if k not in ignored
            }


def test_errors_are_those_of_the_routes(http: httpx.Client) -> None:
    for path in (f"/rulesets/{'0' * 32}", "/rulesets/phases/magic_transit_managed/entrypoint", "/rulesets/phases/none/entrypoint"):
        answers = [http.get(path), http.get(path), http.get(f"{path}?a=b")]
        assert len({(each.status_code, each.content) for each in answers}) == 1
        assert answers[0].status_code in (400, 404)


def test_a_write_is_read_at_once_whoever_wrote(server: Served, http: httpx.Client) -> None:
    found = put(http, "ip.ttl == 1")
    for number in range(20):
        put(http, f"ip.ttl == {number}")
        assert read(http, f"/rulesets/{found}") == read(http, ENTRY) == [f"ip.ttl == {number}"]
    address = str(server.store._path)  # type: ignore[attr-defined]
    with open_store(address) as store, Node(store, server.paper, "other") as other:
        for number in range(20):
            body = EntryPointBody(rules=[rule(f"ip.ttl == {100 + number}")])
            other.write("acme", lambda documents, body=body: rulesets.put_entry_point(documents, "magic_transit", body), Author("test"))
            assert read(http, f"/rulesets/{found}") == [f"ip.ttl == {100 + number}"]
    assert http.delete(f"/rulesets/{found}").status_code == 204
    assert http.get(f"/rulesets/{found}").status_code == http.get(ENTRY).status_code == 404


def test_a_token_that_is_revoked_reads_nothing_from_then_on(server: Served, http: httpx.Client) -> None:
    put(http, "ip.ttl == 1")
    text = server.token("acme", "read")
    ask = {"url": f"{server.url}/accounts/acme{ENTRY}", "headers": bearing(text)}
    assert [httpx.get(**ask).status_code for _ in range(2)] == [200, 200]
    key = token_key(parts_of(text)[0])
    with open_store(str(server.store._path)) as store:  # type: ignore[attr-defined]  # another process, as far as the API knows
        entry = store.get(key)
        assert entry is not None
        token = from_json(Token, entry.value)
        fields = {name: getattr(token, name) for name in ("id", "tenant", "scope", "hash", "created", "name", "expires")}
        store.commit([Put(key, to_json(Token(**fields, revoked="2020-01-01T00:00:00Z")))])
    assert httpx.get(**ask).status_code == 401
    assert http.get(ENTRY).status_code == 200


def test_what_is_kept_is_nobody_elses(server: Served, http: httpx.Client) -> None:
    found = put(http, "ip.ttl == 1")
    assert http.get(f"/rulesets/{found}").status_code == 200
    server.tenant("other", "192.0.2.0/24")
    token = server.token("other")
    assert httpx.get(f"{server.url}/accounts/acme/rulesets/{found}", headers=bearing(token)).status_code == 404
    assert httpx.get(f"{server.url}/accounts/other/rulesets/{found}", headers=bearing(token)).status_code == 404
    assert httpx.get(f"{server.url}/accounts/acme/rulesets/{found}").status_code == 401
    tenants.delete(server.store, "acme", "test")
    assert http.get(f"/rulesets/{found}").status_code == 401
    tenants.create(server.store, "acme", ProtectText(("203.0.113.0/24",)), "test")
    new = bearing(server.token("acme"))
    assert httpx.get(f"{server.url}/accounts/acme/rulesets/{found}", headers=new).status_code == 404


def test_what_is_kept_is_bounded(server: Served, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "KEPT_BYTES", 2_000)
    made = [
        http.post("/rulesets", json={"name": str(at), "kind": "custom", "phase": "magic_transit"}).json()["result"]["id"]
        for at in range(40)
    ]
    for _ in range(2):
        for each in made:
            assert http.get(f"/rulesets/{each}").json()["result"]["id"] == each


def test_they_are_counted_by_their_routes(server: Served, http: httpx.Client) -> None:
    put(http, "ip.ttl == 1")
    http.get(ENTRY)
    http.get("/rulesets")
    metrics = httpx.get(f"{server.root}/metrics", headers=bearing(server.token("-", "read"))).text
    for path in ("/rulesets", "/rulesets/phases/{phase}/entrypoint"):
        name = f'{{method="GET",route="/client/v4/accounts/{{account_id}}{path}",status="200"}} 1'
        assert name in metrics
