"""An enforcer at the receiving end of a wire: in this process, or as a process of its own that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rule_lab import RECEIVER, Wire

from api.enforcer import messages
from api.enforcer.changes import Changes
from api.enforcer.client import EnforcerClient
from api.enforcer.compile import Bounds, Compiler
from api.enforcer.messages import Answer
from api.enforcer.replay import Replays
from api.enforcer.server import Most, Patience, Server
from api.policy_text import Condition, PolicyText, ProtectText, RuleText
from firewall import nft
from firewall.generation import TABLE
from firewall.namespace import Namespace
from firewall.netlink import Netlink
from firewall.pins import Pins
from firewall.state import State
from rules_dsl.policy import Action

ROOT = Path(__file__).parents[3]
HERE = ProtectText((RECEIVER,))
MANY = tuple(f"192.0.2.{number}" for number in range(1, 255, 2))


def rule(name: str, expression: str, action: Action = Action.BLOCK) -> RuleText:
    return RuleText(name, action, (Condition(expression),))


def begins(letter: str, tenant: str = "acme", protect: ProtectText = HERE) -> PolicyText:
    """Drops UDP payloads that begin with the letter; counts all UDP; has a list, so that there is a set with elements."""
    rules = (
        rule(f"begins {letter}", f'starts_with(udp.payload, "{letter}")'),
        rule("listed", "ip.src in $many"),
        rule("all", "udp.dstport == 4000", Action.COUNT),
    )
    return PolicyText(tenant, rules, {"many": MANY}, protect)


class Lab:
    """`client` asks; `wire` tells what becomes of packets. Compiles in this process. A context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        users: tuple[int, ...] = (0,),
        compiler: Compiler | None = None,
        patience: Patience | None = None,
        most: Most | None = None,
        lock_patience: float = 5.0,
        namespaces: int = 0,
    ) -> None:
        self.path = folder / "enforcer.sock"
        self._folder = folder
        self._users = users
        self._compiler = compiler or Compiler()
        self._patience = patience or Patience()
        self._most = most or Most()
        self._lock_patience = lock_patience
        self._namespaces = namespaces

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.wire = opened.enter_context(Wire())
            made = [opened.enter_context(Namespace()) for _ in range(self._namespaces)]
            changes = Changes(self._compiler, State(self._folder / "state"), patience=self._lock_patience)
            changes_started = self.wire.receiver.call(changes.start)
            assert changes_started is None
            server = Server(
                self.path, changes, self._compiler, self._users, replays=Replays(made), patience=self._patience, most=self._most
            )
            opened.enter_context(server)
            # Threads are in the namespace of the one that starts them.
            self.wire.receiver.call(threading.Thread(target=server.serve, daemon=True).start)
            self.client = opened.enter_context(EnforcerClient(self.path, timeout=60))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.close()

    @contextmanager
    def beside(self, folder: Path) -> Iterator[EnforcerClient]:
        """A client of another enforcer that is started now at the same host."""
        folder.mkdir()
        changes = Changes(self._compiler, State(self._folder / "state"))
        self.wire.receiver.call(changes.start)
        with Server(folder / "enforcer.sock", changes, self._compiler, self._users) as server:
            self.wire.receiver.call(threading.Thread(target=server.serve, daemon=True).start)
            with EnforcerClient(folder / "enforcer.sock") as client:
                yield client

    def nft(self, text: str) -> None:
        self.wire.receiver.call(nft.run, text)

    def passes(self) -> str:
        """Which first letters of UDP payloads pass."""
        return "".join(payload.decode() for payload in self.wire.arrived(b"a", b"b", b"c"))

    def left(self) -> list[str]:
        """See `left`; what a commit leaves is cleared away behind its answer."""
        eventually(lambda: left(self.wire) == [], 3.0)
        return left(self.wire)

    @contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            yield connection


def left(wire: Wire) -> list[str]:
    """Chains, sets, unused counters and pins of no enforced generation."""

    def listed() -> tuple[list[str], list[str]]:
        with Netlink() as netlink:
            unused = [each.name for each in netlink.counters(TABLE) if not each.uses]
            return [*netlink.chains(TABLE), *netlink.sets(TABLE)], unused

    names, unused = wire.receiver.call(listed)
    enforced = wire.at(lambda kernel: kernel.enforced())
    live = {f"{each.tenant}.r{each.revision}" for each in enforced.values()}
    strays = [name for name in names if ".r" in name and not any(name.startswith(f"{one}.") for one in live)]
    pins = [f"{tenant}.r{number}" for tenant, number in Pins.of(wire.receiver.inode).generations()]
    return [*strays, *unused, *(pin for pin in pins if pin not in live)]


def answer(connection: socket.socket, data: bytes) -> Answer | None:
    """What a frame of these bytes is answered with; None where the connection ends."""
    connection.sendall(struct.pack(">I", len(data)) + data)
    found = messages.receive(connection, messages.MAX_ANSWER)
    return None if found is None else messages.decode_answer(found)


class Process:
    """An enforcer as `mantlet serve --enforcer-only` starts it, in the receiver's namespace."""

    def __init__(self, wire: Wire, folder: Path, user: int = 61234) -> None:
        self.path = folder / "run" / "enforcer.sock"
        self._wire = wire
        self._folder = folder
        self._user = user

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "MANTLET_STATE_DIR": str(self._folder / "state")}
        command = [sys.executable, *(before or ("-m", "firewall")), "serve", "--enforcer-only", "--enforcer", str(self.path)]
        return self._wire.receiver.call(subprocess.Popen, [*command, "--user", str(self._user)], env=environment, cwd=ROOT)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0

    def client(self) -> EnforcerClient:
        return EnforcerClient(self.path, patience=20, timeout=60)


def open_for_others(folder: Path) -> None:
    """Another user may pass through pytest's folders to this one."""
    while not folder.stat().st_mode & 0o1001:
        folder.chmod(0o711)
        folder = folder.parent


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether the function's result comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


__all__ = ["HERE", "MANY", "Bounds", "Lab", "Process", "answer", "begins", "eventually", "left", "open_for_others", "rule"]
