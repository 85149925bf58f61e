"""What payload rules cost a packet, beside iptables' string match, nft's raw payload match and the same automaton in C; which packets
run no program; and what hostile payloads cost, beside the bound that `mantlet explain` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bpf.bpffs import pins
from bpf.libbpf import libbpf
from bpf.program import open_pinned
from firewall import nft
from firewall.bench import hand_written
from firewall.bench.packet_cost import Cost, Install, Lane, has_iptables, install_iptables, install_mantlet, measure
from firewall.bench.payloads import (
    HOSTILE,
    MESSAGES,
    as_iptables,
    as_nft,
    as_one_rule,
    as_rules,
    deep_packets,
    deep_rules,
    held,
    hostile,
    tcp,
    texts,
    udp,
    words,
)
from firewall.pins import Pins
from firewall.plan import Environment, plan
from firewall.plan.expected_cost import worst
from firewall.render import render
from rules_dsl import parse_policy

RULE_A_PATTERN = "mantlet, a rule a pattern"
ONE_RULE = "mantlet, contains any"
IN_C = "the automaton in C, clang"
IPTABLES = "iptables-nft, string bm"
NFT = "nft, at a fixed offset"

MOST_FOR_IPTABLES = 1_000
"""Patterns; more would take minutes."""
DEEP_COUNTS = (1, 10, 100)
"""Rules; of mixed ones there is one for each field at least."""
ROUND_NS = 250_000_000


# -- patterns ----------------------------------------------------------------------------------------------------------


def patterns(count: int, rounds: int) -> tuple[float, list[Cost]]:
    """`count` random words searched for in payloads of 512 bytes."""
    wanted = words(count)
    contenders: dict[str, Install] = {
        RULE_A_PATTERN: partial(install_mantlet, as_rules(wanted)),
        ONE_RULE: partial(install_mantlet, as_one_rule(wanted)),
        NFT: partial(nft.run, as_nft(wanted)),
    }
    if hand_written.missing() is None:
        contenders[IN_C] = partial(hand_written.install, wanted)
    if has_iptables() and count <= MOST_FOR_IPTABLES:
        contenders[IPTABLES] = partial(install_iptables, as_iptables(wanted))
    packets = texts(wanted)
    return measure(contenders, packets, rules=count, rounds=rounds, held=held(packets), round_ns=ROUND_NS)


def table(sets: Sequence[tuple[int, float, Sequence[Cost]]]) -> Iterator[str]:
    """Rows of text: contenders down, numbers of patterns across; in each cell the median with half its spread, and the ratio to that of
    a rule a pattern."""
    yield f"{'nanoseconds added a packet':<27}" + "".join(f"{count:>13,} pattern{'s' if count > 1 else ' '}" for count, _, _ in sets)
    for name in dict.fromkeys(cost.contender for _, _, costs in sets for cost in costs):
        cells = []
        for _, _, costs in sets:
            by_name = {cost.contender: cost for cost in costs}
            own, ours = by_name.get(name), by_name[RULE_A_PATTERN]
            if own is None:
                cells.append(f"{'-':>21}")
                continue
            cells.append(f"{own.added:8,.0f} ±{(own.highest - own.lowest) / 2:<5,.0f}{own.added / ours.added:5.2f}x")
        yield f"{name:<27}" + " ".join(cells)
    if lacking := hand_written.missing():
        yield f"{IN_C}: {lacking}"
    yield "an empty rule set takes " + ", ".join(f"{base:,.0f}" for _, base, _ in sets) + " ns a packet in these runs"


# -- deep fields -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deep:
    """The cost of rules on deep fields."""

    packets: str
    """Their field, or that they are mixed."""
    hit: bool
    """They match the last rule; of mixed ones those of the first field do."""
    costs: tuple[Cost, ...]
    """By the number of rules."""


def deep(rounds: int) -> Iterator[Deep]:
    """1, 10 and 100 rules for one tenant, each with another constant."""
    kinds: Mapping[str, tuple[str, ...]] = {**{field: (field,) for field in MESSAGES}, "mixed": tuple(MESSAGES)}
    for name, fields in kinds.items():
        for hit in (False, True):
            packets = deep_packets(fields, hit=hit)
            counts = [max(count, len(fields)) for count in DEEP_COUNTS]
            contenders = {str(count): partial(install_mantlet, deep_rules(fields, count)) for count in counts}
            _, costs = measure(contenders, packets, rules=0, rounds=rounds, held=held(packets), round_ns=ROUND_NS)
            found = (Cost(name, count, cost.added, cost.lowest, cost.highest) for count, cost in zip(counts, costs, strict=True))
            yield Deep(name, hit, tuple(found))


def deep_table(found: Sequence[Deep]) -> Iterator[str]:
    yield f"{'nanoseconds added a packet':<42}" + "".join(f"{count:>11} rule{'s' if count > 1 else ' '}" for count in DEEP_COUNTS)
    for each in found:
        which = "the last rule matches" if each.hit else "no rule matches"
        which += f" ({each.costs[0].rules})" if each.costs[0].rules != DEEP_COUNTS[0] else ""
        cells = (
            f"{cost.added:7,.0f} ±{(cost.highest - cost.lowest) / 2:<5,.0f}"
            + (f"{cost.added / each.costs[0].added:4.1f}x" if each.costs[0].added > 0 else f"{'-':>5}")
            for cost in each.costs
        )
        yield f"{each.packets + ', ' + which:<42}" + "".join(f"{cell:>16}" for cell in cells)


# -- packets that no program sees --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Runs:
    """How often programs ran."""

    packets: str
    sent: int
    runs: int


def program_runs(count: int = 100) -> list[Runs]:
    """Under `count` payload rules for port 53: packets that they cannot concern, and, for comparison, one that they do."""
    rules = [
        f'block "rule {number}" when udp.dstport == 53 and udp.payload contains "{word.decode()}"'
        for number, word in enumerate(words(count))
    ]
    text = "\n".join(["tenant bench", *rules]) + "\n"
    kinds = {
        "TCP without payload": tcp(b"", 53),
        "TCP with payload": tcp(bytes(100), 53),
        "UDP to another port": udp(bytes(512), 54),
        "UDP to port 53": udp(bytes(512), 53),
    }
    found = []
    for name, packet in kinds.items():
        lane = Lane(name, partial(install_mantlet, text), [packet], held=held([packet]))
        try:
            with libbpf().counting_runs():
                sent = lane.send(1_000)
            found.append(Runs(name, sent, lane.call(_runs)))
        finally:
            lane.close()
    return found


def _runs() -> int:
    total = 0
    for pin in pins(Pins.here().root):
        with open_pinned(pin) as program:
            total += program.info.runs
    return total


# -- the worst case ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worst:
    """What a packet costs that is made to cost much."""

    payload: str
    octets: int
    bound: float
    """Nanoseconds, as `mantlet explain` has them for so many bytes."""
    cost: Cost


def worst_cases(rounds: int) -> Iterator[Worst]:
    for name, (rules, packet) in hostile().items():
        images = render(plan(parse_policy(rules), Environment()), 1).programs.values()
        bound = max(worst(image, HOSTILE) for image in images)
        contenders = {name: partial(install_mantlet, rules)}
        _, (cost,) = measure(contenders, [packet], rules=0, rounds=rounds, held=held([packet]), round_ns=ROUND_NS)
        yield Worst(name, HOSTILE, bound, cost)


def worst_table(found: Sequence[Worst]) -> Iterator[str]:
    yield f"{f'nanoseconds added a packet, {HOSTILE:,} bytes':<52}{'measured':>16}{'bound':>12}"
    for each in found:
        measured = f"{each.cost.added:,.0f} ±{(each.cost.highest - each.cost.lowest) / 2:<5,.0f}"
        yield f"{each.payload:<52}{measured:>16}{each.bound:>12,.0f}" + ("" if each.cost.added <= each.bound else "  ABOVE")
