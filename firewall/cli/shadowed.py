"""What `mantlet check` says of rules that no packet reaches (W0504)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from rules_dsl.diagnostics import Diagnostic
from rules_dsl.protocols import IP_PROTOCOLS

if TYPE_CHECKING:
    from firewall.plan.shadow import Shadow, Shadows, Witness
    from rules_dsl.policy import Policy, Rule

MOST_SHOWN = 3
"""Of the rules that shadow one, so many are shown with their lines."""


def shadowed_rules(policy: Policy, found: Iterable[Diagnostic]) -> Shadows:
    """The shadowed rules of a policy, but for those behind the first of which `found` says (W0502) that nothing reaches it."""
    from firewall.plan.shadow import Shadows, shadows

    end = min((diagnostic.span.start for diagnostic in found if diagnostic.code == "W0502"), default=None)
    told = shadows(policy)
    if end is None:
        return told
    return Shadows(
        tuple(shadow for shadow in told.found if policy.span(shadow.rule).start < end),
        tuple(rule for rule in told.not_told if policy.span(rule).start < end),
    )


def not_told_words(rules: Sequence[Rule]) -> str:
    """Of rules of which it is not known whether they are shadowed."""
    names = [f'"{rule.name}"' for rule in rules[:MOST_SHOWN]]
    if len(rules) > MOST_SHOWN:
        names.append(f"{len(rules) - MOST_SHOWN:,} more")
    listed = " and ".join(name for name in (", ".join(names[:-1]), names[-1]) if name)
    return f"whether a packet reaches {listed} was too much work to find out"


def shadow_diagnostic(policy: Policy, shadow: Shadow) -> Diagnostic:
    shown = shadow.by[:MOST_SHOWN]
    names = [f'"{rule.name}"' for rule in shown]
    if len(shadow.by) > len(shown):
        names.append(f"{len(shadow.by) - len(shown)} more")
    takers = " and ".join(name for name in (", ".join(names[:-1]), names[-1]) if name)
    one = len(shadow.by) == 1
    message = f'no packet reaches the rule "{shadow.rule.name}": {takers} {"takes" if one else "take"} all of its packets'
    label = "takes all of them" if one else "takes some of them"
    related = tuple((policy.span(rule), label) for rule in shown)
    ends = f'{witness_words(shadow.witness)} ends at "{shadow.taker.name}"'
    help = f"{ends}; move the rule up, or remove it"
    return Diagnostic("W0504", message, policy.span(shadow.rule), "never reached", related, help)


def witness_words(witness: Witness) -> str:
    address = IPv4Address if witness.version == 4 else IPv6Address
    source = _end(str(address(witness.source)), witness.source_port)
    destination = _end(str(address(witness.destination)), witness.destination_port)
    return f"{_protocol(witness.protocol)} from {source} to {destination}"


def _end(address: str, port: int | None) -> str:
    return address if port is None else f"{address} port {port}"


def _protocol(number: int | None) -> str:
    if number is None:
        return "a packet without a protocol"
    name = _NAMES.get(number)
    return f"protocol {number}" if name is None else name.upper()


_NAMES = {number: name for name, number in reversed([*IP_PROTOCOLS.items()])}


def shadow_json(shadow: Shadow) -> dict[str, object]:
    witness = shadow.witness
    address = IPv4Address if witness.version == 4 else IPv6Address
    return {
        "rule": shadow.rule.name,
        "by": [rule.name for rule in shadow.by],
        "witness": {
            "source": str(address(witness.source)),
            "destination": str(address(witness.destination)),
            "protocol": witness.protocol,
            "source_port": witness.source_port,
            "destination_port": witness.destination_port,
        },
        "taken_by": shadow.taker.name,
    }
