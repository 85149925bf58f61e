"""A fleet: nodes with a kernel each, on one etcd of three servers. What one accepted all enforce; servers of etcd and nodes that die, hang
and come back lose nothing that was acknowledged, and every node ends at the last version."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from api_lab import ServedNode
from etcd_cluster import Cluster
from rule_lab import Wire
from test_concurrent import bearing, enforced, url, wait_for_the_kernel
from test_kill_storm import Writer, storm

from api.documents import OPERATOR
from api.rulesets import entry_point
from api.snapshots import Snapshots

pytestmark = pytest.mark.kernel

SECONDS = 40.0
"""Within which a node is where the others are: a server of etcd that is silent is left after a while."""
COMPACTED = "the store's history begins after revision"
"""What a node says that met a compaction."""


@dataclass
class Fleet:
    cluster: Cluster
    nodes: list[ServedNode]
    operator: str
    """An operator's token."""

    def add(self, opened: ExitStack) -> ServedNode:
        """One more node."""
        name = f"node{len(self.nodes) + 1}"
        node = ServedNode(opened.enter_context(Wire()), self.cluster.address("fleet", timeout=10), name)
        self.nodes.append(opened.enter_context(node))
        return node

    def writers(self, number: int) -> list[Writer]:
        """Each with a rule of its own, at the nodes in turn."""
        made = [Writer(at, node := self.nodes[at % len(self.nodes)], node.token()) for at in range(number)]
        rules = [{"action": "block", "expression": each.expression(0), "ref": f"writer {each.number}"} for each in made]
        with httpx.Client(base_url=url(self.nodes[0]), headers=bearing(made[0].token), timeout=60) as http:
            ruleset = http.put("/rulesets/phases/magic_transit/entrypoint", json={"rules": rules}).json()["result"]
        for writer, rule in zip(made, ruleset["rules"], strict=True):
            writer.rule = f"/rulesets/{ruleset['id']}/rules/{rule['id']}"
        return made

    def check(self, writers: list[Writer], nodes: list[ServedNode] | None = None) -> None:
        """Every kernel is at the last version, and that has what was acknowledged."""
        for node in nodes or self.nodes:
            wait_for_the_kernel(node, SECONDS)
        snapshot = Snapshots(self.nodes[0].store).read("acme")
        assert snapshot is not None
        ruleset = entry_point(snapshot.documents, "magic_transit")
        assert ruleset is not None
        stored = {rule.ref: rule.expression for rule in ruleset.rules}
        for writer in writers:
            assert not writer.unexpected
            attempts = range(writer.acknowledged, writer.attempted + 1)
            found = [count for count in attempts if writer.expression(count) == stored[f"writer {writer.number}"]]
            assert found, f"writer {writer.number}: {stored}, of {attempts}"
            writer.acknowledged = found[-1]

    def block(self, node: ServedNode, *letters: str) -> None:
        """A rule for each letter that a packet begins with, in another phase than the writers' rules."""
        rules = [{"action": "block", "expression": f'udp.dstport == 4000 and starts_with(udp.payload, "{letter}")'} for letter in letters]
        with httpx.Client(base_url=url(node), headers=bearing(node.token()), timeout=60) as http:
            answer = http.put("/rulesets/phases/magic_transit_managed/entrypoint", json={"rules": rules})
            assert answer.status_code == 200, answer.text

    def lagging(self, at: ServedNode) -> dict[str, list[str]]:
        """By living node the tenants that it lags behind with, as the API tells the operator."""
        nodes = httpx.get(f"http://127.0.0.1:{at.port}/client/v4/nodes", headers=bearing(self.operator), timeout=60).json()["result"]
        assert [each["name"] for each in nodes if each["this"]] == [at.name]
        return {each["name"]: each["lagging"] for each in nodes}

    def agree(self) -> None:
        """All nodes live, are as far as the store, and none lags, whoever is asked."""
        calm = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            end = time.monotonic() + SECONDS
            while (found := self.lagging(node)) != calm and time.monotonic() < end:
                time.sleep(0.1)
            assert found == calm

    def compact(self) -> None:
        """Takes away all history, as etcd's own compaction does later."""
        store = self.nodes[0].store
        store.compact(store.revision())


@contextmanager
def fleet_of(number: int, folder: Path, opened: ExitStack) -> Iterator[Fleet]:
    cluster = opened.enter_context(Cluster.make(folder, 3))
    cluster.leader()
    made = Fleet(cluster, [], "")
    for _ in range(number):
        made.add(opened)
    made.nodes[0].tenant()
    made.operator = made.nodes[0].token(OPERATOR, "read")
    yield made


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def fleet(opened: ExitStack, tmp_path: Path) -> Iterator[Fleet]:
    """Two nodes."""
    with fleet_of(2, tmp_path, opened) as made:
        yield made


@pytest.fixture
def large(opened: ExitStack, tmp_path: Path) -> Iterator[Fleet]:
    """Three nodes."""
    with fleet_of(3, tmp_path, opened) as made:
        yield made


def arrive(node: ServedNode) -> str:
    return b"".join(node.wire.arrived(b"a", b"b", b"c")).decode()


def eventually_arrive(node: ServedNode, wanted: str) -> None:
    end = time.monotonic() + SECONDS
    while (found := arrive(node)) != wanted and time.monotonic() < end:
        time.sleep(0.1)
    assert found == wanted


def test_what_one_accepted_meets_packets_at_all_and_outlives_an_etcd_server(fleet: Fleet) -> None:
    first, second = fleet.nodes
    fleet.block(first, "a")
    assert arrive(first) == "bc"
    eventually_arrive(second, "bc")
    fleet.block(second, "a", "b")
    assert arrive(second) == "c"
    eventually_arrive(first, "c")
    writers = fleet.writers(4)
    server = fleet.cluster.servers[0]  # which both nodes speak to: all watches break
    with storm(writers):
        time.sleep(0.5)
        server.kill()
        time.sleep(3)
        server.start()
        time.sleep(0.5)
    fleet.check(writers)
    assert all(writer.answered for writer in writers)
    fleet.agree()
    assert [arrive(node) for node in fleet.nodes] == ["c", "c"]


def test_a_node_that_was_killed_meanwhile_catches_up_past_compaction_before_it_listens(fleet: Fleet) -> None:
    first, away = fleet.nodes
    fleet.block(first, "a")
    eventually_arrive(away, "bc")
    away.kill_api()
    away.kill_enforcer()
    for letter in "abc":
        fleet.block(first, letter)
    fleet.compact()
    assert arrive(away) == "bc"  # as it was: the kernel needs no process
    away.start_enforcer()
    away.start_api()
    assert arrive(away) == "ab"
    fleet.agree()


def test_a_node_that_was_stopped_lags_as_the_others_say_and_resumes_past_compaction(fleet: Fleet) -> None:
    stopped_past_compaction(fleet, 1)


def stopped_past_compaction(fleet: Fleet, at: int) -> None:
    """The node is stopped (SIGSTOP), its watch broken, and the history that it needs is gone when it goes on."""
    first, stopped = fleet.nodes[0], fleet.nodes[at]
    fleet.block(first, "c")
    eventually_arrive(stopped, "ab")
    said = stopped.log().count(COMPACTED)
    assert stopped.api is not None
    stopped.api.send_signal(signal.SIGSTOP)
    try:
        fleet.block(first, "b")
        assert fleet.lagging(first)[stopped.name] == ["acme"]
        for server in fleet.cluster.servers:  # wherever its watch is
            server.kill()
            server.start()
            fleet.cluster.leader()
        fleet.block(first, "a")
        fleet.compact()
        assert (arrive(first), arrive(stopped)) == ("bc", "ab")
    finally:
        stopped.api.send_signal(signal.SIGCONT)
    eventually_arrive(stopped, "bc")
    end = time.monotonic() + SECONDS
    while stopped.log().count(COMPACTED) == said and time.monotonic() < end:
        time.sleep(0.1)
    assert stopped.log().count(COMPACTED) > said
    fleet.agree()
    fleet.block(first, "c")  # and what comes after it
    eventually_arrive(stopped, "ab")


# -- the long form ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_storm_of_writes_at_three_nodes_while_servers_and_nodes_die(large: Fleet) -> None:
    """Each round the writers write at all nodes, and one of these happens: a server of etcd (the leader, or any) is killed and comes back;
    a node is killed with SIGKILL, and history compacted while it is away; the enforcer alone is."""
    seed = random.randrange(1 << 32)
    print(f"\nseed {seed}")
    dice = random.Random(seed)
    writers = large.writers(6)
    large.agree()
    for at in range(24):
        what = ("leader", "server", "node", "enforcer")[at % 4]
        node = dice.choice(large.nodes)
        server = dice.choice(large.cluster.servers)
        with storm(writers):
            time.sleep(dice.uniform(0.1, 0.6))
            match what:
                case "leader" | "server":
                    gone = large.cluster.leader() if what == "leader" else server
                    gone.kill()
                    time.sleep(dice.uniform(0.2, 4))
                    gone.start()
                case "node":
                    node.kill_api()
                    node.kill_enforcer()
                    time.sleep(dice.uniform(0.2, 2))
                    large.compact()
                    node.start_enforcer()
                    node.start_api()
                    assert enforced(node) is not None
                case _:
                    node.kill_enforcer()
                    time.sleep(dice.uniform(0, 1))
                    node.start_enforcer()
            time.sleep(dice.uniform(0.5, 1.5))
        large.cluster.leader()
        large.check(writers)
        print(f"{at + 1}: {what}, {sum(writer.answered for writer in writers)} writes are acknowledged", flush=True)
    large.agree()
    written = sum(writer.answered for writer in writers)
    print(f"{written} of {sum(writer.attempted for writer in writers)} writes were acknowledged, and are stored")
    assert written > 200


@pytest.mark.long
def test_nodes_that_are_stopped_again_and_again(large: Fleet) -> None:
    for at in (1, 2, 1, 2):
        stopped_past_compaction(large, at)


@pytest.mark.long
def test_a_node_that_joins_and_one_that_leaves(large: Fleet, opened: ExitStack) -> None:
    large.block(large.nodes[0], "a")
    new = large.add(opened)
    assert arrive(new) == "bc"
    large.agree()
    gone = large.nodes.pop()
    gone.kill_api()
    end = time.monotonic() + SECONDS
    while gone.name in large.lagging(large.nodes[0]) and time.monotonic() < end:
        time.sleep(0.5)
    large.agree()


@pytest.mark.long
def test_without_a_majority_nothing_is_acknowledged_and_packets_meet_what_was(large: Fleet) -> None:
    first = large.nodes[0]
    large.block(first, "a")
    for node in large.nodes:
        eventually_arrive(node, "bc")
    token = first.token()
    for server in large.cluster.servers[:2]:
        server.kill()
    answer = httpx.delete(url(first) + "/rulesets/0", headers=bearing(token), timeout=60)
    assert answer.status_code == 503
    assert [arrive(node) for node in large.nodes] == ["bc"] * 3
    for server in large.cluster.servers[:2]:
        server.start()
    large.cluster.leader()
    large.block(first, "b")
    for node in large.nodes:
        eventually_arrive(node, "ac")
    large.agree()
