"""The command bench-api."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from api.cli.store import positive
from firewall.cli.commands import Commands, add_format, wants_json
from firewall.cli.console import Exit, say, say_json, warn


def register(commands: Commands) -> None:
    bench = commands.add(
        "bench-api",
        _bench,
        "how fast the REST API enforces, reads and starts",
        "Measures, with servers and network namespaces of its own: a change of one rule from the request until it is enforced, beside\n"
        "`nft add rule` as a process; reads a second; the start until the rules of all tenants are enforced; and what a packet costs\n"
        "for the first and the last tenant. Takes some minutes.",
        "sudo mantlet bench-api",
        "sudo mantlet bench-api --tenants 100 --rounds 3 --format json",
    )
    bench.add_argument("--tenants", type=positive, default=1000, metavar="N", help="how many start together (default: %(default)s)")
    bench.add_argument("--rules", type=positive, default=20, metavar="N", help="rules of each (default: %(default)s)")
    bench.add_argument("--large", type=positive, default=1000, metavar="N", help="of the tenant that is written to (default: %(default)s)")
    bench.add_argument("--rounds", type=positive, default=20, metavar="N", help="writes of each kind (default: %(default)s)")
    bench.add_argument("--seconds", type=positive, default=5, metavar="N", help="of reads of each kind (default: %(default)s)")
    bench.add_argument("--no-packets", action="store_true", help="leave out what a packet costs")
    add_format(bench)


def _bench(options: argparse.Namespace) -> Exit:
    from api import bench

    _progress(f"a tenant of {options.large:,} rules ...")
    with bench.served(1, options.large) as node:
        writes = [bench.writes(node, 1, options.large, options.rounds)]
    _progress(f"{options.tenants:,} tenants of {options.rules:,} rules ...")
    with bench.served(options.tenants, options.rules) as node:
        start = bench.Start(options.tenants, options.rules, node.seconds)
        reads = bench.reads(node, options.seconds)
        writes.append(bench.writes(node, options.tenants, options.rules, options.rounds))
    _progress("packets ...")
    cost = None if options.no_packets else bench.packets(options.tenants, options.rules, 5)
    if wants_json(options):
        found = {"writes": writes, "reads": reads, "start": start, "packets": cost}
        say_json("bench-api", {name: _plain(each) for name, each in found.items()})
        return Exit.WELL
    say("A change of one rule, until it is enforced")
    for each in writes:
        what = f"{each.tenants:,} tenants, this one of {each.rules:,} rules"
        say(f"{what:<44}{each.milliseconds:8.1f} ms; a bare `nft add rule` {each.bare_milliseconds:.1f} ms: {each.ratio:.1f}x")
        say(f"{'  the first after what others changed':<44}{each.after_others_milliseconds:8.1f} ms")
    say("Reads")
    for read in reads:
        say(f"{read.what:<44}{read.per_second:8,.0f} a second")
    say(f"Start of {start.tenants:,} tenants of {start.rules} rules, until all are enforced: {start.seconds:.1f} s")
    if cost is not None:
        first, last = f"tenant 1 {cost.first:.0f} ns", f"tenant {cost.tenants:,} {cost.last:.0f} ns"
        say(f"What their rules add to a packet that passes: {first}, {last} ({cost.last / cost.first:.2f}x)")
    return Exit.WELL


def _plain(found: object) -> object:
    match found:
        case list():
            return [_plain(each) for each in found]
        case None:
            return None
        case _:
            return dataclasses.asdict(found)  # type: ignore[call-overload]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        warn(text)
