"""The command serve: the API with its enforcer."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path

from api.cli.store import add_store, positive
from firewall.cli.commands import Commands, add_geo
from firewall.cli.console import Exit, Refused


def register(commands: Commands) -> None:
    serve = commands.add(
        "serve",
        _serve,
        "the REST API with its enforcer",
        "Starts two processes: the enforcer, which is root with the few capabilities that changing the kernel takes, and the API, which\n"
        "runs as a user of its own without any. The API listens once the stored rules are in force. Either is started again when it\n"
        "dies; SIGTERM ends both. The rules stay in force in the kernel. With TLS the key is read before the API changes its user.",
        "sudo mantlet serve --demo",
        "sudo mantlet serve",
        "sudo mantlet serve --listen 0.0.0.0:443 --ssl-certfile cert.pem --ssl-keyfile key.pem",
        "sudo mantlet serve --enforcer-only   # and, as the user mantlet: mantlet serve --api-only",
    )
    serve.add_argument(
        "--listen", type=_address, default=("127.0.0.1", 8080), metavar="HOST:PORT", help="where the API listens (default: 127.0.0.1:8080)"
    )
    add_store(serve)
    add_geo(serve)
    serve.add_argument("--node", default=socket.gethostname(), metavar="NAME", help="this node's name (default: the host's)")
    serve.add_argument("--region", default="", metavar="NAME", help="this node's region (cf.colo.region)")
    serve.add_argument("--user", metavar="NAME", help="who the API runs as, a name or a number (default: mantlet)")
    serve.add_argument("--ssl-certfile", type=Path, metavar="FILE", help="the certificate, and with it TLS")
    serve.add_argument("--ssl-keyfile", type=Path, metavar="FILE", help="its key, where it is in another file")
    serve.add_argument(
        "--forwarded-allow-ips", metavar="ADDRESSES", help="proxies whose X-Forwarded-For is believed, with commas between (default: none)"
    )
    serve.add_argument("--rate", type=positive, default=200, metavar="N", help="requests a second of each token (default: %(default)s)")
    serve.add_argument("--body-limit", type=positive, default=16, metavar="MIB", help="of a request's body (default: %(default)s MiB)")
    serve.add_argument(
        "--capture-limit",
        type=positive,
        default=64,
        metavar="MIB",
        help="of a capture that is sent to be replayed (default: %(default)s MiB)",
    )
    serve.add_argument(
        "--audit-days",
        type=positive,
        default=400,
        metavar="N",
        help="how long a record of the audit log is kept (default: %(default)s days)",
    )
    serve.add_argument("--open-metrics", action="store_true", help="answer /metrics without a token to clients on loopback")
    one = serve.add_mutually_exclusive_group()
    one.add_argument("--enforcer-only", action="store_true", help="only the enforcer, at the socket")
    one.add_argument("--api-only", action="store_true", help="only the API, with an enforcer at the socket")
    one.add_argument(
        "--demo",
        action="store_true",
        help="with a tenant, a token and a web server that its rules guard in a network namespace; nothing of it stays, and nothing else "
        "is touched",
    )
    serve.add_argument(
        "--enforcer",
        type=Path,
        metavar="SOCKET",
        help="the enforcer's socket (default: /run/mantlet/enforcer.sock)",
    )
    serve.set_defaults(store=None)  # so that the demo can tell
    serve.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(default: %(default)s)")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"`{text}` is not HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080")
    return host.strip("[]"), int(port)


def _serve(options: argparse.Namespace) -> Exit:
    import logging

    from api.privileges import ONE_THREAD, PrivilegeError

    os.environ |= dict.fromkeys(ONE_THREAD, "1")  # capabilities are each thread's own to give up
    from api.serve import ServeError, serve

    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return Exit(serve(options))
    except (ServeError, PrivilegeError) as error:
        raise Refused(str(error), *getattr(error, "help", ())) from error
