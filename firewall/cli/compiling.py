"""Commands that show what would run: compile, and explain of a rule file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, add_node, add_policy_file, wants_json
from firewall.cli.console import BadInput, Exit, say, say_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from firewall.plan import Environment
    from rules_dsl.diagnostics import Diagnostic
    from rules_dsl.policy import Policy


def register(commands: Commands) -> None:
    compile_ = commands.add(
        "compile",
        _compile,
        "what would run: the plan, the nftables rules, the eBPF programs",
        "Compiles a rule file and prints the result; the kernel is not asked and nothing is changed.",
        "mantlet compile acme.rules --emit plan   # the stages and why",
        "mantlet compile acme.rules --emit nft    # the nftables rule set",
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
        default=[],
        metavar="INTERFACE=ID",
        help="a VLAN interface and its outermost VLAN id, for vlan.id (may be repeated; default: those of this machine)",
    )


def _compile(options: argparse.Namespace) -> Exit:
    return Exit.WELL
