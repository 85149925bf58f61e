"""`mantlet serve`: two processes with the privileges they need, each replaced when it dies, and ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from enforcer_lab import ROOT, eventually, open_for_others
from rule_lab import RECEIVER, Wire

from firewall.kernel import Kernel

USER = 61234


class Serving:
    """`mantlet serve` in the receiver's namespace, with the state in `folder`."""

    def __init__(self, wire: Wire, folder: Path) -> None:
        self.wire = wire
        self.folder = folder
        self.log = folder / "log"
        self.environment = {**os.environ, "MANTLET_STATE_DIR": str(folder / "state")}

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        socket_path = str(self.folder / "run" / "enforcer.sock")
        command = [
            sys.executable,
            "-m",
            "firewall",
            "serve",
            "--enforcer",
            socket_path,
            "--user",
            str(USER),
            "--listen",
            f"{RECEIVER}:8080",
        ]
        with self.log.open("ab") as log:
            self.process = self.wire.receiver.call(
                subprocess.Popen, [*command, *more], env=self.environment, cwd=ROOT, stdout=log, stderr=log
            )
        return self.process

    def ready(self) -> bool:
        return self.ask("/readyz").startswith("HTTP/1.1 200")

    def ask(self, path: str, token: str = "", method: str = "GET", body: str = "", tls: ssl.SSLContext | None = None) -> str:
        """The whole answer; empty where there is none."""
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            connection: socket.socket = opened.enter_context(self.wire.sender.call(socket.socket))
            connection.settimeout(20)
            connection.connect((RECEIVER, 8080))
            if tls is not None:
                connection = opened.enter_context(tls.wrap_socket(connection))
            connection.sendall((head + body).encode())
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return ""

    def children(self) -> tuple[int, int]:
        """The enforcer and the API."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        users = {int(pid): os.stat(f"/proc/{pid}").st_uid for pid in found}
        (enforcer,) = (pid for pid, uid in users.items() if uid == 0)
        (api,) = (pid for pid, uid in users.items() if uid == USER)
        return enforcer, api

    def command(self, *words: str) -> str:
        run = [sys.executable, "-m", "firewall", *words]
        return subprocess.run(run, env=self.environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    open_for_others(tmp_path)
    with Wire() as wire:
        made = Serving(wire, tmp_path)
        try:
            yield made
        finally:
            with contextlib.suppress(AttributeError):
                made.process.terminate()
                made.process.wait(30)


def waited(serving: Serving, condition: Callable[[], bool], seconds: float = 40) -> None:
    assert eventually(condition, seconds), serving.log.read_text()


def status_of(pid: int) -> dict[str, str]:
    rows = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in rows}


@pytest.mark.kernel
def test_served_killed_and_served_again(serving: Serving) -> None:
    serving.command("tenant", "create", "acme", "--protect", RECEIVER)
    token = serving.command("token", "create", "--tenant", "acme", "--scope", "write").split()[0]
    serving.start()
    waited(serving, serving.ready)
    enforcer, api = serving.children()

    # Privileges.
    for pid, kept in ((enforcer, 1 << 12 | 1 << 13 | 1 << 38 | 1 << 39), (api, 0)):
        for thread in os.listdir(f"/proc/{pid}/task"):
            status = status_of(int(thread))
            assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0, kept, kept, kept, 0]
            assert status["NoNewPrivs"] == "1"
    below = descendants(enforcer)
    assert below, "no process compiles"
    for pid in below:
        status = status_of(pid)
        assert (int(status["CapBnd"], 16) | int(status["CapPrm"], 16)) & ~(1 << 12 | 1 << 13 | 1 << 38 | 1 << 39) == 0
        assert status["NoNewPrivs"] == "1"
    assert (status_of(api)["Uid"].split(), status_of(api)["Groups"]) == ([str(USER)] * 4, "")
    state = serving.folder / "state"
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (0, 0o710)
    assert {path.stat().st_uid for path in (state / "api").iterdir()} == {USER}

    # A rule, from HTTP to packets.
    rules = json.dumps({"rules": [{"action": "block", "expression": 'starts_with(udp.payload, "a")'}]})
    path = "/client/v4/accounts/acme/rulesets/phases/magic_transit/entrypoint"
    assert serving.ask(path, token, "PUT", rules).startswith("HTTP/1.1 200")
    assert serving.wire.arrived(b"a", b"b") == [b"b"]

    # The API alone is replaced.
    os.kill(api, signal.SIGKILL)
    assert serving.wire.arrived(b"a", b"b") == [b"b"]
    waited(serving, lambda: serving.ready() and len(changed(serving, api)) == 2)
    assert serving.children()[0] == enforcer

    # With the enforcer both are, and what was lost meanwhile is back.
    serving.process.send_signal(signal.SIGSTOP)
    os.kill(enforcer, signal.SIGKILL)
    serving.wire.at(lambda kernel: kernel.remove("acme"))
    assert serving.wire.arrived(b"a", b"b") == [b"a", b"b"]
    serving.process.send_signal(signal.SIGCONT)
    waited(serving, lambda: "acme" in serving.wire.at(Kernel.enforced))
    waited(serving, lambda: serving.wire.arrived(b"a", b"b") == [b"b"])
    waited(serving, serving.ready)
    assert enforcer not in serving.children()

    # The end of the parent is that of its children; the rules stay.
    left = serving.children()
    serving.process.kill()
    serving.process.wait()
    waited(serving, lambda: not any(Path(f"/proc/{pid}").exists() and status_of(pid)["State"][0] != "Z" for pid in left))
    assert serving.wire.arrived(b"a", b"b") == [b"b"]


def descendants(pid: int) -> list[int]:
    found = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return [each for child in found for each in (child, *descendants(child))]


def changed(serving: Serving, *gone: int) -> tuple[int, ...]:
    """The children, once none is of those."""
    try:
        found = serving.children()
    except (ValueError, FileNotFoundError):
        return ()
    return found if not set(found) & set(gone) else ()


@pytest.mark.kernel
def test_tls_and_a_clean_end(serving: Serving) -> None:
    key, certificate = serving.folder / "key.pem", serving.folder / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=x"]
    subprocess.run([*make, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    assert key.stat().st_mode & 0o077 == 0  # the API's user cannot read it
    process = serving.start("--ssl-certfile", str(certificate), "--ssl-keyfile", str(key))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    waited(serving, lambda: serving.ask("/healthz", tls=trusting).startswith("HTTP/1.1 200"))
    process.terminate()
    assert process.wait(30) == 0
    assert "Traceback" not in serving.log.read_text()
    assert not (serving.folder / "run" / "enforcer.sock").exists()


@pytest.mark.kernel
def test_what_cannot_be_served_ends_all_with_a_reason(serving: Serving) -> None:
    started = time.monotonic()
    assert serving.start("--store", str(serving.folder / "nowhere" / "store.db")).wait(40) == 3
    assert "the api ended with code 3 before it was ready" in serving.log.read_text()
    assert time.monotonic() - started < 40
    assert "Traceback" not in serving.log.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--user", "nobody-of-this-name"), "useradd --system"),
        (("--user", "root"), "the API does not run as root"),
        (("--user", str(USER), "--listen", "192.0.2.1:80"), "cannot listen at 192.0.2.1:80"),
        (("--user", str(USER), "--listen", "here"), "`here` is not HOST:PORT"),
    ],
)
@pytest.mark.kernel
def test_a_wrong_call_is_told_in_a_line(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "firewall", "serve", "--enforcer", str(tmp_path / "s"), *words]
    environment = {**os.environ, "MANTLET_STATE_DIR": str(tmp_path)}
    found = subprocess.run(command, env=environment, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert found.returncode in (2, 3)
    assert told in found.stderr
    assert "Traceback" not in found.stderr
