"""What the operator's commands share: the store, whose it is, and the records of the audit log."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.settings import USUAL_STATE, usual_store
from firewall.cli.console import Refused

if TYPE_CHECKING:
    from api.store import Put, Store


def add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        default=usual_store(),
        metavar="URL",
        help="where the API keeps its state: a file, or etcd://HOST:PORT/PREFIX (default: $MANTLET_STORE, or api/store.db in "
        f"$MANTLET_STATE_DIR, or {USUAL_STATE}/api/store.db)",
    )


def add_owner(parser: argparse.ArgumentParser) -> None:
    owner = parser.add_mutually_exclusive_group(required=True)
    owner.add_argument("--tenant", metavar="ID", help="of this tenant")
    owner.add_argument("--operator", action="store_true", help="of the operator")


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """The store, whose faults are the environment's."""
    from api.store import ConflictError, StoreError, open_store

    try:
        with open_store(url) as store:
            yield store
    except StoreError as error:
        raise Refused(str(error)) from error
    except ConflictError as error:
        raise Refused("someone else changed the same at the same time", "run the command again") from error


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 1")
    return int(text)


def record(tenant: str, action: str, changed: str, before: str | None = None, after: str | None = None) -> Put:
    from api.access.audit import put_record
    from api.documents import AuditRecord, new_id, now

    return put_record(AuditRecord(new_id(), now(), tenant, invoker(), action, changed, before, after))


def invoker() -> str:
    """Who runs the command, as the log calls them."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this number
        user = str(os.getuid())
    invoked = os.environ.get("SUDO_USER")
    return f"command line, {user}" + (f" for {invoked}" if invoked else "")
