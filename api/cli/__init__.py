"""The commands that the API adds to `mantlet`, a file for each group."""

from api.cli.audit import register as add_audit
from api.cli.bench import register as add_bench
from api.cli.serve import register as add_serve
from api.cli.tenants import register as add_tenants
from api.cli.tokens import register as add_tokens
from firewall.cli.commands import Commands


def register(commands: Commands) -> None:
    """The entry point of the group `mantlet.commands`."""
    for add in (add_serve, add_tenants, add_tokens, add_audit, add_bench):
        add(commands)
