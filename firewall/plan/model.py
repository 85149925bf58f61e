"""What a plan is made of: terms, stages, and the plan itself. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from firewall.match import Conjunction, Key, Notation, PacketClass
from rules_dsl.expression import Expression
from rules_dsl.policy import Policy, Rule


@dataclass(frozen=True, slots=True)
class Node:
    """The machine that enforces: what `cf.colo.name` and `cf.colo.region` are there."""

    name: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a plan depends on besides the policy."""

    node: Node = Node()
    vlan_interfaces: Mapping[str, int] = field(default_factory=dict)
    """Name of a VLAN interface -> its outermost VLAN id."""


@dataclass(frozen=True, slots=True)
class Term:
    """One alternative of a rule: all `matches` hold, none of the conjunctions in `absent` holds, and `payload` is true."""

    matches: Conjunction = ()
    absent: tuple[Conjunction, ...] = ()
    payload: Expression | None = None
    whole: Expression | None = None
    """The term as an expression, where eBPF can judge all of it."""
    beside: Conjunction = ()
    """What eBPF cannot judge of the term."""
    judged: Expression | None = None
    """All else of it, as an expression."""

    @property
    def is_plain(self) -> bool:
        return not self.absent and self.payload is None


MOST_GUARDED = 2
"""Terms with absent conjunctions in a rule that must count once. Each is two more chains deep, and nft allows 16 in all
(NFT_JUMP_STACK_SIZE); with more of them eBPF judges them as a whole."""


@dataclass(frozen=True, slots=True)
class RuleStage:
    """One rule by itself."""

    index: int
    """Of the rule in `policy.rules`."""
    rule: Rule
    terms: tuple[Term, ...]
    reasons: tuple[str, ...]

    @property
    def phase(self) -> int:
        return self.rule.phase


Box = tuple[tuple[int, int], ...]
"""An inclusive range for each key of a map."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What is known of a rule by its addresses, ports and protocol."""

    boxes: dict[int, tuple[Box, ...]]
    """By IP version, with a range for each key in the order of `Key`."""
    is_exact: bool
    """Not a superset."""


@dataclass(frozen=True, slots=True)
class Element:
    box: Box
    index: int
    """Of the rule that packets in the box go to."""


@dataclass(frozen=True, slots=True)
class MapStage:
    """A run of ending rules as one verdict map; its elements are disjoint."""

    members: tuple[tuple[int, Rule], ...]
    fixed: Conjunction
    """What all of them have in common."""
    keys: tuple[Key, ...]
    protocol: int | None
    """The transport protocol of all of them, where ports are among the keys and the protocol is not."""
    elements: tuple[Element, ...]
    addresses: Notation
    """How its addresses are written; NUMBER where it has none."""
    reasons: tuple[str, ...]
    is_odd: bool = False
    """nftables cannot load the protocol and the ports that are keys: eBPF asks for them (`transport_tree`)."""

    @property
    def phase(self) -> int:
        return self.members[0][1].phase

    @property
    def is_interval(self) -> bool:
        return any(low != high for element in self.elements for low, high in element.box)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A rule that takes the packets of a box, unless one before it does."""

    box: Box
    """With a range for each key in the order of `Key`."""
    rule: Rule


@dataclass(frozen=True, slots=True)
class ClassifierStage:
    """A run of ending rules that ask for addresses, ports and the protocol alone: one program finds the first that holds, in a search
    tree. It finds the transport header by itself, so the stage is the same for all classes of packets of its IP version."""

    members: tuple[tuple[int, Rule], ...]
    version: int
    candidates: tuple[Candidate, ...]
    """In order of precedence; they may overlap (`shapes`)."""
    reasons: tuple[str, ...]

    @property
    def phase(self) -> int:
        return self.members[0][1].phase


Stage = RuleStage | MapStage | ClassifierStage


@dataclass(frozen=True, slots=True)
class ClassPlan:
    packets: PacketClass
    stages: tuple[Stage, ...]
    """In the order of the rules, so phase by phase. None is of two phases."""


@dataclass(frozen=True, slots=True)
class Omission:
    """Why a rule has no stage in a class."""

    packets: PacketClass
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A rule of its phase's evaluator."""

    index: int
    """Of the rule in `policy.rules`."""
    predicate: Expression
    """All of it, for packets of every class."""


@dataclass(frozen=True, slots=True)
class Plan:
    policy: Policy
    environment: Environment
    classes: tuple[ClassPlan, ...]
    """In the order of `PacketClass`."""
    omissions: tuple[Omission, ...]
    evaluated: tuple[Evaluated, ...] = ()
    """The rules that one program a phase evaluates, in order."""

    def stages_of(self, packets: PacketClass) -> tuple[Stage, ...]:
        return next(each.stages for each in self.classes if each.packets is packets)
