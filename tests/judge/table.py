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
        compared, differing = _compared(field, answers, read)
        reasons, left = [], differing
        for difference in judgement.differences_of((field.name,), (*judgement.ALL_DIFFERENCES, *fields.VALUE_DIFFERENCES)):
            concerned = judgement.explained(difference, reference, answers)
            if left & concerned:
                reasons.append(difference.title)
                left -= concerned
        yield Row(field, compared, differing, tuple(dict.fromkeys(reasons)), left)


def _compared(field: Field, answers: wireshark.Answers, read: Read) -> tuple[frozenset[int], frozenset[int]]:
    """Frames in which either side has the field, and those of them in which the values differ."""
    assert field.wireshark is not None
    mine = read.values[field.name]
    has_families = field.group in ("address", "ip")
    places = [(field.wireshark, fields.scope_of(field), 0, 4 if has_families and not field.name.startswith("ipv6") else None)]
    if field.name in fields.OF_IPV6:
        places.append((*fields.OF_IPV6[field.name], 6))
    compared, differing = set(), set()
    for name, scope, add, version in places:
        said, inside = answers.values[name], answers.frames[scope]
        for frame in mine.keys() | (said.keys() & inside):
            if frame not in read.versions or (version is not None and read.versions[frame] != version):
                continue
            ours = fields.ours(mine.get(frame))
            theirs = fields.theirs(field, said[frame], add) if frame in said and frame in inside else ()
            if theirs or (any(ours) if field.at == () and ours in ((True,), (False,)) else ours):
                compared.add(frame)
                if not fields.equal(field, ours, theirs):
                    differing.add(frame)
    return frozenset(compared), frozenset(differing)


def link_to(title: str) -> str:
    anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
    return f"wireshark.md#{anchor}"


def page(judged: tuple[Row, ...], captures: int, frames: int, seen: int) -> str:
    compared, differing = (sum(map(len, column)) for column in zip(*((row.compared, row.differing) for row in judged), strict=True))
    lines = [
        "# Fields before Wireshark",
        "",
        f"Every field that Wireshark {wireshark.version()} has, value by value, over a corpus of {captures:,} public captures with {frames:,} frames, of",
        f"which a rule sees {seen:,}. *Compared* are the frames in which Mantlet or Wireshark has the field in the outermost packet, *equal* those in",
        "which both have the same value, or the same values where a field has many. In all",
        f"{compared:,} values were compared and {compared - differing:,} are equal ({_share(compared - differing, compared)}); every other has its reason among the",
        "[differences from Wireshark](wireshark.md). A field that the corpus does not have was compared in no frame.",
        "",
        "`make judged` makes this page, and `make judge` holds that a fresh run gives the same numbers. Reassembly is off in Wireshark. A Boolean",
        "field is compared by its truth, a field of IPv4 and IPv6 with Wireshark's two (fields that are IPv4's alone in Wireshark, such as `ip.id`",
        "and `ip.proto`, in IPv4 packets), and of a field with one value here Wireshark's first one counts.",
        "",
    ]  # fmt: skip
    for heading, members in groupby(judged, key=lambda row: _heading(row.field)):
        lines += [f"## {heading}", "", "| field | Wireshark | compared | equal | differences |", "| --- | --- | ---: | ---: | --- |"]
        for row in members:
            why = "; ".join(f"[{title}]({link_to(title)})" for title in row.reasons)
            equal = len(row.compared) - len(row.differing)
            lines.append(f"| `{row.field.name}` | `{_wireshark(row.field)}` | {len(row.compared):,} | {equal:,} | {why} |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines)


def _wireshark(field: Field) -> str:
    six = fields.OF_IPV6.get(field.name)
    added = "" if six is None else f"`, `{six[0]}" + (f"` + {six[2]} `" if six[2] else "")
    return f"{field.wireshark}{added}".removesuffix(" `")


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %"


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
