"""Servers of etcd for tests: on loopback, in a directory of the test, ended by their process ids."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest


@dataclass
class Server:
    """One server, which can be killed and started again with the data it has."""

    name: str
    port: int
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


@dataclass
class Cluster:
    """Some servers that are one store."""

    servers: list[Server]
    tls: bool = False
    options: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, directory: Path, size: int, *options: str, tls: bool = False) -> Self:
        """Servers that are not started; `options` are given to each."""
        binary = shutil.which("etcd")
        if binary is None:
            pytest.fail("the tests of the store need etcd: run `make setup`, or apt-get install etcd-server", pytrace=False)
        ports = _free_ports(2 * size)
        peers = {f"n{number}": f"http://127.0.0.1:{ports[size + number]}" for number in range(size)}
        servers = []
        for number, (name, peer) in enumerate(peers.items()):
            client = f"{'https' if tls else 'http'}://127.0.0.1:{ports[number]}"
            command = [binary, "--name", name, "--data-dir", str(directory / name), "--log-level", "warn", "--logger", "zap"]
            command += ["--listen-client-urls", client, "--advertise-client-urls", client]
            command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            command += ["--initial-cluster", ",".join(f"{other}={url}" for other, url in peers.items())]
            command += ["--heartbeat-interval", "50", "--election-timeout", "500", *options]
            servers.append(Server(name, ports[number], command, directory / f"{name}.log"))
        return cls(servers, tls)

    def __enter__(self) -> Self:
        for server in self.servers:
            server.start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self.servers:
            server.stop()

    def address(self, prefix: str, options: str = "", timeout: int = 20) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"etcd{'s' if self.tls else ''}://{hosts}/{prefix}?timeout={timeout}{options}"

    def leader(self) -> Server:
        """The server that leads, as it says itself; waits for an election."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for server in self.servers:
                with suppress(OSError):
                    status = post(server.port, "/v3/maintenance/status", {})
                    if status.get("leader") == status["header"]["member_id"]:
                        return server
            time.sleep(0.1)
        pytest.fail(f"no server of etcd leads; their logs are in {self.servers[0].log.parent}", pytrace=False)


def post(port: int, path: str, body: dict[str, object], token: str = "") -> dict[str, Any]:
    """A request of the tests' own, beside the store."""
    headers = {"Authorization": token} if token else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), headers)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5) as response:
        return json.load(response)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
