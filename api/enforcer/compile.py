"""From a tenant's text to a generation within bounds, and from what went wrong on the way to a refusal that names the rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from api.enforcer.messages import Failure, Refusal, RuleDiagnostic
from api.policy_text import Expressions, PolicyText, RuleError, policy_of
from bpf import BpfError, VerifierError
from firewall.generation import Generation
from firewall.kernel import GenerationError, KernelError
from firewall.live_capture import LiveCaptureError
from firewall.netlink import NetlinkError
from firewall.nft import NftError, NftMissingError
from firewall.plan import Environment, Node, plan
from firewall.remembered import Remembered
from firewall.render import render
from firewall.state import StateError
from firewall.vlan import vlan_interfaces
from rules_dsl import Diagnostic, DiagnosticError, Limits
from rules_dsl.geo import Geo
from rules_dsl.literals import LiteralError
from rules_dsl.policy import LONGEST_INTERFACE_NAME, TENANT_NAME, Policy

LONGEST_NAME = 128
"""Characters of a rule's name."""


class TooComplexError(Exception):
    """The rules would cost more than one tenant may."""

    def __init__(self, found: int, most: int, what: str) -> None:
        super().__init__(f"ruleset exceeds complexity constraints: {found:,} {what}, {most:,} are the most")


class AnsweredError(Exception):
    """It is known already what is to be answered."""

    def __init__(self, answer: Refusal | Failure) -> None:
        super().__init__(answer.message)
        self.answer = answer


class TextError(Exception):
    """The text is not one that the API makes; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the rules of one tenant may cost, in text and in the kernel."""

    rules: int = 20_000
    characters: int = 8_000_000
    """Of all conditions."""
    list_items: int = 1_000_000
    protects: int = 10_000
    early_drop: int = 64
    """Prefixes, interfaces and marks."""
    nft_rules: int = 500_000
    programs: int = 5_000
    instructions: int = 2_000_000
    """Of all programs; the kernel takes a million in one (BPF_COMPLEXITY_LIMIT_INSNS)."""
    table_bytes: int = 64 << 20
    """Of the programs' maps: tables of automata and address sets."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """What was compiled before for one tenant."""

    expressions: Expressions = field(default_factory=Expressions)
    generations: Remembered = field(default_factory=Remembered)


@dataclass(frozen=True, slots=True)
class Compiler:
    """Compiles for one node."""

    node: Node = Node()  # noqa: RUF009 (frozen)
    geo: Geo | None = None
    limits: Limits = Limits()  # noqa: RUF009 (frozen)
    bounds: Bounds = Bounds()

    def policy(self, text: PolicyText, before: Expressions | None = None) -> Policy:
        """`before` holds what this compiler checked before. Raises RuleError, LiteralError, TooComplexError, TextError."""
        _check(text)
        bounds = self.bounds
        _bound(len(text.rules), bounds.rules, "rules")
        _bound(sum(len(each.expression) for rule in text.rules for each in rule.conditions), bounds.characters, "characters")
        _bound(sum(map(len, text.lists.values())), bounds.list_items, "list items")
        protect = text.protect
        _bound(len(protect.prefixes) + len(protect.interfaces) + len(protect.marks), bounds.protects, "protected prefixes")
        _bound(len(text.early_drop), bounds.early_drop, "interfaces with an early drop")
        return policy_of(text, limits=self.limits, geo=self.geo, before=before)

    def generation(self, text: PolicyText, number: int, base: int | None = None, earlier: Earlier | None = None) -> Generation:
        """`base`: the number of the contents that are enforced, to go on from where `earlier` has them. Raises as `policy` does, and
        DiagnosticError."""
        planned = plan(self.policy(text, earlier.expressions if earlier else None), Environment(self.node, vlan_interfaces()))
        generation = render(planned, number, remembered=earlier.generations if earlier else None, base=base)
        programs = [*generation.programs.values(), *(generation.early.programs.values() if generation.early else ())]
        maps = {spec.name if spec.shared else (image.name, spec.name): spec for image in programs for spec in image.maps}
        _bound(generation.nft.count("\n") + len(generation.matches), self.bounds.nft_rules, "nftables rules")
        _bound(len(programs), self.bounds.programs, "eBPF programs")
        _bound(sum(image.slots for image in programs), self.bounds.instructions, "eBPF instructions")
        _bound(sum(spec.value_size * spec.entries for spec in maps.values()), self.bounds.table_bytes, "bytes of eBPF tables")
        return generation


def _bound(found: int, most: int, what: str) -> None:
    if found > most:
        raise TooComplexError(found, most, what)


def _check(text: PolicyText) -> None:
    """What the types of the text do not say."""
    check_tenant(text.tenant)
    check_place((*text.protect.interfaces, *text.early_drop), text.protect.marks)
    for rule in text.rules:
        if not 0 < len(rule.name) <= LONGEST_NAME or not rule.name.isprintable():
            raise TextError(f"rule name {rule.name[: LONGEST_NAME + 1]!r}: 1 to {LONGEST_NAME} printable characters")
        if not rule.conditions:
            raise TextError(f"rule {rule.name!r} has no condition")
    twice = [name for name, times in Counter(rule.name for rule in text.rules).items() if times > 1]
    if twice:
        raise TextError(f"two rules are called {twice[0]!r}")
    phases = [rule.phase for rule in text.rules]
    if phases != sorted(phases):
        raise TextError("the rules' phases do not ascend")


def check_tenant(name: str) -> None:
    if not TENANT_NAME.fullmatch(name):
        raise TextError(f"tenant {name!r}: a letter, then letters, digits, `_` and `-`, 32 at most")


def check_place(interfaces: Iterable[str], marks: Iterable[int]) -> None:
    for name in interfaces:
        if not 0 < len(name.encode()) <= LONGEST_INTERFACE_NAME or not name.isprintable() or "/" in name or " " in name:
            raise TextError(f"interface {name!r} cannot be the name of one")
    for mark in marks:
        if not 0 <= mark < 1 << 32:
            raise TextError(f"mark {mark} is not a number of 32 bits")


def told(error: Exception, text: PolicyText | None = None) -> Refusal | Failure | None:
    """What an error of compiling or of the kernel is answered with; None where it is a bug of ours."""
    match error:
        case AnsweredError(answer=answer):
            return answer
        case RuleError(found=found):
            diagnostics = tuple(_diagnostic(rule, each) for rule, some in found.items() for each in some)
            return Refusal(str(error), next(iter(found)), diagnostics)
        case DiagnosticError(diagnostics=found):
            diagnostics = tuple(_diagnostic(each.span.source.name, each) for each in found)
            return Refusal(found[0].message, diagnostics[0].rule, diagnostics)
        case VerifierError():
            names = {rule.name for rule in text.rules} if text is not None else set()
            line = (error.rule or "").partition(":")[0]
            return Refusal(f"the kernel's verifier refuses the rules: {error}", line if line in names else None)
        case GenerationError():
            return Refusal(str(error), error.rule)
        case KernelError() | TooComplexError() | TextError() | LiveCaptureError():
            return Refusal(str(error))
        case LiteralError():
            return Refusal(error.message)
        case BpfError() | NetlinkError() | NftError() | NftMissingError() | StateError() | OSError():
            return Failure(str(error))
        case _:
            return None


def _diagnostic(rule: str, found: Diagnostic) -> RuleDiagnostic:
    span = found.span
    return RuleDiagnostic(rule, found.code, found.message, span.source.text, span.start, span.end, found.help)
