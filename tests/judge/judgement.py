"""What each judge says of the whole corpus, in one pass each: both engines, tshark, and the values that the reference reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from judge import wireshark
from judge.differences import DIFFERENCES, Difference
from judge.expressions import PAIRS
from judge.fields import ALSO, OF_IPV6, SCOPE, VALUE_DIFFERENCES, scope_of
from judge.protocols import JUDGED

from firewall import capture
from firewall.capture import Frame
from firewall.replay import match_all
from firewall.replay.arrival import arrival_of, why_dropped
from firewall.replay.link import NotIp
from rules_dsl import parse_expression
from rules_dsl.fields import FIELDS, Field
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

ALL_PAIRS: Mapping[str, tuple[tuple[str, str], ...]] = {"headers": PAIRS, **{name: judged.pairs for name, judged in JUDGED.items()}}
ALL_DIFFERENCES: tuple[Difference, ...] = (*DIFFERENCES, *(one for judged in JUDGED.values() for one in judged.differences))
MANTLET_DIFFERENCES: tuple[str, ...] = tuple(
    dict.fromkeys(one.mantlet for one in (*ALL_DIFFERENCES, *VALUE_DIFFERENCES) if one.mantlet is not None)
)
HEURISTIC: tuple[str, ...] = ("rtp", "rtcp")
"""Judged with Wireshark's heuristic for RTP switched on."""


@dataclass(frozen=True, slots=True)
class Selected:
    """What an engine says of expressions."""

    seen: frozenset[int]
    """The frames that a rule sees."""
    frames: Mapping[str, frozenset[int]]
    """By expression, those it matches."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the reference reads from the frames that a rule sees."""

    versions: Mapping[int, int]
    """The IP version, by frame."""
    values: Mapping[str, Mapping[int, Value]]
    """By field and frame, where the field is there."""


@cache
def frames_of(path: Path) -> tuple[Frame, ...]:
    return tuple(capture.read(path))


def select(path: Path, engine: Literal["kernel", "reference"], expressions: tuple[str, ...] | None = None) -> Selected:
    """What the engine says of `expressions`; without, of those of all pairs and differences."""
    texts = list(dict.fromkeys((*(ours for pairs in ALL_PAIRS.values() for ours, _ in pairs), *MANTLET_DIFFERENCES)))
    if expressions is not None:
        texts = list(expressions)
    seen: set[int] = set()
    selected: list[set[int]] = [set() for _ in texts]
    for frame, places in match_all([parse_expression(text) for text in texts], frames_of(path), engine):
        if places is not None:
            seen.add(frame)
            for place in places:
                selected[place].add(frame)
    return Selected(frozenset(seen), dict(zip(texts, map(frozenset, selected), strict=True)))


def ask(path: Path) -> wireshark.Answers:
    """In two passes: RTP and RTCP have no port, so that Wireshark needs its heuristic for them, and others would lose by it."""
    usual = _ask(path, tuple(name for name in (*ALL_PAIRS, *SCOPE) if name not in HEURISTIC), ())
    guessed = _ask(path, HEURISTIC, ("rtp_udp",))
    return wireshark.Answers({**usual.frames, **guessed.frames}, {**usual.values, **guessed.values})


def _ask(path: Path, protocols: tuple[str, ...], heuristics: tuple[str, ...]) -> wireshark.Answers:
    """What concerns these protocols: their pairs and differences, and their fields with the scopes."""
    filters = [theirs for name in protocols for _, theirs in ALL_PAIRS.get(name, ())]
    filters += [
        one.wireshark
        for one in (*ALL_DIFFERENCES, *VALUE_DIFFERENCES)
        if one.wireshark is not None and (one.fields[0].partition(".")[0] in protocols)
    ]
    fields = [field for field in _judged_fields() if field.name.partition(".")[0] in protocols]
    filters += [scope_of(field) for field in fields]
    asked = [name for field in fields for name in (field.wireshark, *ALSO.get(field.name, ())) if name is not None]
    for field in fields:
        if field.name in OF_IPV6:
            filters.append(OF_IPV6[field.name][1])
            asked.append(OF_IPV6[field.name][0])
    return wireshark.ask(path, list(dict.fromkeys(filters)), list(dict.fromkeys(asked)), heuristics)


def read(path: Path) -> Read:
    versions: dict[int, int] = {}
    values: dict[str, dict[int, Value]] = {field.name: {} for field in _judged_fields()}
    for frame in frames_of(path):
        arrival = arrival_of(frame)
        if isinstance(arrival, NotIp) or why_dropped(arrival) is not None:
            continue
        packet = Packet(arrival.ip, Place(arrival.interface.name, vlan_id=arrival.interface.vlan))
        versions[frame.number] = packet.version
        for field in _judged_fields():
            if (value := packet.value(field)) is not None:
                values[field.name][frame.number] = value
    return Read(versions, values)


@cache
def _judged_fields() -> tuple[Field, ...]:
    return tuple(field for field in FIELDS.values() if field.wireshark is not None)


def explained(difference: Difference, reference: Selected, answers: wireshark.Answers) -> frozenset[int]:
    """The frames that the difference is about."""
    if difference.wireshark is not None:
        return answers.frames[difference.wireshark]
    assert difference.mantlet is not None
    return reference.frames[difference.mantlet]


def differences_of(names: Iterator[str] | tuple[str, ...], differences: tuple[Difference, ...]) -> tuple[Difference, ...]:
    """Those that concern one of the fields `names`."""
    fields = tuple(names)
    return tuple(one for one in differences if any(name.startswith(one.fields) for name in fields))
