"""kill -9 at every step of a change: the old rules or the new ones stand whole, and what comes next leaves nothing behind.

The change runs in a forked child whose sends, pins and writes are counted from outside; the child kills itself before the n-th."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rule_lab import RECEIVER, Wire

from bpf.maps import Map
from bpf.program import Program
from firewall import enforce, kernel, nft, pins, state
from firewall.generation import TABLE
from firewall.kernel import Kernel
from firewall.netlink import Netlink
from firewall.pins import Pins
from firewall.state import State

pytestmark = pytest.mark.kernel

STEPS: tuple[tuple[object, str], ...] = (
    (Netlink, "_send"),
    (nft, "_command"),
    (Program, "pin"),
    (kernel, "make_directory"),
    (pins.Pins, "remove"),
    (state, "_write"),
    (state, "_sync"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "unlink"),
    (Map, "pin"),
    (os, "rename"),
    (shutil, "rmtree"),
)
"""Everything by which a change leaves the process."""


@dataclass(slots=True)
class Rules:
    """A rule file that drops UDP payloads which begin with `letter`, and protects the receiver and `beside`."""

    letter: str
    beside: str

    def write(self, folder: Path) -> Path:
        path = folder / f"{self.letter}.rules"
        (folder / "many.txt").write_text("\n".join(f"192.0.{self.letter == 'b':d}.{at}" for at in range(1, 60, 2)) + "\n")
        path.write_text(
            f'tenant acme\nprotect {RECEIVER} {self.beside} 2001:db8::/32\nlist many = file "many.txt"\n'
            f'block "listed {self.letter}" when ip.src in $many\n'
            f'block "begins {self.letter}" when starts_with(udp.payload, "{self.letter}")\n'
            f'count "all" when udp\n'
            f'block "ends {self.letter}" when ends_with(udp.payload, "{self.letter}!")\n'
            + "".join(f'block "{side} ports" when udp.{side} in {{ {self._ports()} }}\n' for side in ("srcport", "dstport"))
            + f'block "elsewhere" when ip.dst == 198.51.100.1\nallow "rest" when ip.dst == {RECEIVER}\n'
        )
        return path

    def _ports(self) -> str:
        """Too many for a verdict map: a program looks them up, and counts."""
        return " ".join(str(port) for port in range(1 + (self.letter == "b"), 400, 2))


OLD, NEW = Rules("a", "10.9.0.8/30"), Rules("b", "10.9.0.4/30")


class Killed:
    """Wraps the steps in this process (a forked child): counts them, and dies before step number `last`."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last
        for owner, name in STEPS:
            setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            return step(*args, **kwargs)

        return counted


def fork(action: Callable[[], object], last: int | None) -> int | None:
    """Runs the action in a child that dies before step `last`. The number of steps it made, None where it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            steps = Killed(last)
            action()
            os.write(writer, str(steps.count).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:
        answer = told.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert answer.isdecimal(), answer
    return int(answer)


@dataclass(slots=True)
class Host:
    """A host under test, with its state directory and rule files."""

    wire: Wire
    store: State
    old: Path
    new: Path

    def run(self, action: Callable[[], object], last: int | None) -> int | None:
        return self.wire.receiver.call(fork, action, last)

    def call(self, action: Callable[[], object]) -> None:
        self.wire.receiver.call(action)

    def apply(self, path: Path) -> Callable[[], object]:
        return lambda: enforce.apply(path, state=self.store)

    def enforced(self) -> str:
        """Which rules the packets meet: `old`, `new` or `none`; anything else is a mixture."""
        arrived = b" ".join(self.wire.arrived(b"a1", b"b1", b"1a!", b"1b!"))
        return {b"b1 1b!": "old", b"a1 1a!": "new", b"a1 b1 1a! 1b!": "none"}.get(arrived, f"a mixture: {arrived!r}")

    def left(self) -> list[str]:
        """What stands in the kernel and on disk beyond what the enforced revision needs."""

        def listed() -> list[str]:
            with Netlink() as netlink:
                counters = [counter.name for counter in netlink.counters(TABLE) if not counter.uses]
                return [*netlink.chains(TABLE), *netlink.sets(TABLE), *counters]

        enforced = self.wire.at(Kernel.enforced)
        revision = enforced["acme"].revision if "acme" in enforced else None
        own = f"acme.r{revision}."
        base = ("prerouting.", own)
        names = [name for name in self.wire.receiver.call(listed) if revision is None or (name != "acme" and not name.startswith(base))]
        names += [f"pins of r{number}" for _, number in Pins.of(self.wire.receiver.inode).generations() if number != revision]
        if self.store.directory.exists():
            stored = [entry for entry in (self.store.directory / "acme").glob("*") if entry.suffix or not (entry / "enforced").exists()]
            names += map(str, stored)
        if revision is not None:
            assert self.store.revision("acme", revision).rules
        return names


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folders = tmp_path / "old", tmp_path / "new"
    for folder in folders:
        folder.mkdir()
    with Wire() as wire:
        yield Host(wire, State(tmp_path / "state"), OLD.write(folders[0]), NEW.write(folders[1]))


def drive(
    host: Host, before: Callable[[], object], change: Callable[[], object], results: tuple[str, str], mend: Callable[[], object]
) -> int:
    """Kills `change` before its every step, each time from `before` on. Afterwards one of the two `results` must stand; `mend` must
    leave no leftovers. Returns the number of steps."""
    host.call(before)
    steps = host.run(change, None)
    assert steps is not None
    assert steps > 10
    assert host.enforced() == results[1]
    assert host.left() == []
    seen = set()
    for last in range(steps):
        host.call(before)
        assert host.enforced() == results[0], f"before the change, step {last}"
        # One step more or fewer is no harm: folders may stand already.
        host.run(change, last)
        stands = host.enforced()
        assert stands in results, f"killed before step {last} of {steps}"
        seen.add(stands)
        host.call(mend)
        assert host.left() == [], f"killed before step {last} of {steps}"
    assert seen == set(results), "the change takes effect in the midst of its steps"
    return steps


def swept(host: Host) -> Callable[[], object]:
    return lambda: enforce.sweep(state=host.store)


def removed(host: Host) -> Callable[[], object]:
    def remove() -> None:
        enforce.sweep(state=host.store)
        if enforce.status(state=host.store):
            enforce.remove("acme", state=host.store)

    return remove


def test_a_swap(host: Host) -> None:
    drive(host, host.apply(host.old), host.apply(host.new), ("old", "new"), swept(host))


@pytest.mark.long
def test_a_swap_after_which_another_apply_follows(host: Host) -> None:
    """The next `apply` sweeps by itself."""
    drive(host, host.apply(host.old), host.apply(host.new), ("old", "new"), host.apply(host.old))


def test_what_programs_have_counted_is_counted_once(host: Host) -> None:
    change = host.apply(host.new)
    host.call(host.apply(host.old))
    steps = host.run(change, None)
    assert steps is not None
    judged = 0
    for last in range(steps):
        host.call(host.apply(host.old))
        host.run(change, last)
        host.enforced()
        judged += 3  # of the four packets two are blocked; the last that is sent is let through too
        assert host.wire.counts()["rest"] == judged, f"killed before step {last} of {steps}"
        host.call(swept(host))
        assert host.wire.counts()["rest"] == judged, f"swept after step {last} of {steps}"


def test_the_first_apply(host: Host) -> None:
    drive(host, removed(host), host.apply(host.new), ("none", "new"), swept(host))


@pytest.mark.long
def test_a_rollback(host: Host) -> None:
    def before() -> None:
        enforce.apply(host.new, state=host.store)
        enforce.apply(host.old, state=host.store)

    drive(host, before, lambda: enforce.rollback("acme", state=host.store), ("old", "new"), swept(host))


def test_a_removal(host: Host) -> None:
    drive(host, host.apply(host.old), lambda: enforce.remove("acme", state=host.store), ("old", "none"), swept(host))
