"""`mantlet serve --demo`: the API at the host's loopback, a tenant, and behind a wire a host of its own for the tenant's rules to guard.

That host is a network namespace, in which the enforcer lives, and a web server. The machine's own rules are not touched; what it gets
is one interface, `mantlet-demo`, the near end of the wire. State lies in a temporary directory. All of it goes with the demo. When that
is killed, the kernel ends the processes in the namespace, and with the last of them go the namespace, its rules and the wire. What then
stays is the directory, and pins in the BPF file system, which nothing refers to and `mantlet doctor` removes."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from api import tenants
from api.access.tokens import new_token
from api.documents import to_json, token_key
from api.policy_text import ProtectText
from api.privileges import User, become, end_with_parent
from api.serve import ServeError, Serving, own_store, run_both
from api.store import Put, open_store
from firewall.namespace import Namespace, enter

INTERFACE: Final = "mantlet-demo"
HOST, GUARDED, PREFIX = "203.0.113.1", "203.0.113.2", "203.0.113.0/24"
"""Of TEST-NET-3, which is nobody's (RFC 5737)."""
TENANT: Final = "acme"
_DNS: Final = 53
_WEB: Final = 80
_PAGE: Final = b"hello from behind the rules\n"


def run(serving: Serving) -> int:
    """Until SIGTERM or SIGINT; the exit code. Raises ServeError, NamespaceError, StoreError."""
    for number in (signal.SIGTERM, signal.SIGINT):  # until the supervisor takes them
        signal.signal(number, _exit)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mantlet-demo-")))
        folder.chmod(0o1777)
        tempfile.tempdir = str(folder)  # of its processes too
        os.environ["MANTLET_STATE_DIR"] = str(folder / "state")
        network = opened.enter_context(_network())
        opened.enter_context(_guarded(network, serving.user))
        store = str(folder / "state" / "api" / "store.db")
        serving = replace(serving, store=store, enforcer=folder / "enforcer.sock", network=network)
        token = _populate(store)
        own_store(serving)
        host, port = serving.listen
        return run_both(serving, lambda: print(_told(token, f"http://{host}:{port}"), flush=True))


def _exit(*_: object) -> None:
    raise SystemExit(0)


@contextmanager
def _network() -> Iterator[int]:
    """A network namespace with a wire to this one; a file descriptor of it."""
    if INTERFACE in (name for _, name in socket.if_nameindex()):
        raise ServeError(f"there is an interface {INTERFACE} already: a demo is running")
    with Namespace() as namespace:
        try:
            _ip(f"link add {INTERFACE} type veth peer name eth0 netns {namespace.path}")
            _ip(f"address add {HOST}/24 dev {INTERFACE}")
            _ip(f"link set {INTERFACE} up")
            namespace.call(_ip, f"address add {GUARDED}/24 dev eth0")
            namespace.call(_ip, "link set eth0 up")
            file = os.open(namespace.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield file
            finally:
                os.close(file)
        finally:
            with suppress(ServeError):
                _ip(f"link delete {INTERFACE}")


def _ip(words: str) -> None:
    try:
        subprocess.run(["ip", *words.split()], check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise ServeError("the demo needs `ip`: install iproute2") from error
    except subprocess.CalledProcessError as error:
        raise ServeError(f"ip {words}: {error.stderr.strip()}") from error


def _populate(store_address: str) -> str:
    """A tenant and a token that may write for it."""
    with open_store(store_address) as store:
        tenants.create(store, TENANT, ProtectText((PREFIX,)), "demo")
        token, text = new_token(TENANT, "write", name="demo")
        store.commit([Put(token_key(token.id), to_json(token), expected=0)])
    return text


# -- what is guarded ---------------------------------------------------------------------------------------------------


@contextmanager
def _guarded(network: int, user: User) -> Iterator[None]:
    """A process that answers in the namespace, without privileges: a web server, and a DNS server that refuses everything."""
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            enter(network)
            web = socket.create_server((GUARDED, _WEB))
            dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            dns.bind((GUARDED, _DNS))
            become(user)
            end_with_parent()
            _answer(web, dns)
        finally:
            os._exit(1)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _answer(web: socket.socket, dns: socket.socket) -> None:
    with selectors.DefaultSelector() as waiting:
        for listening in (web, dns):
            waiting.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                with suppress(OSError):
                    _answer_one(waiting, key.fileobj, web, dns)


def _answer_one(waiting: selectors.BaseSelector, ready: object, web: socket.socket, dns: socket.socket) -> None:
    assert isinstance(ready, socket.socket)
    if ready is dns:
        query, peer = dns.recvfrom(4096)
        if len(query) >= 12:
            dns.sendto(query[:2] + bytes((query[2] | 0x80, 5)) + query[4:], peer)  # a response: REFUSED (RFC 1035, 4.1.1)
    elif ready is web:
        connection, _ = web.accept()
        connection.settimeout(1)
        waiting.register(connection, selectors.EVENT_READ)
    else:
        waiting.unregister(ready)
        with ready:
            if ready.recv(65_536):
                ready.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE))


# -- what is told ------------------------------------------------------------------------------------------------------


def _told(token: str, server: str) -> str:
    base = f"{server}/client/v4"
    return f"""
The tenant {TENANT} protects {PREFIX}, where a web server answers. From another shell:

  curl -m 2 http://{GUARDED}/admin

Its token may write rules. One that blocks that page:

  curl -X PUT {base}/accounts/{TENANT}/rulesets/phases/magic_transit/entrypoint -H 'Authorization: Bearer {token}' \
-H 'Content-Type: application/json' -d '{{"rules": [{{"action": "block", "expression": "http.uri contains \\"/admin\\""}}]}}'

The same in Python, by Cloudflare's SDK:

  from cloudflare import Cloudflare
  cf = Cloudflare(api_token="{token}", base_url="{base}", max_retries=0)
  rule = {{"action": "block", "expression": 'http.uri contains "/admin"'}}
  cf.rulesets.phases.update("magic_transit", account_id="{TENANT}", rules=[rule])

Now nothing comes back, though from other pages it does:

  curl -m 2 http://{GUARDED}/admin
  curl -m 2 http://{GUARDED}/

Ctrl-C takes it all away."""
