"""What a change of one rule takes in a process that goes on, as the API's does: from the text to rules that are enforced."""

from __future__ import annotations

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
            started = time.perf_counter()
            policy = parse_policy(text)
            kernel.install(render(plan(policy, Environment()), revision, remembered=remembered, base=kernel.contents(policy.tenant)))
            took.append(time.perf_counter() - started)
    return took[WARMING:]
