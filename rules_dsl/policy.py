"""A policy: what one rule file (or one tenant's rule set) says, checked and complete. Everything behind the checker takes a
Policy and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from rules_dsl.diagnostics import Source, Span
from rules_dsl.expression import Expression, Ranges

TENANT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
"""What a tenant may be called: it begins the names of its chains and sets in the kernel."""


class Action(Enum):
    """What a rule says. `block`, `reject` and `allow` end the evaluation at their first match; the others do not (a `limit`
    only above its rate)."""

    ALLOW = "allow"
    BLOCK = "block"
    REJECT = "reject"
    LOG = "log"
    COUNT = "count"
    LIMIT = "limit"

    @property
    def ends(self) -> bool:
        return self in (Action.ALLOW, Action.BLOCK, Action.REJECT)


class Mode(Enum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    MONITOR = "monitor"
    """Evaluated, counted and logged; the packet goes on as if the rule were not there."""


class Hook(Enum):
    """Where in the kernel's way of a packet the rules stand."""

    PREROUTING = "prerouting"
    FORWARD = "forward"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Limit:
    """`limit NAME to count/unit [per key] [burst N]`."""

    count: int
    unit: str
    """"second", "minute" or "hour"."""
    per: str | None
    """The field that keys the rate, or None for one rate for all."""
    per_prefix: int | None
    """Prefix length where `per ip.src/24`."""
    burst: int | None


@dataclass(frozen=True, slots=True)
class Rule:
    """What it says, not where it stands: a rule that another revision has too may be the same object in both."""

    name: str
    action: Action
    mode: Mode
    predicate: Expression
    expression: str
    """The expression's source text, in canonical form."""
    limit: Limit | None = None
    phase: int = 0
    """Rules of one phase stand together, and phases ascend. An `allow` ends its own phase alone."""

    @property
    def ends(self) -> bool:
        """Whether a match ends the evaluation: an `allow` that of its phase, `block` and `reject` all of it."""
        return self.action.ends and self.mode is Mode.ENABLED


LONGEST_INTERFACE_NAME = 15
"""Bytes (linux/if.h, IFNAMSIZ less its NUL)."""


@dataclass(frozen=True, slots=True)
class Protect:
    """The traffic that a policy's rules see: a packet of one of these. Empty: every packet."""

    v4: Ranges = ()
    """Destination addresses, as integer ranges."""
    v6: Ranges = ()
    interfaces: tuple[str, ...] = ()
    """Names of input interfaces."""
    marks: tuple[int, ...] = ()

    @property
    def everything(self) -> bool:
        return not (self.v4 or self.v6 or self.interfaces or self.marks)


@dataclass(frozen=True, slots=True)
class Expectation:
    """A policy test: `expect VERDICT ["RULE"] [when EXPR] from "CAPTURE" [packet N | packets N..M]`.

    Every packet of the capture that satisfies `when` and stands in `frames` must get that verdict (from that rule)."""

    verdict: str
    """One of allow, block, reject, log, limit, default."""
    rule: str | None
    when: Expression | None
    capture: str
    """Path, relative to the rule file's folder."""
    frames: Ranges | None
    span: Span


@dataclass(frozen=True, slots=True)
class Policy:
    tenant: str
    rules: tuple[Rule, ...]
    default: Action = Action.ALLOW
    """ALLOW, BLOCK or REJECT."""
    protect: Protect = Protect()
    hook: Hook = Hook.PREROUTING
    early_drop: tuple[str, ...] = ()
    """Names of interfaces at which frames are dropped as soon as they are received, where the first rules block them; the hook is
    prerouting then, and destination prefixes are protected."""
    expectations: tuple[Expectation, ...] = ()
    source: str = field(default="", compare=False)
    """The file's name as the user gave it."""
    spans: Mapping[str, Span] = field(default_factory=dict, compare=False, repr=False)
    """Where the statement of a rule stands, by the rule's name; empty where the policy was made of no file."""

    def __post_init__(self) -> None:
        phases = [rule.phase for rule in self.rules]
        assert phases == sorted(phases), "phases ascend"
        assert self.default is Action.ALLOW or len(set(phases)) <= 1, "nothing tells the default what an earlier phase has allowed"

    def span(self, rule: Rule) -> Span:
        """Where one of the rules stands: its statement, or else its expression by itself."""
        found = self.spans.get(rule.name)
        return Span(Source(rule.name, rule.expression), 0, len(rule.expression)) if found is None else found

    @property
    def last_phase(self) -> int:
        return self.rules[-1].phase if self.rules else 0

    def goes_on(self, rule: Rule) -> bool:
        """Whether a match of the rule ends its own phase alone: an `allow`, with a phase behind it."""
        return rule.ends and rule.action is Action.ALLOW and rule.phase != self.last_phase

    @property
    def active_rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.mode is not Mode.DISABLED)


class Verdict(Enum):
    """What the rules said."""

    ALLOW = "allow"
    BLOCK = "block"
    REJECT = "reject"
    LOG = "log"
    LIMIT = "limit"
    DEFAULT = "default"


class Outcome(Enum):
    """What happened to the packet."""

    PASSED = "passed"
    DROPPED = "dropped"
    REJECTED = "rejected"


OUTCOME_OF = {Action.ALLOW: Outcome.PASSED, Action.BLOCK: Outcome.DROPPED, Action.REJECT: Outcome.REJECTED}


@dataclass(frozen=True, slots=True)
class Judgement:
    """A packet's fate. `rule` is the last that ended the evaluation, or its phase; where none did, the first that matched and has a
    verdict of its own (a `log`, or a rule in monitor mode), and else None."""

    verdict: Verdict
    outcome: Outcome
    rule: Rule | None


def judgement(policy: Policy, matched: tuple[Rule, ...]) -> Judgement:
    """The fate of a packet which `matched` these rules, in order, up to and with the one that ended the evaluation, and in each phase
    up to and with the `allow` that ended that.

    The last of them that ends decides. So a `block` or `reject` in any phase is the verdict; else the last `allow` is, and the packet
    passes; else the first with a verdict of its own is, and what happens is the policy's default (`allow`, where it has several phases).

    Both engines of a replay use it: the reference with the rules whose predicate held, the kernel with those it reported."""
    ending = next((rule for rule in reversed(matched) if rule.ends), None)
    if ending is not None:
        return Judgement(Verdict(ending.action.value), OUTCOME_OF[ending.action], ending)
    outcome = OUTCOME_OF[policy.default]
    for rule in matched:
        if rule.action is not Action.COUNT:
            return Judgement(Verdict(rule.action.value), outcome, rule)
    return Judgement(Verdict.DEFAULT, outcome, None)
