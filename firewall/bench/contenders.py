"""The same rule set in each contender's words, and the processes that put it into the kernel and change one rule of it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Final

from firewall.bench.classbench import ANY, TCP, UDP, Filter, RuleSet
from firewall.bench.nft_tree import TooLargeError, as_nft_tree

MANTLET: Final = "mantlet"
NFT: Final = "nft, a rule a line"
NFT_BY_PROTOCOL: Final = "nft, by protocol"
NFT_OPTIMIZED: Final = "nft -o"
NFT_MAP: Final = "nft map"
NFT_TREE: Final = "nft, decision tree"
NFT_SET: Final = "nft interval set"
IPTABLES_NFT: Final = "iptables-nft"
IPTABLES_LEGACY: Final = "iptables-legacy"
IPSET: Final = "ipset hash:net"

Process = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    load: tuple[Process, ...]
    """Run one after the other, in the network namespace."""
    changes: Callable[[], tuple[Process, Process]] | None = None
    """Asked for in the namespace, when the rules stand: a process that changes one rule (or element), and one that takes that back."""
    missing: str = ""
    """Why it cannot take part; empty where it can."""
    texts: Callable[[], Iterator[str]] | None = None
    """Mantlet alone: rule files for a process that goes on, each with one rule changed, without end."""


MOST: Final = 20_000
"""Of more rules only the contenders that load within seconds take part."""


def _changing(rules: RuleSet) -> Iterator[str]:
    """As rule files, each with another destination in the rule in the middle."""
    lines = as_mantlet(rules).splitlines(keepends=True)
    middle = len(rules.filters) // 2
    for number in count():
        other = rules.changed(number)
        line = f"{_statement(middle, other.filters[middle], drops=other.drops[middle])}\n"
        yield "".join([*lines[: middle + 1], line, *lines[middle + 2 :]])


def _mantlet(folder: Path, name: str) -> Process:
    return sys.executable, "-m", "firewall", "apply", str(folder / name)


def _tool(name: str) -> str:
    return "" if shutil.which(name) else f"{name} is not installed"


def of_rules(rules: RuleSet, folder: Path) -> Iterator[Contender]:
    """The contenders for a rule set; what their processes read is written into the folder."""
    changed = rules.changed()
    middle = len(rules.filters) // 2

    def write(name: str, text: str) -> str:
        (folder / name).write_text(text, encoding="utf-8")
        return str(folder / name)

    write("rules.rules", as_mantlet(rules))
    write("changed.rules", as_mantlet(changed))
    applied = _mantlet(folder, "changed.rules"), _mantlet(folder, "rules.rules")
    yield Contender(MANTLET, applied[1:], lambda: applied, texts=lambda: _changing(rules))

    def replacing() -> tuple[Process, Process]:
        handle = _handle(middle)
        lines = [nft_rule(each.filters[middle], drops=each.drops[middle]) for each in (changed, rules)]
        first, second = (("nft", f"replace rule ip bench rules handle {handle} {line}") for line in lines)
        return first, second

    one_a_line = write("rules.nft", as_nft(rules))
    yield Contender(NFT, (("nft", "-f", one_a_line),), replacing if len(rules.filters) <= MOST else None, _tool("nft"))
    if len(rules.filters) > MOST:
        for name in (NFT_BY_PROTOCOL, NFT_OPTIMIZED, NFT_TREE, IPTABLES_NFT):
            yield Contender(name, (), None, f"not tried with more than {MOST:,} rules: minutes to load, or to look through")
    else:
        yield Contender(NFT_BY_PROTOCOL, (("nft", "-f", write("protocol.nft", as_nft_by_protocol(rules))),), None, _tool("nft"))
        yield Contender(NFT_OPTIMIZED, (("nft", "-o", "-f", one_a_line),), None, _tool("nft"))
        yield _tree(rules, folder)
    if (text := as_nft_map(rules)) is not None:
        old, new = (map_element(each.filters[middle], drops=each.drops[middle]) for each in (rules, changed))
        keys = [element.rsplit(" : ", 1)[0] for element in (old, new)]
        there, back = (
            f"delete element ip bench rules {{ {key} }}; add element ip bench rules {{ {element} }}"
            for key, element in ((keys[0], new), (keys[1], old))
        )
        yield Contender(NFT_MAP, (("nft", "-f", write("map.nft", text)),), lambda: (("nft", there), ("nft", back)), _tool("nft"))
    restore = write("rules.iptables", as_iptables(rules))
    for name in (IPTABLES_NFT, IPTABLES_LEGACY) if len(rules.filters) <= MOST else (IPTABLES_LEGACY,):
        edits = [
            (
                name,
                "-t",
                "raw",
                "-R",
                "PREROUTING",
                str(middle + 1),
                *iptables_words(each.filters[middle], drops=each.drops[middle]).split(),
            )
            for each in (changed, rules)
        ]
        yield Contender(name, ((f"{name}-restore", restore),), _both(edits[0], edits[1]), _tool(f"{name}-restore"))


def _tree(rules: RuleSet, folder: Path) -> Contender:
    words = [nft_rule(rule, drops=drops) for rule, drops in zip(rules.filters, rules.drops, strict=True)]
    try:
        text = as_nft_tree(rules, words, _BASE)
    except TooLargeError as error:
        return Contender(NFT_TREE, (), None, str(error))
    (folder / "tree.nft").write_text(text, encoding="utf-8")
    return Contender(NFT_TREE, (("nft", "-f", str(folder / "tree.nft")),), None, _tool("nft"))


def _both(there: Process, back: Process) -> Callable[[], tuple[Process, Process]]:
    return lambda: (there, back)


def of_prefixes(prefixes: Sequence[tuple[int, int]], folder: Path) -> Iterator[Contender]:
    """The contenders for a list of (address, length) whose packets are dropped by their source."""
    words = [f"{IPv4Address(address)}/{length}" for address, length in prefixes]
    extra = EXTRA

    def write(name: str, text: str) -> str:
        (folder / name).write_text(text, encoding="utf-8")
        return str(folder / name)

    for name, kept in (("listed", words), ("more", [*words, extra])):
        write(f"{name}.txt", "\n".join([*kept, ""]))
        write(f"{name}.rules", f'tenant bench\nlist listed = file "{name}.txt"\nblock "listed" when ip.src in $listed\n')
    yield Contender(MANTLET, (_mantlet(folder, "listed.rules"),), _both(_mantlet(folder, "more.rules"), _mantlet(folder, "listed.rules")))
    elements = ", ".join(words)
    text = f"""table ip bench {{
 set listed {{ type ipv4_addr; flags interval; elements = {{ {elements} }} }}
 chain rules {{ {_BASE} ip saddr @listed counter drop; }}
}}
"""
    there, back = (("nft", f"{verb} element ip bench listed {{ {extra} }}") for verb in ("add", "delete"))
    yield Contender(NFT_SET, (("nft", "-f", write("set.nft", text)),), _both(there, back), _tool("nft"))
    created = f"create listed hash:net maxelem {max(65536, 2 * len(words))}\n"
    write("listed.ipset", created + "".join(f"add listed {each}\n" for each in words))
    rule = ("iptables-nft", "-t", "raw", "-A", "PREROUTING", "-m", "set", "--match-set", "listed", "src", "-j", "DROP")
    load = ("ipset", "restore", "-file", str(folder / "listed.ipset")), rule
    yield Contender(
        IPSET, load, _both(("ipset", "add", "listed", extra), ("ipset", "del", "listed", extra)), _tool("ipset") or _tool("iptables-nft")
    )


EXTRA: Final = "198.51.100.0/24"
"""The element that comes and goes: no list that is drawn has it."""

_BASE: Final = "type filter hook prerouting priority -450; policy accept;"
"""Mantlet's hook and priority."""

_NAMES: Final = {TCP: "tcp", UDP: "udp"}


def _prefix(address: int, length: int) -> str:
    return str(IPv4Address(address)) if length == 32 else f"{IPv4Address(address)}/{length}"


def _between(ports: tuple[int, int], sign: str) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}{sign}{ports[1]}"


# -- Mantlet -----------------------------------------------------------------------------------------------------------


def as_mantlet(rules: RuleSet) -> str:
    """A rule file."""
    statements = ["tenant bench"]
    for number, (rule, drops) in enumerate(zip(rules.filters, rules.drops, strict=True)):
        statements.append(_statement(number, rule, drops=drops))
    return "\n".join([*statements, ""])


def _statement(number: int, rule: Filter, *, drops: bool) -> str:
    return f'{"block" if drops else "allow"} "rule {number}" when {_expression(rule)}'


def _expression(rule: Filter) -> str:
    tests = []
    for name, address, length in (("ip.src", rule.source, rule.source_length), ("ip.dst", rule.destination, rule.destination_length)):
        if length:
            tests.append(f"{name} == {_prefix(address, length)}")
    protocol = _NAMES.get(rule.protocol or 0)
    ports = [
        f"{protocol}.{name} in {{{_between(ports, '..')}}}" if ports[0] != ports[1] else f"{protocol}.{name} == {ports[0]}"
        for name, ports in (("srcport", rule.source_ports), ("dstport", rule.destination_ports))
        if ports != ANY
    ]
    if rule.protocol is not None and not ports:
        tests.append(protocol or f"ip.proto == {rule.protocol}")
    return " and ".join([*tests, *ports]) or "true"


# -- nftables ----------------------------------------------------------------------------------------------------------


def nft_rule(rule: Filter, *, drops: bool, transport: str | None = None) -> str:
    """A rule with its counter. `transport`: how ports are named where the chain is for one protocol alone."""
    words = []
    for name, address, length in (("saddr", rule.source, rule.source_length), ("daddr", rule.destination, rule.destination_length)):
        if length:
            words.append(f"ip {name} {_prefix(address, length)}")
    header = transport or _NAMES.get(rule.protocol or 0)
    ports = [
        f"{header} {name} {_between(ports, '-')}"
        for name, ports in (("sport", rule.source_ports), ("dport", rule.destination_ports))
        if ports != ANY
    ]
    if rule.protocol is not None and not ports and transport is None:
        words.append(f"meta l4proto {rule.protocol}")
    return " ".join([*words, *ports, "counter", "drop" if drops else "accept"])


def as_nft(rules: RuleSet) -> str:
    """One nft rule a line."""
    lines = [f"  {nft_rule(rule, drops=drops)}" for rule, drops in zip(rules.filters, rules.drops, strict=True)]
    return "\n".join(["table ip bench {", " chain rules {", f"  {_BASE}", *lines, " }", "}", ""])


def as_nft_by_protocol(rules: RuleSet) -> str:
    """A verdict map by protocol to chains of one rule a line; a rule for any protocol is in each of them."""
    present = [protocol for protocol in dict.fromkeys(rule.protocol for rule in rules.filters) if protocol is not None]
    text = ["table ip bench {"]
    for protocol in (*present, None):
        text.append(f" chain proto{'' if protocol is None else protocol} {{")
        for rule, drops in zip(rules.filters, rules.drops, strict=True):
            if rule.protocol in (protocol, None):
                text.append(f"  {nft_rule(rule, drops=drops, transport='th')}")
        text += ["  accept", " }"]
    ways = ", ".join(f"{protocol} : goto proto{protocol}" for protocol in present)
    dispatch = [f"  meta l4proto vmap {{ {ways} }}"] if ways else []
    return "\n".join([*text, " chain rules {", f"  {_BASE}", *dispatch, "  goto proto", " }", "}", ""])


_FIELDS: Final = ("ip saddr", "ip daddr", "meta l4proto", "th sport", "th dport")


def as_nft_map(rules: RuleSet) -> str | None:
    """One verdict map by all fields that the rules ask for; None where it would not mean the same: where the rules are not all of one exact
    shape."""
    shapes = {_shape(rule) for rule in rules.filters}
    if len(shapes) != 1 or None in shapes:
        return None
    (shape,) = shapes
    assert shape is not None
    key = " . ".join(field for field, size in zip(_FIELDS, shape, strict=True) if size)
    elements: dict[str, None] = {}
    for rule, drops in zip(rules.filters, rules.drops, strict=True):
        elements[map_element(rule, drops=drops)] = None
    return f"""table ip bench {{
 map rules {{ typeof {key} : verdict; {"flags interval;" if set(shape) - {0, 32} else ""} elements = {{
  {", ".join(elements)} }} }}
 chain first {{ {_BASE} {key} vmap @rules; }}
}}
"""


def _shape(rule: Filter) -> tuple[int, int, int, int, int] | None:
    """Of each of _FIELDS: bits asked for (32 for all of a field that is no address). None where a field is a range."""
    ports = [0 if ports == ANY else 32 if ports[0] == ports[1] else -1 for ports in (rule.source_ports, rule.destination_ports)]
    shape = rule.source_length, rule.destination_length, 0 if rule.protocol is None else 32, ports[0], ports[1]
    return None if -1 in ports or not any(shape) else shape


def map_element(rule: Filter, *, drops: bool) -> str:
    words = []
    for address, length in ((rule.source, rule.source_length), (rule.destination, rule.destination_length)):
        words += [_prefix(address, length)] if length else []
    words += [] if rule.protocol is None else [str(rule.protocol)]
    words += [str(ports[0]) for ports in (rule.source_ports, rule.destination_ports) if ports != ANY]
    return f"{' . '.join(words)} : {'drop' if drops else 'accept'}"


def _handle(place: int) -> int:
    """Of a rule of the chain `rules`, by its place."""
    from firewall import nft  # noqa: PLC0415

    listed = nft.listing_json("list chain ip bench rules")["nftables"]
    return int([entry["rule"]["handle"] for entry in listed if "rule" in entry][place])


# -- iptables ----------------------------------------------------------------------------------------------------------


def iptables_words(rule: Filter, *, drops: bool) -> str:
    words = []
    for name, address, length in (("-s", rule.source, rule.source_length), ("-d", rule.destination, rule.destination_length)):
        if length:
            words.append(f"{name} {_prefix(address, length)}")
    if rule.protocol is not None:
        words.append(f"-p {rule.protocol}")
    ports = [
        f"--{name} {_between(ports, ':')}"
        for name, ports in (("sport", rule.source_ports), ("dport", rule.destination_ports))
        if ports != ANY
    ]
    if ports:
        words += [f"-m {_NAMES[rule.protocol or 0]}", *ports]
    return " ".join([*words, "-j", "DROP" if drops else "ACCEPT"])


def as_iptables(rules: RuleSet) -> str:
    """Input of iptables-restore: the table raw, whose chain PREROUTING is the earliest there is."""
    lines = [f"-A PREROUTING {iptables_words(rule, drops=drops)}" for rule, drops in zip(rules.filters, rules.drops, strict=True)]
    return "\n".join(["*raw", ":PREROUTING ACCEPT", *lines, "COMMIT", ""])
