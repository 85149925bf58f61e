"""Rules as they are enforced, with nothing that observes them: what they count, and how many packets they let through."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from bpf.traffic import trace
from firewall import nft
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from rules_dsl.policy import Action, Policy

_INTERFACE: Final = "exact0"
_SET_UP: Final = (
    f"ip link add {_INTERFACE} type veth peer name exact1",
    f"ip link set {_INTERFACE} addrgenmode none up",
    "ip link set exact1 addrgenmode none up",
)
"""Without addresses, of which the kernel would speak."""
_HELD: Final = 96
"""Bytes of the longest packet."""
_BEHIND: Final = """table inet behind {
 counter passed {}
 chain last { type filter hook prerouting priority -100; iifname "exact0" counter name passed drop; drop; }
}"""


def counted(policy: Policy, generation: Generation, packets: Sequence[bytes], expected: Sequence[bytes]) -> None:
    """Each rule counts the packets, and their bytes, of which the reports tell, and those pass that are allowed."""
    numbers: Counter[str] = Counter()
    octets: Counter[str] = Counter()
    passed = 0
    for data, report in zip(packets, expected, strict=True):
        *before, last = report.split(b"\0")[:-1]
        for number in before if last == b"default" else (*before, last):
            name = policy.rules[int(number)].name
            numbers[name] += 1
            octets[name] += len(data)
        action = policy.default if last == b"default" else policy.rules[int(last)].action
        passed += action is Action.ALLOW
    with Namespace() as namespace:
        found, let_through = namespace.call(_send, policy.tenant, generation, packets)
    assert {name: count for name, count in found.items() if count[0]} == {name: (numbers[name], octets[name]) for name in numbers}
    assert set(found) == {rule.name for rule in policy.active_rules}
    assert let_through == passed


def _send(tenant: str, generation: Generation, packets: Sequence[bytes]) -> tuple[dict[str, tuple[int, int]], int]:
    for command in _SET_UP:
        subprocess.run(command.split(), check=True, capture_output=True)
    nft.run(_BEHIND)
    with Kernel() as kernel:
        kernel.install(generation)
        before = _totals(kernel, tenant)
        with closing(trace(_INTERFACE, packets, held=_HELD)) as traffic:
            traffic.send(len(packets))
        after = _totals(kernel, tenant)
        listed = nft.listing_json("list counter inet behind passed")["nftables"]
        (passed,) = (entry["counter"]["packets"] for entry in listed if "counter" in entry)
        kernel.remove(tenant)
    return {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}, passed


def _totals(kernel: Kernel, tenant: str) -> dict[str, tuple[int, int]]:
    return {counter.comment: (counter.packets, counter.bytes) for counter in kernel.counters(tenant)}
