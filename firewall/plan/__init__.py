"""The plan: which part of each rule nftables matches and which part eBPF judges, and why."""

from firewall.match import Conjunction, Key, Match, Notation, PacketClass
from firewall.plan.compile import Pass, enforceable, plan
from firewall.plan.model import (
    Candidate,
    ClassifierStage,
    ClassPlan,
    Element,
    Environment,
    MapStage,
    Node,
    Omission,
    Plan,
    RuleStage,
    Stage,
    Term,
)

__all__ = [
    "Candidate", "ClassPlan", "ClassifierStage", "Conjunction", "Element", "Environment", "Key", "MapStage", "Match", "Node", "Notation",
    "Omission", "PacketClass", "Pass", "Plan", "RuleStage", "Stage", "Term", "enforceable", "plan",
]  # fmt: skip
