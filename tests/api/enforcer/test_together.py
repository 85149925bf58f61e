"""Many tenants' rules enforced together: all of them, all but those that are refused, and what a kill in the midst of it leaves."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from enforcer_lab import HERE, Lab, Process, begins, eventually, left, rule
from rule_lab import Wire

from api.enforcer.client import EnforcerUnavailable, Refused
from api.enforcer.messages import MOST_TOGETHER
from api.policy_text import PolicyText, ProtectText

pytestmark = pytest.mark.kernel


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as made:
        yield made


def tenants(letter: str, count: int = 20) -> list[PolicyText]:
    """The first protects the receiver."""
    return [begins(letter, f"t{at}", ProtectText((f"198.51.100.{at}",)) if at else HERE) for at in range(count)]


def test_all_are_enforced(lab: Lab) -> None:
    assert lab.client.enforce_all([(text, 7) for text in tenants("a")]) == {}
    assert {each.tenant: each.revision for each in lab.client.status()} == {f"t{at}": 7 for at in range(20)}
    assert lab.passes() == "bc"
    assert lab.client.enforce_all([(text, 8) for text in tenants("b")]) == {}
    assert lab.passes() == "ac"
    assert lab.left() == []
    assert lab.client.drift() == ()
    assert lab.client.counters("t0")["all"][0] > 0


def test_more_than_one_request_takes_are_enforced(lab: Lab) -> None:
    one = (rule("r", "udp"),)
    places = [(f"t{at}", f"198.51.{at >> 8}.{at & 255}") for at in range(MOST_TOGETHER + 5)]
    texts = [PolicyText(name, one, {}, ProtectText((address,))) for name, address in places]
    assert lab.client.enforce_all([(text, 1) for text in texts]) == {}
    assert len(lab.client.status()) == len(texts)


def test_those_that_are_refused_keep_none_of_the_others(lab: Lab) -> None:
    texts = tenants("a")
    texts[3] = replace(texts[3], rules=(rule("wrong", "udp.dstport =="),))
    texts[5] = replace(texts[5], protect=texts[6].protect)
    refused = lab.client.enforce_all([(text, 7) for text in texts])
    assert set(refused) == {"t3", "t6"}
    assert all(isinstance(error, Refused) for error in refused.values())
    assert "t5 protects it already" in str(refused["t6"])
    assert {each.tenant for each in lab.client.status()} == {f"t{at}" for at in range(20)} - {"t3", "t6"}
    assert lab.passes() == "bc"
    assert lab.left() == []
    assert lab.client.drift() == ()


def test_one_that_was_enforced_stays_where_its_new_rules_are_refused(lab: Lab) -> None:
    assert lab.client.enforce_all([(text, 7) for text in tenants("a")]) == {}
    wrong = replace(begins("b", "t0"), rules=(rule("wrong", "udp.dstport =="),))
    assert set(lab.client.enforce_all([(text, 8) for text in [wrong, *tenants("b")[1:]]])) == {"t0"}
    assert lab.passes() == "bc"
    assert {each.tenant: each.revision for each in lab.client.status()} == {f"t{at}": 8 if at else 7 for at in range(20)}


def test_a_tenant_twice_is_refused(lab: Lab) -> None:
    with pytest.raises(Refused, match="each once"):
        lab.client.enforce_all([(begins("a"), 1), (begins("b"), 1)])
    assert lab.client.status() == ()


@pytest.mark.parametrize("seconds", [0.1, 0.4, 0.7, 1.0, 1.3, 1.6])
def test_a_kill_leaves_the_old_or_the_new_of_each(tmp_path: Path, seconds: float) -> None:
    with Wire() as wire:
        host = Process(wire, tmp_path)
        enforcer = host.start()
        with host.client() as client:
            assert client.enforce_all([(text, 1) for text in tenants("a")]) == {}
            timer = threading.Timer(seconds, enforcer.send_signal, [signal.SIGKILL])
            timer.start()
            revision = 1
            end = time.monotonic() + 30
            with suppress(EnforcerUnavailable):
                while time.monotonic() < end:
                    revision += 1
                    client.enforce_all([(text, revision) for text in tenants("ab"[revision % 2])])
            timer.join()
            enforcer.wait()
        with host.running(), host.client() as client:
            found = {each.tenant: each.revision for each in client.status()}
            assert set(found) == {f"t{at}" for at in range(20)}
            assert set(found.values()) <= {revision - 1, revision}
            assert eventually(lambda: left(wire) == [])
            assert client.enforce_all([(text, revision + 1) for text in tenants("c")]) == {}
            assert wire.arrived(b"a", b"b", b"c") == [b"a", b"b"]
