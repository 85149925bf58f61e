"""A plan and a generation as text and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import assert_never

from bpf.describe import describe
from bpf.image import ProgramImage
from firewall.generation import TABLE, Generation
from firewall.match import Conjunction, PacketClass
from firewall.native import match_text
from firewall.plan import ClassifierStage, Key, MapStage, Plan, RuleStage, Stage, Term
from firewall.plan.early_drop import Front, fronts
from firewall.plan.expected_cost import cost_of, worst, worst_per_byte
from firewall.plan.gather import has_payload
from rules_dsl import expression as ex
from rules_dsl.expression import Expression
from rules_dsl.policy import Mode, Rule

CLASS_NAMES = {
    PacketClass.IP4: "IPv4",
    PacketClass.IP4_LATER: "IPv4, later fragments",
    PacketClass.IP6: "IPv6",
    PacketClass.IP6_LATER: "IPv6, later fragments",
    PacketClass.IP6_ODD: "IPv6, odd header chains",
}


def headline(rule: Rule) -> str:
    """`monitor block "name"`."""
    mode = "" if rule.mode is Mode.ENABLED else f"{rule.mode.value} "
    return f'{mode}{rule.action.value} "{rule.name}"'


def expression_text(expression: Expression) -> str:
    """A checked expression, as the rule language would write it."""
    match expression:
        case ex.Const(value):
            return "true" if value else "false"
        case ex.Not(item):
            return f"not {_nested(item)}"
        case ex.And(items):
            return " and ".join(map(_nested, items))
        case ex.Or(items):
            return " or ".join(map(_nested, items))
        case ex.Xor(left, right):
            return f"{_nested(left)} xor {_nested(right)}"
        case _:
            return describe(expression)


def _nested(expression: Expression) -> str:
    text = expression_text(expression)
    return f"({text})" if isinstance(expression, ex.And | ex.Or | ex.Xor) else text


# -- explain -----------------------------------------------------------------------------------------------------------


PAYLOAD_SHOWN = 1460
"""Bytes of TCP payload in an Ethernet frame."""


def explained(plan: Plan, generation: Generation) -> Iterator[str]:
    """Lines: each rule with what was chosen for it, why, and what it is expected to cost; and what the programs may cost at most."""
    policy = plan.policy
    for index, rule in enumerate(policy.rules):
        yield f"{index + 1:>3}  {headline(rule)} when {rule.expression}"
        for names, lines in _choices(plan, index):
            yield f"       {names}"
            yield from (f"         {line}" for line in lines)
        yield ""
    yield f"     default {policy.default.value}"
    if policy.early_drop:
        yield ""
        yield f"Early drop at {', '.join(policy.early_drop)}, before nftables:"
        yield from (f"  {line}" for line in map(_early, fronts(policy, plan.environment)))
    if reading := [image for image in generation.programs.values() if image.passes]:
        yield ""
        yield from _bounds(plan, reading)


def _bounds(plan: Plan, reading: Sequence[ProgramImage]) -> Iterator[str]:
    for phase in dict.fromkeys(_phase(plan, each.index) for each in plan.evaluated):
        rules = f"{_evaluated_with(plan, phase)} rules" + (f" of phase {phase}" if plan.policy.last_phase else "")
        yield f"One program evaluates the payload of {rules}, for packets that one of them may concern."
    for image in reading:
        passes = f"{image.passes:,} {'pass' if image.passes == 1 else 'passes'} over a payload or field"
        bound = f"{worst(image, PAYLOAD_SHOWN) / 1000:,.0f} microseconds for {PAYLOAD_SHOWN:,} hostile bytes"
        yield f"Program {image.name}: at most {passes}; expected to stay below {bound}, linear in their number."


def _early(front: Front) -> str:
    end = "" if front.end is None else f"; no further, as {front.end}"
    if not front.judged:
        return f"IPv{front.version}: nothing{end}"
    blocks = [f"{len(front.members):,} {'rule' if len(front.members) == 1 else 'rules'}"] if front.members else []
    blocks += ["the default"] if front.with_default else []
    return f"IPv{front.version}: {' and '.join(blocks)}, {len(front.judged):,} boxes in a search tree{end}"


def early_json(plan: Plan) -> dict[str, object] | None:
    """None where the policy names no interface."""
    if not plan.policy.early_drop:
        return None
    shown = [
        {
            "ip_version": front.version,
            "rules": [rule.name for _, rule in front.members],
            "default": front.with_default,
            "boxes": len(front.judged),
            "end": front.end,
        }
        for front in fronts(plan.policy, plan.environment)
    ]
    return {"interfaces": list(plan.policy.early_drop), "judged": shown}


def bounds_json(generation: Generation) -> list[dict[str, object]]:
    return [
        {
            "program": image.name,
            "most_passes": image.passes,
            "most_reporting_passes": image.reporting,
            "worst_ns_per_payload_byte": round(worst_per_byte(image), 1),
        }
        for image in generation.programs.values()
        if image.passes
    ]


def _choices(plan: Plan, index: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Classes of packets that are treated alike, and how."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for each in plan.classes:
        lines = _choice(plan, each.packets, index)
        groups.setdefault(lines, []).append(CLASS_NAMES[each.packets])
    for lines, names in groups.items():
        yield "; ".join(names) if len(names) < len(plan.classes) else "all packets", lines


def _choice(plan: Plan, packets: PacketClass, index: int) -> tuple[str, ...]:
    stage = stage_of(plan, packets, index)
    if stage is None:
        reasons = (omission.reason for omission in plan.omissions if omission.packets is packets and omission.index == index)
        return tuple(reason.removesuffix(f" ({packets.value})") for reason in reasons) or ("never true for these packets",)
    if has_payload(stage) and any(each.index == index for each in plan.evaluated):
        others = _evaluated_with(plan, stage.phase) - 1
        return (*stage.reasons, f"expected cost: its part of one program for this and {others} other {'rule' if others == 1 else 'rules'}")
    together = "" if isinstance(stage, RuleStage) else f" for all {len(stage.members)} together"
    return (*stage.reasons, f"expected cost: {cost_of(stage)}{together}")


def _phase(plan: Plan, index: int) -> int:
    return plan.policy.rules[index].phase


def _evaluated_with(plan: Plan, phase: int) -> int:
    """How many rules the evaluator of a phase has."""
    return sum(_phase(plan, each.index) == phase for each in plan.evaluated)


def stage_of(plan: Plan, packets: PacketClass, index: int) -> Stage | None:
    """The stage in which a rule is judged for a class of packets."""
    for stage in plan.stages_of(packets):
        match stage:
            case RuleStage():
                if stage.index == index:
                    return stage
            case MapStage() | ClassifierStage():
                if any(member == index for member, _ in stage.members):
                    return stage
            case _:
                assert_never(stage)
    return None


# -- compile -----------------------------------------------------------------------------------------------------------


def plan_lines(plan: Plan) -> Iterator[str]:
    """Each class of packets with its stages in order."""
    for each in plan.classes:
        yield f"{CLASS_NAMES[each.packets]}:"
        if not each.stages:
            yield "  (no rule)"
        for number, stage in enumerate(each.stages, 1):
            match stage:
                case RuleStage():
                    yield f"  {number}. {headline(stage.rule)}"
                    for term in stage.terms:
                        yield f"       {_term_text(term)}"
                case MapStage():
                    names = ", ".join(headline(rule) for _, rule in stage.members)
                    keys = " . ".join(key.value for key in stage.keys)
                    yield f"  {number}. map of {keys}, {len(stage.elements)} elements: {names}"
                    if stage.fixed:
                        yield f"       {_conjunction(stage.fixed)}"
                case ClassifierStage():
                    names = ", ".join(headline(rule) for _, rule in stage.members)
                    yield f"  {number}. search tree of {len(stage.candidates)} boxes: {names}"
                case _:
                    assert_never(stage)
            yield from (f"       # {reason}" for reason in stage.reasons)
        yield f"  {len(each.stages) + 1}. default {plan.policy.default.value}"
        yield ""


def _conjunction(matches: Conjunction) -> str:
    return " ".join(match_text(match, None) for match in matches)


def _term_text(term: Term) -> str:
    parts = [_conjunction(term.matches)] if term.matches else []
    parts += [f"not [{_conjunction(absent)}]" for absent in term.absent]
    if term.payload is not None:
        parts.append(f"eBPF [{expression_text(term.payload)}]")
    return " ".join(parts) or "every packet"


def plan_json(plan: Plan) -> list[dict[str, object]]:
    return [{"packets": each.packets.value, "stages": [_stage_json(stage) for stage in each.stages]} for each in plan.classes]


def _stage_json(stage: Stage) -> dict[str, object]:
    cost = cost_of(stage)
    expected = {"native_ns": round(cost.native), "program_ns": round(cost.program), "per_payload_byte_ns": cost.per_byte}
    match stage:
        case RuleStage():
            terms = [
                {
                    "native": [match_text(match, None) for match in term.matches],
                    "unless": [_conjunction(absent) for absent in term.absent],
                    "payload": expression_text(term.payload) if term.payload is not None else None,
                }
                for term in stage.terms
            ]
            return {"kind": "rule", "rule": stage.rule.name, "terms": terms, "reasons": list(stage.reasons), "expected_cost": expected}
        case MapStage():
            return {
                "kind": "map",
                "rules": [rule.name for _, rule in stage.members],
                "native": [match_text(match, None) for match in stage.fixed],
                "keys": [key.value for key in stage.keys],
                "elements": len(stage.elements),
                "reasons": list(stage.reasons),
                "expected_cost": expected,
            }
        case ClassifierStage():
            return {
                "kind": "classifier",
                "rules": [rule.name for _, rule in stage.members],
                "keys": [key.value for key in Key],
                "elements": len(stage.candidates),
                "reasons": list(stage.reasons),
                "expected_cost": expected,
            }
        case _:
            assert_never(stage)


_VERDICT = re.compile(r"\b(goto |jump )")


def nft_lines(generation: Generation) -> Iterator[str]:
    """The generation as a table that nft reads; what nft cannot write (eBPF matches, bulk elements) stands in comments."""
    objects: list[str] = []
    chains: dict[str, list[str]] = {}
    for line in generation.nft.splitlines():
        verb, kind, _, _, rest = line.split(" ", 4)
        assert verb == "add"
        match kind:
            case "chain":
                chains.setdefault(rest, [])
            case "rule":
                name, text = rest.split(" ", 1)
                chains[name].append(text)
            case _:
                objects.append(f"{kind} {rest}")
    for match in generation.matches:
        if match.place is not None and match.program is not None:
            native, verdict, behind = _VERDICT.split(chains[match.chain][match.place], maxsplit=1)
            chains[match.chain][match.place] = f'{native}# match bpf "{match.program.name}" {verdict}{behind}'
            continue
        program = f'# match bpf "{match.program.name}"' if match.program is not None else "#"
        verdict = "" if match.target is None else f" {'goto' if match.goto else 'jump'} {match.target}"
        comment = f' comment "{match.comment}"' if match.comment else ""
        chains.setdefault(match.chain, []).append(f"{program}{verdict}{comment}")
    yield f"table inet {TABLE} {{"
    yield from (f"\t{line}" for line in objects)
    if counted := [f'"{name}"' for name in generation.counted if name]:
        yield f"\t# programs count {', '.join(counted)}"
    for bulk in generation.bulk:
        yield f"\t# set {bulk.set_name}: {len(bulk.ranges):,} elements, loaded apart"
    for name, rules in chains.items():
        yield ""
        yield f"\tchain {name} {{"
        yield from (f"\t\t{rule}" for rule in rules)
        yield "\t}"
    yield "}"
