"""Who may do what: every route that the OpenAPI document has, without a token, with another tenant's, with too little scope."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from api_server import Served, served

from api.access.audit import newest
from api.access.rates import Ongoing, Rates
from api.access.tokens import hash_of, new_token, parts_of, verified
from api.documents import Token, from_json, now, to_json, token_key
from api.settings import Rate, Settings
from api.store import Put

ABSENT = "f" * 32


@dataclass(frozen=True)
class Things:
    """What a tenant has, by the names of the parameters of paths."""

    account: str
    ids: dict[str, str]


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    """With names of parameters, below the API's base."""
    body: Any

    def url(self, things: Things, **others: str) -> str:
        return self.path.format(**{"account_id": things.account, "phase": "magic_transit", "version": "1", **things.ids, **others})


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Served, Things, Things]]:
    """A server with the tenants a and b, each with a thing of each kind."""
    with served() as server:
        yield server, _with_things(server, "a", "203.0.113.0/24"), _with_things(server, "b", "198.51.100.0/24")


def _with_things(server: Served, name: str, prefix: str) -> Things:
    server.tenant(name, prefix)
    with server.http(server.token(name)) as http:
        entry = {"rules": [{"action": "block", "expression": "udp.dstport == 53"}]}
        ruleset = http.put(f"/accounts/{name}/rulesets/phases/magic_transit/entrypoint", json=entry).json()["result"]
        made = http.post(f"/accounts/{name}/rules/lists", json={"name": "mine", "kind": "ip"}).json()["result"]
        items = f"/accounts/{name}/rules/lists/{made['id']}/items"
        operation = http.post(items, json=[{"ip": "192.0.2.1"}]).json()["result"]["operation_id"]
        (item,) = http.get(items).json()["result"]
    ids = {"ruleset_id": ruleset["id"], "rule_id": ruleset["rules"][0]["id"], "list_id": made["id"], "item_id": item["id"]}
    return Things(name, ids | {"operation_id": operation, "pcap_id": ABSENT})


@pytest.fixture(scope="module")
def routes(two: tuple[Served, Things, Things]) -> list[Route]:
    """All below the API's base, with a body where one is needed for a right request."""
    document = httpx.get(f"{two[0].root}/openapi.json").json()
    found = [
        Route(method.upper(), path.removeprefix("/client/v4"), _body(path, method))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/client/v4")
    ]
    assert len(found) > 35
    return found


def _body(path: str, method: str) -> Any:
    if method in ("get", "head") or path.endswith("/stop"):
        return None
    match path.rpartition("}")[2]:
        case "/rulesets":
            return {"name": "n", "kind": "custom", "phase": "magic_transit"}
        case "/rules":
            return {"action": "block", "expression": "ip"}
        case "/rules/lists":
            return {"name": "other", "kind": "ip"}
        case "/items":
            return {"items": [{"id": ABSENT}]} if method == "delete" else [{"ip": "192.0.2.9"}]
        case "/pcaps":
            return {"system": "magic-transit", "type": "simple", "time_limit": 1, "packet_limit": 1}
        case "/test":
            return {"packets": [{"data": "45"}]}
        case _:
            return {}


def _sent(http: httpx.Client, route: Route, url: str) -> httpx.Response:
    return http.request(route.method, url, json=route.body) if route.body is not None else http.request(route.method, url)


def test_without_a_token_there_is_one_answer_to_everything(two: tuple[Served, Things, Things], routes: list[Route]) -> None:
    server, a, _ = two
    answers = set()
    _, forged = new_token("a", "admin")
    wrong = forged.replace(parts_of(forged)[0], parts_of(server.token("a"))[0])
    for bearer in (None, "nonsense", forged, wrong):
        with server.http(bearer) as http:
            for route in routes:
                answer = _sent(http, route, route.url(a))
                answers.add((answer.status_code, answer.text, answer.headers["www-authenticate"]))
    ((status, body, scheme),) = answers
    assert (status, scheme) == (401, "Bearer")
    assert '"code":10000' in body


def test_another_tenants_ids_are_as_if_they_were_not_there(two: tuple[Served, Things, Things], routes: list[Route]) -> None:
    server, a, b = two
    before = _belonging_to(b, server)
    with server.http(server.token("a", "admin")) as http:
        for route in routes:
            if "account_id" not in route.path:
                continue
            theirs = _sent(http, route, route.url(b))
            nobodys = _sent(http, route, route.url(b, account_id="nobody", **dict.fromkeys(b.ids, ABSENT)))
            assert (theirs.status_code, theirs.text) == (404, nobodys.text), route
            within = {name for name in b.ids if f"{{{name}}}" in route.path}
            for name in within:  # each of b's ids in the account of a
                mine = _sent(http, route, route.url(a, **{name: b.ids[name]}))
                absent = _sent(http, route, route.url(a, **{name: ABSENT}))
                assert (mine.status_code, mine.text) == (404, absent.text), (route, name)
    assert before
    assert before == _belonging_to(b, server)


def _belonging_to(tenant: Things, server: Served) -> dict[str, bytes]:
    return {entry.key: entry.value for entry in server.store.list("").entries if tenant.account in entry.key.split("/")}


def test_a_missing_and_another_tenants_account_take_the_same_time(two: tuple[Served, Things, Things]) -> None:
    server, _, b = two
    taken: dict[str, list[float]] = {b.account: [], "nobody": []}
    with server.http(server.token("a")) as http:
        for _ in range(300):
            for account, times in taken.items():
                started = time.perf_counter()
                http.get(f"/accounts/{account}/rulesets/{b.ids['ruleset_id']}")
                times.append(time.perf_counter() - started)
    theirs, nobodys = (statistics.median(times) for times in taken.values())
    assert 0.7 < theirs / nobodys < 1.4


def test_reading_writes_nothing(two: tuple[Served, Things, Things], routes: list[Route]) -> None:
    server, a, _ = two
    with server.http(server.token("a", "read")) as http:
        for route in routes:
            if route.method == "GET" or "account_id" not in route.path or route.path.endswith(("/replay", "/test")):
                continue
            answer = _sent(http, route, route.url(a))
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, 9109), route


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("write", 403), ("admin", 200)])
def test_only_admins_see_who_changed_what(two: tuple[Served, Things, Things], scope: Any, status: int) -> None:
    server = two[0]
    with server.http(server.token("a", scope)) as http:
        assert http.get("/accounts/a/audit").status_code == status


def test_nodes_are_the_operators_to_see(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    with server.http(server.token("a", "admin")) as tenant, server.http(server.token("-", "read")) as operator:
        assert tenant.get("/nodes").text == tenant.get("/no/such/route").text
        (node,) = operator.get("/nodes").json()["result"]
    assert (node["name"], node["this"], node["lagging"]) == ("paper", True, [])


def test_the_operator_reaches_all_accounts_there_are(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    with server.http(server.token("-", "read")) as http:
        assert [http.get(f"/accounts/{account}/rulesets").status_code for account in ("a", "b", "-", "nobody", "%2e%2e")] == [200] * 3 + [
            404
        ] * 2


def test_a_revoked_token_is_refused_from_then_on(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    text = server.token("a")
    with server.http(text) as http:
        assert http.get("/accounts/a/rulesets").status_code == 200
        entry = server.store.get(token_key(parts_of(text)[0]))
        assert entry is not None
        token = from_json(Token, entry.value)
        for changed in ({"revoked": now()}, {"expires": now()}):
            fields = {name: getattr(token, name) for name in Token.__slots__} | changed
            server.store.commit([Put(entry.key, to_json(Token(**fields)))])
            assert http.get("/accounts/a/rulesets").status_code == 401


def test_a_token_is_stored_as_a_hash_alone(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    text = server.token("a")
    token_id, secret = parts_of(text)
    assert len(secret) == 43  # 256 bits in base64
    assert not any(secret.encode() in entry.value for entry in server.store.list("").entries)
    assert hash_of(token_id, secret) != hash_of("0" * 16, secret)
    assert verified(server.store, text) is not None
    assert [verified(server.store, wrong) for wrong in ("", text[:-1], text + "A", text.upper(), "mantlet_" + "0" * 16 + "_")] == [None] * 5


def test_a_write_leaves_a_record(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    text = server.token("a", "admin")
    with server.http(text) as http:
        for port in (1, 2):
            body = {"rules": [{"action": "block", "expression": f"udp.dstport == {port}"}]}
            made = http.put("/accounts/a/rulesets/phases/magic_transit_managed/entrypoint", json=body).json()["result"]
        http.put("/accounts/a/rulesets/phases/magic_transit_managed/entrypoint?dry_run=true", json=body)
        last = http.get("/accounts/a/audit").json()["result"][-1]
    assert last["author"] == f"token {parts_of(text)[0]}"
    assert (last["tenant"], last["object"], last["before"], last["after"]) == ("a", made["id"], "1", "2")
    assert last["address"] == "127.0.0.1"
    assert newest(server.store, "a", 1)[0].id == last["id"]


# -- sizes and rates ---------------------------------------------------------------------------------------------------


def test_a_body_that_is_too_large_is_not_read() -> None:
    with served(Settings(body_limit=1_000, capture_limit=2_000)) as server:
        server.tenant("a", "203.0.113.0/24")
        with server.http(server.token("a")) as http:
            path = "/accounts/a/rulesets"
            answers = [
                http.post(path, content=b" " * 1_001),
                http.post(path, content=iter([b" " * 500] * 3)),
                http.post("/accounts/a/replay", content=b" " * 2_001),
            ]
            assert [(answer.status_code, answer.json()["errors"][0]["code"]) for answer in answers] == [(413, 10413)] * 3
            assert http.post("/accounts/a/replay?engine=reference", content=b" " * 1_500).status_code == 400
        with server.http(None) as http:  # whoever has no token sends no body
            assert http.post(path, content=b" " * 1_001).status_code == 401


def test_too_many_requests_of_one_token_leave_the_others_alone() -> None:
    with served(Settings(requests=Rate(0.5, 5))) as server:
        server.tenant("a", "203.0.113.0/24")
        with server.http(server.token("a")) as http, server.http(server.token("a")) as other:
            answers = [http.get("/accounts/a/rulesets") for _ in range(7)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
            assert answers[-1].headers["retry-after"] == "2"
            assert other.get("/accounts/a/rulesets").status_code == 200


def test_guessing_is_slowed_down_and_holds_up_nobody_with_a_token() -> None:
    with served(Settings(failures=Rate(0.1, 3))) as server:
        server.tenant("a", "203.0.113.0/24")
        with server.http("mantlet_0") as guessing, server.http(server.token("a")) as http:
            assert [guessing.get("/accounts/a/rulesets").status_code for _ in range(5)] == [401] * 3 + [429] * 2
            assert http.get("/accounts/a/rulesets").status_code == 200


def test_a_bucket_fills_again_and_there_are_only_so_many() -> None:
    at = 0.0
    rates = Rates(Rate(2, 2), keys=2, clock=lambda: at)
    assert [rates.wait("a") for _ in range(3)] == [0, 0, 0.5]
    at = 0.5
    assert [rates.wait("a") for _ in range(2)] == [0, 0.5]
    assert [rates.wait(key) for key in ("b", "c", "a")] == [0, 0, 0]  # a was forgotten


def test_one_tenant_has_only_so_much_under_way_at_a_time() -> None:
    ongoing = Ongoing(2)
    with ongoing.one("a") as first, ongoing.one("a") as second, ongoing.one("a") as third, ongoing.one("b") as other:
        assert (first, second, third, other) == (True, True, False, True)
    with ongoing.one("a") as again:
        assert again
    with served(Settings(replays=0)) as server:
        server.tenant("a", "203.0.113.0/24")
        with server.http(server.token("a")) as http:
            assert http.post("/accounts/a/replay", content=b"").status_code == 429
            assert http.get("/accounts/a/rulesets").status_code == 200


# -- what is answered without a token ----------------------------------------------------------------------------------


def test_health_needs_no_token_and_measurements_do(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    assert httpx.get(f"{server.root}/healthz").text == "ok\n"
    assert httpx.get(f"{server.root}/readyz").text == "ok\n"
    assert httpx.get(f"{server.root}/metrics").status_code == 401
    statuses = [
        httpx.get(f"{server.root}/metrics", headers={"Authorization": f"Bearer {token}"}).status_code
        for token in (server.token("a", "admin"), server.token("-", "read"))
    ]
    assert statuses == [404, 200]


def test_measurements_may_be_open_to_loopback() -> None:
    with served(Settings(open_metrics=True)) as server:
        server.tenant("a", "203.0.113.0/24")
        with server.http(server.token("a")) as http:
            body = {"rules": [{"action": "block", "expression": "udp.dstport == 53"}]}
            rule = http.put("/accounts/a/rulesets/phases/magic_transit/entrypoint", json=body).json()["result"]["rules"][0]["id"]
        route = "/client/v4/accounts/{account_id}/rulesets/phases/{phase}/entrypoint"
        wanted = {
            f'mantlet_requests_total{{method="PUT",route="{route}",status="200"}} 1',
            f'mantlet_request_seconds_count{{method="PUT",route="{route}"}} 1',
            'mantlet_lagging_tenants{node="paper"} 0',  # once the node has told
            f'mantlet_rule_packets_total{{tenant="a",rule="{rule}"}} 1',
            f'mantlet_rule_bytes_total{{tenant="a",rule="{rule}"}} 100',
        }
        told: set[str] = set()
        until = time.monotonic() + 10
        while not wanted <= told and time.monotonic() < until:
            told = {*httpx.get(f"{server.root}/metrics").text.splitlines()}
        assert wanted <= told
        # the tenant and its ruleset may be enforced in one go
        assert told & {f'mantlet_events_total{{tenant="a",kind="enforced"}} {times}' for times in (1, 2)}


def test_a_node_without_its_enforcer_is_alive_and_not_ready() -> None:
    with served() as server:
        server.tenant("a", "203.0.113.0/24")
        server.paper.away = True
        assert httpx.get(f"{server.root}/healthz").status_code == 200
        answer = httpx.get(f"{server.root}/readyz")
        assert (answer.status_code, answer.text) == (503, "the enforcer does not answer\n")
        with server.http(server.token("a")) as http:
            body = {"rules": [{"action": "block", "expression": "udp.dstport == 53"}]}
            answer = http.put("/accounts/a/rulesets/phases/magic_transit/entrypoint", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (503, 10503)
            assert "retry-after" in answer.headers


def test_what_an_error_means_can_be_read(two: tuple[Served, Things, Things]) -> None:
    server = two[0]
    with server.http(server.token("a")) as http:
        body = {"rules": [{"action": "block", "expression": "ip"}, {"action": "block", "expression": "udp.dstprt == 53"}]}
        answer = http.put("/accounts/a/rulesets/phases/magic_transit/entrypoint", json=body)
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["source"]) == (400, {"pointer": "/rules/1/expression"})
    assert error["diagnostic"]["message"] in error["message"]
    assert (error["diagnostic"]["start"], error["diagnostic"]["end"]) == (0, len("udp.dstprt"))
    assert httpx.get(server.root + error["documentation_url"]).text.startswith(error["diagnostic"]["code"])
    assert httpx.get(f"{server.root}/errors/E9999").status_code == 404
