"""Commands that show what would run: compile, and explain of a rule file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, add_node, add_policy_file, wants_json
from firewall.cli.console import Exit, count, say, say_json

if TYPE_CHECKING:
    from firewall.plan import Environment
    from rules_dsl.diagnostics import Diagnostic
    from rules_dsl.policy import Policy

REVISION_SHOWN = 1
"""The revision that the names of a compiled generation carry when nothing is enforced."""


def register(commands: Commands) -> None:
    compile_ = commands.add(
        "compile",
        _compile,
        "what would run: the plan, the nftables rules, the eBPF programs",
        "Compiles a rule file and prints the result; the kernel is not asked and nothing is changed.",
        "mantlet compile acme.rules --emit plan   # the stages and why",
        "mantlet compile acme.rules --emit nft    # the nftables rules",
        "mantlet compile acme.rules --emit bpf    # the eBPF programs, with rule names",
    )
    add_policy_file(compile_)
    compile_.add_argument("--emit", choices=("plan", "nft", "bpf"), default="plan", help="what to print (default: plan)")
    add_node(compile_)
    add_vlan(compile_)
    add_format(compile_)


def add_vlan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vlan",
        action="append",
        type=_vlan,
        metavar="INTERFACE=ID",
        help="a VLAN interface and its outermost VLAN id, for vlan.id; may be repeated (default: those of this machine)",
    )


def _vlan(text: str) -> tuple[str, int]:
    name, _, number = text.rpartition("=")
    if not name or not number.isdecimal() or int(number) > 4095:
        raise argparse.ArgumentTypeError(f"`{text}` is not INTERFACE=ID, such as eth0.10=10")
    return name, int(number)


def environment(options: argparse.Namespace) -> Environment:
    """What the command says of the place: the node, and the VLAN interfaces given or else this machine's."""
    from firewall.plan import Environment, Node
    from firewall.vlan import vlan_interfaces

    given = dict(options.vlan) if options.vlan is not None else vlan_interfaces()
    return Environment(Node(options.node, options.region), given)


def _compile(options: argparse.Namespace) -> Exit:
    from firewall.cli.plans import nft_lines, plan_json, plan_lines
    from firewall.cli.policies import load
    from firewall.plan import plan
    from firewall.render import render

    policy = load(options)
    planned = plan(policy, environment(options))
    head: dict[str, object] = {"file": str(options.file), "tenant": policy.tenant, "emit": options.emit}
    if options.emit == "plan":
        if wants_json(options):
            say_json("compile", {**head, "classes": plan_json(planned)})
        else:
            say("\n".join(plan_lines(planned)).rstrip())
        return Exit.WELL
    generation = render(planned, REVISION_SHOWN)
    if options.emit == "nft":
        text = "\n".join(nft_lines(generation))
        if wants_json(options):
            say_json("compile", {**head, "nft": text})
        else:
            say(text)
        return Exit.WELL
    users: dict[str, list[str]] = {name: [] for name in generation.programs}
    for match in generation.matches:
        if match.program is not None and match.rule_name not in users[match.program.name]:
            users[match.program.name].append(match.rule_name)
    programs = dict(generation.programs)
    if generation.early is not None:
        for image in generation.early.programs.values():
            programs[image.name], users[image.name] = image, [*generation.early.counted]
    if wants_json(options):
        shown = [{"name": name, "rules": users[name], "text": image.disassemble()} for name, image in programs.items()]
        say_json("compile", {**head, "programs": shown})
    elif not users:
        say("no rule needs eBPF")
    for name, image in programs.items() if not wants_json(options) else ():
        named = ", ".join(f'"{rule}"' for rule in users[name])
        say(f"# program {name}, for {'rule' if len(users[name]) == 1 else 'rules'} {named}")
        say(image.disassemble().rstrip())
        say()
    return Exit.WELL


def enforcement_findings(policy: Policy) -> tuple[Diagnostic, ...]:
    """What of a right policy cannot be enforced by this version."""
    from firewall.plan import Environment, plan
    from rules_dsl.diagnostics import DiagnosticError

    try:
        plan(policy, Environment())
    except DiagnosticError as error:
        return error.diagnostics
    return ()


def explain_policy(options: argparse.Namespace, path: Path) -> Exit:
    """`mantlet explain FILE`."""
    from firewall.changes import protect_words
    from firewall.cli.plans import bounds_json, early_json, explained, plan_json
    from firewall.cli.policies import load
    from firewall.plan import Environment, plan
    from firewall.render import render
    from firewall.vlan import vlan_interfaces

    policy = load(options, path)
    planned = plan(policy, Environment(vlan_interfaces=vlan_interfaces()))
    generation = render(planned, REVISION_SHOWN)
    if wants_json(options):
        shown = {"file": str(path), "tenant": policy.tenant, "classes": plan_json(planned), "programs": bounds_json(generation)}
        say_json("explain", {**shown, "early_drop": early_json(planned)})
        return Exit.WELL
    protected = " ".join(protect_words(policy.protect)) or "all packets"
    say(f"{policy.tenant}: {count(len(policy.rules), 'rule')} at {policy.hook.value}, for {protected}")
    say()
    for line in explained(planned, generation):
        say(line)
    return Exit.WELL
