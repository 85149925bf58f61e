"""Commands about the rules in the kernel: plan, apply, rollback, remove, history, status, counters."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, add_node, add_policy_file, wants_json
from firewall.cli.console import BadInput, Exit, count, paint, say, say_json, table

if TYPE_CHECKING:
    from firewall.changes import Changes
    from firewall.enforce import Change, TenantStatus
    from rules_dsl.policy import Policy, Rule


def register(commands: Commands) -> None:
    plan = commands.add(
        "plan",
        _plan,
        "what `apply` would change",
        "Compares a rule file with the rules of its tenant that are enforced now, rule by rule, by name. Changes nothing.",
        "sudo mantlet plan acme.rules",
        "sudo mantlet plan --check acme.rules   # exits 1 where `apply` would change something",
    )
    add_policy_file(plan)
    plan.add_argument("--check", action="store_true", help="exit 1 where something would change")
    add_node(plan)
    add_format(plan)

    apply = commands.add(
        "apply",
        _apply,
        "enforce a rule file on this machine",
        "Compiles a rule file, builds it in the kernel beside the rules that are enforced for its tenant, and changes over in one\n"
        "transaction: a packet sees the old rules or the new ones. Whatever goes wrong, the old ones stay.",
        "sudo mantlet apply acme.rules",
    )
    add_policy_file(apply)
    add_node(apply)
    add_format(apply)

    rollback = commands.add(
        "rollback",
        _rollback,
        "enforce an earlier revision again",
        "Enforces the revision before the one that is enforced now, or the one given, from what was stored when it was applied.",
        "sudo mantlet rollback acme",
        "sudo mantlet rollback acme --to 3",
    )
    rollback.add_argument("tenant", metavar="TENANT", help="whose rules")
    rollback.add_argument("--to", type=int, metavar="REVISION", help="this revision instead (`mantlet history` lists them)")
    add_format(rollback)

    remove = commands.add(
        "remove",
        _remove,
        "take a tenant's rules out of the kernel",
        "Takes a tenant's rules out of the kernel in one transaction. Its revisions stay stored, so that `rollback` can bring it back.",
        "sudo mantlet remove acme",
    )
    remove.add_argument("tenant", metavar="TENANT", help="whose rules")
    add_format(remove)

    history = commands.add(
        "history",
        _history,
        "the stored revisions of a tenant",
        "Lists the revisions of a tenant's rules that are stored on this machine, the newest first.",
        "sudo mantlet history acme",
    )
    history.add_argument("tenant", metavar="TENANT", help="whose rules")
    add_format(history)

    status = commands.add(
        "status",
        _status,
        "what is enforced",
        "Lists the tenants whose rules are enforced on this machine: the revision, what is protected, how many packets rules matched.",
        "sudo mantlet status",
    )
    add_format(status)

    counters = commands.add(
        "counters",
        _counters,
        "how often each rule matched",
        "Lists packets and bytes that each enforced rule has matched since its name first appeared in the tenant's rules.",
        "sudo mantlet counters",
        "sudo mantlet counters acme --format json",
    )
    counters.add_argument("tenant", nargs="?", metavar="TENANT", help="only this tenant's")
    add_format(counters)


# -- plan --------------------------------------------------------------------------------------------------------------


def _plan(options: argparse.Namespace) -> Exit:
    from firewall.changes import changes
    from firewall.cli.policies import load
    from firewall.plan import Environment, Node, plan
    from firewall.vlan import vlan_interfaces

    policy = load(options)
    plan(policy, Environment(Node(options.node, options.region), vlan_interfaces()))  # raises what `apply` would
    revision, before = _enforced(policy.tenant)
    found = changes(before, policy)
    if wants_json(options):
        say_json("plan", {"tenant": policy.tenant, "enforced": revision, **_changes_json(found)})
    else:
        _say_changes(policy, revision, found)
    return Exit.FINDINGS if options.check and (found or revision is None) else Exit.WELL


def _enforced(tenant: str) -> tuple[int | None, Policy | None]:
    """The revision of a tenant that is enforced, and its policy."""
    from firewall.enforce import status
    from firewall.sources import policy_from
    from firewall.state import State

    for entry in status():
        if entry.tenant == tenant:
            if entry.record is None:
                raise BadInput(
                    f"revision {entry.revision} of {tenant} is enforced, and not stored here: nothing to compare with",
                    "was it applied with another MANTLET_STATE_DIR?",
                )
            return entry.revision, policy_from(*State().sources(tenant, entry.revision))
    return None, None


def _say_changes(policy: Policy, revision: int | None, found: Changes) -> None:
    if revision is None:
        say(f"{policy.tenant}: not enforced; {count(len(policy.rules), 'rule')} would be")
    elif not found:
        say(f"{policy.tenant}: revision {revision} is enforced and says the same")
        return
    else:
        say(f"{policy.tenant}: against revision {revision}")
    for setting in found.settings:
        say(paint(f"  ~ {setting}", "yellow"))
    for rule in found.added:
        say(paint(f"  + {_rule_text(rule)}", "green"))
    for rule in found.removed:
        say(paint(f"  - {_rule_text(rule)}", "red"))
    for change in found.changed:
        say(paint(f"  ~ {_rule_text(change.after)}  ({', '.join(change.what)})", "yellow"))
    for name in found.moved:
        say(paint(f'  > "{name}" moved', "blue"))


def _rule_text(rule: Rule) -> str:
    from rules_dsl.policy import Mode

    mode = "" if rule.mode is Mode.ENABLED else f"{rule.mode.value} "
    return f'{mode}{rule.action.value} "{rule.name}" when {rule.expression}'


def _changes_json(found: Changes) -> dict[str, object]:
    return {
        "added": [rule.name for rule in found.added],
        "removed": [rule.name for rule in found.removed],
        "changed": [{"rule": change.after.name, "what": list(change.what)} for change in found.changed],
        "moved": list(found.moved),
        "settings": list(found.settings),
    }


# -- what changes the kernel -------------------------------------------------------------------------------------------


def _apply(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import require_file
    from firewall.enforce import apply
    from firewall.plan import Node

    require_file(options.file)
    for path in options.geo:
        require_file(path)
    _say_change(options, "apply", apply(options.file, node=Node(options.node, options.region), geo=options.geo))
    return Exit.WELL


def _rollback(options: argparse.Namespace) -> Exit:
    from firewall.enforce import rollback

    _say_change(options, "rollback", rollback(options.tenant, options.to))
    return Exit.WELL


def _remove(options: argparse.Namespace) -> Exit:
    from firewall.enforce import remove

    _say_change(options, "remove", remove(options.tenant))
    return Exit.WELL


def _say_change(options: argparse.Namespace, command: str, change: Change) -> None:
    if wants_json(options):
        say_json(command, asdict(change))
        return
    before = "none was before" if change.before is None else f"revision {change.before} was before"
    now = "no rules are enforced now" if change.after is None else f"revision {change.after} is enforced"
    say(f"{change.tenant}: {now} ({before})")


# -- what stands -------------------------------------------------------------------------------------------------------


def _history(options: argparse.Namespace) -> Exit:
    from firewall.state import State

    state = State()
    revisions = sorted(state.revisions(options.tenant), key=lambda revision: -revision.number)
    if not revisions:
        raise BadInput(f"no revision of tenant {options.tenant} is stored in {state.directory}")
    if wants_json(options):
        say_json("history", {"tenant": options.tenant, "revisions": [asdict(revision) for revision in revisions]})
        return Exit.WELL
    rows = [(str(r.number), r.when, r.who, str(len(r.rules)), r.source) for r in revisions]
    say(table(("REVISION", "WHEN", "WHO", "RULES", "FILE"), rows, right=frozenset((0, 3))))
    return Exit.WELL


def _status(options: argparse.Namespace) -> Exit:
    from firewall.enforce import status

    found = status()
    if wants_json(options):
        say_json("status", {"tenants": [_status_json(entry) for entry in found]})
        return Exit.WELL
    if not found:
        say("no rules are enforced")
        return Exit.WELL
    rows = [
        (
            entry.tenant,
            str(entry.revision),
            str(len(entry.rules)),
            f"{sum(rule.packets for rule in entry.rules):,}",
            entry.record.when if entry.record else "?",
            ", ".join(entry.hooks),
            " ".join(entry.protects),
        )
        for entry in found
    ]
    say(table(("TENANT", "REVISION", "RULES", "MATCHES", "SINCE", "HOOK", "PROTECTS"), rows, right=frozenset((1, 2, 3))))
    for entry in found:
        for each in entry.early:
            how = f"at {each.interface}, {each.mode.value}" if each.mode else f"not at {each.interface}: {each.reason}"
            say(f"{entry.tenant}: early drop {how}")
    return Exit.WELL


def _status_json(entry: TenantStatus) -> dict[str, object]:
    return {
        "tenant": entry.tenant,
        "revision": entry.revision,
        "since": entry.record.when if entry.record else None,
        "who": entry.record.who if entry.record else None,
        "file": entry.record.source if entry.record else None,
        "hooks": list(entry.hooks),
        "protects": list(entry.protects),
        "early_drop": [
            {"interface": each.interface, "mode": each.mode.value if each.mode else None, "reason": each.reason} for each in entry.early
        ],
        "rules": [asdict(rule) for rule in entry.rules],
    }


def _counters(options: argparse.Namespace) -> Exit:
    from firewall.enforce import status

    found = [entry for entry in status() if options.tenant in (None, entry.tenant)]
    if options.tenant is not None and not found:
        raise BadInput(f"no rules of tenant {options.tenant} are enforced")
    if wants_json(options):
        rows = [
            {"tenant": entry.tenant, "rule": rule.name, "packets": rule.packets, "bytes": rule.bytes}
            for entry in found
            for rule in entry.rules
        ]
        say_json("counters", {"counters": rows})
        return Exit.WELL
    if not found:
        say("no rules are enforced")
        return Exit.WELL
    lines = [
        (entry.tenant, f"{rule.packets:,}", f"{rule.bytes:,}", f'{_marked(rule.mode)}{rule.action} "{rule.name}"'.strip())
        for entry in found
        for rule in entry.rules
    ]
    say(table(("TENANT", "PACKETS", "BYTES", "RULE"), lines, right=frozenset((1, 2))))
    return Exit.WELL


def _marked(mode: str) -> str:
    return "" if mode in ("", "enabled") else f"{mode} "
