"""kill -9 of the API or the enforcer at random points of a storm of writes: after the restart the kernel is what the store says, and
nothing that was acknowledged is lost."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from api_lab import ServedNode
from rule_lab import Wire
from test_concurrent import bearing, enforced, url, wait_for_the_kernel

from api.snapshots import Snapshots

pytestmark = pytest.mark.kernel

WRITERS = 6


@dataclass
class Writer:
    """Changes a rule of its own over and over: its expression counts."""

    number: int
    node: ServedNode
    token: str
    rule: str = ""
    """Where its rule is."""
    acknowledged: int = 0
    """The last count that is stored for certain."""
    attempted: int = 0
    answered: int = 0
    """Writes that were acknowledged."""
    unexpected: list[str] = field(default_factory=list)

    def expression(self, count: int) -> str:
        return f"ip.src == 10.{self.number}.{count >> 8}.{count & 255}"

    def write(self, begin: threading.Barrier, stop: threading.Event) -> None:
        with httpx.Client(base_url=url(self.node), headers=bearing(self.token), timeout=60) as http:
            begin.wait()
            while not stop.is_set():
                self.attempted += 1
                try:
                    answer = http.patch(self.rule, json={"expression": self.expression(self.attempted)})
                except httpx.TransportError:  # it was killed: whether it wrote is unknown
                    stop.wait(0.02)
                    continue
                if answer.status_code == 200:
                    self.acknowledged = self.attempted
                    self.answered += 1
                elif answer.status_code != 503:
                    self.unexpected.append(answer.text)


@contextmanager
def storm(writers: list[Writer]) -> Iterator[None]:
    """All of them write, until the end of the block."""
    stop, begin = threading.Event(), threading.Barrier(len(writers) + 1)
    threads = [threading.Thread(target=writer.write, args=(begin, stop)) for writer in writers]
    for thread in threads:
        thread.start()
    begin.wait()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check(node: ServedNode, writers: list[Writer]) -> None:
    """The kernel is as the store, and the store has what was acknowledged."""
    wait_for_the_kernel(node)
    end = time.monotonic() + 5
    while len(generations(node.wire)) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(generations(node.wire)) == 1
    snapshot = Snapshots(node.store).read("acme")
    assert snapshot is not None
    ((ruleset),) = snapshot.documents.rulesets.values()
    stored = {rule.ref: rule.expression for rule in ruleset.rules}
    for writer in writers:
        may_be = {writer.expression(count) for count in range(writer.acknowledged, writer.attempted + 1)}
        assert stored[f"writer {writer.number}"] in may_be
        assert not writer.unexpected
        writer.acknowledged = next(
            count
            for count in range(writer.acknowledged, writer.attempted + 1)
            if writer.expression(count) == stored[f"writer {writer.number}"]
        )


def generations(wire: Wire) -> set[str]:
    """Those of which something stands in the kernel."""
    return set(re.findall(r"chain acme\.(r[0-9]+)\.", wire.listing("nft list table inet mantlet")))


@pytest.mark.parametrize("kills", [pytest.param(5), pytest.param(100, marks=pytest.mark.long)])
def test_what_was_acknowledged_survives_a_kill_of_either_process(kills: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"\nseed {seed}")
    dice = random.Random(seed)
    with Wire() as wire, ServedNode(wire) as node:
        node.tenant()
        writers = [Writer(number, node, node.token()) for number in range(WRITERS)]
        with httpx.Client(base_url=url(node), headers=bearing(writers[0].token), timeout=60) as http:
            rules = [{"action": "block", "expression": writer.expression(0), "ref": f"writer {writer.number}"} for writer in writers]
            made = http.put("/rulesets/phases/magic_transit/entrypoint", json={"rules": rules}).json()["result"]
        for writer, rule in zip(writers, made["rules"], strict=True):
            writer.rule = f"/rulesets/{made['id']}/rules/{rule['id']}"
        for at in range(kills):
            kill_api = dice.random() < 0.5
            with storm(writers):
                time.sleep(dice.uniform(0.05, 0.8))
                if kill_api:
                    node.kill_api()
                else:
                    node.kill_enforcer()
                    node.start_enforcer()
            if kill_api:
                node.start_api()
                snapshot = Snapshots(node.store).read("acme")
                assert snapshot is not None
                assert enforced(node) == snapshot.version.number, f"kill {at}: the API listens before the kernel is what the store says"
            check(node, writers)
            if at % 10 == 9:
                print(f"{at + 1} kills, {sum(writer.answered for writer in writers)} writes", flush=True)
        assert wire.arrived(b"x") == [b"x"]
        written, attempted = (sum(getattr(writer, name) for writer in writers) for name in ("answered", "attempted"))
        print(f"{kills} kills, {written} of {attempted} writes were acknowledged")
        assert written > kills
