"""Dispatch: from what a tenant protects to its chain, in the table's base chains and their verdict maps.

For each hook H that a tenant asks for: a base chain `H.base`, verdict maps `H.v4`, `H.v6`, `H.if` and `H.mark`, and the chain
`H.all` for the tenant that protects everything; the base chain asks those maps that hold something. An element jumps to the tenant's
chain, named as the tenant. The first claim that fits wins, in the order v4, v6, if, mark, all.

The rule in `H.all` is there to be remembered when somebody empties the base chain, which jumps to that tenant itself: a chain between
them would cost every packet its time."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from typing import TypeVar, assert_never

from firewall import netlink
from firewall.generation import TABLE
from firewall.netlink import Message, Netlink, Verdict
from rules_dsl.policy import LONGEST_INTERFACE_NAME, Hook, Protect

PRIORITY = -450
"""Before defragmentation (NF_IP_PRI_CONNTRACK_DEFRAG, -400), so that rules see fragments."""
INTERFACE_KEY_BYTES = LONGEST_INTERFACE_NAME + 1
"""IFNAMSIZ: a name with its NUL."""


_Address = TypeVar("_Address", IPv4Address, IPv6Address)


class Kind(Enum):
    """What a claim is about, in the order in which they are looked up; the value is the map's name after the hook's."""

    V4 = "v4"
    V6 = "v6"
    INTERFACE = "if"
    MARK = "mark"
    ALL = "all"


_TYPES = {Kind.V4: "ipv4_addr", Kind.V6: "ipv6_addr", Kind.INTERFACE: "ifname", Kind.MARK: "mark"}
_KEY_BYTES = {Kind.V4: 4, Kind.V6: 16}


@dataclass(frozen=True, slots=True)
class Claim:
    """Some traffic of one hook: keys `first`..`last` of a map, as the map holds them (addresses big-endian; interface names
    padded with NUL, marks in host order, and there `last` is `first`; ALL has no keys)."""

    hook: Hook
    kind: Kind
    first: bytes = b""
    last: bytes = b""

    def overlaps(self, other: Claim) -> bool:
        """Whether a packet can fall under both. The hook does not matter: each packet has one tenant."""
        return self.kind is other.kind and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        match self.kind:
            case Kind.V4:
                return _range(IPv4Address(self.first), IPv4Address(self.last))
            case Kind.V6:
                return _range(IPv6Address(self.first), IPv6Address(self.last))
            case Kind.INTERFACE:
                return "interface " + netlink.text_of(self.first)
            case Kind.MARK:
                return f"mark {int.from_bytes(self.first, sys.byteorder):#x}"
            case Kind.ALL:
                return "everything"
            case _:
                assert_never(self.kind)


@dataclass(frozen=True, slots=True)
class Dispatched:
    """A claim that stands in the kernel."""

    claim: Claim
    tenant: str
    rules: tuple[tuple[str, int], ...] = ()
    """Chain and handle of the rules that are the claim, in `H.all` and `H.base`; none for an element."""


def _range(first: _Address, last: _Address) -> str:
    """An address, a prefix, or what is neither as `a-b`."""
    if first == last:
        return str(first)
    networks = list(summarize_address_range(first, last))
    return str(networks[0]) if len(networks) == 1 else f"{first}-{last}"


def base_chain(hook: Hook) -> str:
    return f"{hook.value}.base"


def map_name(hook: Hook, kind: Kind) -> str:
    """The verdict map of a kind, or for ALL the chain."""
    return f"{hook.value}.{kind.value}"


def base_nft(hook: Hook, kinds: Collection[Kind], everything: str | None) -> str:
    """The base chain of a hook with its maps, as nft commands. What stands already stays; the base chain's rules are made anew: a
    look-up for each of `kinds` and no other, since a look-up costs its time in an empty map too, and a jump to the tenant that claims
    `everything`. Each has its kind as comment."""
    interface = "oifname" if hook is Hook.OUTPUT else "iifname"  # an outgoing packet has come by no interface
    selectors = {Kind.V4: "ip daddr", Kind.V6: "ip6 daddr", Kind.INTERFACE: interface, Kind.MARK: "meta mark"}
    chain = base_chain(hook)
    lines = [f"add table inet {TABLE}"]
    for kind, key in _TYPES.items():
        flags = " flags interval;" if kind in _KEY_BYTES else ""
        lines.append(f"add map inet {TABLE} {map_name(hook, kind)} {{ type {key} : verdict;{flags} }}")
    lines.append(f"add chain inet {TABLE} {map_name(hook, Kind.ALL)}")
    lines.append(f"add chain inet {TABLE} {chain} {{ type filter hook {hook.value} priority {PRIORITY}; policy accept; }}")
    lines.append(f"flush chain inet {TABLE} {chain}")
    for kind in Kind:
        if kind in kinds and kind in selectors:
            lines.append(f'add rule inet {TABLE} {chain} {selectors[kind]} vmap @{map_name(hook, kind)} comment "{kind.value}"')
    if everything is not None:
        lines.append(f'add rule inet {TABLE} {chain} jump {everything} comment "{Kind.ALL.value}"')
    return "\n".join(lines) + "\n"


def base_kinds(kernel: Netlink, hook: Hook) -> frozenset[Kind]:
    """The kinds that the base chain of a hook looks up; empty where it does not stand, or has rules of somebody else."""
    comments = [rule.comment for rule in kernel.rules(TABLE, base_chain(hook))]
    kinds = [kind for kind in Kind if kind.value in comments]
    return frozenset(kinds if [kind.value for kind in kinds] == comments else ())


def remove_base(hook: Hook, chains: Collection[str]) -> Iterator[Message]:
    """Removes what stands of a hook's base, to which nothing is dispatched any more."""
    if base_chain(hook) in chains:
        yield netlink.flush_rules(TABLE, base_chain(hook))
        yield netlink.delete_chain(TABLE, base_chain(hook))
    for kind in _TYPES:
        yield netlink.delete_set(TABLE, map_name(hook, kind))
    yield netlink.delete_chain(TABLE, map_name(hook, Kind.ALL))


def claims(hook: Hook, protect: Protect) -> frozenset[Claim]:
    """What a policy's `protect` claims."""
    if protect.everything:
        return frozenset((Claim(hook, Kind.ALL),))
    found = []
    for kind, ranges in ((Kind.V4, protect.v4), (Kind.V6, protect.v6)):
        size = _KEY_BYTES[kind]
        found += [Claim(hook, kind, first.to_bytes(size, "big"), last.to_bytes(size, "big")) for first, last in ranges]
    names = [name.encode().ljust(INTERFACE_KEY_BYTES, b"\0") for name in protect.interfaces]
    marks = [mark.to_bytes(4, sys.byteorder) for mark in protect.marks]
    found += [Claim(hook, Kind.INTERFACE, name, name) for name in names]
    found += [Claim(hook, Kind.MARK, mark, mark) for mark in marks]
    return frozenset(found)


def standing(kernel: Netlink, chains: Iterable[str]) -> Iterator[Dispatched]:
    """What is dispatched now, at the hooks whose base is among these chains of our table. Where somebody else has taken the
    base chain or its look-ups away, no packet comes there."""
    present = set(chains)
    for hook in Hook:
        if map_name(hook, Kind.ALL) not in present:
            continue
        for kind in _TYPES:
            yield from _mapped(kernel, hook, kind)
        base = tuple((base_chain(hook), rule.handle) for rule in kernel.rules(TABLE, base_chain(hook)) if rule.comment == Kind.ALL.value)
        for rule in kernel.rules(TABLE, map_name(hook, Kind.ALL)):
            for target in rule.targets:
                yield Dispatched(Claim(hook, Kind.ALL), target, ((map_name(hook, Kind.ALL), rule.handle), *base))


def _mapped(kernel: Netlink, hook: Hook, kind: Kind) -> Iterator[Dispatched]:
    listed = kernel.elements(TABLE, map_name(hook, kind))
    if kind not in _KEY_BYTES:
        yield from (Dispatched(Claim(hook, kind, entry.key, entry.key), entry.target) for entry in listed if entry.target)
        return
    size = _KEY_BYTES[kind]
    ordered = sorted(listed, key=lambda entry: (entry.key, not entry.interval_end))
    for at, entry in enumerate(ordered):
        if entry.interval_end or entry.target is None:
            continue
        behind = int.from_bytes(ordered[at + 1].key, "big") if at + 1 < len(ordered) else 1 << (8 * size)
        yield Dispatched(Claim(hook, kind, entry.key, (behind - 1).to_bytes(size, "big")), entry.target)


def tenant_of_all(present: Iterable[Dispatched]) -> str | None:
    """Who claims everything, of what stands at one hook."""
    return next((entry.tenant for entry in present if entry.claim.kind is Kind.ALL), None)


def change(tenant: str, present: Iterable[Dispatched], wanted: frozenset[Claim]) -> Iterator[Message]:
    """The messages that make `wanted` the tenant's claims: what went goes, what is new comes, the rest is not touched."""
    own = {entry.claim: entry for entry in present if entry.tenant == tenant}
    for claim in sorted(own.keys() - wanted, key=order):
        if claim.kind is Kind.ALL:
            yield from (netlink.delete_rule(TABLE, chain, handle) for chain, handle in own[claim].rules)
        else:
            yield from netlink.delete_elements(TABLE, map_name(claim.hook, claim.kind), _elements(claim, tenant))
    for claim in sorted(wanted - own.keys(), key=order):
        name = map_name(claim.hook, claim.kind)
        if claim.kind is Kind.ALL:
            yield netlink.add_rule(TABLE, name, [netlink.immediate(Verdict(tenant))], comment=tenant)
            yield netlink.add_rule(TABLE, base_chain(claim.hook), [netlink.immediate(Verdict(tenant))], comment=claim.kind.value)
        else:
            yield from netlink.add_elements(TABLE, name, _elements(claim, tenant))


def order(claim: Claim) -> tuple[str, str, bytes]:
    return claim.hook.value, claim.kind.value, claim.first


def _elements(claim: Claim, tenant: str) -> tuple[bytes, ...]:
    verdict = Verdict(tenant)
    if claim.kind in _KEY_BYTES:
        size = _KEY_BYTES[claim.kind]
        return netlink.interval(int.from_bytes(claim.first, "big"), int.from_bytes(claim.last, "big"), size, verdict)
    return (netlink.element(claim.first, verdict),)
