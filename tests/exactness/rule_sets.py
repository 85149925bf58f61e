"""Random rule sets that overlap badly: nested, crossing, equal, negated, of both families; and those that ClassBench makes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from firewall.bench.classbench import ANY, TCP, UDP, RuleSet
from rules_dsl.policy import Policy
from rules_dsl.rulefile import parse_policy

TENANT: Final = "exact"
WORDS: Final = ("alfa", "beta", "gama")
"""What payload rules look for."""
PORTS: Final = (0, 22, 53, 80, 255, 256, 443, 1023, 1024, 32767, 32768, 65534, 65535)
ANCHORS: Final = {
    4: tuple(int(IPv4Address(text)) for text in ("10.0.0.0", "10.1.2.3", "10.1.3.0", "172.16.255.255", "192.0.2.128", "223.255.255.254")),
    6: tuple(
        int(IPv6Address(text))
        for text in ("2001:db8::", "2001:db8::1", "2001:db8:0:1::", "2001:db8:1:ffff:ffff:ffff:0:1", "2001:db9::", "3fff::5:0:0")
    ),
}
"""Round which ranges lie."""
_NAMES: Final = {TCP: "tcp", UDP: "udp"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A range of numbers, or all others."""

    low: int
    high: int
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HeaderRule:
    action: str = "block"
    version: int = 4
    """Of its addresses."""
    source: Asked | None = None
    destination: Asked | None = None
    protocol: Asked | None = None
    transport: str | None = None
    """`tcp` or `udp`, where it asks for ports, a whole header, or a word."""
    source_port: Asked | None = None
    destination_port: Asked | None = None
    whole: bool = False
    """Asks for a whole header."""
    word: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether one nft rule a family says it."""
        ports = (self.source_port, self.destination_port)
        return self.word is None and not self.whole and not any(port is not None and port.negated for port in ports)

    @property
    def expression(self) -> str:
        tests = [
            *self._test("ip.src", self.source, self.version),
            *self._test("ip.dst", self.destination, self.version),
            *self._test("ip.proto", self.protocol),
            *self._test(f"{self.transport}.srcport", self.source_port),
            *self._test(f"{self.transport}.dstport", self.destination_port),
        ]
        if self.whole and self.transport is not None:
            tests.append(self.transport)
        if self.word is not None:
            tests.append(f'{self.transport}.payload contains "{WORDS[self.word]}"')
        return " and ".join(tests) or "true"

    @staticmethod
    def _test(name: str, asked: Asked | None, version: int | None = None) -> Iterable[str]:
        if asked is not None:
            low, high = (str(_ADDRESS[version](end)) if version else str(end) for end in (asked.low, asked.high))
            yield f"{'not ' if asked.negated else ''}{name} in {{{low}..{high}}}"


_ADDRESS: Final = {4: IPv4Address, 6: IPv6Address}


def text_of(rules: Sequence[HeaderRule], default: str = "allow") -> str:
    """A rule file."""
    lines = [f"tenant {TENANT}"]
    lines += [f'{rule.action} "rule {number}" when {rule.expression}' for number, rule in enumerate(rules)]
    return "\n".join([*lines, f"default {default}", ""])


def policy_of(rules: Sequence[HeaderRule], default: str = "allow") -> Policy:
    return parse_policy(text_of(rules, default))


# -- drawn at random ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """Of rule sets: what their rules have, each a share."""

    exact: float = 0.3
    """Of ranges that are one number."""
    prefix: float = 0.5
    """Of those that are prefixes."""
    again: float = 0.15
    """Of rules that repeat another, or all but one of its tests."""
    negated: float = 0.05
    six: float = 0.4
    """Of IPv6."""
    others: float = 0.0
    """Of rules that nft cannot say in one, or that do not end."""
    addresses: float = 0.7
    ports: float = 0.5


PLAIN: Final = (
    Kind(),
    Kind(exact=0.05, prefix=0.05),
    Kind(exact=0.0, prefix=0.95, again=0.4),
    Kind(exact=0.9, negated=0.0, ports=0.9),
    Kind(addresses=0.2, ports=0.95, negated=0.2),
)
"""nft says each of their rules in one."""
MIXED: Final = (Kind(others=0.1), Kind(others=0.3, exact=0.6), Kind(others=0.05, again=0.4), Kind(others=0.5, addresses=0.3, ports=0.9))


def drawn(rng: random.Random, kind: Kind, count: int) -> list[HeaderRule]:
    rules: list[HeaderRule] = []
    for _ in range(count):
        if rules and rng.random() < kind.again:
            rule = replace(rng.choice(rules[-20:]), action=_action(rng, kind))
            if rng.random() < 0.6:
                other = _rule(rng, kind, rule.version)
                name = rng.choice(("source", "destination"))
                rule = replace(rule, **{name: getattr(other, name)})
        else:
            rule = _rule(rng, kind, 6 if rng.random() < kind.six else 4)
        rules.append(rule)
    return rules


def _action(rng: random.Random, kind: Kind) -> str:
    if rng.random() < kind.others / 2:
        return rng.choice(("log", "count", "monitor block"))
    return rng.choice(("allow", "block", "block", "reject"))


def _rule(rng: random.Random, kind: Kind, version: int) -> HeaderRule:
    source = _address(rng, kind, version) if rng.random() < kind.addresses else None
    destination = _address(rng, kind, version) if rng.random() < kind.addresses else None
    rule = HeaderRule(_action(rng, kind), version, source, destination)
    if rng.random() < kind.ports:
        number = rng.choice((TCP, UDP))
        rule = replace(rule, transport=_NAMES[number])
        which = rng.choice((("source_port",), ("destination_port",), ("destination_port",), ("source_port", "destination_port")))
        rule = replace(rule, **{name: _port(rng, kind) for name in which})
    elif rng.random() < 0.5:
        low = rng.choice((1, 6, 17, 47, 50, 132))
        high = low if rng.random() < 0.6 else rng.choice([number for number in (17, 49, 200, 255) if number >= low])
        rule = replace(rule, protocol=Asked(low, high, negated=rng.random() < kind.negated))
    if rng.random() < kind.others:
        rule = replace(rule, transport=rule.transport or rng.choice(("tcp", "udp")))
        match rng.randrange(4):
            case 0:
                rule = replace(rule, whole=True)
            case 1:
                rule = replace(rule, destination_port=replace(_port(rng, kind), negated=True))
            case _:
                rule = replace(rule, word=rng.randrange(len(WORDS)))
    return rule


def _address(rng: random.Random, kind: Kind, version: int) -> Asked:
    bits = 32 if version == 4 else 128
    anchor = rng.choice(ANCHORS[version])
    wanted = rng.random()
    negated = rng.random() < kind.negated
    if wanted < kind.exact:
        return Asked(anchor + rng.randrange(4), anchor + 3, negated) if rng.random() < 0.2 else Asked(anchor, anchor, negated)
    if wanted < kind.exact + kind.prefix:
        short = rng.choice((1, 2, 7, 8, 9, 16, 24) if version == 4 else (1, 16, 31, 32, 33, 64, 80, 96))
        low = anchor >> short << short
        return Asked(low, low + (1 << short) - 1, negated)
    low, high = sorted((anchor, rng.choice(ANCHORS[version]) + rng.randrange(1 << rng.choice((2, bits // 2)))))
    return Asked(low, min(high, (1 << bits) - 1), negated)


def _port(rng: random.Random, kind: Kind) -> Asked:
    low, high = sorted(rng.choices(PORTS, k=2))
    return Asked(low, low) if rng.random() < kind.exact + 0.2 else Asked(low, high)


# -- ClassBench --------------------------------------------------------------------------------------------------------


def of_classbench(found: RuleSet) -> list[HeaderRule]:
    rules = []
    for each, drops in zip(found.filters, found.drops, strict=True):
        ports = [None if given == ANY else Asked(*given) for given in (each.source_ports, each.destination_ports)]
        asks = ports != [None, None]
        rules.append(
            HeaderRule(
                "block" if drops else "allow", 4, _prefix(each.source, each.source_length),
                _prefix(each.destination, each.destination_length),
                None if each.protocol is None or asks else Asked(each.protocol, each.protocol),
                _NAMES[each.protocol] if asks and each.protocol is not None else None, *ports,
            )
        )  # fmt: skip
    return rules


def _prefix(address: int, length: int) -> Asked | None:
    return Asked(address, address | 0xFFFFFFFF >> length) if length else None
