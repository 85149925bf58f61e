"""The commands about tokens: created, listed, revoked."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from api.cli.store import add_owner, add_store, opened, record
from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import BadInput, Exit, count, say, say_json, table, warn

if TYPE_CHECKING:
    from api.documents import Token
    from api.store import Store

UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Seconds of what a duration ends in."""


def register(commands: Commands) -> None:
    group = commands.group(
        "token",
        "tokens of the API",
        "A token lets its bearer read (read), change (write), or also see the audit log (admin) of one tenant, or, made with\n"
        "--operator, of them all and of the managed rulesets that tenants execute.",
        "sudo mantlet token create --tenant acme --scope write",
        "sudo mantlet token list",
    )
    create = group.add(
        "create",
        _token_create,
        "make a token",
        "Makes a token and prints it. This is the only time that it can be seen: the store has a hash of it.",
        "sudo mantlet token create --tenant acme --scope write --name terraform --expires 90d",
        "sudo mantlet token create --operator --scope read   # for Prometheus",
    )
    add_owner(create)
    create.add_argument("--scope", choices=("read", "write", "admin"), default="read", help="what it may do (default: %(default)s)")
    create.add_argument("--name", default="", metavar="TEXT", help="what it is for")
    create.add_argument("--expires", type=_duration, metavar="TIME", help="after this long (as in 12h, 90d) it does not count any more")
    add_store(create)
    add_format(create)

    listed = group.add(
        "list",
        _token_list,
        "the tokens that there are",
        "Lists tokens, never their secrets. Those that are revoked or expired stay in the list.",
        "sudo mantlet token list",
        "sudo mantlet token list --tenant acme --format json",
    )
    listed.add_argument("--tenant", metavar="ID", help="only this tenant's (- for the operator's)")
    add_store(listed)
    add_format(listed)

    revoke = group.add(
        "revoke",
        _token_revoke,
        "end a token",
        "Ends tokens. No node answers them from then on.",
        "sudo mantlet token revoke 6f0c3a9d2b7e4f15",
    )
    revoke.add_argument("token", nargs="+", metavar="ID", help="the token's id: the part after `mantlet_`, up to the next underscore")
    add_store(revoke)
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
        store.commit([*there, Put(token_key(token.id), to_json(token), expected=0), record(tenant, "tokens.create", token.id)])
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
                store.commit([Put(entry.key, to_json(token), entry.revision), record(token.tenant, "tokens.revoke", token.id)])
            revoked.append(token)
    if wants_json(options):
        say_json("token revoke", {"tokens": [_token_json(token) for token in revoked]})
    else:
        say(f"revoked {count(len(revoked), 'token')}")
    return Exit.WELL
