"""The command bench."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, say, say_json, warn


def register(commands: Commands) -> None:
    bench = commands.add(
        "bench",
        _bench,
        "what rules cost a packet, beside plain nftables and iptables",
        "Measures, in network namespaces of its own: nanoseconds a packet of 1 to 1,000 rules as compiled here, one nft rule a line,\n"
        "and as iptables-nft rules, with an in-kernel packet generator; and frames a second of the replay engines. Takes two minutes.",
        "sudo mantlet bench",
        "sudo mantlet bench --rules 10,10000 --rounds 3 --format json",
    )
    bench.add_argument("--rules", type=_counts, default=(1, 10, 100, 1000), metavar="N,N,...", help="rule counts (default: 1,10,100,1000)")
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="measured runs of each contender (default: 5)")
    add_format(bench)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_positive(part) for part in text.split(","))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _bench(options: argparse.Namespace) -> Exit:
    from firewall.bench import engines, packet_cost
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
        if not wants_json(options):
            say(f"Rules of {shape}; half of the packets hit a rule. Ratios are to Mantlet's cost.")
            for row in packet_cost.table(measured):
                say(row)
            say()
    _progress("replay engines ...")
    speeds = engines.measure(options.rounds)
    if wants_json(options):
        say_json("bench", {"cost": costs, "replay": [dataclasses.asdict(speed) for speed in speeds]})
        return Exit.WELL
    say(f"Replay of a capture through {engines.RULES} rules, frames a second (lowest to highest round)")
    for speed in speeds:
        say(f"{speed.engine:<12}{speed.per_second:10,.0f}   ({speed.lowest:,.0f} to {speed.highest:,.0f})")
    return Exit.WELL


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        warn(text)
