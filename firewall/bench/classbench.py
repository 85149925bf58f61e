"""Rule sets as ClassBench makes them (Taylor and Turner, IEEE/ACM Transactions on Networking 15(3), 2007): read from its files, or drawn
at random with the character of its seeds acl1, fw1 and ipc1."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

Drawn = TypeVar("Drawn")

ICMP, TCP, UDP, GRE = 1, 6, 17, 47
ANY: Final = (0, 65535)
"""Ports."""
DROPPED: Final = 0.3
"""The share of rules that drop; the others accept."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What a rule asks for, over IPv4. Ports are inclusive ranges, and ANY where the protocol has none."""

    source: int
    source_length: int
    destination: int
    destination_length: int
    source_ports: tuple[int, int]
    destination_ports: tuple[int, int]
    protocol: int | None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in order: the first that holds decides, and no rule accepts."""

    name: str
    origin: str
    """The file's name, or how it was made."""
    filters: tuple[Filter, ...]
    drops: tuple[bool, ...]
    """By rule."""

    def first(self, packets: Iterable[Filter]) -> Iterator[int | None]:
        """The first rule that holds for each packet, which is a filter of single values: all that may hold are looked through."""
        by_source: list[list[int]] = [[] for _ in range(256)]
        by_destination: list[list[int]] = [[] for _ in range(256)]
        for number, rule in enumerate(self.filters):
            for nearby, address, length in (
                (by_source, rule.source, rule.source_length),
                (by_destination, rule.destination, rule.destination_length),
            ):
                for byte in range(address >> 24, (address | 0xFFFFFFFF >> length) + (1 << 24) >> 24):
                    nearby[byte].append(number)
        for packet in packets:
            near = min(by_source[packet.source >> 24], by_destination[packet.destination >> 24], key=len)
            yield next((number for number in near if holds(self.filters[number], packet)), None)

    def dropped(self, packets: Iterable[Filter]) -> list[bool]:
        """Of each packet, whether the rules drop it."""
        return [number is not None and self.drops[number] for number in self.first(packets)]

    def changed(self, number: int = 0) -> RuleSet:
        """Another destination in the rule in the middle, of 16 that are not in the sets."""
        middle = len(self.filters) // 2
        other = replace(self.filters[middle], destination=0xC6336401 + number % 16, destination_length=32)  # 198.51.100.1 and on
        return replace(self, filters=(*self.filters[:middle], other, *self.filters[middle + 1 :]))


def holds(rule: Filter, packet: Filter) -> bool:
    """Whether the rule asks for such a packet, a filter of single values."""
    return (
        (packet.source ^ rule.source) >> (32 - rule.source_length) == 0
        and (packet.destination ^ rule.destination) >> (32 - rule.destination_length) == 0
        and rule.protocol in (None, packet.protocol)
        and rule.source_ports[0] <= packet.source_ports[0] <= rule.source_ports[1]
        and rule.destination_ports[0] <= packet.destination_ports[0] <= rule.destination_ports[1]
    )


# -- files -------------------------------------------------------------------------------------------------------------

_LINE: Final = re.compile(
    r"@([\d.]+)/(\d+)\s+([\d.]+)/(\d+)\s+(\d+) : (\d+)\s+(\d+) : (\d+)\s+0x([0-9a-fA-F]{2})/0x([0-9a-fA-F]{2})(?:\s.*)?"
)


class FilterError(ValueError):
    """A line that is no filter; the message has its number."""


def parse(text: str) -> Iterator[Filter]:
    """The filters of a file, one a line: `@src/len dst/len lo : hi lo : hi proto/mask flags/mask`. The flags are left out, as the
    literature on packet classification does. A filter of ports for any protocol becomes one for TCP and one for UDP. Raises
    FilterError."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise FilterError(f"line {number} is no filter: {line.strip()!r}")
        source, destination = _address(found[1]), _address(found[3])
        lengths = int(found[2]), int(found[4])
        protocol = None if int(found[10], 16) == 0 else int(found[9], 16)
        ports = (int(found[5]), int(found[6])), (int(found[7]), int(found[8]))
        yield from _over(source, lengths[0], destination, lengths[1], ports, protocol)


def _address(text: str) -> int:
    first, second, third, fourth = map(int, text.split("."))
    return first << 24 | second << 16 | third << 8 | fourth


def _network(address: int, length: int) -> int:
    return address >> (32 - length) << (32 - length)


def _over(
    source: int,
    source_length: int,
    destination: int,
    destination_length: int,
    ports: tuple[tuple[int, int], tuple[int, int]],
    protocol: int | None,
) -> Iterator[Filter]:
    whole = Filter(
        _network(source, source_length), source_length, _network(destination, destination_length), destination_length, *ports, protocol
    )
    if ports == (ANY, ANY) or protocol in (TCP, UDP):
        yield whole
    elif protocol is None:
        yield replace(whole, protocol=TCP)
        yield replace(whole, protocol=UDP)
    else:
        yield replace(whole, source_ports=ANY, destination_ports=ANY)


def rule_set(name: str, count: int, folder: Path | None = None) -> RuleSet:
    """`count` rules of a seed: a random part, in order, of the smallest file `NAME_N.cb` of the folder that has as many; where there is
    none, generated. Verdicts are random. The same at every call. Raises OSError, FilterError."""
    large: Sequence[Filter] = ()
    origin = "generated"
    for path in sorted(folder.glob(f"{name}_*.cb"), key=lambda path: path.stat().st_size) if folder is not None else ():
        large = list(parse(path.read_text(encoding="ascii")))
        if len(large) >= 0.9 * count:  # ClassBench takes duplicates out, so a set of "10,000" has some hundreds fewer
            origin = path.name
            break
    else:
        large = generate(name, max(count, LEAST))
    rng = random.Random(f"{name} {count}")
    kept = sorted(rng.sample(range(len(large)), min(count, len(large))))
    return RuleSet(name, origin, tuple(large[at] for at in kept), tuple(rng.random() < DROPPED for _ in kept))


# -- sets of a seed's character ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seed:
    """How often what occurs in a seed's filters: weights that need not add up to anything."""

    lengths: Mapping[tuple[int, int], int]
    """Of the source's prefix and the destination's."""
    kinds: Mapping[tuple[int | None, str, str], int]
    """Protocol, class of the source port and of the destination port: `any`, `high` (1024-65535), `one` or `some` (a range)."""
    source_ports: Mapping[tuple[int, int], int]
    destination_ports: Mapping[tuple[int, int], int]
    """What `one` and `some` are drawn from."""
    networks: tuple[int, int]
    """Source and destination /16 networks, in which prefixes lie that are not nested in others."""
    nested: tuple[float, float]
    """The share of source and destination prefixes that equal, contain or lie in one that was drawn before."""


SEEDS: Final[Mapping[str, Seed]] = MappingProxyType(
    {
        "acl1": Seed(
            lengths={
                (32, 32): 287, (31, 32): 142, (32, 31): 125, (31, 31): 42, (32, 30): 35, (32, 22): 35, (23, 32): 33, (31, 23): 19,
                (31, 22): 19, (30, 32): 19, (32, 24): 18, (24, 31): 17, (30, 22): 12, (32, 21): 11, (30, 23): 10, (24, 32): 8,
                (32, 25): 8, (31, 25): 6, (23, 16): 5, (29, 23): 5, (31, 21): 5, (23, 31): 5, (23, 28): 4, (25, 32): 4, (23, 17): 3,
                (22, 32): 3, (23, 15): 3, (8, 32): 1,
            },
            kinds={
                (TCP, "any", "one"): 580, (TCP, "any", "any"): 167, (TCP, "any", "some"): 108, (None, "any", "any"): 82,
                (ICMP, "any", "any"): 33, (UDP, "any", "one"): 10, (UDP, "any", "some"): 2,
            },
            source_ports={},
            destination_ports={
                (1521, 1521): 105, (1526, 1526): 31, (1221, 1221): 24, (135, 135): 18, (14753, 14753): 18, (1525, 1525): 18,
                (1433, 1433): 17, (1711, 1711): 15, (5541, 5541): 14, (1717, 1717): 14, (21, 21): 13, (1600, 1649): 10,
                (1300, 1350): 8, (32200, 32207): 5, (7500, 7599): 5, (2200, 2210): 5, (1025, 65535): 5, (8000, 8100): 4,
                (61400, 61409): 4, (5001, 65535): 4,
            },
            networks=(160, 330),
            nested=(0.55, 0.94),
        ),
        "fw1": Seed(
            lengths={
                (0, 31): 172, (0, 32): 128, (1, 32): 107, (1, 31): 66, (0, 30): 57, (31, 0): 46, (32, 0): 35, (32, 1): 31,
                (2, 32): 29, (30, 0): 17, (32, 32): 17, (31, 1): 16, (0, 0): 9, (31, 32): 8, (32, 31): 8, (1, 0): 7, (0, 1): 7,
                (29, 0): 7, (32, 2): 6, (21, 0): 6, (28, 0): 6, (26, 0): 5, (22, 0): 5, (27, 0): 5, (32, 21): 5, (32, 30): 5,
                (20, 0): 4, (31, 31): 4,
            },
            kinds={
                (TCP, "any", "one"): 418, (UDP, "any", "one"): 122, (UDP, "one", "any"): 102, (TCP, "any", "any"): 88,
                (GRE, "any", "any"): 51, (ICMP, "any", "any"): 36, (TCP, "high", "high"): 35, (UDP, "one", "one"): 24,
                (UDP, "high", "one"): 20, (UDP, "high", "high"): 18, (UDP, "one", "high"): 16, (None, "any", "any"): 9,
                (UDP, "some", "high"): 1,
            },
            source_ports={
                (123, 123): 34, (53, 53): 29, (161, 161): 17, (750, 750): 16, (88, 88): 11, (69, 69): 10, (67, 67): 8,
                (7648, 7648): 7, (162, 162): 4, (33434, 33600): 1,
            },
            destination_ports={
                (22, 22): 101, (80, 80): 61, (25, 25): 55, (53, 53): 53, (123, 123): 43, (544, 544): 19, (2105, 2105): 17,
                (21, 21): 17, (750, 750): 16, (161, 161): 14, (443, 443): 14, (23, 23): 14, (69, 69): 11, (119, 119): 10,
            },
            networks=(60_000, 60_000),
            nested=(0.15, 0.15),
        ),
        "ipc1": Seed(
            lengths={
                (32, 32): 72, (31, 32): 35, (23, 32): 30, (24, 32): 28, (32, 31): 23, (23, 24): 22, (24, 24): 21, (25, 32): 18,
                (0, 32): 17, (24, 31): 17, (0, 31): 16, (25, 31): 15, (32, 24): 15, (32, 25): 14, (24, 23): 14, (23, 25): 14,
                (1, 32): 14, (24, 25): 13, (24, 0): 13, (23, 0): 12, (22, 25): 11, (25, 23): 10, (0, 25): 10, (25, 24): 10,
                (23, 23): 10, (32, 26): 9, (23, 16): 9, (23, 26): 9, (32, 0): 8, (8, 24): 5, (0, 0): 1,
            },
            kinds={
                (None, "any", "any"): 307, (UDP, "any", "one"): 211, (TCP, "any", "one"): 130, (UDP, "one", "any"): 82,
                (TCP, "one", "any"): 80, (UDP, "any", "high"): 55, (TCP, "some", "any"): 19, (TCP, "any", "any"): 18,
                (TCP, "any", "some"): 17, (ICMP, "any", "any"): 11, (UDP, "any", "some"): 7, (UDP, "one", "one"): 4,
                (UDP, "high", "any"): 3, (GRE, "any", "any"): 3, (UDP, "any", "any"): 3, (UDP, "some", "any"): 2,
                (51, "any", "any"): 1, (50, "any", "any"): 1,
            },
            source_ports={
                (161, 161): 42, (53, 53): 24, (25, 25): 14, (80, 80): 13, (1433, 1433): 12, (143, 143): 7, (5540, 5540): 6,
                (22, 22): 6, (109, 110): 6, (20, 23): 6, (20, 21): 5, (1645, 1646): 4,
            },
            destination_ports={
                (514, 514): 63, (69, 69): 62, (80, 80): 35, (53, 53): 29, (9003, 9003): 24, (25, 25): 15, (1433, 1433): 12,
                (137, 137): 9, (113, 113): 7, (109, 110): 7, (20, 23): 6, (20, 21): 5, (1645, 1646): 4, (1812, 1813): 2,
            },
            networks=(330, 350),
            nested=(0.8, 0.7),
        ),
    }
)  # fmt: skip
"""Counted in the sets of 10,000 filters that ClassBench makes of these seeds."""

ONE_SHAPE: Final = "one-shape"
"""The set of which nftables can make one map: every filter has a source /24, a destination address and a TCP port."""
NAMES: Final = (*SEEDS, ONE_SHAPE)
LEAST: Final = 10_000
"""Filters that are generated for a smaller set to be a part of."""


def generate(name: str, count: int) -> list[Filter]:
    """`count` distinct filters of a seed's character, the more specific ones first, and one for everything at the end (but of ONE_SHAPE).
    The same at every call."""
    rng = random.Random(f"{name} {count}")
    draw = _one_shape if name == ONE_SHAPE else _Draw(SEEDS[name], rng, count)
    found: dict[Filter, None] = {}
    while len(found) < count - (name != ONE_SHAPE):
        found[draw(rng)] = None
    found.pop(_EVERYTHING, None)
    last = [] if name == ONE_SHAPE else [_EVERYTHING]
    return [*sorted(found, key=lambda each: -(each.source_length + each.destination_length)), *last]


_EVERYTHING: Final = Filter(0, 0, 0, 0, ANY, ANY, None)


def _one_shape(rng: random.Random) -> Filter:
    port = rng.randrange(1, 65536)
    return Filter(rng.randrange(1 << 24) << 8, 24, rng.getrandbits(32), 32, ANY, (port, port), TCP)


class _Draw:
    """Filters of a seed. A prefix is new, in one of the seed's networks, or next to one that was drawn before: equal, above or below."""

    def __init__(self, seed: Seed, rng: random.Random, count: int) -> None:
        self._seed = seed
        scale = max(1.0, (count / 10_000) ** 0.5)
        self._networks = [[rng.randrange(1 << 24, 224 << 24) >> 16 << 16 for _ in range(int(size * scale))] for size in seed.networks]
        self._drawn: list[list[tuple[int, int]]] = [[], []]

    def __call__(self, rng: random.Random) -> Filter:
        source_length, destination_length = _choice(rng, self._seed.lengths)
        protocol, source_class, destination_class = _choice(rng, self._seed.kinds)
        source, destination = self._prefix(rng, 0, source_length), self._prefix(rng, 1, destination_length)
        source_ports = _ports(rng, source_class, self._seed.source_ports)
        destination_ports = _ports(rng, destination_class, self._seed.destination_ports)
        return Filter(source, source_length, destination, destination_length, source_ports, destination_ports, protocol)

    def _prefix(self, rng: random.Random, side: int, length: int) -> int:
        drawn = self._drawn[side]
        if drawn and rng.random() < self._seed.nested[side]:
            near, kept = rng.choice(drawn)
            address = near | rng.getrandbits(32 - kept) if kept < 32 else near
            return _network(address, length)
        prefix = _network(rng.choice(self._networks[side]) | rng.getrandbits(16), length)
        if length >= 8:
            drawn.append((prefix, length))
        return prefix


def _choice(rng: random.Random, weights: Mapping[Drawn, int]) -> Drawn:
    (found,) = rng.choices(tuple(weights), tuple(weights.values()))
    return found


_OTHER: Final = 0.1
"""The share of single ports that are none of a seed's frequent ones."""


def _ports(rng: random.Random, kind: str, frequent: Mapping[tuple[int, int], int]) -> tuple[int, int]:
    match kind:
        case "any":
            return ANY
        case "high":
            return 1024, 65535
        case "some":
            return _choice(rng, {ports: weight for ports, weight in frequent.items() if ports[0] != ports[1]})
        case _:
            if rng.random() < _OTHER:
                port = rng.randrange(1, 65536)
                return port, port
            return _choice(rng, {ports: weight for ports, weight in frequent.items() if ports[0] == ports[1]})


# -- packets -----------------------------------------------------------------------------------------------------------

TRACES: Final = ("uniform", "skewed", "random")
"""`uniform`: each packet is made for a rule, all equally likely; `skewed`: the n-th of the rules in a random order is likely by 1/n
(Zipf); `random`: any packets, most of which no rule holds for but those for everything."""


def trace(rules: RuleSet, kind: str, count: int) -> list[Filter]:
    """`count` packets, each as a filter of single values. What a rule leaves open is random. The same at every call."""
    rng = random.Random(f"{rules.name} {len(rules.filters)} {kind}")
    if kind == "random":
        return [_packet(rng, _EVERYTHING) for _ in range(count)]
    order = list(rules.filters)
    rng.shuffle(order)
    weights = [1 / place for place in range(1, len(order) + 1)] if kind == "skewed" else None
    return [_packet(rng, chosen) for chosen in rng.choices(order, weights, k=count)]


def _packet(rng: random.Random, rule: Filter) -> Filter:
    protocol = rng.choice((TCP, UDP)) if rule.protocol is None else rule.protocol
    source = rule.source | rng.getrandbits(32) >> rule.source_length
    destination = rule.destination | rng.getrandbits(32) >> rule.destination_length
    ports = [rng.randint(*ports) if protocol in (TCP, UDP) else 0 for ports in (rule.source_ports, rule.destination_ports)]
    return Filter(source, 32, destination, 32, (ports[0], ports[0]), (ports[1], ports[1]), protocol)
