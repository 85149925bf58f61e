"""Which frames of a capture an expression matches, by the engine that would enforce it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from firewall.capture import Frame
from firewall.replay.run import DEFAULTS, Difference, EngineName, Options, replay
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
    rule = Rule("match", Action.BLOCK, Mode.ENABLED, expression, Span(Source("<expression>", text), 0, len(text)), text)
    for _, record, difference in replay(Policy("match", (rule,)), source, engine, options):
        if difference is not None:
            raise EnginesDifferError(difference)
        if record.verdict == Verdict.BLOCK.value:
            yield record.frame
