"""Policy tests: runs the `expect` statements of a rule file, and writes the results as JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from firewall.capture import CaptureError
from firewall.replay.arrival import Arrival, arrival_of, why_dropped
from firewall.replay.run import DEFAULTS, EngineName, Options, Replayed, replay
from rules_dsl.expression import Expression
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Expectation, Policy
from rules_dsl.reference import holds

SHOWN_FAILURES = 10
"""Wrong frames that a result lists; it counts all of them."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one `expect` statement."""

    expectation: Expectation
    title: str
    """The statement in short: `block "DNS ANY" from any.pcap packet 3`."""
    tested: int
    """Frames that it spoke of."""
    failures: tuple[str, ...]
    """Why it failed, a line a frame, at most SHOWN_FAILURES and one that counts the others; empty: it passed."""

    @property
    def passed(self) -> bool:
        return not self.failures


@dataclass(slots=True)
class _Tally:
    """An expectation while its capture is replayed."""

    expectation: Expectation
    tested: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, line: str) -> None:
        self.wrong += 1
        if self.wrong <= SHOWN_FAILURES:
            self.failures.append(line)

    def result(self) -> Result:
        more = self.wrong - SHOWN_FAILURES
        lines = (*self.failures, f"and {more} more") if more > 0 else tuple(self.failures)
        return Result(self.expectation, title_of(self.expectation), self.tested, lines)


def run_expectations(policy: Policy, folder: Path, engine: EngineName = "kernel", options: Options = DEFAULTS) -> tuple[Result, ...]:
    """The results of a policy's expectations, in the order of the file; `folder` is where the file stands. Each capture is
    replayed once. A capture that is missing or damaged fails its expectations; what the engine raises is raised."""
    tallies = [_Tally(expectation) for expectation in policy.expectations]
    for capture in dict.fromkeys(expectation.capture for expectation in policy.expectations):
        _run_capture(policy, folder / capture, [tally for tally in tallies if tally.expectation.capture == capture], engine, options)
    return tuple(tally.result() for tally in tallies)


def _run_capture(policy: Policy, path: Path, tallies: list[_Tally], engine: EngineName, options: Options) -> None:
    last = 0
    try:
        for replayed in replay(policy, path, engine, options):
            last = replayed.frame.number
            for tally in tallies:
                _check(tally, replayed, options)
    except CaptureError as error:
        for tally in tallies:
            tally.fail(str(error))
        return
    for tally in tallies:
        frames = tally.expectation.frames
        if frames and frames[-1][1] > last:
            tally.fail(f"{path.name} has no packet {frames[-1][1]}: its last is {last}")
        elif not tally.tested:
            tally.fail(f"no packet of {path.name} was tested")


def _check(tally: _Tally, replayed: Replayed, options: Options) -> None:
    expectation, record = tally.expectation, replayed.record
    if expectation.frames is not None and not any(low <= record.frame <= high for low, high in expectation.frames):
        return
    if expectation.when is not None and not _satisfies(replayed, expectation.when, options):
        return
    if replayed.difference is not None:
        tally.fail(str(replayed.difference))
    elif record.verdict is None:
        if expectation.frames is not None:  # it was meant; of a whole capture those are tested that rules can see
            tally.fail(f"packet {record.frame}: not judged, {record.reason}")
            tally.tested += 1
        return
    elif record.verdict != expectation.verdict or (expectation.rule is not None and record.rule != expectation.rule):
        wanted = expectation.verdict + (f' by "{expectation.rule}"' if expectation.rule is not None else "")
        got = record.verdict + (f' by "{record.rule}"' if record.rule is not None else "")
        tally.fail(f"packet {record.frame}: expected {wanted}, got {got} ({record.outcome})")
    tally.tested += 1


def _satisfies(replayed: Replayed, when: Expression, options: Options) -> bool:
    """Whether the frame's packet, if rules can see it, satisfies an expectation's `when`. That selects what is tested; the
    reference decides it whichever engine judges."""
    arrival = arrival_of(replayed.frame)
    if not isinstance(arrival, Arrival) or why_dropped(arrival) is not None:
        return False
    node, interface = options.node, arrival.interface
    place = Place(interface.name, mark=options.mark, vlan_id=interface.vlan, colo_name=node.name, colo_region=node.region)
    return holds(when, Packet(arrival.ip, place))


def title_of(expectation: Expectation) -> str:
    """An expectation in one line, without the text of its `when`."""
    parts = [expectation.verdict]
    if expectation.rule is not None:
        parts.append(f'"{expectation.rule}"')
    if expectation.when is not None:
        parts.append("when ...")
    parts.append(f"from {expectation.capture}")
    for low, high in expectation.frames or ():
        parts.append(f"packet {low}" if low == high else f"packets {low}..{high}")
    return " ".join(parts)


def junit_xml(suites: Iterable[tuple[str, Iterable[Result], float]]) -> str:
    """JUnit XML of (rule file, results, seconds) suites: a test suite a rule file, a test case an expectation (the schema is
    that of Jenkins' xUnit plugin)."""
    root = ET.Element("testsuites", name="mantlet")
    for name, found, seconds in suites:
        results = tuple(found)
        failed = sum(not result.passed for result in results)
        suite = ET.SubElement(
            root, "testsuite", name=name, tests=str(len(results)), failures=str(failed), errors="0", skipped="0", time=f"{seconds:.3f}"
        )
        for result in results:
            span = result.expectation.span
            line = str(span.source.position(span.start)[0])
            case = ET.SubElement(suite, "testcase", classname=name, name=result.title, file=span.source.name, line=line)
            if not result.passed:
                ET.SubElement(case, "failure", message=result.failures[0]).text = "\n".join(result.failures)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
