"""A generation: everything that one revision of a tenant's rules needs in the kernel, as data. The renderer makes it, the
kernel side loads it, and neither knows the other.

Names: every chain, set and map of a generation begins with its prefix `TENANT.rREVISION.`; counters are the tenant's,
`TENANT.c.DIGEST`, and live on from one generation to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import TYPE_CHECKING

from rules_dsl.expression import Ranges
from rules_dsl.policy import Hook, Protect

if TYPE_CHECKING:
    from bpf.image import ProgramImage

TABLE = "mantlet"
"""Our table; its family is inet."""


def prefix_of(tenant: str, revision: int) -> str:
    return f"{tenant}.r{revision}"


def counter_name(tenant: str, rule_name: str) -> str:
    """The name of a rule's counter: the same in every generation, so that a swap loses no packet."""
    return f"{tenant}.c.{blake2s(rule_name.encode(), digest_size=5).hexdigest()}"


@dataclass(frozen=True, slots=True)
class BpfMatch:
    """One rule that nft's text cannot say: `[match bpf PIN] goto|jump TARGET`. It is appended to `chain`, or, with a `place`, puts its
    program into a rule that nft's text has there, before the verdict. Without a target the packet goes on whatever the program
    answers; without a program every packet takes the target."""

    program: ProgramImage | None
    """Its name is the pin's file name: matches that share a program give the same image."""
    chain: str
    target: str | None
    goto: bool
    """goto, or else jump."""
    rule_name: str
    comment: str
    """What stands in the kernel's rule as its comment (at most 127 bytes; longer ones are cut)."""
    place: int | None = None
    """Which rule of the chain has the native part, from 0. It tests no anonymous set: the kernel binds such a set to one rule."""


@dataclass(frozen=True, slots=True)
class BulkElements:
    """Elements of a large interval set or map of the generation, which `Generation.nft` declares empty."""

    set_name: str
    key_bytes: int
    """4 for IPv4 addresses, 16 for IPv6; keys are big-endian."""
    ranges: Ranges
    """Inclusive; disjoint and in order."""


@dataclass(frozen=True, slots=True)
class TreePatch:
    """What is new in the map of a search tree: it stands where the tree that is looked up meanwhile has nothing."""

    map_name: str
    writes: tuple[tuple[int, bytes], ...] = field(repr=False)
    """Offset in bytes, and what to write there; the last is the generation's root cell."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the programs of a generation look up and count, for the one after it to be a change of it."""

    number: int
    """At random; no other generation's."""
    base: int | None
    """The number of the one whose maps and programs it goes on with; None: of no other."""
    patches: tuple[TreePatch, ...] = ()
    """Of trees that were in maps of the base."""


@dataclass(frozen=True, slots=True)
class EarlyDrop:
    """The XDP programs of a generation (`firewall.early_drop`)."""

    interfaces: tuple[str, ...]
    """Names of those at which frames are dropped."""
    programs: Mapping[int, ProgramImage]
    """By IP version."""
    counted: tuple[str, ...]
    """The rules that they count, by their slots."""


@dataclass(frozen=True, slots=True)
class Generation:
    tenant: str
    revision: int
    prefix: str
    """`TENANT.rREVISION`."""
    entry: str
    """The chain in which the tenant's packets start; with `entry6` those of IPv4."""
    hook: Hook
    protect: Protect
    nft: str
    """nft commands that create all chains, sets, maps and counters of this generation in `table inet mantlet`. They refer to
    nothing of another generation and are not dispatched to. The table need not be declared in them, but may be."""
    matches: tuple[BpfMatch, ...] = ()
    bulk: tuple[BulkElements, ...] = ()
    counters: Mapping[str, str] = field(default_factory=dict)
    """Counter name -> rule name."""
    entry6: str | None = None
    """The chain in which the tenant's IPv6 packets start, where it is another."""

    counted: tuple[str, ...] = ()
    """Rules that programs count, in the order of their numbers in the map `counts`, which the programs share."""

    contents: Contents | None = None
    """None: no other goes on from it."""

    early: EarlyDrop | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether it has programs."""
        return bool(self.matches or self.early)

    @property
    def programs(self) -> Mapping[str, ProgramImage]:
        """The programs to load, by the name of their pin."""
        return {match.program.name: match.program for match in self.matches if match.program is not None}
