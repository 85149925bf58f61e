"""What a replay says of a frame, and how it is printed: JSON lines, a table, a pcapng file with comments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from firewall.capture import Frame
from firewall.capture_write import PcapngFile
from rules_dsl.policy import Judgement

NOT_JUDGED: Final = "not judged"
"""The outcome of a frame that no rule saw."""


class Fate(NamedTuple):
    """What became of a packet: a judgement in words, or why there is none."""

    verdict: str | None
    """A `Verdict`'s value; None where the frame was not judged."""
    outcome: str
    """An `Outcome`'s value, or NOT_JUDGED."""
    rule: str | None
    """The deciding rule's name; None for the default, and where the frame was not judged."""
    reason: str | None = None
    """Why the frame was not judged."""


def judged(judgement: Judgement) -> Fate:
    rule = None if judgement.rule is None else judgement.rule.name
    return Fate(judgement.verdict.value, judgement.outcome.value, rule)


def not_judged(reason: str) -> Fate:
    return Fate(None, NOT_JUDGED, None, reason)


class Record(NamedTuple):
    """A frame's fate by one engine."""

    frame: int
    """The frame's number in the capture, from 1."""
    fate: Fate
    engine: str
    """kernel, reference, or both where the two agree."""

    @property
    def verdict(self) -> str | None:
        return self.fate.verdict

    @property
    def outcome(self) -> str:
        return self.fate.outcome

    @property
    def rule(self) -> str | None:
        return self.fate.rule

    @property
    def reason(self) -> str | None:
        return self.fate.reason

    def as_json(self) -> str:
        """One line: frame, verdict, outcome, rule, engine; for a frame that was not judged also the reason."""
        return f'{{"frame": {self.frame}, {_json_tail(self.fate, self.engine)}'

    def as_row(self) -> str:
        """A line under `TABLE_HEAD`."""
        return f"{self.frame:>8}  {self.verdict or '-':<8} {self.outcome:<11} {_quoted(self.rule) or self.reason or '(default)'}".rstrip()

    @property
    def comment(self) -> str:
        """For the packet comment of a capture."""
        if self.verdict is None:
            return f"mantlet: not judged, {self.reason}"
        by = f"by {_quoted(self.rule)}" if self.rule is not None else "by default"
        said = "" if self.verdict == "default" else f"{self.verdict} "
        return f"mantlet: {said}{by}, {self.outcome} ({self.engine})"


TABLE_HEAD: Final = f"{'frame':>8}  {'verdict':<8} {'outcome':<11} rule"


def _quoted(name: str | None) -> str | None:
    return None if name is None else f'"{name}"'


@lru_cache(maxsize=4096)
def _json_tail(fate: Fate, engine: str) -> str:
    told = {"verdict": fate.verdict, "outcome": fate.outcome, "rule": fate.rule, "engine": engine}
    if fate.verdict is None:
        told["reason"] = fate.reason
    return json.dumps(told, ensure_ascii=False)[1:]


def write_pcapng(path: Path, frames: Iterable[Frame], records: Iterable[Record]) -> None:
    """The frames, each with its record as packet comment. Raises OSError."""
    with PcapngFile(path) as writer:
        for frame, record in zip(frames, records, strict=True):
            writer.write(frame, record.comment)
