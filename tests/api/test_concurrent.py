"""Fifty clients write the same ruleset at once: no update is lost, versions have no gaps, and the kernel has the last one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from api_lab import ServedNode
from rule_lab import Wire

from api.documents import Ruleset, from_json, versions_key
from api.snapshots import Snapshots

pytestmark = pytest.mark.kernel

CLIENTS = 50


@contextmanager
def served(count: int) -> Iterator[list[ServedNode]]:
    """Nodes with one store, each with a kernel of its own."""
    with ExitStack() as opened:
        first = opened.enter_context(ServedNode(opened.enter_context(Wire())))
        made = [first]
        for number in range(1, count):
            made.append(opened.enter_context(ServedNode(opened.enter_context(Wire()), first.address, f"node{number + 1}")))
        yield made


def enforced(node: ServedNode) -> int | None:
    """The version number of what the kernel has of the tenant."""
    return {each.tenant: each.revision for each in node.kernel.status()}.get("acme")


def wait_for_the_kernel(node: ServedNode, seconds: float = 15.0) -> None:
    """Until the kernel is what the store says."""
    snapshot = Snapshots(node.store).read("acme")
    assert snapshot is not None
    end = time.monotonic() + seconds
    while enforced(node) != snapshot.version.number and time.monotonic() < end:
        time.sleep(0.05)
    assert enforced(node) == snapshot.version.number, node.log()
    assert set(node.kernel.counters("acme")) == {rule.name for rule in snapshot.text.rules}


@pytest.mark.parametrize(
    ("count", "writes"), [pytest.param(1, 1), pytest.param(1, 4, marks=pytest.mark.long), pytest.param(2, 2, marks=pytest.mark.long)]
)
def test_fifty_clients_write_the_same_ruleset(count: int, writes: int) -> None:
    """`writes` of each client, at `count` nodes."""
    with served(count) as nodes:
        fifty_clients_write(nodes, writes)


def fifty_clients_write(nodes: list[ServedNode], writes: int) -> None:
    first = nodes[0]
    first.tenant()
    tokens = [first.token() for _ in range(CLIENTS)]
    with httpx.Client(base_url=url(first), headers=bearing(tokens[0]), timeout=60) as http:
        ruleset = http.put("/rulesets/phases/magic_transit/entrypoint", json={"rules": []}).json()["result"]["id"]
    barrier = threading.Barrier(CLIENTS)

    def write(number: int) -> list[dict[str, Any]]:
        answers = []
        with httpx.Client(base_url=url(nodes[number % len(nodes)]), headers=bearing(tokens[number]), timeout=120) as http:
            barrier.wait()
            for at in range(writes):
                rule = {"action": "block", "expression": f"ip.src == 10.0.{number}.{at}", "ref": f"{number}-{at}"}
                answer = http.post(f"/rulesets/{ruleset}/rules", json=rule)
                assert answer.status_code == 200, answer.text
                answers.append(answer.json()["result"])
        return answers

    started = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = [answer for each in pool.map(write, range(CLIENTS)) for answer in each]
    seconds = time.monotonic() - started
    print(f"\n{len(answers)} writes of {CLIENTS} clients by {len(nodes)} nodes: {len(answers) / seconds:.1f} a second")

    total = CLIENTS * writes
    assert sorted(int(answer["version"]) for answer in answers) == list(range(2, total + 2))
    kept = [from_json(Ruleset, entry.value) for entry in first.store.list(versions_key("acme", ruleset)).entries]
    assert [int(each.version) for each in kept] == list(range(1, total + 2))
    assert {rule.ref for rule in kept[-1].rules} == {f"{number}-{at}" for number in range(CLIENTS) for at in range(writes)}
    for before, after in pairwise(kept):
        assert after.rules[:-1] == before.rules
    for node in nodes:
        wait_for_the_kernel(node)


def url(node: ServedNode) -> str:
    return f"http://127.0.0.1:{node.port}/client/v4/accounts/acme"


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
