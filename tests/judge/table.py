# ruff: noqa: E501 (lines of the page)
"""docs/reference/judged-fields.md: for each field that Wireshark has, the frames of the corpus in which the values were compared, in
how many they were equal, and why not in the others. `python -m judge.table docs/reference` writes it (`make judged`)."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from judge import corpus, fields, judgement, wireshark
from judge.judgement import Read, Selected

from rules_dsl.fields import FIELDS, PROTOCOL_OF, Field

NAME = "judged-fields.md"


@dataclass(frozen=True, slots=True)
class Row:
    field: Field
    compared: frozenset[int]
    differing: frozenset[int]
    reasons: tuple[str, ...]
    """Titles of sections of the page on differences."""
    unexplained: frozenset[int]


def rows(reference: Selected, answers: wireshark.Answers, read: Read) -> Iterator[Row]:
    assert reference.seen == frozenset(read.versions)
    for field in FIELDS.values():
        if field.wireshark is None:
            continue
        compared, differing, reasons, left = _compared(field, answers, read)
        for difference in judgement.differences_of((field.name,), (*judgement.ALL_DIFFERENCES, *fields.VALUE_DIFFERENCES)):
            concerned = judgement.explained(difference, reference, answers)
            if left & concerned:
                reasons.append(difference.title)
                left -= concerned
        yield Row(field, compared, differing, tuple(sorted(set(reasons))), left)


def _compared(field: Field, answers: wireshark.Answers, read: Read) -> tuple[frozenset[int], frozenset[int], list[str], frozenset[int]]:
    """Frames in which either side has the field; those of them in which the values differ; why, as far as the two values tell it; and
    those for which they do not."""
    assert field.wireshark is not None
    mine = read.values[field.name]
    is_ipv4 = field.group in ("address", "ip") and not field.name.startswith("ipv6")
    places = [((field.wireshark, *fields.ALSO.get(field.name, ())), fields.scope_of(field), 0, 4 if is_ipv4 else None)]
    if field.name in fields.OF_IPV6:
        name, scope, add = fields.OF_IPV6[field.name]
        places.append(((name,), scope, add, 6))
    compared, differing, left, reasons = set(), set(), set(), []
    for names, scope, add, version in places:
        inside = answers.frames[scope]
        said = {frame: () for name in names for frame in answers.values[name].keys() & inside}
        said = {frame: tuple(one for name in names for one in answers.values[name].get(frame, ())) for frame in said}
        for frame in mine.keys() | said.keys():
            if frame not in read.versions or (version is not None and read.versions[frame] != version):
                continue
            ours, theirs = fields.ours(mine.get(frame)), fields.theirs(field, said.get(frame, ()), add)
            if not theirs and not fields.is_shown(ours):
                continue
            compared.add(frame)
            if fields.equal(field, ours, theirs):
                continue
            differing.add(frame)
            told = [
                one.title for one in fields.RETOLD if field.name.startswith(one.fields) and ours and theirs and one.explains(ours, theirs)
            ]
            reasons += told[:1]
            if not told:
                left.add(frame)
    return frozenset(compared), frozenset(differing), reasons, frozenset(left)


def link_to(title: str) -> str:
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"wireshark.md#{anchor}"


def page(judged: tuple[Row, ...], captures: int, frames: int, seen: int) -> str:
    compared, differing = (sum(map(len, column)) for column in zip(*((row.compared, row.differing) for row in judged), strict=True))
    version, share = wireshark.version(), f"{100 * (compared - differing) / compared:.2f} %"
    lines = [
        "# Fields before Wireshark",
        "",
        f"Every field that Wireshark ({version}) has, value by value, over a corpus of {captures:,} public captures with {frames:,} frames, of which",
        f"a rule sees {seen:,}. *Compared* are the frames in which Mantlet or Wireshark has the field in the outermost packet, *equal* those in",
        "which the value is the same, or the values are where a field has many. What is not equal has its reason among the",
        f"[differences from Wireshark](wireshark.md). In all {compared:,} values were compared and {compared - differing:,} are equal, {share}.",
        "",
        "`make judged` makes this page, and `make judge` holds that a fresh run gives the same numbers. Reassembly is off in Wireshark, and its",
        f"heuristic for RTP is on where {' and '.join(judgement.HEURISTIC)} are judged. A Boolean field is compared by its truth; a field of IPv4 and IPv6 with",
        "Wireshark's two, or in IPv4 packets where Wireshark has it for IPv4 alone (`ip.id`, `ip.proto`); and of a field that has one value here,",
        "Wireshark's first counts. Fields of which the corpus has none were compared in no frame.",
        "",
    ]  # fmt: skip
    for heading, members in groupby(judged, key=lambda row: _heading(row.field)):
        lines += [f"## {heading}", "", "| field | Wireshark | compared | equal | differences |", "| --- | --- | ---: | ---: | --- |"]
        for row in members:
            why = "; ".join(f"[{title}]({link_to(title)})" for title in row.reasons)
            equal = len(row.compared) - len(row.differing)
            lines.append(
                f"| `{row.field.name}` | {_wireshark(row.field)} | {len(row.compared):,} | {equal:,} | {why} |".replace("|  |", "| |")
            )
        lines.append("")
    return "\n".join(lines)


def _wireshark(field: Field) -> str:
    names = [f"`{name}`" for name in (field.wireshark, *fields.ALSO.get(field.name, ()))]
    if field.name in fields.OF_IPV6:
        name, _, add = fields.OF_IPV6[field.name]
        names.append(f"`{name}` + {add}" if add else f"`{name}`")
    return ", ".join(names)


def _heading(field: Field) -> str:
    if field.name in PROTOCOL_OF:
        return PROTOCOL_OF[field.name].name
    return {"address": "Addresses", "ip": "IP", "l4": "Transport", "place": "Place"}[field.group]


def main(folder: Path) -> int:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "corpus.pcapng"
        captures, frames = corpus.join(path)
        reference, answers, read = judgement.select(path, "reference"), judgement.ask(path), judgement.read(path)
    judged = tuple(rows(reference, answers, read))
    (folder / NAME).write_text(page(judged, captures, frames, len(reference.seen)), encoding="utf-8")
    for row in judged:
        if row.unexplained:
            first = ", ".join(map(str, sorted(row.unexplained)[:10]))
            print(f"{row.field.name}: {len(row.unexplained)} frames differ without a reason, the first {first}", file=sys.stderr)
    return int(any(row.unexplained for row in judged))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
