"""The command bench."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, say, say_json, warn


def register(commands: Commands) -> None:
    bench = commands.add(
        "bench",
        _bench,
        "what rules cost a packet, beside plain nftables and iptables",
        "Measures, in network namespaces of its own: nanoseconds a packet of 1 to 1,000 rules as compiled here, one nft rule a line,\n"
        "and as iptables-nft rules, with an in-kernel packet generator; the same for payload rules, with the same automaton in C where\n"
        "clang and bpftool are installed; and frames a second of the replay engines. Takes some minutes.",
        "sudo mantlet bench",
        "sudo mantlet bench --rules 10,10000 --rounds 3 --format json",
    )
    bench.add_argument("--rules", type=_counts, default=(1, 10, 100, 1000), metavar="N,N,...", help="rule counts (default: 1,10,100,1000)")
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="measured runs of each contender (default: 5)")
    bench.add_argument("--payload", action="store_true", help="payload rules alone")
    add_format(bench)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _bench(options: argparse.Namespace) -> Exit:
    found: dict[str, object] = {}
    if not options.payload:
        found["cost"] = _headers(options)
    found["payload"] = _payload(options)
    if not options.payload:
        found["replay"] = _replay(options)
    if wants_json(options):
        say_json("bench", found)
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
