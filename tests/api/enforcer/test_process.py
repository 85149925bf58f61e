"""The enforcer as a process of its own: what it may do, and what its death at any moment leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from enforcer_lab import HERE, Process, begins, eventually, left, rule
from rule_lab import Wire

from api.enforcer.changes import Changes
from api.enforcer.client import EnforcerClient, EnforcerUnavailable
from api.enforcer.compile import Compiler
from api.enforcer.server import Server
from api.policy_text import PolicyText
from api.privileges import ENFORCER
from bpf.program import Program
from firewall import kernel, nft, pins
from firewall.netlink import Netlink
from firewall.state import State

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[3]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


def status_of(pid: int, thread: int | None = None) -> dict[str, str]:
    path = Path(f"/proc/{pid}/task/{thread or pid}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in path.read_text().splitlines())}


def capabilities(bits: str) -> set[int]:
    return {number for number in range(64) if int(bits, 16) >> number & 1}


def test_every_thread_of_the_enforcer_has_only_what_it_needs(wire: Wire, tmp_path: Path) -> None:
    process = Process(wire, tmp_path)
    with process.running() as running, process.client() as client:
        client.enforce(begins("a"), 1)
        kept = {int(each) for each in ENFORCER}
        assert kept == {12, 13, 38, 39}
        for thread in os.listdir(f"/proc/{running.pid}/task"):
            status = status_of(running.pid, int(thread))
            assert capabilities(status["CapEff"]) == capabilities(status["CapPrm"]) == capabilities(status["CapBnd"]) == kept
            assert (status["CapInh"], status["CapAmb"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
        assert process.path.stat().st_mode & 0o777 == 0o660
        assert process.path.stat().st_gid == 61234
    assert not process.path.exists()


def test_with_its_few_capabilities_it_does_all_that_it_is_asked(wire: Wire, tmp_path: Path) -> None:
    process = Process(wire, tmp_path)
    capture = (ROOT / "examples" / "dns-resolver.pcap").read_bytes()
    text = PolicyText("acme", (*begins("a").rules, rule("http", 'http.host matches r"(?i)example$"')), begins("a").lists, HERE)
    with process.running(), process.client() as client:
        client.check(text)
        client.enforce(text, 1)
        assert wire.arrived(b"a", b"b") == [b"b"]
        assert client.counters("acme")["begins a"][0] == 1
        assert client.drift() == ()
        with client.capture("acme", HERE, 'udp.payload contains "a"', 1, 5.0, 1 << 20) as packets:
            wire.arrived(b"a")
            assert len(list(packets)) == 1
        assert client.replay(text, capture, "both")
        client.remove("acme")
    assert left(wire) == []


def test_the_end_of_the_enforcer_is_not_that_of_its_rules(wire: Wire, tmp_path: Path) -> None:
    process = Process(wire, tmp_path)
    with process.running(), process.client() as client:
        client.enforce(begins("a"), 4)
    assert wire.arrived(b"a", b"b") == [b"b"]
    with process.running(), process.client() as client:
        assert [(each.tenant, each.revision) for each in client.status()] == [("acme", 4)]


STEPS: tuple[tuple[object, str], ...] = (
    (Netlink, "transact"),
    (nft, "_command"),
    (Program, "pin"),
    (kernel, "make_directory"),
    (pins.Pins, "remove"),
)
"""By which the enforcer changes the kernel."""


class Dying:
    """A forked enforcer, which counts its steps once `begin` is there and dies before number `last`."""

    def __init__(self, wire: Wire, folder: Path, last: int | None) -> None:
        self.path, self.begin, self.counted = folder / "enforcer.sock", folder / "begin", folder / "counted"
        self.begin.unlink(missing_ok=True)
        self._done = 0
        self._last = last
        self.pid = wire.receiver.call(self._fork, folder)

    def _fork(self, folder: Path) -> int:
        if child := os.fork():
            return child
        try:
            for owner, name in STEPS:
                setattr(owner, name, self._wrapped(getattr(owner, name)))
            changes = Changes(Compiler(), State(folder / "state"))
            changes.start()
            Server(self.path, changes, Compiler(), (0,)).serve()
        finally:
            os._exit(1)

    def _wrapped(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if self.begin.exists():
                if self._done == self._last:
                    os.kill(os.getpid(), signal.SIGKILL)
                self._done += 1
                self.counted.write_text(str(self._done))
            return step(*args, **kwargs)

        return called

    def change(self) -> None:
        """From `begins("a")` to `begins("b")`, or as far as the enforcer lives."""
        with EnforcerClient(self.path, patience=10) as client:
            client.enforce(begins("a"), 1)
            client.status()  # on the same connection: behind what the commit left to clear away
            self.begin.touch()
            try:
                client.enforce(begins("b"), 2)
                client.status()
            except EnforcerUnavailable:
                assert self._last is not None

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def test_killed_between_any_two_steps_it_leaves_the_old_rules_or_the_new(wire: Wire, tmp_path: Path) -> None:
    """And the next enforcer clears away the rest."""
    whole = Dying(wire, tmp_path, None)
    whole.change()
    whole.end()
    steps = int(whole.counted.read_text())
    assert steps > 5
    seen = set()
    for step in range(steps):
        dying = Dying(wire, tmp_path, step)
        dying.change()
        dying.end()
        passed = b"".join(wire.arrived(b"a", b"b")).decode()
        assert passed in ("b", "a"), f"killed before step {step} of {steps}"
        seen.add(passed)
        following = Dying(wire, tmp_path, None)
        with EnforcerClient(following.path, patience=10) as client:
            assert [each.revision for each in client.status()] == [1 if passed == "b" else 2]
            assert left(wire) == [], f"killed before step {step} of {steps}"
            client.remove("acme")
        following.end()
    assert seen == {"a", "b"}


def test_what_the_environment_lacks_is_told_before_anything_is_done(tmp_path: Path) -> None:
    environment = {**os.environ, "MANTLET_STATE_DIR": str(tmp_path), "MANTLET_BPFFS": str(tmp_path)}
    command = [sys.executable, "-m", "firewall", "serve", "--enforcer-only", "--enforcer", str(tmp_path / "s"), "--user", "61234"]
    found = subprocess.run(command, check=False, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert found.returncode == 3
    assert "bpffs" in found.stderr
    assert "Traceback" not in found.stderr


def test_an_enforcer_that_was_killed_is_replaced_at_its_socket(wire: Wire, tmp_path: Path) -> None:
    process = Process(wire, tmp_path)
    first = process.start()
    with process.client() as client:
        client.enforce(begins("a"), 1)
        first.kill()
        first.wait()
        assert process.path.exists()
        with process.running():
            assert eventually(lambda: [each.revision for each in client.status()] == [1])
            assert client.drift() == ("acme",)
