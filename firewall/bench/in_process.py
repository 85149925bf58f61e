"""What a change of one rule takes in a process that goes on, as the API's does: from the text to rules that are enforced. Clearing away
the generation before comes after that, and is not counted; nor is what Python's collector of garbage takes, which rests meanwhile there
too."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable

from firewall.kernel import Kernel
from firewall.plan import Environment, plan
from firewall.remembered import Remembered
from firewall.render import render
from rules_dsl import parse_policy

WARMING = 3
"""Texts that are not measured: of the first nothing is known yet, and the next make both sides of what is changed by turns."""


def changes(texts: Iterable[str]) -> list[float]:
    """Enforces rule files one after the other, in the calling thread's network namespace. Seconds of each, but for the first ones."""
    took = []
    remembered = Remembered()
    with Kernel() as kernel:
        first = 1 + max((entry.revision for entry in kernel.enforced().values()), default=0)
        for revision, text in enumerate(texts, first):
            gc.disable()
            started = time.perf_counter()
            policy = parse_policy(text)
            generation = render(plan(policy, Environment()), revision, remembered=remembered, base=kernel.contents(policy.tenant))
            kernel.prepare(generation)
            kernel.flip(generation)
            took.append(time.perf_counter() - started)
            gc.enable()
            kernel.sweep()
    return took[WARMING:]
