"""The command doctor."""

from __future__ import annotations

import argparse

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, count, paint, say, say_json


def register(commands: Commands) -> None:
    doctor = commands.add(
        "doctor",
        _doctor,
        "what this machine lacks, and how to get it",
        "Looks at everything that enforcement and replay need, and says what is missing and the command that mends it. Where nothing\n"
        "is missing it also removes what a killed `apply` left behind: chains, sets, counters and pins that no enforced rule needs.\n"
        "Exits 3 where something needed is missing.",
        "sudo mantlet doctor",
    )
    add_format(doctor)


COLOUR = {"ok": "green", "missing": "red", "optional": "yellow"}


def _doctor(options: argparse.Namespace) -> Exit:
    from firewall.doctor import State, examine

    findings = list(examine())
    missing = sum(finding.state is State.MISSING for finding in findings)
    left = () if missing else _sweep()
    if wants_json(options):
        rows = [{"name": f.name, "state": f.state.value, "detail": f.detail, "mend": f.mend or None} for f in findings]
        say_json("doctor", {"findings": rows, "missing": missing, "swept": list(left)})
        return Exit.REFUSED if missing else Exit.WELL
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        say(f"{paint(finding.state.value.ljust(8), COLOUR[finding.state.value])}  {finding.name.ljust(width)}  {finding.detail}")
        if finding.mend:
            say(f"{' ' * (width + 12)}-> {finding.mend}")
    for name in left:
        say(f"removed {name}, which nothing needed")
    if missing:
        say(f"{count(missing, 'thing')} missing: no rule can be enforced here, and replays must use --engine reference")
    return Exit.REFUSED if missing else Exit.WELL


def _sweep() -> tuple[str, ...]:
    """What a killed change left, now removed, by name."""
    from firewall.enforce import sweep

    swept, stored = sweep()
    return (*swept.chains, *swept.sets, *swept.counters, *swept.pins, *stored)
