"""Fifth pass: each rule's alternatives, split into what nft matches and what eBPF judges, in a cheap-first order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from firewall.match import Conjunction, Key, Match, PacketClass
from firewall.native import native, protocol_match
from firewall.plan.fold import conjunction, fold, fold_test, mapped
from firewall.plan.implied import implied
from firewall.plan.model import MOST_GUARDED, Environment, Term
from firewall.plan.normal import MOST_TERMS, Alternative, Literal, TooManyTermsError, alternatives
from rules_dsl import expression as ex
from rules_dsl.expression import And, Expression, Test
from rules_dsl.policy import Hook

Refusal = Callable[[Test], str | None]
"""Why eBPF cannot judge a test, None if it can (`bpf.refusal`)."""


class UnenforceableError(Exception):
    """Neither nftables nor eBPF can say the rule; the message is for the user."""

    def __init__(self, code: str, message: str, help_line: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.help_line = help_line


@dataclass(frozen=True, slots=True)
class Split:
    terms: tuple[Term, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a test is lowered for."""

    packets: PacketClass
    hook: Hook
    environment: Environment
    refusal: Refusal
    known: dict[Test, Conjunction | bool | str] = field(default_factory=dict, compare=False)
    """Answers of `native`: the passes ask for the same test again and again."""

    def native(self, test: Test) -> Conjunction | bool | str:
        answer = self.known.get(test)
        if answer is None:
            answer = self.known[test] = native(test, self.packets, self.environment.vlan_interfaces)
        return answer

    def literal(self, expression: Expression) -> Conjunction | bool | str:
        match expression:
            case ex.Const() | ex.Not() | ex.And() | ex.Or() | ex.Xor():
                return "several payload tests"
            case _:
                return self.native(expression)


def split(predicate: Expression, scene: Scene, *, once: bool) -> tuple[Split, ...]:
    """The terms of a rule's predicate for one class of packets; none where it is never true of them.

    `once`: a packet of several terms must count once. Then, and where the alternatives are too many for nft rules, eBPF may have to
    judge a predicate as a whole; the tests that it cannot judge make separate cases, of which a packet is in one at most. Raises
    UnenforceableError."""
    quick = _plain_conjunction(predicate, scene)
    if quick is not None:
        return quick
    folded = _fold_native(fold(predicate, scene.packets, scene.hook, scene.environment), scene)
    return tuple(found for found in _cases(folded, (), scene, once) if found.terms)


def _plain_conjunction(predicate: Expression, scene: Scene) -> tuple[Split, ...] | None:
    """The split of a test, or of a conjunction of tests on different things, that nft matches all of; None for anything else.

    It is what the passes below would make of it. Rules of this kind come by the ten thousand."""
    matches: list[Match] = []
    for test in predicate.items if isinstance(predicate, And) else (predicate,):
        if isinstance(test, ex.Const | ex.Not | And | ex.Or | ex.Xor):
            return None
        folded = fold_test(test, scene.packets, scene.hook, scene.environment)
        if isinstance(folded, ex.Const):
            if not folded.value:
                return ()
            continue
        if folded is not test:
            return None
        answer = native(test, scene.packets, scene.environment.vlan_interfaces)
        if isinstance(answer, str):
            return None
        if answer is False:
            return ()
        if answer is not True:
            matches += answer
    if len({match.left for match in matches}) < len(matches):
        return None
    ordered = _ordered(matches)
    if ordered is None:
        return ()
    terms = (Term(ordered),)
    return (Split(terms, tuple(_reasons(terms, ()))),)


def _cases(folded: Expression, given: Alternative, scene: Scene, once: bool) -> list[Split]:
    refused: dict[str, None] = {}

    def is_payload(test: Test) -> bool:
        answer = scene.native(test)
        if isinstance(answer, str):
            refused[answer] = None
            return True
        return False

    try:
        found = alternatives(folded, is_payload)
    except TooManyTermsError:
        terms: tuple[Term, ...] | None = None
        reasons = [f"payload: more than {MOST_TERMS} alternatives, too many for nft rules"]
    else:
        terms = tuple(term for each in found if (term := _term(each, given, scene)) is not None)
        reasons = _reasons(terms, refused)
    is_deep = terms is None or (once and _needs_cases(terms))
    if not is_deep:
        assert terms is not None
        return [Split(terms, tuple(reasons))]
    unjudged = next((test for test in ex.tests_of(folded) if scene.refusal(test) is not None), None)
    if unjudged is None:
        return [Split((_whole_term(folded, given, scene),), tuple(reasons))]
    if len(given) >= _MOST_CASE_TESTS:
        raise UnenforceableError(
            "E0904",
            f"the rule has too many alternatives for nftables, and eBPF cannot judge it as a whole: {scene.refusal(unjudged)}",
            "split it into several rules",
        )
    cases: list[Split] = []
    for value in (True, False):
        rest = mapped(folded, lambda test, value=value: ex.Const(value) if test == unjudged else test)  # type: ignore[misc]
        cases += _cases(rest, (*given, Literal(unjudged, value)), scene, once)
    return cases


def _needs_cases(terms: tuple[Term, ...]) -> bool:
    """Whether eBPF would have to judge terms as a whole that it cannot judge."""
    if len(terms) == 1:
        return False
    guarded = sum(1 for term in terms if term.absent and term.payload is None)
    whole = [term for term in terms if term.payload is not None or (term.absent and guarded > MOST_GUARDED)]
    return any(term.whole is None for term in whole)


_MOST_CASE_TESTS = 5
"""Tests that only nftables can do, in a predicate that eBPF has to judge as a whole: at most 2 to the power of this many cases."""


def _reasons(terms: tuple[Term, ...], refused: Iterable[str]) -> list[str]:
    reasons: list[str] = []
    if any(term.matches for term in terms):
        reasons.append("native: " + ", ".join(dict.fromkeys(match.left for term in terms for match in term.matches)))
    if any(term.payload is not None for term in terms):
        reasons += [f"payload: {reason}" for reason in refused]
    if len(terms) > 1:
        reasons.append(f"{len(terms)} alternatives")
    if any(term.absent for term in terms):
        reasons.append("a negated test on what may be absent has a chain of its own")
    return reasons


def _fold_native(expression: Expression, scene: Scene) -> Expression:
    """With tests that are constant only once it is known what nft loads (a full range, no such VLAN) folded too."""

    def known(test: Test) -> Expression:
        answer = scene.native(test)
        return ex.Const(answer) if isinstance(answer, bool) else test

    return mapped(expression, known)


def _whole_term(expression: Expression, given: Alternative, scene: Scene) -> Term:
    """All of the predicate in eBPF, behind the given native tests."""
    term = _term(given, (), scene)
    assert term is not None
    assert term.is_plain, "the given tests are on interfaces, which every packet has"
    return Term(term.matches, (), expression, expression, term.matches, expression)


def _term(alternative: Alternative, given: Alternative, scene: Scene) -> Term | None:
    """The alternative, for packets for which the `given` literals hold; None where it can never hold."""
    matches: list[Match] = []
    beside: list[Match] = []
    absent: list[Conjunction] = []
    payload: list[Expression] = []
    judged: list[Expression] = []
    for literal in (*given, *alternative):
        answer = scene.literal(literal.expression)
        is_judged = all(scene.refusal(test) is None for test in ex.tests_of(literal.expression))
        if is_judged:
            judged.append(literal.as_expression())
        if isinstance(answer, str):
            for test in ex.tests_of(literal.expression):
                reason = scene.refusal(test)
                if reason is not None:
                    raise UnenforceableError("E0905", f"neither nftables nor eBPF can test this: {scene.native(test)}; {reason}")
            payload.append(literal.as_expression())
        elif isinstance(answer, bool):
            if answer is not literal.positive:
                return None
        else:
            if not literal.positive:
                if len(answer) > 1 or not answer[0].always:
                    assert is_judged, "eBPF judges all that a packet may lack"
                    absent.append(answer)
                    continue
                answer = (replace(answer[0], negated=not answer[0].negated),)
            matches += answer
            beside += () if is_judged else answer
    if payload:
        told = implied(conjunction(payload))
        if told.protocols == frozenset():
            return None
        if scene.packets is not PacketClass.IP6_ODD:
            matches += told.matches()
    for one in list(absent):
        if len(one) == 1 and _is_there(one[0], matches):
            absent.remove(one)
            matches.append(replace(one[0], negated=not one[0].negated))
    ordered = _ordered(matches)
    if ordered is None:
        return None
    guards = tuple(each for one in absent if (each := _ordered(list(one))) is not None)
    literals = [literal.as_expression() for literal in alternative]
    can_all = all(scene.refusal(test) is None for literal in literals for test in ex.tests_of(literal))
    whole = conjunction(literals) if can_all else None
    return Term(ordered, guards, conjunction(payload) if payload else None, whole, tuple(beside), conjunction(judged))


def _is_there(match: Match, others: Sequence[Match]) -> bool:
    """Whether what `match` loads is in every packet for which the others hold: a header's bytes come in one piece."""
    return match.protocol is not None and any(other.protocol == match.protocol and other.reach >= match.reach for other in others)


def _ordered(matches: list[Match]) -> Conjunction | None:
    """The matches with what they need of the transport protocol, cheapest first; None where two contradict each other."""
    unique = list(dict.fromkeys(matches))
    needed = {match.protocol for match in unique if match.protocol is not None}
    tested = [match for match in unique if match.key is Key.PROTOCOL]
    if not needed:
        return tuple(sorted(unique, key=lambda match: match.cost))
    if len(needed) > 1:
        return None
    (protocol,) = needed
    for match in tested:
        if any(low <= protocol <= high for low, high in match.ranges) is match.negated:
            return None
    rest = [match for match in unique if match.key is not Key.PROTOCOL]
    rest.sort(key=lambda match: (match.protocol is None, not match.typed, match.cost))
    under = [match for match in rest if match.protocol is not None]
    others = [match for match in rest if match.protocol is None]
    if not under[0].typed:
        under.insert(0, protocol_match(protocol))
    cheap = [match for match in others if match.cost <= 1]
    return tuple(cheap + under + [match for match in others if match.cost > 1])
