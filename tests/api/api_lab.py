"""A node as it is served, with rules that meet real packets: the enforcer in the receiver's namespace of a wire, the API beside the
tests, and the official SDK to ask it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from cloudflare import Cloudflare
from rule_lab import RECEIVER, RECEIVER6, Wire

from api import tenants
from api.access.tokens import new_token
from api.documents import OPERATOR, Quotas, Scope, to_json, token_key
from api.enforcer.client import EnforcerClient
from api.policy_text import ProtectText
from api.store import Put, Store, open_store

ACME = ProtectText((f"{RECEIVER}/32", f"{RECEIVER6}/128"))
_STARTING_SECONDS = 90.0
_ROOT = Path(__file__).parents[2]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class ServedNode:
    """A context manager. `kill_api` and `kill_enforcer` are SIGKILL; `start_...` starts them again."""

    def __init__(self, wire: Wire, store: str | None = None, name: str = "node1") -> None:
        self.wire = wire
        self.name = name
        self._store_address = store
        self.port = _free_port()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.folder = Path(tempfile.mkdtemp(prefix="mantlet-api-"))
            opened.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.address = self._store_address or f"sqlite://{self.folder}/store.db"
            self._log = opened.enter_context((self.folder / "log").open("wb"))
            opened.callback(self._end)
            self.api: subprocess.Popen[bytes] | None = None
            self.enforcer: subprocess.Popen[bytes] | None = None
            self.start_enforcer()
            self.start_api()
            self.store: Store = opened.enter_context(open_store(self.address))
            self.kernel = opened.enter_context(EnforcerClient(self.folder / "enforcer.sock", patience=_STARTING_SECONDS))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            print(self.log())
        self._opened.close()

    def _end(self) -> None:
        for process in (self.api, self.enforcer):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(15)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    # -- processes

    def start_enforcer(self) -> None:
        environment = os.environ | {"MANTLET_STATE_DIR": str(self.folder / "state")}
        command = [sys.executable, "-m", "firewall", "serve", "--enforcer-only", "--user", "65534", "--node", self.name]
        command += ["--enforcer", str(self.folder / "enforcer.sock"), "--log-level", "warning"]
        self.enforcer = self.wire.receiver.call(subprocess.Popen, command, env=environment, cwd=_ROOT, stderr=self._log, stdout=self._log)

    def start_api(self, *, wait: bool = True) -> None:
        command = [sys.executable, str(_ROOT / "tests" / "api" / "api_process.py"), self.name, self.address]
        command += [str(self.folder / "enforcer.sock"), str(self.port)]
        environment = os.environ | {"PYTHONPATH": str(_ROOT)}
        self.api = subprocess.Popen(command, env=environment, stderr=self._log, stdout=self._log)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until the API listens."""
        end = time.monotonic() + _STARTING_SECONDS
        while time.monotonic() < end:
            assert self.api is not None
            assert self.api.poll() is None, self.log()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.02)
        raise AssertionError(f"the API does not listen\n{self.log()}")

    def kill_api(self) -> None:
        assert self.api is not None
        self.api.kill()
        self.api.wait()

    def kill_enforcer(self) -> None:
        assert self.enforcer is not None
        self.enforcer.kill()
        self.enforcer.wait()

    # -- tenants

    def tenant(self, name: str = "acme", protect: ProtectText = ACME, **quotas: int) -> str:
        """A new tenant."""
        return tenants.create(self.store, name, protect, "test", quotas=Quotas(**quotas)).id

    def token(self, tenant: str = "acme", scope: Scope = "write") -> str:
        token, text = new_token(tenant, scope)
        self.store.commit([Put(token_key(token.id), to_json(token), expected=0)])
        return text

    def client(self, tenant: str = "acme", scope: Scope = "write") -> Cloudflare:
        """The official SDK, as it comes, for a new token; the tenant is made if there is none."""
        if tenant != OPERATOR and tenant not in {each.id for each in tenants.tenants(self.store)}:
            self.tenant(tenant)
        return Cloudflare(api_token=self.token(tenant, scope), base_url=f"http://127.0.0.1:{self.port}/client/v4", max_retries=0)
