"""The command audit: who changed what."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from api.cli.store import add_owner, add_store, opened, positive
from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, say, say_json, table

if TYPE_CHECKING:
    from api.documents import AuditRecord


def register(commands: Commands) -> None:
    audit = commands.add(
        "audit",
        _audit,
        "who changed what, when, from which version to which",
        "Prints the audit log of a tenant, or with --operator what concerns the operator: tenants, tokens, managed rulesets.\n"
        "The newest stand last.",
        "sudo mantlet audit --tenant acme",
        "sudo mantlet audit --operator --limit 20 --format json",
    )
    add_owner(audit)
    audit.add_argument("--limit", type=positive, default=100, metavar="N", help="at most so many, the newest (default: %(default)s)")
    add_store(audit)
    add_format(audit)


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
