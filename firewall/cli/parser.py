"""The argument parser: the groups of commands in the order of the help."""

from __future__ import annotations

import argparse
import importlib.metadata

from firewall.cli.benchmarks import register as add_benchmarks
from firewall.cli.commands import Commands
from firewall.cli.compiling import register as add_compiling
from firewall.cli.enforcing import register as add_enforcing
from firewall.cli.host import register as add_host
from firewall.cli.language import register as add_language
from firewall.cli.replaying import register as add_replaying

GROUPS = (add_language, add_compiling, add_replaying, add_enforcing, add_host, add_benchmarks)
"""In the order of the help."""
FURTHER = "mantlet.commands"
"""The entry points of packages that add commands: each a function like those of GROUPS."""


def build_parser() -> argparse.ArgumentParser:
    """The whole parser. Building it imports nothing but argparse and the command groups."""
    parser = argparse.ArgumentParser(
        prog="mantlet",
        description="A programmable packet firewall for Linux: Wireshark-like rules, enforced by nftables and eBPF.",
        epilog="exit codes: 0 well, 1 findings or failed tests, 2 bad input or usage, 3 the kernel or the environment refused",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mantlet {importlib.metadata.version('mantlet')}")
    parser.add_argument("--debug", action="store_true", help="show the trace of an unexpected error")
    commands = Commands(parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True))
    for add in GROUPS:
        add(commands)
    for point in sorted(importlib.metadata.entry_points(group=FURTHER), key=lambda point: point.name):
        point.load()(commands)
    return parser
