"""Rules on header fields in eBPF: the first of many boxes that contains a packet, at a price that hardly grows with their number.

`build` makes a tree of entries; `compile_classifier` the program that walks it in a map, which nftables matches like any other;
`change` makes the few nodes that differ where a few entries do."""

from __future__ import annotations

from bpf.classifier.arena import FullError
from bpf.classifier.build import Classifier, Statistics, build
from bpf.classifier.change import Change, change, reclaim
from bpf.classifier.counters import read_counters
from bpf.classifier.entries import NOT_COUNTED, Entry
from bpf.classifier.keys import Family, KeyField, five_tuple
from bpf.classifier.lookup import Answer
from bpf.classifier.program import COUNTERS_TOGETHER, compile_classifier, counters_spec, record_spec, tree_spec

__all__ = [
    "COUNTERS_TOGETHER",
    "NOT_COUNTED",
    "Answer",
    "Change",
    "Classifier",
    "Entry",
    "Family",
    "FullError",
    "KeyField",
    "Statistics",
    "build",
    "change",
    "compile_classifier",
    "counters_spec",
    "five_tuple",
    "read_counters",
    "reclaim",
    "record_spec",
    "tree_spec",
]
