"""Benchmarks of the API: writes, reads and the start with many tenants, against servers in a network namespace of their own; and what a
packet costs for the first and the last of many tenants. Ratios of one run are what to read: absolute times belong to the machine."""

from __future__ import annotations

import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from api.access.tokens import new_token
from api.bodies import EntryPointBody, RuleBody
from api.changes import Documents
from api.compile import policy_text
from api.documents import Quotas, Tenant, first_head, head_key, now, rulesets_key, tenant_key, to_json, token_key, versions_key
from api.enforcer.client import EnforcerClient
from api.enforcer.compile import Compiler
from api.policy_text import ProtectText
from api.rulesets import put_entry_point
from api.store import Put, Store, open_store
from firewall import nft
from firewall.bench.packet_cost import Lane
from firewall.bench.workload import udp_packet
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.namespace import Namespace

PHASE: Final = "magic_transit"
PROTECTED: Final = int(IPv4Address("10.0.0.0"))
"""Tenant N protects the Nth /24 from here on."""
IN_TURN: Final = 5
"""Changes, and bare ones, at a time."""
STARTING_SECONDS: Final = 600.0
CONNECTIONS: Final = 4
"""That ask at a time."""
PACKETS: Final = 64
"""Different ones, of a tenant."""
NOBODY: Final = "65534"
BARE: Final = "add table inet bare\nadd chain inet bare input { type filter hook input priority 0; }\n"
ADD: Final = "nft add rule inet bare input tcp dport 80 drop"


class BenchError(Exception):
    """The servers do not answer as they should; the message says what they said."""


# -- tenants -----------------------------------------------------------------------------------------------------------


def _documents(number: int, rules: int) -> Documents:
    """A tenant with rules that differ from all others'."""
    random = Random(number)
    bodies = []
    for place in range(rules):
        source = f"{IPv4Address(random.getrandbits(32) & 0xFFFFFF00)}/24"
        protocol = random.choice(("tcp", "udp"))
        expression = f"ip.src in {{ {source} }} and {protocol}.dstport == {1024 + place}"
        bodies.append(RuleBody(action="block", expression=expression, description=f"rule {place}"))
    prefix = f"{IPv4Address(PROTECTED + (number << 8))}/24"
    tenant = Tenant(f"t{number:05d}", ProtectText((prefix,)), now(), quotas=Quotas(rules=10_000))
    return put_entry_point(Documents(tenant, {}, {}, {}), PHASE, EntryPointBody(rules=bodies)).documents


def _fill(store: Store, numbers: Sequence[int], rules: int) -> None:
    for number in numbers:
        documents = _documents(number, rules)
        name = documents.tenant.id
        (ruleset,) = documents.rulesets.values()
        content = to_json(ruleset)
        store.commit(
            [
                Put(tenant_key(name), to_json(documents.tenant)),
                Put(head_key(name), to_json(first_head())),
                Put(rulesets_key(name, ruleset.id), content),
                Put(versions_key(name, ruleset.id, ruleset.version), content),
            ]
        )


# -- servers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """A node whose stored rules are all in force."""

    namespace: Namespace
    store: Store
    port: int
    seconds: float
    """From the start of its processes."""

    def token(self, tenant: str) -> str:
        token, text = new_token(tenant, "write")
        self.store.commit([Put(token_key(token.id), to_json(token), expected=0)])
        return text


@contextmanager
def served(tenants: int, rules: int) -> Iterator[Served]:
    """Serves so many tenants of so many rules."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="mantlet-bench-")))
        folder.chmod(0o711)
        place = folder / "store"
        place.mkdir()
        store = opened.enter_context(open_store(str(place / "store.db")))
        _fill(store, range(tenants), rules)
        for path in (place, *place.iterdir()):
            os.chown(path, int(NOBODY), int(NOBODY))
        namespace = opened.enter_context(Namespace())
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = int(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "firewall",
            "serve",
            "--user",
            NOBODY,
            "--enforcer",
            str(folder / "run" / "socket"),
            "--node",
            "bench",
        ]
        command += ["--log-level", "warning", "--rate", "1000000"]
        environment = os.environ | {"MANTLET_STATE_DIR": str(folder / "state")}
        log = opened.enter_context((folder / "log").open("wb"))
        started = time.perf_counter()
        for start, more in (
            (namespace.call, ["--enforcer-only"]),
            (_call, ["--api-only", "--store", str(place / "store.db"), "--listen", f"127.0.0.1:{port}"]),
        ):
            process = start(subprocess.Popen, [*command, *more], env=environment, stdout=log, stderr=log)
            opened.callback(_end, process)
        seconds = _wait(port, lambda: (folder / "log").read_text(errors="replace")) - started
        with EnforcerClient(folder / "run" / "socket") as enforcer:
            enforced = enforcer.status()
        if len(enforced) != tenants:
            raise BenchError(f"{len(enforced)} of {tenants} tenants are enforced\n{(folder / 'log').read_text(errors='replace')}")
        yield Served(namespace, store, port, seconds)


def _call(function: Callable[..., subprocess.Popen[bytes]], *args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
    return function(*args, **kwargs)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(port: int, log: Callable[[], str]) -> float:
    """When the API listened, which it does once all stored rules are in force."""
    end = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return time.perf_counter()
        time.sleep(0.02)
    raise BenchError(f"the API does not listen\n{log()}")


class _Client:
    """A connection that is kept, for requests that are bytes already: a client that costs little beside the server."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._token = token
        self._received = b""

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = f"{method} /client/v4/accounts/{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n"
        return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    def send(self, request: bytes) -> None:
        self.connection.sendall(request)

    def answer(self) -> bytes:
        """The body. Raises BenchError where the status is none of success."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        parts, left = [body], length - len(body)
        while left > 0:
            part = self.connection.recv(1 << 20)
            if not part:
                raise BenchError("the API ended the connection")
            parts.append(part)
            left -= len(part)
        self._received = b""
        if not head.startswith(b"HTTP/1.1 2"):
            raise BenchError((head + b"\n" + b"".join(parts)[:1000]).decode(errors="replace"))
        return b"".join(parts)

    def _receive(self) -> None:
        part = self.connection.recv(1 << 20)
        if not part:
            raise BenchError("the API ended the connection")
        self._received += part

    def ask(self, method: str, path: str, body: object = None) -> Any:
        self.send(self.request(method, path, b"" if body is None else json.dumps(body).encode()))
        return json.loads(self.answer())["result"]


# -- what is measured --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one rule, from the request to the answer, which comes when it is enforced; and `nft add rule` as a process, in turn some
    of each. After what others do in the kernel, the next change has to look what stands."""

    tenants: int
    rules: int
    """Of the tenant."""
    milliseconds: float
    """Medians."""
    after_others_milliseconds: float
    bare_milliseconds: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Read:
    what: str
    per_second: float


@dataclass(frozen=True, slots=True)
class Start:
    tenants: int
    rules: int
    seconds: float
    """From the start of both processes until all stored rules are enforced."""


def writes(node: Served, tenants: int, rules: int, rounds: int) -> Write:
    """Of the node's first tenant."""
    tenant = "t00000"
    node.namespace.call(nft.run, BARE)
    client = _Client(node.port, node.token(tenant))
    ruleset = client.ask("GET", f"{tenant}/rulesets/phases/{PHASE}/entrypoint")
    rule = ruleset["rules"][len(ruleset["rules"]) // 2]
    path = f"{tenant}/rulesets/{ruleset['id']}/rules/{rule['id']}"
    numbers = count(20_000)

    def change() -> None:
        client.send(client.request("PATCH", path, json.dumps({"expression": f"tcp.dstport == {next(numbers)}"}).encode()))
        client.answer()

    def add() -> None:
        node.namespace.call(subprocess.run, ADD.split(), check=True)

    for _ in range(3):  # which fill caches
        change()
    changes, after, bare = [], [], []
    for _ in range(-(-rounds // IN_TURN)):
        bare += [_seconds(add) for _ in range(IN_TURN)]
        after.append(_seconds(change))
        changes += [_seconds(change) for _ in range(IN_TURN)]
    client.connection.close()
    one, first, plain = (statistics.median(each) * 1000 for each in (changes, after, bare))
    return Write(tenants, rules, one, first, plain, one / plain)


def _seconds(act: Callable[[], None]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def reads(node: Served, seconds: float) -> list[Read]:
    """Of the node's last tenant."""
    tenant = sorted(entry.key.removeprefix("tenants/") for entry in node.store.list("tenants/").entries)[-1]
    clients = [_Client(node.port, node.token(tenant)) for _ in range(CONNECTIONS)]
    ruleset = clients[0].ask("GET", f"{tenant}/rulesets/phases/{PHASE}/entrypoint")
    what = {
        f"a ruleset of {len(ruleset['rules'])} rules": f"{tenant}/rulesets/{ruleset['id']}",
        "the list of rulesets": f"{tenant}/rulesets",
    }
    found = [Read(name, _rate(clients, clients[0].request("GET", path), seconds)) for name, path in what.items()]
    for client in clients:
        client.connection.close()
    return found


def _rate(clients: Sequence[_Client], request: bytes, seconds: float) -> float:
    """Answers a second, with a request of each client under way at all times."""
    waiting = {client.connection.fileno(): client for client in clients}
    poll = select.poll()
    for number, client in waiting.items():
        poll.register(number, select.POLLIN)
        client.send(request)
    answered, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for number, _ in poll.poll():
            waiting[number].answer()
            waiting[number].send(request)
            answered += 1
    taken = time.perf_counter() - begun
    for client in clients:
        client.answer()
    return answered / taken


@dataclass(frozen=True, slots=True)
class Packets:
    """What a packet costs that a tenant's rules let pass, in nanoseconds more than without rules."""

    tenants: int
    rules: int
    """Of each."""
    first: float
    """Of the first tenant's packets."""
    last: float


def packets(tenants: int, rules: int, rounds: int) -> Packets:
    """With all tenants there, by an in-kernel generator; the two in turn."""
    compiler = Compiler()
    generations = [compiler.generation(policy_text(_documents(number, rules)), 1) for number in range(tenants)]
    install = partial(_install, generations)
    with ExitStack() as opened:
        lanes = []
        for name, put, sent in (("none", _nothing, 0), ("first", install, 0), ("last", install, tenants - 1)):
            lane = Lane(name, put, _passing(sent))
            opened.callback(lane.close)
            if lane.passed_of_one_trace() != PACKETS:
                raise BenchError("packets do not pass that no rule is about")
            lane.calibrate()
            lanes.append(lane)
        samples = [[lane.round() for lane in lanes] for _ in range(rounds)]
    none, first, last = (statistics.median(each) for each in zip(*samples, strict=True))
    return Packets(tenants, rules, first - none, last - none)


def _nothing() -> None:
    return


def _install(generations: Sequence[Generation]) -> None:
    with Kernel(quiet=True) as kernel:
        for at in range(0, len(generations), 100):
            part = generations[at : at + 100]
            for error in (*kernel.prepare_all(part).values(), *kernel.flip_all({each.tenant: (each, "") for each in part}).values()):
                raise error
        kernel.sweep()


def _passing(number: int) -> list[bytes]:
    """UDP packets to a tenant that no rule of its is about."""
    source, destination = int(IPv4Address("192.0.2.1")), PROTECTED + (number << 8) + 1
    return [udp_packet(source + place, destination + place, 9) for place in range(PACKETS)]
