"""The commands about tenants: created, listed, shown, changed, deleted."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from api.cli.store import add_store, invoker, opened
from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import BadInput, Exit, count, say, say_json, table

if TYPE_CHECKING:
    from api.documents import Tenant
    from api.policy_text import ProtectText
    from api.store import Store

QUOTAS = {
    "rulesets": "rulesets",
    "rules": "rules of all its rulesets together",
    "versions": "versions of a ruleset that are kept",
    "lists": "lists",
    "list_items": "items of all its lists together",
    "expression_characters": "characters of one expression",
    "complexity": "characters of all conditions together, with those of managed rulesets",
}
"""What `api.documents.Quotas` has, and what each bounds; a test holds that these are all."""


def register(commands: Commands) -> None:
    group = commands.group(
        "tenant",
        "tenants, and what each protects",
        "A tenant is an account of the API. What it protects decides which packets its rules see, and no rule of its can see others.\n"
        "Nodes that serve the store take a change up at once.",
        "sudo mantlet tenant create acme --protect 203.0.113.0/24",
        "sudo mantlet tenant list",
    )
    create = group.add(
        "create",
        _tenant_create,
        "make a tenant",
        "Makes a tenant, which protects what is said: packets to prefixes, packets that come by interfaces, packets with marks, each of\n"
        "them. Refused where another tenant protects some of it.",
        "sudo mantlet tenant create acme --protect 203.0.113.0/24 --protect 2001:db8:1::/48",
        "sudo mantlet tenant create lab --protect 198.51.100.0/24 --interface eth1 --hook forward --quota rules=5000",
    )
    create.add_argument("id", metavar="ID", help="its account id: a letter or digit, then letters, digits, `_` and `-`, 32 at most")
    _add_protect(create)
    add_store(create)
    add_format(create)

    listed = group.add(
        "list", _tenant_list, "the tenants that there are", "Lists tenants and what each protects.", "sudo mantlet tenant list"
    )
    add_store(listed)
    add_format(listed)

    show = group.add(
        "show",
        _tenant_show,
        "a tenant",
        "Shows what a tenant protects, its quotas, and what it uses of them.",
        "sudo mantlet tenant show acme",
    )
    show.add_argument("id", metavar="ID", help="its account id")
    add_store(show)
    add_format(show)

    change = group.add(
        "set",
        _tenant_set,
        "change what a tenant protects, or its quotas",
        "Changes a tenant. What is not said stays; of what it protects, all is said anew or nothing.",
        "sudo mantlet tenant set acme --protect 203.0.113.0/24 --protect 198.51.100.0/25",
        "sudo mantlet tenant set acme --quota rules=10000 --quota list_items=100000",
        "sudo mantlet tenant set acme --early-drop eth0",
    )
    change.add_argument("id", metavar="ID", help="its account id")
    _add_protect(change)
    add_store(change)
    add_format(change)

    delete = group.add(
        "delete",
        _tenant_delete,
        "take a tenant away",
        "Deletes a tenant with its rulesets, lists and tokens, and takes its rules out of the kernel of every node. Its audit log stays.",
        "sudo mantlet tenant delete acme --yes",
    )
    delete.add_argument("id", metavar="ID", help="its account id")
    delete.add_argument("--yes", action="store_true", help="do it; without this it is only said what would be deleted")
    add_store(delete)
    add_format(delete)


def _add_protect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protect", action="append", default=[], metavar="PREFIX", help="packets to these addresses, IPv4 or IPv6; may be repeated"
    )
    parser.add_argument("--interface", action="append", default=[], metavar="NAME", help="packets that come by it; may be repeated")
    parser.add_argument("--mark", action="append", default=[], type=_mark, metavar="N", help="packets with this mark; may be repeated")
    parser.add_argument(
        "--hook", choices=("prerouting", "forward", "input", "output"), help="where its rules see packets (default: prerouting)"
    )
    parser.add_argument(
        "--early-drop", action="append", metavar="NAME", help="an interface where what the first rules block is dropped by XDP, as it is\n"
        "received; may be repeated, '' for none"
    )  # fmt: skip
    parser.add_argument(
        "--quota", action="append", default=[], type=_quota, metavar="NAME=N", help=f"a bound: {', '.join(QUOTAS)}; may be repeated"
    )


def _mark(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number") from None


def _quota(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if name not in QUOTAS or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=NUMBER with one of {', '.join(QUOTAS)}")
    return name, int(number)


@contextmanager
def _tenant_errors() -> Iterator[None]:
    """What the operator asked for wrongly, as bad input."""
    from api.tenants import TenantError

    try:
        yield
    except TenantError as error:
        raise BadInput(str(error)) from error


def _protect_of(options: argparse.Namespace) -> ProtectText | None:
    from api.policy_text import ProtectText

    found = ProtectText(tuple(options.protect), tuple(options.interface), tuple(options.mark))
    return None if found == ProtectText() else found


def _early_drop_of(options: argparse.Namespace) -> tuple[str, ...] | None:
    """None where nothing is said of it."""
    return None if options.early_drop is None else tuple(dict.fromkeys(name for name in options.early_drop if name))


def _tenant_create(options: argparse.Namespace) -> Exit:
    from dataclasses import replace

    from api import tenants
    from api.documents import Quotas
    from rules_dsl.policy import Hook

    protect = _protect_of(options)
    if protect is None:
        raise BadInput("a tenant protects something", "say what with --protect, --interface or --mark")
    quotas = replace(Quotas(), **dict(options.quota))
    hook = Hook(options.hook or "prerouting")
    with opened(options.store) as store, _tenant_errors():
        made = tenants.create(store, options.id, protect, invoker(), hook=hook, quotas=quotas, early_drop=_early_drop_of(options) or ())
    return _say_tenant(options, "tenant create", made)


def _tenant_set(options: argparse.Namespace) -> Exit:
    from dataclasses import replace

    from api import tenants
    from rules_dsl.policy import Hook

    protect, hook = _protect_of(options), Hook(options.hook) if options.hook else None
    early_drop = _early_drop_of(options)
    if protect is None and hook is None and early_drop is None and not options.quota:
        raise BadInput("nothing is said to be changed", "say it with --protect, --interface, --mark, --hook, --early-drop or --quota")
    with opened(options.store) as store, _tenant_errors():
        quotas = replace(tenants.tenant(store, options.id).quotas, **dict(options.quota)) if options.quota else None
        changed = tenants.change(store, options.id, invoker(), protect=protect, hook=hook, quotas=quotas, early_drop=early_drop)
    return _say_tenant(options, "tenant set", changed)


def _say_tenant(options: argparse.Namespace, command: str, found: Tenant) -> Exit:
    if wants_json(options):
        say_json(command, {"tenant": _tenant_json(found)})
    else:
        say(f"{found.id} protects {_protects(found)}")
    return Exit.WELL


def _tenant_json(found: Tenant) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(found) | {"hook": found.hook.value}


def _protects(found: Tenant) -> str:
    protect = found.protect
    parts = [*protect.prefixes, *(f"interface {name}" for name in protect.interfaces), *(f"mark {mark:#x}" for mark in protect.marks)]
    return ", ".join(parts)


def _tenant_list(options: argparse.Namespace) -> Exit:
    from api import tenants

    with opened(options.store) as store:
        found = tenants.tenants(store)
    if wants_json(options):
        say_json("tenant list", {"tenants": [_tenant_json(each) for each in found]})
        return Exit.WELL
    rows = [(each.id, each.hook.value, each.created[:19], _protects(each)) for each in found]
    say(table(("tenant", "hook", "created", "protects"), rows) if rows else "no tenants")
    return Exit.WELL


def _tenant_show(options: argparse.Namespace) -> Exit:
    from api import tenants

    with opened(options.store) as store, _tenant_errors():
        found = tenants.tenant(store, options.id)
        used = _used(store, options.id)
    if wants_json(options):
        say_json("tenant show", {"tenant": _tenant_json(found), "used": used})
        return Exit.WELL
    early = f", early drop at {', '.join(found.early_drop)}" if found.early_drop else ""
    say(f"{found.id} protects {_protects(found)}, at {found.hook.value}{early}, since {found.created[:19]}")
    rows = [(about, f"{used[name]:,}" if name in used else "", f"{getattr(found.quotas, name):,}") for name, about in QUOTAS.items()]
    say(table(("at most", "there are", "there may be"), rows, right=frozenset({1, 2})))
    return Exit.WELL


def _used(store: Store, name: str) -> dict[str, int]:
    from api.documents import List, Ruleset, from_json, lists_key, rulesets_key

    rulesets = [from_json(Ruleset, entry.value) for entry in store.list(rulesets_key(name)).entries]
    lists = [from_json(List, entry.value) for entry in store.list(lists_key(name)).entries]
    return {
        "rulesets": len(rulesets),
        "rules": sum(len(ruleset.rules) for ruleset in rulesets),
        "lists": len(lists),
        "list_items": sum(each.num_items for each in lists),
    }


def _tenant_delete(options: argparse.Namespace) -> Exit:
    from api import tenants

    with opened(options.store) as store, _tenant_errors():
        tenants.tenant(store, options.id)
        used = _used(store, options.id)
        if options.yes:
            tenants.delete(store, options.id, invoker())
    if wants_json(options):
        say_json("tenant delete", {"tenant": options.id, "deleted": options.yes, "used": used})
    else:
        what = f"{options.id} with {count(used['rulesets'], 'ruleset')}, {count(used['rules'], 'rule')}, {count(used['lists'], 'list')}"
        say(f"deleted {what}" if options.yes else f"would delete {what}; --yes does it")
    return Exit.WELL if options.yes else Exit.FINDINGS
