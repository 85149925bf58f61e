"""The command bench."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import BadInput, Exit, Refused, say, say_json, table, warn

if TYPE_CHECKING:
    from firewall.bench.results import Results


COUNTS = (1, 10, 100, 1000)


def register(commands: Commands) -> None:
    bench = commands.add(
        "bench",
        _bench,
        "what rules cost a packet, beside plain nftables and iptables",
        "Measures, in network namespaces of its own: nanoseconds a packet of 1 to 1,000 rules as compiled here, one nft rule a line,\n"
        "and as iptables-nft rules, with an in-kernel packet generator; the same for payload rules, with the same automaton in C where\n"
        "clang and bpftool are installed; and frames a second of the replay engines. Takes some minutes.\n"
        "With --classbench instead: ClassBench's rule sets and lists of prefixes, as Mantlet, nft (one rule a line, by protocol,\n"
        "optimised by itself, a decision tree, a map), iptables and ipset have them, as far as they are installed: cost a packet by\n"
        "several traces, all verdicts compared, time to load and to change one rule, memory. Takes an hour.",
        "sudo mantlet bench",
        "sudo mantlet bench --rules 10,10000 --rounds 3 --format json",
        "sudo mantlet bench --classbench --sets acl1,prefixes --rules 10,10000",
    )
    bench.add_argument(
        "--rules",
        type=_counts,
        metavar="N,N,...",
        help="rule counts (default: 1,10,100,1000; with --classbench 10,100,1000,10000,100000)",
    )
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="measured runs of each contender (default: 5)")
    bench.add_argument("--payload", action="store_true", help="payload rules alone")
    bench.add_argument("--early-drop", action="store_true", help="packets dropped by XDP and by nftables alone, a second")
    bench.add_argument("--classbench", action="store_true", help="ClassBench's rule sets and lists of prefixes alone")
    bench.add_argument(
        "--sets", type=_sets, metavar="NAME,...", help="with --classbench: which of acl1, fw1, ipc1, one-shape, prefixes (default: all)"
    )
    bench.add_argument(
        "--filters",
        type=Path,
        metavar="FOLDER",
        help="with --classbench: of ClassBench's files NAME_N.cb (default: filters of the same character are generated)",
    )
    bench.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        help="with --classbench: writes performance.md, and results.json and plots into FOLDER/performance (takes matplotlib)",
    )
    add_format(bench)


def _sets(text: str) -> tuple[str, ...]:
    from firewall.bench.suite import SETS

    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in SETS]:
        raise argparse.ArgumentTypeError(f"no set {', '.join(unknown)}: there are {', '.join(SETS)}")
    return names


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _bench(options: argparse.Namespace) -> Exit:
    if options.classbench:
        return _classbench(options)
    if options.early_drop:
        return _early_drop(options)
    if options.sets or options.filters or options.write:
        raise BadInput("--sets, --filters and --write are for --classbench")
    options.rules = options.rules or COUNTS
    found: dict[str, object] = {}
    if not options.payload:
        found["cost"] = _headers(options)
    found["payload"] = _payload(options)
    if not options.payload:
        found["replay"] = _replay(options)
    if wants_json(options):
        say_json("bench", found)
    return Exit.WELL


def _early_drop(options: argparse.Namespace) -> Exit:
    from firewall.bench import early_drop

    if options.payload:
        raise BadInput("--early-drop and --payload exclude each other")
    found = early_drop.measure(options.rules or early_drop.SIZES, options.rounds, _progress)
    _show(options, "Packets that rules drop; ratios are to the same rules in nftables.", early_drop.table(found))
    if wants_json(options):
        say_json("bench", {"early_drop": [dataclasses.asdict(each) for each in found]})
    return Exit.WELL


def _headers(options: argparse.Namespace) -> list[object]:
    from firewall.bench import packet_cost
    from firewall.bench.workload import SHAPES, lines, trace

    costs: list[object] = []
    for shape in SHAPES:
        measured = []
        for count in options.rules:
            _progress(f"{shape}, {count:,} rules ...")
            rules = lines(count, shape)
            contenders = packet_cost.header_contenders(rules)
            base, found = packet_cost.measure(contenders, trace(rules, hits=0.5), rules=count, rounds=options.rounds)
            measured.append((count, base, found))
            costs += [{"shape": shape, "empty": base, **dataclasses.asdict(cost)} for cost in found]
        _show(
            options,
            f"Rules of {shape}; half of the packets hit a rule. Ratios are to Mantlet's cost.",
            packet_cost.table(measured),
        )
    return costs


def _payload(options: argparse.Namespace) -> dict[str, object]:
    from firewall.bench import payload
    from firewall.bench.payloads import ONE_IN, PAYLOAD

    measured, patterns = [], []
    for count in options.rules:
        _progress(f"payloads, {count:,} patterns ...")
        base, costs = payload.patterns(count, options.rounds)
        measured.append((count, base, costs))
        patterns += [{"empty": base, **dataclasses.asdict(cost)} for cost in costs]
    title = f"Words in {PAYLOAD} bytes of random text, one packet in {ONE_IN} has one. Ratios are to Mantlet with a rule a pattern."
    _show(options, title, payload.table(measured))
    _progress("deep fields ...")
    deep = list(payload.deep(options.rounds))
    _show(options, "Rules on deep fields, each with another constant", payload.deep_table(deep))
    _progress("runs of programs ...")
    runs = payload.program_runs()
    rows = (f"{each.packets:<27}{each.sent:,} packets, {each.runs:,} runs of programs" for each in runs)
    _show(options, "Under 100 payload rules for UDP port 53", rows)
    _progress("hostile payloads ...")
    worst = list(payload.worst_cases(options.rounds))
    _show(options, "Payloads made to cost the most, beside the bound of `mantlet explain`", payload.worst_table(worst))
    return {
        "patterns": patterns,
        "deep": [dataclasses.asdict(each) for each in deep],
        "program_runs": [dataclasses.asdict(each) for each in runs],
        "worst": [dataclasses.asdict(each) for each in worst],
    }


def _replay(options: argparse.Namespace) -> list[object]:
    from firewall.bench import engines

    _progress("replay engines ...")
    speeds = engines.measure(options.rounds)
    title = f"Replay of a capture through {engines.RULES} rules, frames a second (lowest to highest round)"
    rows = (f"{each.engine:<12}{each.per_second:10,.0f}   ({each.lowest:,.0f} to {each.highest:,.0f})" for each in speeds)
    _show(options, title, rows)
    return [dataclasses.asdict(speed) for speed in speeds]


def _classbench(options: argparse.Namespace) -> Exit:
    import importlib.util

    from firewall.bench import results, suite
    from firewall.bench.classbench import FilterError

    if options.payload:
        raise BadInput("--classbench and --payload exclude each other")
    if options.write and importlib.util.find_spec("matplotlib") is None:
        raise Refused("the plots take matplotlib", "pip install 'mantlet[bench]'")

    def keep(found: results.Results) -> None:
        if options.write:
            results.write(found, options.write)

    try:
        found = suite.run(options.sets or suite.SETS, options.rules or suite.SIZES, options.filters, options.rounds, _progress, keep)
    except FilterError as error:
        raise BadInput(f"{options.filters}: {error}") from error
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}") from error
    if wants_json(options):
        say_json("bench", {"classbench": results.to_json(found)})
    else:
        _show_classbench(found)
    return Exit.FINDINGS if found.wrong else Exit.WELL


def _show_classbench(found: Results) -> None:
    from firewall.bench import results

    for name in found.names:
        sizes = found.named(name)
        counts = [f"{each.asked:,}" for each in sizes]
        right = frozenset(range(1, len(counts) + 1))
        for trace in sizes[0].packets:
            say(table([f"{name}, {trace}: ns added a packet", *counts], results.costs(sizes, trace), right=right))
            say(results.growth(sizes, trace))
            say()
        say(table([f"{name}: load / one change / memory of kernel / of process", *counts], results.settings(sizes), right=right))
        say()
        for line in results.left_out(sizes):
            say(f"left out: {line}")
        say()
    if found.floor is not None:
        say(
            f"a frame dropped in XDP takes {found.floor.xdp_drop:,.0f} ns in all, one through an empty rule set {found.floor.stack:,.0f} ns"
        )


def _show(options: argparse.Namespace, title: str, rows: Iterable[str]) -> None:
    if wants_json(options):
        return
    say(title)
    for row in rows:
        say(row)
    say()


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        warn(text)
