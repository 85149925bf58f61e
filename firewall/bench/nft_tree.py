"""The best that is made by hand in nftables: a decision tree of chains. Each looks one field up in an interval map and goes on to the chain
for that part of the field's range; the last one tests the few rules that may hold there, one a line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from ipaddress import IPv4Address
from itertools import accumulate, pairwise
from typing import Final

from firewall.bench.classbench import Filter, RuleSet

Range = tuple[int, int]
"""Inclusive."""

LEAVES: Final = (16, 64)
"""Rules that are tested one a line, at most: the first of these with which the tree does not become too large."""
PARTS: Final = 16
"""Of a field's range, at most, in one map."""
DEPTH: Final = 12
"""Maps, one after the other: nftables allows 16 chains (NFT_JUMP_STACK_SIZE)."""
MOST: Final = 10_000
"""Chains: nft takes a minute to load so many."""
RULES: Final = 20_000
"""For more the search for a tree takes too long here."""
_FIELDS: Final = ("ip saddr", "ip daddr", "th sport", "th dport", "meta l4proto")
_WHOLE: Final[tuple[Range, ...]] = ((0, 0xFFFFFFFF), (0, 0xFFFFFFFF), (0, 0xFFFF), (0, 0xFFFF), (0, 255))
_PORTS: Final = frozenset({2, 3})


class TooLargeError(Exception):
    """There are more than RULES, or the tree would have more than MOST chains."""


def as_nft_tree(rules: RuleSet, words: Sequence[str], hook: str) -> str:
    """`words`: of each rule, as one line of nft; `hook`: of the base chain. Raises TooLargeError."""
    if len(words) > RULES:
        raise TooLargeError(f"more than {RULES:,} rules")
    ranges = [_ranges(rule) for rule in rules.filters]
    for leaf in LEAVES:
        tree = _Tree(ranges, words, leaf)
        try:
            root = tree.chain(range(len(words)), _WHOLE, 0)
        except TooLargeError:
            if leaf == LEAVES[-1]:
                raise
        else:
            break
    return "\n".join(["table ip bench {", *tree.text, f" chain rules {{ {hook} goto {root}; }}", "}", ""])


def _ranges(rule: Filter) -> tuple[Range, ...]:
    source = rule.source, rule.source | 0xFFFFFFFF >> rule.source_length
    destination = rule.destination, rule.destination | 0xFFFFFFFF >> rule.destination_length
    protocol = (0, 255) if rule.protocol is None else (rule.protocol, rule.protocol)
    return source, destination, rule.source_ports, rule.destination_ports, protocol


class _Tree:
    """The chains, as they are made."""

    def __init__(self, ranges: Sequence[tuple[Range, ...]], words: Sequence[str], leaf: int) -> None:
        self._ranges = ranges
        self._words = words
        self._leaf_size = leaf
        self._leaves: dict[tuple[int, ...], str] = {}
        self._made: dict[tuple[object, ...], str] = {}
        """By depth, rules and those sides of the box that some of them do not fill: other sides make no difference."""
        self._count = 0
        self.text: list[str] = []

    def chain(self, rules: Sequence[int], box: tuple[Range, ...], depth: int) -> str:
        """The name of the chain for packets of a box, in which these rules may hold."""
        rules = self._needed(rules, box)
        ranges = [self._ranges[rule] for rule in rules]
        narrowed = [any(each[at][0] > low or each[at][1] < high for each in ranges) for at, (low, high) in enumerate(box)]
        key = depth, tuple(rules), tuple(part if is_asked else None for part, is_asked in zip(box, narrowed, strict=True))
        if key not in self._made:
            self._made[key] = self._chain(rules, box, depth)
        return self._made[key]

    def _chain(self, rules: Sequence[int], box: tuple[Range, ...], depth: int) -> str:
        cut = None if len(rules) <= self._leaf_size or depth == DEPTH else self._cut(rules, box)
        if cut is None:
            return self._leaf(tuple(rules))
        at, starts = cut
        ways: list[tuple[int, int, str]] = []
        for first, after in pairwise((*starts, box[at][1] + 1)):
            part = (*box[:at], (first, after - 1), *box[at + 1 :])
            inside = [rule for rule in rules if self._ranges[rule][at][0] < after and self._ranges[rule][at][1] >= first]
            name = self.chain(inside, part, depth + 1)
            if ways and ways[-1][2] == name:
                ways[-1] = ways[-1][0], after - 1, name
            else:
                ways.append((first, after - 1, name))
        elements = ", ".join(f"{_between(at, first, last)} : goto {name}" for first, last, name in ways)
        return self._add(f"{_FIELDS[at]} vmap {{ {elements} }};" if len(ways) > 1 else f"goto {ways[0][2]};")

    def _needed(self, rules: Sequence[int], box: tuple[Range, ...]) -> list[int]:
        """None after a rule that holds in the whole box."""
        kept = []
        for rule in rules:
            kept.append(rule)
            if all(low <= first and last <= high for (low, high), (first, last) in zip(self._ranges[rule], box, strict=True)):
                break
        return kept

    def _cut(self, rules: Sequence[int], box: tuple[Range, ...]) -> tuple[int, list[int]] | None:
        """The field and the starts of its parts that leave the fewest rules in a part, parts with many counting more; None where no cut
        helps."""
        best: tuple[float, int, list[int]] | None = None
        for at, (first, last) in enumerate(box):
            if at in _PORTS and box[4] not in ((6, 6), (17, 17)):
                continue  # other protocols have no ports: what stands in their place is no port
            ranges = [self._ranges[rule][at] for rule in rules]
            borders = sorted({edge for low, high in ranges for edge in (low, high + 1) if first < edge <= last})
            if not borders:
                continue
            step = -(-len(borders) // (PARTS - 1))
            starts = [first, *borders[::step]]
            change = [0] * (len(starts) + 1)
            for low, high in ranges:
                change[bisect_right(starts, max(low, first)) - 1] += 1
                change[bisect_right(starts, min(high, last))] -= 1
            sizes = list(accumulate(change[:-1]))
            score = sum(size * size for size in sizes) / len(sizes)
            if max(sizes) < len(rules) and (best is None or score < best[0]):
                best = score, at, starts
        return None if best is None else best[1:]

    def _leaf(self, rules: tuple[int, ...]) -> str:
        if rules not in self._leaves:
            self._leaves[rules] = self._add(*(self._words[rule] for rule in rules), "accept")
        return self._leaves[rules]

    def _add(self, *lines: str) -> str:
        self._count += 1
        if self._count > MOST:
            raise TooLargeError(f"more than {MOST:,} chains")
        name = f"c{self._count}"
        self.text.append(f" chain {name} {{\n  {chr(10).join(lines)}\n }}")
        return name


def _between(at: int, first: int, last: int) -> str:
    low, high = (str(IPv4Address(each)) if at < 2 else str(each) for each in (first, last))
    return low if first == last else f"{low}-{high}"
