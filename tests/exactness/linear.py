"""The same rules as plain nftables, a line each, written from what was drawn: neither the language nor the plan has a part in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from exactness.rule_sets import TENANT, Asked, HeaderRule

from firewall.generation import TABLE, Generation, prefix_of
from rules_dsl.policy import Hook, Protect

_VERDICTS: Final = {"allow": "accept", "block": "drop", "reject": "drop"}
_LATER: Final = {4: "@nh,48,16 & 0x1fff != 0", 6: "frag frag-off 1-8191"}
"""nft takes the data of later fragments for ports."""


def generation(rules: Sequence[HeaderRule], group: int) -> Generation:
    """Each rule logs its number to the group; of a `reject` the packet is dropped."""
    prefix = prefix_of(TENANT, 1)
    chains = {4: f"{prefix}.entry", 6: f"{prefix}.entry6"}
    lines = [f"add chain inet {TABLE} {name}{suffix}" for name in chains.values() for suffix in ("", ".later")]
    for version, name in chains.items():
        lines.append(f"add rule inet {TABLE} {name} {_LATER[version]} goto {name}.later")
        for suffix in ("", ".later"):
            for number, rule in enumerate(rules):
                words = _words(rule, version, has_ports=not suffix)
                if words is not None:
                    end = f'log prefix "{number}" group {group} {_VERDICTS.get(rule.action, "")}'
                    lines.append(f"add rule inet {TABLE} {name}{suffix} {words} {end}")
            lines.append(f'add rule inet {TABLE} {name}{suffix} log prefix "default" group {group} accept')
    return Generation(TENANT, 1, prefix, chains[4], Hook.PREROUTING, Protect(), "\n".join(lines) + "\n", entry6=chains[6])


def _words(rule: HeaderRule, version: int, *, has_ports: bool) -> str | None:
    """The matches for packets of a family; None where it holds for none of them."""
    found: list[str] = []
    for name, asked in (("saddr", rule.source), ("daddr", rule.destination)):
        if asked is not None and rule.version == version:
            found.append(f"{'ip' if version == 4 else 'ip6'} {name} {_range(asked, version)}")
        elif asked is not None and not asked.negated:
            return None
    if rule.protocol is not None:
        found.append(f"meta l4proto {_range(rule.protocol)}")
    ports = [*_ports(rule)]
    if ports and not has_ports:
        return None
    return " ".join([*found, *ports])


def _ports(rule: HeaderRule) -> Iterator[str]:
    for name, asked in (("sport", rule.source_port), ("dport", rule.destination_port)):
        if asked is not None:
            yield f"{rule.transport} {name} {_range(asked)}"


def _range(asked: Asked, version: int | None = None) -> str:
    low, high = ((IPv4Address if version == 4 else IPv6Address)(end) if version else end for end in (asked.low, asked.high))
    return f"{'!= ' if asked.negated else ''}{low}-{high}" if low != high else f"{'!= ' if asked.negated else ''}{low}"
