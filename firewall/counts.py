"""What programs have counted, by rule.

A generation whose programs count has two more pins beside theirs: `counts`, a per-CPU array of packets and bytes by the number of the
rule, and `names`, the rules' names in that order. Generations that go on from each other have the same map of counts, in which a number
is only ever one rule's. Before the pins of one that packets met go, what it counted is added to the tenant's
`carried`, which one rename replaces and which says whose counts it has: at every moment each packet is counted once."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bpf.image import MapSpec
from bpf.libbpf import BpfError
from bpf.maps import Map, create_map, open_map
from firewall.early_drop import pinned
from firewall.pins import Pins

COUNTS: Final = "counts"
"""The map's name in the programs, and its pin's."""
_NAMES: Final = "names"
_CARRIED: Final = "carried"
_NEW: Final = "carried_new"

Count = tuple[int, int]
"""Packets, and bytes from the IP header on."""


def pin(folder: Path, counts: Map, names: Sequence[str]) -> None:
    """Pins the counts of a generation. Raises BpfError."""
    content = json.dumps(names, separators=(",", ":")).encode()
    with create_map(MapSpec(_NAMES, value_size=len(content), initial=content)) as told:
        told.pin(folder / _NAMES)
    counts.pin(folder / COUNTS)


def names_of(folder: Path) -> tuple[str, ...]:
    """The rules that programs of the generation count, "" for others; none where its programs do not count. Raises BpfError."""
    content = _content(folder / _NAMES)
    return () if content is None else tuple(json.loads(content))


def totals(pins: Pins, tenant: str) -> dict[str, Count]:
    """What programs have counted of a tenant's rules, by name; of those that have met no packet too. Raises BpfError."""
    after = _read(pins, tenant)
    while True:
        carried = after
        found = dict(carried.rules)
        seen: set[tuple[int, str]] = set()
        for revision in pins.revisions(tenant):
            if revision not in carried.generations:
                number, counted = _counted(pins.folder(tenant, revision))
                _add(found, [(name, count) for name, count in counted if (number, name) not in seen])
                _add(found, pinned.counted(pins.folder(tenant, revision)))
                seen |= {(number, name) for name, _ in counted}
        after = _read(pins, tenant)
        if after == carried:  # else a generation went meanwhile
            return found


def carry(pins: Pins, tenant: str, revision: int, is_kept: Callable[[str], bool]) -> None:
    """Adds to the tenant's `carried` what a generation has counted that no packet meets any more, and leaves out rules that are not
    kept. Raises BpfError."""
    before = _read(pins, tenant)
    if revision in before.generations:
        return
    number, counted = _counted(pins.folder(tenant, revision))
    others = (each for each in pins.revisions(tenant) if each != revision and each not in before.generations)
    if any(number == _map_number(pins.folder(tenant, each)) for each in others):
        counted = []  # it goes on counting there
    counted += pinned.counted(pins.folder(tenant, revision))
    if not any(packets for _, (packets, _) in counted) and all(map(is_kept, before.rules)):
        return
    rules = dict(before.rules)
    _add(rules, counted)
    standing = before.generations.intersection(pins.revisions(tenant))
    _write(pins, tenant, _Carried(standing | {revision}, {name: count for name, count in rules.items() if is_kept(name)}))


def begin(pins: Pins, tenant: str, revision: int) -> None:
    """A generation of this number begins to count: one that had it before is gone. Raises BpfError."""
    before = _read(pins, tenant)
    if revision in before.generations:
        _write(pins, tenant, _Carried(before.generations - {revision}, before.rules))


def forget(pins: Pins, tenant: str) -> None:
    """The tenant is no more."""
    for name in (_CARRIED, _NEW):
        with suppress(FileNotFoundError):
            (pins.root / tenant / name).unlink()
    pins.remove_empty(tenant)


@dataclass(frozen=True, slots=True)
class _Carried:
    generations: set[int] = field(default_factory=set)
    """Whose counts are in it, though their pins may stand yet."""
    rules: Mapping[str, Count] = field(default_factory=dict)


def _read(pins: Pins, tenant: str) -> _Carried:
    content = _content(pins.root / tenant / _CARRIED)
    if content is None:
        return _Carried()
    told = json.loads(content)
    return _Carried(set(told["generations"]), {name: (packets, octets) for name, (packets, octets) in told["rules"].items()})


def _write(pins: Pins, tenant: str, carried: _Carried) -> None:
    content = json.dumps({"generations": sorted(carried.generations), "rules": carried.rules}, separators=(",", ":")).encode()
    folder = pins.root / tenant
    with suppress(FileNotFoundError):
        (folder / _NEW).unlink()
    with create_map(MapSpec(_CARRIED, value_size=len(content), initial=content)) as made:
        made.pin(folder / _NEW)
    os.rename(folder / _NEW, folder / _CARRIED)


def _content(path: Path) -> bytes | None:
    try:
        with open_map(path) as told:
            return told.lookup(bytes(4))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _counted(folder: Path) -> tuple[int, list[tuple[str, Count]]]:
    """The kernel's number of a generation's map of counts, and what is in it; 0 and nothing where its programs do not count."""
    names = names_of(folder)
    if not names:
        return 0, []
    from bpf.classifier.counters import read_counters  # noqa: PLC0415 (numpy takes a tenth of a second)

    try:
        with open_map(folder / COUNTS) as counts:
            values = read_counters(counts).tolist()
            number = counts.id
    except BpfError as error:  # it was not pinned to the end
        if error.errno == errno.ENOENT:
            return 0, []
        raise
    return number, [(name, (packets, octets)) for name, (packets, octets) in zip(names, values, strict=False) if name]


def _map_number(folder: Path) -> int | None:
    try:
        with open_map(folder / COUNTS) as counts:
            return counts.id
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def _add(found: dict[str, Count], counted: Iterable[tuple[str, Count]]) -> None:
    for name, (packets, octets) in counted:
        before = found.get(name, (0, 0))
        found[name] = before[0] + packets, before[1] + octets
