"""`mantlet serve`: the enforcer and the API, each a process with as few privileges as it needs.

The enforcer stays root without root's powers: of the capabilities it keeps those of `api.privileges.ENFORCER` alone. It makes its
network namespaces for replays, its socket and its state directory before it gives the rest up. The API becomes a user of its own
without any; the socket that it listens at was bound before, and listens once the stored rules are in force.

A supervisor starts both and does nothing else. An API that dies is started again. With an enforcer that dies the API is ended and both
are started again, as the API makes the kernel what the store says when it starts. What ends before it was ever ready, or too often,
ends all. Meanwhile the kernel enforces what it has."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import pkgutil
import pwd
import select
import signal
import socket
import stat
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from api.enforcer.client import SOCKET, EnforcerClient, EnforcerUnavailable
from api.privileges import ENFORCER, PrivilegeError, User, become, end_with_parent, keep_only, user_of
from api.settings import DEFAULTS, Rate, Settings, usual_file, usual_store
from api.store.model import StoreError
from firewall.cli.console import BadInput
from firewall.cli.policies import geo_table
from firewall.namespace import enter
from firewall.state import State, StateError

if TYPE_CHECKING:
    import argparse
    import ssl

    from rules_dsl.geo import Geo

log = logging.getLogger("mantlet.serve")

USER: Final = "mantlet"
"""Who the API runs as, where nobody else is named."""
NAMESPACES: Final = 2
"""Replays through the kernel at a time."""
RESTARTS, RESTARTS_SECONDS = 5, 60.0
"""More ends than these within so many seconds end all."""
STARTING_SECONDS: Final = 30.0
"""How long the API waits for an enforcer."""
ENDING_SECONDS: Final = 15.0
FAILED, ENDED = 3, 0
PACKAGES: Final = (
    "api",
    "rules_dsl",
    "bpf",
    "firewall",
    "uvicorn",
    "fastapi",
    "starlette",
    "anyio",
    "asyncio",
    "email",
    "encodings",
    "http",
)


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, where and as whom."""

    listen: tuple[str, int]
    """Host and port."""
    store: str
    """A store's address."""
    node: str
    region: str
    user: User
    enforcer: Path = SOCKET
    certificate: Path | None = None
    key: Path | None = None
    trusted_proxies: str | None = None
    """Addresses whose X-Forwarded-For counts."""
    settings: Settings = DEFAULTS
    geo: Geo | None = None
    """Countries and AS numbers of addresses, for the rules that ask."""
    network: int | None = None
    """A file descriptor of the network namespace that the enforcer is to live in, where that is another."""


class ServeError(Exception):
    """It cannot be served; the message says why, and `help` what to do."""

    def __init__(self, message: str, *help_lines: str) -> None:
        super().__init__(message)
        self.help = help_lines


def serve(options: argparse.Namespace) -> int:
    """What the command says; the exit code. Raises ServeError, PrivilegeError, BadInput or DiagnosticError for a geo file, and what
    `run_enforcer` and `run_api` raise."""
    if options.demo and (options.store or options.enforcer):
        raise BadInput("the demo has a store and an enforcer of its own", "leave out --store and --enforcer, or --demo")
    for name in ("fastapi", "uvicorn", "pydantic"):
        if not options.enforcer_only and importlib.util.find_spec(name) is None:
            raise ServeError(f"the API needs the Python package {name}", "pip install 'mantlet[api]'")
    root = os.geteuid() == 0
    if not root and not options.api_only:
        raise ServeError("the enforcer needs root", "run it as root, or only the API, beside an enforcer: --api-only")
    try:
        user = user_of(options.user or _usual_user(demo=options.demo)) if root else User(os.geteuid(), os.getegid())
    except PrivilegeError as error:
        raise ServeError(
            f"{error}, as whom the API is to run",
            "useradd --system --no-create-home --shell /usr/sbin/nologin mantlet   (a user of its own: the enforcer obeys it)",
            "or name another with --user",
        ) from error
    if user.uid == 0:
        raise ServeError("the API does not run as root", "name a user of its own with --user")
    rate = Rate(options.rate, 2 * options.rate)
    settings = Settings(
        options.body_limit << 20, options.capture_limit << 20, rate, open_metrics=options.open_metrics, audit_days=options.audit_days
    )
    serving = Serving(
        options.listen,
        options.store or usual_store(),
        options.node,
        options.region,
        user,
        options.enforcer or SOCKET,
        options.ssl_certfile,
        options.ssl_keyfile,
        options.forwarded_allow_ips,
        settings,
        geo_table(options.geo),  # while whoever calls may read them
    )
    if options.demo:
        from api import demo  # noqa: PLC0415 (which imports this)

        return demo.run(serving)
    if options.enforcer_only:
        run_enforcer(serving)
        return ENDED
    if root:
        own_store(serving)
    if not options.api_only:
        return run_both(serving)
    with bound(*serving.listen) as listening:
        run_api(serving, listening)
    return ENDED


def _usual_user(*, demo: bool) -> str:
    """The number that a demo takes where there is no such user is the last of those that systemd gives to services for a while."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return "65519" if demo else USER
    return USER


def own_store(serving: Serving) -> None:
    """The folder of the usual store belongs to the API's user, who may pass through the state directory, which is root's, but not look
    into it. Another folder is the operator's own matter. Raises ServeError."""
    if serving.store != str(usual_file()):
        return
    folder = usual_file().parent
    state = folder.parent
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(state, -1, serving.user.gid)
        state.chmod(0o710)
        folder.mkdir(mode=0o700, exist_ok=True)
        files = [path for path in folder.iterdir() if stat.S_ISREG(path.lstat().st_mode) and path.lstat().st_nlink == 1]
        for path in (folder, *files):  # root's commands may have made them
            os.chown(path, serving.user.uid, serving.user.gid, follow_symlinks=False)
    except OSError as error:
        raise ServeError(f"{error.filename}: {error.strerror}", "set MANTLET_STATE_DIR to another folder, or name a --store") from error


Ready = Callable[[], None]


def notify_ready() -> None:
    """Tells systemd, where that asks (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify, suppress(OSError):
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")


# -- the enforcer ------------------------------------------------------------------------------------------------------


def run_enforcer(serving: Serving, ready: Ready = notify_ready) -> None:
    """Until SIGTERM or SIGINT. Raises KernelError, StateError, PrivilegeError, OSError."""
    import threading  # noqa: PLC0415

    from api.enforcer.apart import Apart  # noqa: PLC0415
    from api.enforcer.changes import Changes  # noqa: PLC0415 (the API does not need what the enforcer does)
    from api.enforcer.compile import Compiler  # noqa: PLC0415
    from api.enforcer.replay import Replays  # noqa: PLC0415
    from api.enforcer.server import Server  # noqa: PLC0415
    from firewall.features import require_enforcement  # noqa: PLC0415
    from firewall.namespace import Namespace, NamespaceError  # noqa: PLC0415
    from firewall.plan import Node  # noqa: PLC0415

    require_enforcement()
    asked_to_end, asking = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(asking, b"."))
    compiler = Compiler(Node(serving.node, serving.region), serving.geo)
    with ExitStack() as opened:
        tempfile.tempdir = opened.enter_context(tempfile.TemporaryDirectory(prefix="mantlet-enforcer-"))
        apart = opened.enter_context(Apart(compiler))
        namespaces: list[Namespace] = []
        try:
            namespaces += [opened.enter_context(Namespace()) for _ in range(NAMESPACES)]
        except NamespaceError as error:
            log.warning("captures cannot be replayed through the kernel: %s", error)
        changes = Changes(apart, State())
        serving.enforcer.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        users = {0, serving.user.uid}
        server = Server(serving.enforcer, changes, compiler, users, group=serving.user.gid, replays=Replays(namespaces))
        opened.enter_context(server)
        for each in namespaces:
            each.call(keep_only, ENFORCER)
        keep_only(ENFORCER)
        apart.warm()  # its first process is started here, with no more than that
        changes.start()
        serve = threading.Thread(target=server.serve, name="serve", daemon=True)
        serve.start()
        log.info("the enforcer listens at %s", serving.enforcer)
        ready()
        os.read(asked_to_end, 1)


# -- the API -----------------------------------------------------------------------------------------------------------


def bound(host: str, port: int) -> socket.socket:
    """A socket for the API, which does not listen yet. Raises ServeError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        raise ServeError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    return listening


def run_api(serving: Serving, listening: socket.socket, ready: Ready = notify_ready) -> None:
    """Until SIGTERM or SIGINT, as the user that `serving` says. Raises ServeError, StoreError, EnforcerUnavailable, PrivilegeError."""
    import uvicorn  # noqa: PLC0415 (the enforcer does not need it)

    class Listening(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                ready()

    # uvicorn raises again what ended it: then, as before it runs, what is open is closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    certificate = _tls(serving)  # whose key may be root's alone
    if os.geteuid() == 0:
        if not _can_import(serving.user):
            log.warning("user %d cannot read Python's modules at %s: all are loaded before", serving.user.uid, Path(os.__file__).parent)
            _import_all()
        _refuse_threads()
        become(serving.user)
    else:
        _refuse_threads()
        keep_only(())

    from api.app import create_app  # noqa: PLC0415
    from api.node import Node  # noqa: PLC0415
    from api.store import open_store  # noqa: PLC0415

    with (
        open_store(serving.store) as store,
        EnforcerClient(serving.enforcer, patience=STARTING_SECONDS) as enforcer,
        Node(store, enforcer, serving.node, geo=serving.geo) as node,
    ):
        config = uvicorn.Config(
            create_app(node, serving.settings),
            log_config=None,
            access_log=False,
            lifespan="on",
            server_header=False,
            proxy_headers=serving.trusted_proxies is not None,
            forwarded_allow_ips=serving.trusted_proxies,
            timeout_graceful_shutdown=5,
        )
        config.load()
        config.ssl = certificate
        host, port = listening.getsockname()[:2]
        log.info("the API listens at %s://%s:%d", "http" if certificate is None else "https", host, port)
        Listening(config).run(sockets=[listening])


def _can_import(user: User) -> bool:
    """Whether the user can read what Python is and Mantlet is installed as: not where they lie in root's home."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(Exception):
            become(user)
            code = 0 if os.access(os.__file__, os.R_OK) and os.access(__file__, os.R_OK) else 1
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _refuse_threads() -> None:
    """A thread that a library has started would keep what this one gives up. Raises ServeError."""
    if len(os.listdir("/proc/self/task")) > 1:
        raise ServeError("a library has started a thread before privileges are given up")


def _import_all() -> None:
    """Every module that the API may ever ask for."""
    with warnings.catch_warnings(action="ignore"):
        for name in PACKAGES:
            for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}.", onerror=lambda _: None):
                if not module.name.endswith("__main__") and not module.name.startswith("firewall.bench"):
                    with suppress(Exception, SystemExit):  # what needs what is not installed
                        importlib.import_module(module.name)
    from rules_dsl import parse_expression  # noqa: PLC0415

    parse_expression("ip")  # reads the grammar


def _exit(*_: object) -> None:
    raise SystemExit(ENDED)


def _tls(serving: Serving) -> ssl.SSLContext | None:
    """Raises ServeError."""
    if serving.certificate is None:
        return None
    import ssl  # noqa: PLC0415

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(serving.certificate, serving.key)
    except OSError as error:  # ssl.SSLError is one
        raise ServeError(f"the certificate {serving.certificate} cannot be used: {error}") from error
    return context


# -- both --------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Child:
    name: str
    pid: int
    ready: int
    """A pipe that gives a byte when the process is ready."""
    was_ready: bool = False


def run_both(serving: Serving, ready: Ready = notify_ready) -> int:
    """Until SIGTERM or SIGINT; the exit code. Raises ServeError."""
    with ExitStack() as opened:
        listening = opened.enter_context(bound(*serving.listen))
        return _Supervisor(serving, listening, ready).run()


class _Supervisor:
    """The parent of both."""

    def __init__(self, serving: Serving, listening: socket.socket, ready: Ready) -> None:
        self._serving = serving
        self._listening = listening
        self._ready = ready
        self._children: list[_Child] = []
        self._ends: deque[float] = deque(maxlen=RESTARTS + 1)
        self._signals, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer = writer

    def run(self) -> int:
        ending: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: ending.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        told = False
        try:
            self._start("enforcer")
            self._start("api")
            while not ending:
                self._wait()
                code = None if ending else self._reap()
                if code is not None:
                    return code
                if not told and len(self._children) == 2 and all(child.was_ready for child in self._children):
                    told = True
                    self._ready()
            return ENDED
        finally:
            self._end("api")
            self._end("enforcer")

    def _start(self, name: str) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid:
            os.close(writer)
            self._children.append(_Child(name, pid, reader))
            return
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os._exit(self._live(name, lambda: os.write(writer, b".")))

    def _live(self, name: str, ready: Callable[[], object]) -> int:
        """The life of a child; its exit code."""
        for file in (self._signals, self._writer, *(child.ready for child in self._children)):
            os.close(file)
        parent = os.getppid()

        def is_ready() -> None:
            end_with_parent()  # a change of user would have undone it
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
            ready()

        try:
            if name == "api":
                run_api(self._serving, self._listening, is_ready)
            else:
                self._listening.close()
                if self._serving.network is not None:
                    enter(self._serving.network)
                run_enforcer(self._serving, is_ready)
        except SystemExit as error:
            return error.code if isinstance(error.code, int) else FAILED
        except Exception as error:
            known = isinstance(error, (ServeError, StateError, StoreError, PrivilegeError, EnforcerUnavailable)) or _is_told(error)
            log.error("the %s ends: %s", name, error, exc_info=None if known else error)
            return FAILED
        finally:
            with suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
        return ENDED

    def _wait(self) -> None:
        waiting = select.poll()
        waiting.register(self._signals, select.POLLIN)
        for child in self._children:
            if not child.was_ready:
                waiting.register(child.ready, select.POLLIN)
        for file, event in waiting.poll(1000):
            if file == self._signals:
                os.read(file, 4096)
            elif event & select.POLLIN:
                for child in self._children:
                    child.was_ready = child.was_ready or child.ready == file

    def _reap(self) -> int | None:
        """Starts again what has ended; the exit code, where that is not to be."""
        for child in tuple(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid:
                continue
            self._children.remove(child)
            os.close(child.ready)
            code = os.waitstatus_to_exitcode(status)
            how = f"with code {code}" if code >= 0 else f"by signal {-code}"
            self._ends.append(time.monotonic())
            too_often = len(self._ends) > RESTARTS and self._ends[-1] - self._ends[0] < RESTARTS_SECONDS
            if not child.was_ready or too_often:
                log.error("the %s ended %s%s: all ends", child.name, how, ", once more" if too_often else " before it was ready")
                return code if code > 0 else FAILED
            log.warning("the %s ended %s: it is started again", child.name, how)
            if child.name == "enforcer":
                self._end("api")
                self._start("enforcer")
            self._start("api")
            return None
        return None

    def _end(self, name: str) -> None:
        for child in [child for child in self._children if child.name == name]:
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGTERM)
            end = time.monotonic() + ENDING_SECONDS
            while not os.waitpid(child.pid, os.WNOHANG)[0]:
                if time.monotonic() > end:
                    os.kill(child.pid, signal.SIGKILL)
                time.sleep(0.02)
            self._children.remove(child)
            os.close(child.ready)


def _is_told(error: Exception) -> bool:
    """Whether the command line would tell it in a line, and not as a bug."""
    from firewall.cli.failures import failure_of  # noqa: PLC0415

    return failure_of(error) is not None
