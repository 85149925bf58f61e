"""The stream of events: what happens to an account's rules, from where one left off, for as long as the token counts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import httpx
import pytest
from api_server import UNBOUNDED, Served, served

from api.access.tokens import parts_of
from api.documents import Token, from_json, now, to_json, token_key
from api.settings import Settings
from api.store import Put

SETTINGS = Settings(requests=UNBOUNDED.requests, heartbeat_s=0.3, streams=2)


@pytest.fixture
def server() -> Iterator[Served]:
    with served(SETTINGS) as found:
        found.tenant("a", "203.0.113.0/24")
        found.tenant("b", "198.51.100.0/24")
        time.sleep(0.3)  # until the node has seen them
        yield found


@dataclass(frozen=True)
class Event:
    id: str
    kind: str
    data: dict[str, Any]


@contextmanager
def stream(http: httpx.Client, account: str = "a", last: str | None = None) -> Iterator[Iterator[Event | None]]:
    """Events as they come; None for a sign of life."""
    headers = {} if last is None else {"Last-Event-ID": last}
    with http.stream("GET", f"/accounts/{account}/events", headers=headers) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        lines = answer.iter_lines()
        assert next(lines).startswith(": paper/")
        assert next(lines) == ""
        yield _events(lines)


def _events(lines: Iterator[str]) -> Iterator[Event | None]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "id" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}
        else:
            yield None


def events(found: Iterator[Event | None]) -> Iterator[Event]:
    return (event for event in found if event is not None)


def write(http: httpx.Client, account: str, port: int) -> str:
    body = {"rules": [{"action": "block", "expression": f"udp.dstport == {port}"}]}
    answer = http.put(f"/accounts/{account}/rulesets/phases/magic_transit/entrypoint", json=body)
    assert answer.status_code == 200
    return str(answer.json()["result"]["id"])


def test_a_write_is_told_to_its_own_account(server: Served) -> None:
    token = server.token("a")
    with server.http(token) as http, server.http(server.token("b")) as other, stream(http) as found:
        write(other, "b", 1)
        ruleset = write(http, "a", 2)
        event = next(events(found))
    assert event.kind == "enforced"
    assert (event.data["account"], event.data["node"], event.data["object"], event.data["version"]) == ("a", "paper", ruleset, "1")
    assert event.data["author"] == f"token {parts_of(token)[0]}"


def test_a_stream_goes_on_where_it_was_left(server: Served) -> None:
    with server.http(server.token("a")) as http:
        with stream(http) as found:
            write(http, "a", 1)
            first = next(events(found))
        for port in (2, 3):
            write(http, "a", port)
        with stream(http, last=first.id) as found:
            versions = [event.data["version"] for event in islice(events(found), 2)]
        assert versions == ["2", "3"]
        with stream(http, last="paper/another run/7") as found:  # of which nothing is known: all that is kept
            kinds = [event.data.get("version") for event in islice(events(found), 4)]
        assert kinds[-3:] == ["1", "2", "3"]
        assert http.get("/accounts/a/events", headers={"Last-Event-ID": "7"}).status_code == 400


def test_drift_is_told_and_that_it_was_mended(server: Served) -> None:
    with server.http(server.token("a")) as http, stream(http) as found:
        server.paper.drifted = ("a",)
        told = events(found)
        assert [next(told).kind, next(told).kind] == ["drift", "enforced"]


def test_the_operator_sees_all_accounts(server: Served) -> None:
    with server.http(server.token("a")) as http, server.http(server.token("-", "read")) as operator, stream(operator, "-") as found:
        write(http, "a", 1)
        assert next(events(found)).data["account"] == "a"


def test_a_quiet_stream_gives_signs_of_life_and_ends_with_its_token(server: Served) -> None:
    text = server.token("a")
    with server.http(text) as http, stream(http) as found:
        assert [next(found), next(found)] == [None, None]
        entry = server.store.get(token_key(parts_of(text)[0]))
        assert entry is not None
        server.store.commit([Put(entry.key, to_json(replace(from_json(Token, entry.value), revoked=now())))])
        revoked = time.monotonic()
        assert all(event is None for event in found)
        assert time.monotonic() - revoked < 3


def test_streams_have_a_number_and_those_that_are_left_do_not_count(server: Served) -> None:
    with server.http(server.token("a")) as http:
        with stream(http), stream(http):
            assert http.get("/accounts/a/events").status_code == 429
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                with stream(http):
                    return
            except AssertionError:
                time.sleep(0.1)
    raise AssertionError("streams that nobody reads any more count")
