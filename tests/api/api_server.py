"""The API at a port of loopback, over a store of its own and an enforcer without a kernel: for what is decided before any packet."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from cloudflare import Cloudflare

from api import tenants
from api.access.tokens import new_token
from api.app import create_app
from api.documents import Quotas, Scope, to_json, token_key
from api.enforcer.client import EnforcedTenant, EnforcerClient, EnforcerUnavailable, Refused
from api.node import Node
from api.policy_text import PolicyText, ProtectText, RuleError, policy_of
from api.settings import Rate, Settings
from api.store import Put, Store, open_store

UNBOUNDED = Settings(requests=Rate(1e9, 1e9), failures=Rate(1e9, 1e9))


class Paper:
    """An enforcer that notes what it is told to enforce, and enforces nothing: there is no kernel behind it."""

    def __init__(self) -> None:
        self.texts: dict[str, tuple[PolicyText, int]] = {}
        self.drifted: tuple[str, ...] = ()
        self.away = False

    def check(self, text: PolicyText) -> None:
        if self.away:
            raise EnforcerUnavailable("it is away")
        try:
            policy_of(text)
        except RuleError as error:
            raise Refused(str(error), next(iter(error.found))) from error

    def prepare(self, text: PolicyText, revision: int) -> Noted:
        self.check(text)
        return Noted(self, text, revision)

    def enforce_all(self, wanted: Sequence[tuple[PolicyText, int]]) -> Mapping[str, Refused | EnforcerUnavailable]:
        refused = {}
        for text, revision in wanted:
            try:
                self.prepare(text, revision).commit()
            except Refused as error:
                refused[text.tenant] = error
        return refused

    def remove(self, tenant: str) -> None:
        self.texts.pop(tenant, None)

    def status(self) -> tuple[EnforcedTenant, ...]:
        if self.away:
            raise EnforcerUnavailable("it is away")
        return tuple(EnforcedTenant(name, revision, 1, ()) for name, (_, revision) in self.texts.items())

    def drift(self) -> tuple[str, ...]:
        found, self.drifted = self.drifted, ()
        return found

    def counters(self, tenant: str) -> Mapping[str, tuple[int, int]]:
        return {rule.name: (number, 100 * number) for number, rule in enumerate(self.texts[tenant][0].rules, 1)}

    def capture(self, *_: object, **__: object) -> object:
        raise Refused("there is no kernel to capture from")

    def replay(self, *_: object) -> list[dict[str, Any]]:
        raise Refused("there is no kernel to replay through")


@dataclass
class Noted:
    paper: Paper
    text: PolicyText
    revision: int

    def commit(self) -> None:
        self.paper.texts[self.text.tenant] = (self.text, self.revision)

    def abandon(self) -> None: ...


@dataclass
class Served:
    """An API that answers."""

    node: Node
    paper: Paper
    url: str
    """The API's base, as the SDK takes it."""

    @property
    def store(self) -> Store:
        return self.node.store

    @property
    def root(self) -> str:
        """Of the node's own routes."""
        return self.url.removesuffix("/client/v4")

    def tenant(self, name: str, prefix: str, **quotas: int) -> str:
        return tenants.create(self.store, name, ProtectText((prefix,)), "test", quotas=Quotas(**quotas)).id

    def token(self, tenant: str, scope: Scope = "write") -> str:
        token, text = new_token(tenant, scope)
        self.store.commit([Put(token_key(token.id), to_json(token), expected=0)])
        return text

    def http(self, token: str | None) -> httpx.Client:
        """For paths below the API's base."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def sdk(self, token: str) -> Cloudflare:
        return Cloudflare(api_token=token, base_url=self.url, max_retries=0)


@contextmanager
def served(settings: Settings = UNBOUNDED) -> Iterator[Served]:
    """A node without tenants."""
    paper = Paper()
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(str(Path(folder) / "store.db")) as store,
        Node(store, paper, "paper", drift_seconds=0.2, keep_seconds=0.1) as node,
        listening(node, settings) as url,
    ):
        yield Served(node, paper, url)


@contextmanager
def listening(node: Node, settings: Settings) -> Iterator[str]:
    """The API of a node, at a port of its own."""
    assert isinstance(node.enforcer, Paper | EnforcerClient)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:  # asyncio sets TCP_NODELAY where it sees TCP
        bound.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(node, settings), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{cast(int, bound.getsockname()[1])}/client/v4"
        finally:
            server.should_exit = True
            thread.join(10)
