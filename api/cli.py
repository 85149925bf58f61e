"""The operator's commands: tokens, tenants and the audit log, in the store that the nodes share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import BadInput, Exit, Refused, count, say, say_json, table, warn

if TYPE_CHECKING:
    from api.documents import AuditRecord, Token
    from api.store import Put, Store

DEFAULT_STORE = "/var/lib/mantlet/api.db"
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Seconds of what a duration ends in."""


def register(commands: Commands) -> None:
    _register_token(
        commands.group(
            "token",
            "tokens of the API",
            "A token lets its bearer read (read), change (write), or also see the audit log (admin) of one tenant, or, made with\n"
            "--operator, of them all and of the managed rulesets that tenants execute.",
            "sudo mantlet token create --tenant acme --scope write",
            "sudo mantlet token list",
        )
    )
    audit = commands.add(
        "audit",
        _audit,
        "who changed what, when, from which version to which",
        "Prints the audit log of a tenant, or with --operator what concerns the operator: tenants, tokens, managed rulesets.\n"
        "The newest stand last.",
        "sudo mantlet audit --tenant acme",
        "sudo mantlet audit --operator --limit 20 --format json",
    )
    _add_owner(audit)
    audit.add_argument("--limit", type=_positive, default=100, metavar="N", help="at most so many, the newest (default: %(default)s)")
    _add_store(audit)
    add_format(audit)


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--store",
        default=os.environ.get("MANTLET_STORE", DEFAULT_STORE),
        metavar="URL",
        help=f"where the API keeps its state: a file, or etcd://HOST:PORT/PREFIX (default: $MANTLET_STORE, or {DEFAULT_STORE})",
    )


def _add_owner(parser: argparse.ArgumentParser) -> None:
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


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 1")
    return int(text)


# -- tokens ------------------------------------------------------------------------------------------------------------


def _register_token(commands: Commands) -> None:
    create = commands.add(
        "create",
        _token_create,
        "make a token",
        "Makes a token and prints it. This is the only time that it can be seen: the store has a hash of it.",
        "sudo mantlet token create --tenant acme --scope write --name terraform --expires 90d",
        "sudo mantlet token create --operator --scope read   # for Prometheus",
    )
    _add_owner(create)
    create.add_argument("--scope", choices=("read", "write", "admin"), default="read", help="what it may do (default: %(default)s)")
    create.add_argument("--name", default="", metavar="TEXT", help="what it is for")
    create.add_argument("--expires", type=_duration, metavar="TIME", help="after this long (as in 12h, 90d) it does not count any more")
    _add_store(create)
    add_format(create)

    listed = commands.add(
        "list",
        _token_list,
        "the tokens that there are",
        "Lists tokens, never their secrets. Those that are revoked or expired stay in the list.",
        "sudo mantlet token list",
        "sudo mantlet token list --tenant acme --format json",
    )
    listed.add_argument("--tenant", metavar="ID", help="only this tenant's (- for the operator's)")
    _add_store(listed)
    add_format(listed)

    revoke = commands.add(
        "revoke",
        _token_revoke,
        "end a token",
        "Ends tokens. No node answers them from then on.",
        "sudo mantlet token revoke 6f0c3a9d2b7e4f15",
    )
    revoke.add_argument("token", nargs="+", metavar="ID", help="the token's id: the part after `mantlet_`, up to the next underscore")
    _add_store(revoke)
    add_format(revoke)


def _duration(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"`{text}` is not a time such as 12h or 90d (s, m, h, d)")
    return int(found[1]) * UNITS[found[2]]


def _token_create(options: argparse.Namespace) -> Exit:
    from datetime import UTC, datetime, timedelta

    from api.access.tokens import new_token
    from api.documents import OPERATOR, to_json, token_key
    from api.store import Check, Put

    tenant = OPERATOR if options.operator else options.tenant
    expires = None if options.expires is None else (datetime.now(UTC) + timedelta(seconds=options.expires)).isoformat(timespec="seconds")
    token, text = new_token(tenant, options.scope, name=options.name, expires=expires)
    with opened(options.store) as store:
        there = () if options.operator else (Check(*_revision_of(store, tenant)),)
        store.commit([*there, Put(token_key(token.id), to_json(token), expected=0), _record(tenant, "tokens.create", token.id)])
    if wants_json(options):
        say_json("token create", {"token": text, **_token_json(token)})
    else:
        say(text)
        warn(f"token {token.id} may {token.scope}; it is not shown again")
    return Exit.WELL


def _revision_of(store: Store, tenant: str) -> tuple[str, int]:
    """The key of a tenant, and its revision."""
    from api.documents import tenant_key

    entry = store.get(tenant_key(tenant))
    if entry is None:
        raise BadInput(f"there is no tenant {tenant}", "`mantlet tenant list` lists them, `mantlet tenant create` makes one")
    return entry.key, entry.revision


def _token_list(options: argparse.Namespace) -> Exit:
    from api.documents import Token, from_json, token_key

    with opened(options.store) as store:
        tokens = [from_json(Token, entry.value) for entry in store.list(token_key()).entries]
    tokens = sorted((token for token in tokens if options.tenant in (None, token.tenant)), key=lambda token: (token.tenant, token.created))
    if wants_json(options):
        say_json("token list", {"tokens": [_token_json(token) for token in tokens]})
        return Exit.WELL
    rows = [(token.id, token.tenant, token.scope, _state_of(token), token.created[:19], token.name) for token in tokens]
    say(table(("token", "tenant", "scope", "state", "created", "name"), rows) if rows else "no tokens")
    return Exit.WELL


def _state_of(token: Token) -> str:
    from datetime import UTC, datetime

    from api.access.tokens import counts

    if token.revoked:
        return f"revoked {token.revoked[:19]}"
    if not counts(token, datetime.now(UTC)):
        return "expired"
    return f"until {token.expires[:19]}" if token.expires else "counts"


def _token_json(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "tenant": token.tenant,
        "scope": token.scope,
        "name": token.name,
        "created": token.created,
        "expires": token.expires,
        "revoked": token.revoked,
    }


def _token_revoke(options: argparse.Namespace) -> Exit:
    from dataclasses import replace

    from api.documents import Token, from_json, now, to_json, token_key
    from api.store import Put

    revoked = []
    with opened(options.store) as store:
        for token_id in dict.fromkeys(options.token):
            entry = store.get(token_key(token_id))
            if entry is None or not token_id:
                raise BadInput(f"there is no token {token_id}", "`mantlet token list` lists them")
            token = from_json(Token, entry.value)
            if token.revoked is None:
                token = replace(token, revoked=now())
                store.commit([Put(entry.key, to_json(token), entry.revision), _record(token.tenant, "tokens.revoke", token.id)])
            revoked.append(token)
    if wants_json(options):
        say_json("token revoke", {"tokens": [_token_json(token) for token in revoked]})
    else:
        say(f"revoked {count(len(revoked), 'token')}")
    return Exit.WELL


# -- the audit log -----------------------------------------------------------------------------------------------------


def _record(tenant: str, action: str, changed: str, before: str | None = None, after: str | None = None) -> Put:
    from api.access.audit import put_record
    from api.documents import AuditRecord, new_id, now

    return put_record(AuditRecord(new_id(), now(), tenant, _operator(), action, changed, before, after))


def _operator() -> str:
    """Who runs the command, as the log calls them."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no name for this number
        user = str(os.getuid())
    invoked = os.environ.get("SUDO_USER")
    return f"command line, {user}" + (f" for {invoked}" if invoked else "")


def _audit(options: argparse.Namespace) -> Exit:
    from api.access.audit import newest
    from api.documents import OPERATOR

    with opened(options.store) as store:
        records = newest(store, OPERATOR if options.operator else options.tenant, options.limit)
    if wants_json(options):
        from api.access.audit import record_json

        say_json("audit", {"records": [record_json(record) for record in records]})
        return Exit.WELL
    rows = [(record.time[:19], record.author, record.action, record.object, _versions(record)) for record in records]
    say(table(("time", "who", "what", "object", "version"), rows) if rows else "nothing was changed")
    return Exit.WELL


def _versions(record: AuditRecord) -> str:
    return f"{record.before or '-'} -> {record.after or '-'}" if record.before or record.after else ""
