"""How a group adds its commands to the parser, and the arguments that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.console import Exit

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

Run = Callable[[argparse.Namespace], Exit]


class Commands:
    """The commands of the parser, as the groups add them."""

    def __init__(self, subparsers: Subparsers) -> None:
        self._subparsers = subparsers

    def add(self, name: str, run: Run, summary: str, description: str, *examples: str) -> argparse.ArgumentParser:
        """A command: its one-line summary, what it does, and example calls with what they do (`CALL  # WHAT`)."""
        parser = self._parser(name, summary, description, examples)
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        parser.set_defaults(run=run)
        return parser

    def group(self, name: str, summary: str, description: str, *examples: str) -> Commands:
        """A command that has commands of its own, which are added to what is returned."""
        parser = self._parser(name, summary, description, examples)
        return Commands(parser.add_subparsers(title="commands", metavar="COMMAND", dest=f"{name}_command", required=True))

    def _parser(self, name: str, summary: str, description: str, examples: tuple[str, ...]) -> argparse.ArgumentParser:
        return self._subparsers.add_parser(
            name,
            help=summary,
            description=description,
            epilog="examples:\n" + "\n".join(f"  {example}" for example in examples) if examples else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )


def add_format(parser: argparse.ArgumentParser, *choices: str) -> None:
    """`--format`, the first choice (text) being the default."""
    offered = choices or ("text", "json")
    parser.add_argument("--format", choices=offered, default=offered[0], help=f"what to print (default: {offered[0]})")


def add_policy_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a rule file")
    add_geo(parser)


def add_geo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--geo",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="countries and AS numbers of networks, for country and asnum fields: an MMDB, a registry's delegated statistics, or CSV "
        "(network,country,asn); may be repeated, and what an earlier file says goes before",
    )


def add_node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", default="", metavar="NAME", help="this node's name (cf.colo.name)")
    parser.add_argument("--region", default="", metavar="NAME", help="this node's region (cf.colo.region)")


def wants_json(options: argparse.Namespace) -> bool:
    return bool(options.format == "json")
