"""Drift: whether what stands in the kernel for a tenant is still what was put there.

A fingerprint covers all by which the tenant's packets meet its rules: the table's and the base chain's state, the look-ups and claims
that lead to the tenant, its chains with their rules in order, its sets with their elements, and its pins. It leaves out handles,
counters' values, and elements that packets add."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2s
from operator import itemgetter
from typing import Final

from firewall import dispatch, netlink
from firewall.generation import TABLE, Generation, prefix_of
from firewall.kernel import Enforced, Kernel
from firewall.netlink import Netlink, attribute, attributes, string, table_of, text_of
from firewall.pins import Pins
from firewall.standing import Standing, parts_of

Entry = dict[int, bytes]
"""The attributes of what the kernel lists."""

_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY = 1, 3, 4, 5
_SET_TABLE, _SET_NAME, _SET_FLAGS, _SET_KEY_LENGTH, _SET_DATA_TYPE = 1, 2, 3, 5, 6
_FILLED_BY_PACKETS: Final = 0x10 | 0x20
"""NFT_SET_TIMEOUT, NFT_SET_EVAL."""
_VALUES: Final = frozenset({"counter", "quota", "last"})
"""Expressions whose contents change with packets."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    rules: bytes
    """Of the generation's chains and sets."""
    way: bytes
    """Of what leads to them: the table, the base chains, the claims, the tenant's chain."""
    pins: frozenset[str]


def _digest(parts: Iterator[bytes]) -> bytes:
    digest = blake2s(digest_size=16)
    for part in parts:
        digest.update(struct.pack("=I", len(part)) + part)
    return digest.digest()


def rules_of(kernel: Netlink, generation: Generation) -> bytes:
    """The fingerprint of a generation, enforced or not. Raises NetlinkError."""
    parts = parts_of(generation)
    if parts is None:
        return rules_of_all(kernel, {generation.prefix}).get(generation.prefix, b"")
    rules = {name: [*kernel.listing(netlink.GETRULE, string(1, TABLE), string(2, name))] for name in parts.chains}
    sets = [found for name in parts.sets if (found := kernel.found(netlink.GETSET, string(1, TABLE), string(2, name))) is not None]
    return _digest(_rules(kernel, rules, sets))


def rules_of_all(kernel: Netlink, prefixes: Collection[str]) -> Mapping[str, bytes]:
    """As `rules_of`, of many: of those that stand, by prefix."""
    rules: dict[str, dict[str, list[Entry]]] = {}
    sets: dict[str, list[Entry]] = {}
    for name in kernel.chains(TABLE):
        if (prefix := _prefix(name)) in prefixes:
            rules.setdefault(prefix, {})[name] = []
    for rule in kernel.listing(netlink.GETRULE, string(_RULE_TABLE, TABLE)):
        name = text_of(rule[_RULE_CHAIN])
        if (prefix := _prefix(name)) in prefixes:
            rules.setdefault(prefix, {}).setdefault(name, []).append(rule)
    for found in kernel.listing(netlink.GETSET, string(_SET_TABLE, TABLE)):
        if (prefix := _prefix(text_of(found[_SET_NAME]))) in prefixes:
            sets.setdefault(prefix, []).append(found)
    return {prefix: _digest(_rules(kernel, chains, sets.get(prefix, []))) for prefix, chains in rules.items()}


def _prefix(name: str) -> str:
    """Of a name of a generation: `TENANT.rREVISION`."""
    return ".".join(name.split(".", 2)[:2])


def way_to(kernel: Netlink, entry: Enforced) -> bytes:
    """The fingerprint of what leads to the generation that is enforced. Raises NetlinkError."""
    return _digest(_way(kernel, entry))


def pins_of(tenant: str, revision: int) -> frozenset[str]:
    folder = Pins.here().folder(tenant, revision)
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _rules(kernel: Netlink, chains: Mapping[str, Sequence[Entry]], sets: Iterable[Entry]) -> Iterator[bytes]:
    """Of a generation's chains with their rules, and its sets."""
    for name, rules in sorted(chains.items()):
        yield b"chain " + name.encode()
        for rule in rules:
            yield b"rule"
            yield from _expressions(rule.get(_RULE_EXPRESSIONS, b""))
    for name, found in sorted(((text_of(found[_SET_NAME]), found) for found in sets), key=itemgetter(0)):
        flags = struct.unpack(">I", found.get(_SET_FLAGS, bytes(4)))[0]
        yield b"set " + name.encode() + b"".join(found.get(each, b"") for each in (_SET_FLAGS, _SET_KEY_LENGTH, _SET_DATA_TYPE))
        if not flags & _FILLED_BY_PACKETS:
            yield from sorted(_elements(kernel, name))


def _way(kernel: Netlink, entry: Enforced) -> Iterator[bytes]:
    kinds = {claim.kind.value for claim in entry.claims}
    bases = {dispatch.base_chain(claim.hook) for claim in entry.claims}
    yield from sorted(repr(claim).encode() for claim in entry.claims)
    for table in kernel.listing(netlink.GETTABLE):
        if text_of(table[1]) == TABLE:
            yield table.get(2, b"")  # flags: whether it is dormant
    for name in sorted(bases):
        chain = kernel.found(netlink.GETCHAIN, string(_CHAIN_TABLE, TABLE), string(_CHAIN_NAME, name))
        if chain is not None:
            yield b"chain " + name.encode() + chain.get(_CHAIN_HOOK, b"") + chain.get(_CHAIN_POLICY, b"")
    for name in (*sorted(bases), entry.tenant):
        for rule in kernel.rules(TABLE, name):
            if name == entry.tenant or rule.comment in kinds:
                yield b"rule " + name.encode() + b"".join(rule.expressions)


def _expressions(body: bytes) -> Iterator[bytes]:
    for _, expression in attributes(body):
        name = text_of(table_of(expression)[1])
        yield name.encode() if name in _VALUES else expression


def _elements(kernel: Netlink, name: str) -> Iterator[bytes]:
    for part in kernel.listing(netlink.GETSETELEM, string(1, TABLE), string(2, name)):
        for _, element in attributes(part.get(3, b"")):
            parts = table_of(element)
            # Key, data, flags, and the end of a range (NFTA_SET_ELEM_KEY, _DATA, _FLAGS, _KEY_END).
            yield b"".join(attribute(kind, parts[kind]) for kind in (1, 2, 3, 10) if kind in parts)


class Fingerprints:
    """Of the tenants that this process has installed. For one thread at a time, the one that may change the kernel."""

    def __init__(self) -> None:
        self._installed: dict[str, tuple[int, Fingerprint]] = {}
        self._seen_whole: Standing | None = None
        """What stood when all of them were found whole, and what this process has made of it since."""

    @property
    def tenants(self) -> frozenset[str]:
        return frozenset(self._installed)

    def keep(self, kernel: Kernel, enforced: Sequence[tuple[Generation, bytes]]) -> None:
        """Of generations, with these fingerprints, that have just been enforced. Where what leads to one is not as it was made, nothing
        is kept of it. Raises NetlinkError."""
        if not enforced:
            return
        standing = kernel.enforced()
        for generation, rules in enforced:
            tenant, revision = generation.tenant, generation.revision
            entry = standing.get(tenant)
            claims = dispatch.claims(generation.hook, generation.protect)
            if entry is not None and entry.revision == revision and set(entry.claims) == claims:
                self._installed[tenant] = revision, Fingerprint(rules, way_to(kernel.netlink, entry), pins_of(tenant, revision))

    def forget(self, tenant: str) -> None:
        self._installed.pop(tenant, None)

    def drifted(self, kernel: Kernel) -> tuple[str, ...]:
        """The tenants whose state is not what was installed, by name. Raises NetlinkError."""
        unpinned = {tenant for tenant, (revision, kept) in self._installed.items() if pins_of(tenant, revision) != kept.pins}
        if kernel.stands() is self._seen_whole:
            return tuple(sorted(unpinned))
        standing, seen = kernel.enforced(), kernel.stands()
        rules = rules_of_all(kernel.netlink, {prefix_of(tenant, revision) for tenant, (revision, _) in self._installed.items()})
        changed = {tenant for tenant in self._installed if not self._is_whole(kernel.netlink, tenant, standing.get(tenant), rules)}
        if not changed and kernel.stands() is seen:
            self._seen_whole = seen
        return tuple(sorted(unpinned | changed))

    def _is_whole(self, link: Netlink, tenant: str, entry: Enforced | None, rules: Mapping[str, bytes]) -> bool:
        revision, kept = self._installed[tenant]
        if entry is None or entry.revision != revision or way_to(link, entry) != kept.way:
            return False
        return rules.get(prefix_of(tenant, revision)) == kept.rules
