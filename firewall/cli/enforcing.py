"""Stands in until its libraries do."""

from firewall.cli.commands import Commands


def register(commands: Commands) -> None:
    return
