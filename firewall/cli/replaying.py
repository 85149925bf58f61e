"""Commands that put captures through rules: match, replay, test."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, add_geo, add_node, add_policy_file, wants_json
from firewall.cli.console import BadInput, Exit, coloured, count, paint, say, say_json, warn

if TYPE_CHECKING:
    from firewall.replay import Difference, Options, Record, Replayed, Result

SHOWN_DIFFERENCES = 20
"""Differences between the engines that are told one by one."""


def register(commands: Commands) -> None:
    match = commands.add(
        "match",
        _match,
        "the frames of a capture that an expression matches",
        "Prints the numbers of the frames that match, one a line. Frames that no rule would see (ARP, damaged ones) never match.\n"
        "The kernel engine compiles the expression and asks the kernel, in a network namespace of its own; the reference engine is\n"
        "plain Python and needs no privileges; `both` compares them.",
        "mantlet match 'udp.dstport == 53 and udp.payload.len > 512' traffic.pcap",
        "mantlet match --engine reference 'sip' traffic.pcapng",
    )
    match.add_argument("expression", metavar="EXPR", help="an expression of the rule language")
    match.add_argument("capture", type=Path, metavar="CAPTURE", help="a pcap or pcapng file, gzipped or not; - is standard input")
    _add_engine(match, "kernel")
    add_geo(match)
    add_node(match)
    _add_mark(match)
    add_format(match)

    replay = commands.add(
        "replay",
        _replay,
        "every packet's verdict and the rule that gave it",
        "Replays a capture through a rule file and says for each frame what the rules said (verdict), what became of the packet\n"
        "(outcome), and which rule decided. With --engine both a difference between the engines is an error.",
        "sudo mantlet replay acme.rules traffic.pcap",
        "mantlet replay acme.rules traffic.pcap --engine reference --format json",
        "sudo mantlet replay acme.rules traffic.pcap --format pcapng -o judged.pcapng   # open it in Wireshark",
    )
    add_policy_file(replay)
    replay.add_argument("capture", type=Path, metavar="CAPTURE", help="a pcap or pcapng file, gzipped or not; - is standard input")
    _add_engine(replay, "kernel")
    add_node(replay)
    _add_mark(replay)
    add_format(replay, "table", "json", "pcapng")
    replay.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to FILE (needed for pcapng)")

    test = commands.add(
        "test",
        _test,
        "the policy tests of rule files",
        "Runs the `expect` statements of rule files, or of every *.rules file below a folder. Exits 1 where one fails.",
        "sudo mantlet test acme.rules",
        "mantlet test policies/ --engine reference --junit results.xml",
    )
    test.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a rule file, or a folder with rule files")
    _add_engine(test, "kernel")
    add_geo(test)
    add_node(test)
    _add_mark(test)
    test.add_argument("--junit", type=Path, metavar="FILE", help="also write the results as JUnit XML")
    add_format(test)


def _add_engine(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--engine", choices=("kernel", "reference", "both"), default=default, help=f"what judges the packets (default: {default})"
    )


def _add_mark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mark", type=_mark, default=0, metavar="N", help="the mark that every packet carries (meta.mark)")


def _mark(text: str) -> int:
    try:
        mark = int(text, 0)
    except ValueError:
        mark = -1
    if not 0 <= mark < 1 << 32:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 0 to 0xffffffff")
    return mark


def _options(options: argparse.Namespace) -> Options:
    from firewall.plan import Node
    from firewall.replay import Options

    return Options(Node(options.node, options.region), options.mark)


# -- match -------------------------------------------------------------------------------------------------------------


def _match(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import geo_table, require_capture
    from firewall.replay import EnginesDifferError, match, uncollected
    from rules_dsl import parse_expression

    capture = require_capture(options.capture)
    expression = parse_expression(options.expression, geo=geo_table(options.geo))
    frames = match(expression, capture, options.engine, _options(options), text=options.expression)
    try:
        with uncollected():
            if wants_json(options):
                say_json("match", {"expression": options.expression, "engine": options.engine, "frames": list(frames)})
            else:
                for frame in frames:
                    say(str(frame))
    except EnginesDifferError as error:
        warn(f"mantlet: {error}")
        warn("mantlet: the engines differ, which is a bug; please report the capture and the expression")
        return Exit.FINDINGS
    return Exit.WELL


# -- replay ------------------------------------------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import load, require_capture, require_other_file
    from firewall.replay import replay, uncollected

    if options.format == "pcapng" and options.output is None:
        raise BadInput("--format pcapng writes a file: say which with -o FILE")
    policy = load(options)
    capture = require_capture(options.capture)
    if options.output is not None:
        require_other_file(options.output, capture, options.file)
    differences: list[Difference] = []
    replayed = _noting(replay(policy, capture, options.engine, _options(options)), differences)
    with uncollected():
        match options.format:
            case "pcapng":
                _write_pcapng(options.output, replayed)
            case "json":
                _write_lines(options.output, (record.as_json() for _, record, _ in replayed))
            case _:
                _write_lines(options.output, _table(replayed, colour=options.output is None and _on_terminal()))
    for difference in differences[:SHOWN_DIFFERENCES]:
        warn(f"mantlet: {difference}")
    if differences:
        warn(f"mantlet: the engines differ on {count(len(differences), 'frame')}, which is a bug; please report the capture and the rules")
        return Exit.FINDINGS
    return Exit.WELL


def _on_terminal() -> bool:
    return coloured(sys.stdout)


def _noting(replayed: Iterator[Replayed], differences: list[Difference]) -> Iterator[Replayed]:
    """The same, with the differences between the engines set aside."""
    for entry in replayed:
        if entry.difference is not None:
            differences.append(entry.difference)
        yield entry


VERDICT_COLOURS = {"allow": "green", "block": "red", "reject": "red", "log": "yellow"}


def _table(replayed: Iterator[Replayed], *, colour: bool) -> Iterator[str]:
    """A line a frame as they come, and a summary."""
    from firewall.replay import TABLE_HEAD

    tally: dict[str, int] = {}
    total = 0
    for _, record, _ in replayed:
        if total == 0:  # what stands in the way of a replay is told before its table begins
            yield paint(TABLE_HEAD, "bold") if colour else TABLE_HEAD
        total += 1
        tally[record.outcome] = tally.get(record.outcome, 0) + 1
        yield _coloured_row(record) if colour else record.as_row()
    summary = ", ".join(f"{number:,} {outcome}" for outcome, number in tally.items())
    yield f"{count(total, 'frame')}: {summary}" if total else "no frames"


def _coloured_row(record: Record) -> str:
    shade = VERDICT_COLOURS.get(record.verdict or "", "grey")
    return paint(record.as_row(), shade)


def _write_lines(output: Path | None, lines: Iterator[str]) -> None:
    if output is None:
        for line in lines:
            say(line)
        return
    with output.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_pcapng(output: Path, replayed: Iterator[Replayed]) -> None:
    from firewall.capture_write import PcapngFile

    written = 0
    with PcapngFile(output) as file:
        for frame, record, _ in replayed:
            file.write(frame, record.comment)
            written += 1
    say(f"{output}: {count(written, 'frame')}, each with its verdict as packet comment")


# -- test --------------------------------------------------------------------------------------------------------------


def _test(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import load
    from firewall.replay import junit_xml, run_expectations

    suites: list[tuple[str, tuple[Result, ...], float]] = []
    for path in _rule_files(options.paths):
        policy = load(options, path)
        started = time.monotonic()
        suites.append((str(path), run_expectations(policy, path.parent, options.engine, _options(options)), time.monotonic() - started))
    if options.junit is not None:
        options.junit.write_text(junit_xml(suites), encoding="utf-8")
    results = [result for _, found, _ in suites for result in found]
    failed = sum(not result.passed for result in results)
    if wants_json(options):
        say_json("test", {"tests": len(results), "failed": failed, "files": [_suite_json(name, found) for name, found, _ in suites]})
    else:
        for name, found, _ in suites:
            _say_suite(name, found)
        say(f"{count(len(results), 'test')}, {failed} failed")
    return Exit.FINDINGS if failed else Exit.WELL


def _rule_files(paths: list[Path]) -> Iterator[Path]:
    from firewall.cli.policies import require_file

    for path in paths:
        if not path.is_dir():
            require_file(path)
            yield path
            continue
        found = sorted(path.rglob("*.rules"))
        if not found:
            raise BadInput(f"{path}: no *.rules file in this folder")
        yield from found


def _say_suite(name: str, results: tuple[Result, ...]) -> None:
    failed = [result for result in results if not result.passed]
    state = paint("failed", "red") if failed else paint("passed", "green")
    say(f"{name}: {count(len(results), 'test')}, {state}")
    for result in failed:
        line = result.expectation.span.source.position(result.expectation.span.start)[0]
        say(f"  line {line}: expect {result.title}")
        for reason in result.failures:
            say(f"    {reason}")


def _suite_json(name: str, results: tuple[Result, ...]) -> dict[str, object]:
    tests = [
        {
            "title": result.title,
            "line": result.expectation.span.source.position(result.expectation.span.start)[0],
            "passed": result.passed,
            "packets": result.tested,
            "failures": list(result.failures),
        }
        for result in results
    ]
    return {"file": name, "tests": tests}
