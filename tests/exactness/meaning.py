"""What a policy of header rules means for packets in arrays: the reference's meaning, a rule at a time over all packets. Tests hold it
against the reference by samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from exactness.packets import Bools, Columns, Wide
from exactness.rule_sets import WORDS

from firewall.bench.classbench import TCP, UDP
from rules_dsl import expression as ex
from rules_dsl.expression import Expression, Ranges
from rules_dsl.policy import Mode, Policy

_TRANSPORT: Final = {"tcp": TCP, "udp": UDP}
_PORTS: Final = {"srcport": "source_port", "dstport": "destination_port"}


def reports(policy: Policy, columns: Columns) -> list[bytes]:
    """Of each packet, the numbers of the rules that match up to the one that ends, `default` where none does; each with a NUL behind."""
    count = len(columns)
    found: list[list[int]] = [[] for _ in range(count)]
    left = np.arange(count)
    rest = columns
    live = np.ones(count, np.bool_)
    decided = np.full(count, -1)
    for number, rule in enumerate(policy.rules):
        if rule.mode is Mode.DISABLED:
            continue
        matches = live & holds(rule.predicate, rest)
        if not rule.ends:
            for place in left[matches].tolist():
                found[place].append(number)
            continue
        decided[left[matches]] = number
        live &= ~matches
        if 2 * live.sum() < live.size:
            left, rest = left[live], rest.at(live)
            live = np.ones(left.size, np.bool_)
    ends = [b"%d\0" % number for number in range(len(policy.rules))] + [b"default\0"]
    return [
        ends[number] if not before else b"".join([*(ends[each] for each in before), ends[number]])
        for number, before in zip(decided.tolist(), found, strict=True)
    ]


def holds(expression: Expression, columns: Columns) -> Bools:
    match expression:
        case ex.Const(value):
            return np.full(len(columns), value)
        case ex.Not(item):
            return ~holds(item, columns)
        case ex.And(items):
            return np.logical_and.reduce([holds(item, columns) for item in items])
        case ex.Or(items):
            return np.logical_or.reduce([holds(item, columns) for item in items])
        case ex.IsTrue(field):
            if field.name == "ip":
                return np.ones(len(columns), np.bool_)
            return columns.is_whole & (columns.protocol == _TRANSPORT[field.name])
        case ex.InAddresses(ex.FieldValue(field), v4, v6):
            name = {"ip.src": "source", "ip.dst": "destination"}[field.name]
            high, low = getattr(columns, f"{name}_high"), getattr(columns, name)
            return np.where(columns.version == 4, _within(low, v4), _within_wide(high, low, v6))
        case ex.InRanges(ex.FieldValue(field), ranges):
            if field.name == "ip.proto":
                return _within(columns.protocol, ranges)
            transport, port = field.name.split(".")
            return (columns.protocol == _TRANSPORT[transport]) & _within(getattr(columns, _PORTS[port]), ranges)
        case ex.Contains(ex.FieldValue(field), (pattern,)):
            transport, _ = field.name.split(".")
            return (columns.protocol == _TRANSPORT[transport]) & (columns.word == WORDS.index(pattern.decode()))
        case _:
            raise AssertionError(f"no array knows what {expression} means")


def _within(numbers: np.ndarray, ranges: Ranges) -> Bools:  # type: ignore[type-arg]
    return _any([(numbers >= low) & (numbers <= high) for low, high in ranges], numbers.size)


def _within_wide(high: Wide, low: Wide, ranges: Ranges) -> Bools:
    return _any([~_less(high, low, first) & _less(high, low, last + 1) for first, last in ranges], high.size)


def _less(high: Wide, low: Wide, bound: int) -> Bools:
    top, bottom = bound >> 64, bound & (1 << 64) - 1
    if top >> 64:
        return np.ones(high.size, np.bool_)
    return (high < top) | ((high == top) & (low < bottom))


def _any(found: Sequence[Bools], size: int) -> Bools:
    return np.logical_or.reduce(found) if found else np.zeros(size, np.bool_)
