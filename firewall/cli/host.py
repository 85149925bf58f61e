"""Commands about the machine: doctor, bench."""

from __future__ import annotations

import argparse

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, Refused, count, paint, say, say_json


def register(commands: Commands) -> None:
    doctor = commands.add(
        "doctor",
        _doctor,
        "what this machine lacks, and how to get it",
        "Looks at everything that enforcement and replay need, says what is missing and the command that mends it, and lists what a\n"
        "killed `apply` left in the kernel. Exits 3 where something needed is missing.",
        "sudo mantlet doctor",
        "sudo mantlet doctor --sweep   # removes what was left behind",
    )
    doctor.add_argument("--sweep", action="store_true", help="remove what no enforced rule needs: chains, sets, counters, pins")
    add_format(doctor)


COLOUR = {"ok": "green", "missing": "red", "optional": "yellow"}


def _doctor(options: argparse.Namespace) -> Exit:
    from firewall.doctor import State, examine

    findings = list(examine())
    missing = sum(finding.state is State.MISSING for finding in findings)
    left = _sweep() if options.sweep and not missing else ()
    if options.sweep and missing:
        raise Refused("nothing swept: this machine lacks what it takes", "`mantlet doctor` says what")
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
        say(f"swept {name}")
    if missing:
        say(f"{count(missing, 'thing')} missing: no rule can be enforced here, and replays must use --engine reference")
    return Exit.REFUSED if missing else Exit.WELL


def _sweep() -> tuple[str, ...]:
    from firewall.kernel import Kernel

    with Kernel() as kernel:
        swept = kernel.sweep()
    return (*swept.chains, *swept.sets, *swept.counters, *swept.pins)
