"""Which frames of a capture an expression matches, by the engine that would enforce it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from firewall.capture import Frame
from firewall.replay.run import DEFAULTS, Difference, EngineName, Options, replay, replay_rules
from rules_dsl.diagnostics import Source, Span
from rules_dsl.expression import Expression
from rules_dsl.policy import Action, Mode, Policy, Rule, Verdict


class EnginesDifferError(Exception):
    """The engines do not agree on a frame; a fault of ours."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


def match(
    expression: Expression, source: Path | Sequence[Frame], engine: EngineName = "kernel", options: Options = DEFAULTS, *, text: str = ""
) -> Iterator[int]:
    """The numbers of the frames that match, in order; frames that no rule sees never do. `text` is the expression's source, for
    what the plan may have to say of it. Raises as `replay` does, and with engine "both" EnginesDifferError."""
    rule = _rule("match", Action.BLOCK, expression, text)
    policy = Policy("match", (rule,), spans={rule.name: Span(Source("<expression>", text), 0, len(text))})
    for _, record, difference in replay(policy, source, engine, options):
        if difference is not None:
            raise EnginesDifferError(difference)
        if record.verdict == Verdict.BLOCK.value:
            yield record.frame


def match_all(
    expressions: Sequence[Expression],
    source: Path | Sequence[Frame],
    engine: Literal["kernel", "reference"] = "kernel",
    options: Options = DEFAULTS,
) -> Iterator[tuple[int, tuple[int, ...] | None]]:
    """Which of many expressions match each frame, in one pass: the frame's number and the expressions' places in the sequence,
    ascending; None for a frame that no rule sees. Raises as `replay` does."""
    rules = tuple(_rule(str(place), Action.COUNT, expression, "") for place, expression in enumerate(expressions))
    for frame, matched in replay_rules(Policy("match", rules), source, engine, options):
        yield frame.number, None if matched is None else tuple(int(rule.name) for rule in matched)


def _rule(name: str, action: Action, expression: Expression, text: str) -> Rule:
    return Rule(name, action, Mode.ENABLED, expression, text)
