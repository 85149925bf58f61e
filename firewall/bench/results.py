"""What a run of the classification benchmark found, as a JSON document and as the page docs/reference/performance.md.
`python -m firewall.bench.results FOLDER` writes page and plots anew from the document that is there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from firewall.bench.classbench import DROPPED
from firewall.bench.classification import LISTS, Cost, Floor, LeftOut, Measured, Setting
from firewall.bench.contenders import MANTLET

VERSION: Final = 1
"""Of the document: grows when a key changes its meaning or goes."""
PAGE: Final = "performance.md"
FOLDER: Final = "performance"
"""Beside the page: the document and the plots."""
DOCUMENT: Final = "results.json"


@dataclass(frozen=True, slots=True)
class Machine:
    linux: str
    """Its version, without what a distribution adds."""
    processors: int
    processor: str
    tools: tuple[str, ...]
    """With their versions."""
    load: float | None = None
    """Processes that wanted a processor when the run began (getloadavg(3), the last minute); None where it was not noted."""

    @classmethod
    def here(cls) -> Machine:
        release = re.match(r"\d+\.\d+", os.uname().release)
        model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        tools = (_version(command) for command in (("nft", "--version"), ("iptables-nft", "--version"), ("ipset", "--version")))
        name = model[1] if model else os.uname().machine
        return cls(release[0] if release else "?", os.cpu_count() or 1, name, tuple(filter(None, tools)), round(os.getloadavg()[0], 1))


def _version(command: tuple[str, ...]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    found = re.search(r"\d+(?:\.\d+)+", said)
    return f"{command[0]} {found[0]}" if found else ""


@dataclass(frozen=True, slots=True)
class Results:
    machine: Machine
    rounds: int
    sets: tuple[Measured, ...]
    floor: Floor | None

    def named(self, name: str) -> tuple[Measured, ...]:
        """The sizes of a set."""
        return tuple(sorted((each for each in self.sets if each.name == name), key=lambda each: each.asked))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.name for each in self.sets))

    @property
    def wrong(self) -> tuple[LeftOut, ...]:
        """Contenders that judged otherwise than the rules say."""
        return tuple(each for measured in self.sets for each in measured.left_out if each.is_wrong)


def to_json(results: Results) -> dict[str, Any]:
    return {"version": VERSION, **dataclasses.asdict(results)}


def from_json(content: dict[str, Any]) -> Results:
    """Raises ValueError where the document is of another version."""
    if content.get("version") != VERSION:
        raise ValueError(f"results of version {content.get('version')}, not {VERSION}")
    sets = []
    for each in content["sets"]:
        costs = tuple(Cost(**cost) for cost in each["costs"])
        settings = tuple(Setting(**setting) for setting in each["settings"])
        left_out = tuple(LeftOut(**entry) for entry in each["left_out"])
        sets.append(Measured(**{**each, "costs": costs, "settings": settings, "left_out": left_out}))
    machine = Machine(**{**content["machine"], "tools": tuple(content["machine"]["tools"])})
    return Results(machine, content["rounds"], tuple(sets), None if content["floor"] is None else Floor(**content["floor"]))


def read(folder: Path) -> Results:
    """What `write` wrote. Raises OSError, ValueError."""
    return from_json(json.loads((folder / FOLDER / DOCUMENT).read_text(encoding="utf-8")))


def write(results: Results, folder: Path) -> None:
    """The document, the plots and the page. Raises OSError, and ImportError without matplotlib."""
    from firewall.bench.plots import draw  # noqa: PLC0415 (matplotlib takes a while, and few have it)

    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    (folder / FOLDER / DOCUMENT).write_text(json.dumps(to_json(results), indent=1) + "\n", encoding="utf-8")
    draw(results, folder / FOLDER)
    (folder / PAGE).write_text(page(results), encoding="utf-8")


# -- tables ------------------------------------------------------------------------------------------------------------


def contenders(sizes: Sequence[Measured]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(setting.contender for measured in sizes for setting in measured.settings))


def costs(sizes: Sequence[Measured], trace: str) -> Iterator[tuple[str, ...]]:
    """Rows of cells: a contender, then for each size the median with half the spread, and the ratio to Mantlet."""
    for name in contenders(sizes):
        cells = []
        for measured in sizes:
            found = {cost.contender: cost for cost in measured.costs if cost.trace == trace}
            if name not in found:
                cells.append("-")
                continue
            own = found[name]
            text = f"{own.added:,.0f} ±{(own.highest - own.lowest) / 2:,.0f}"
            ours = found.get(MANTLET)
            if ours is not None and name != MANTLET and ours.added > 0 and own.added > 0:
                text += f" ({_ratio(own.added / ours.added)})"
            cells.append(text)
        yield name, *cells


def _ratio(ratio: float) -> str:
    return f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.1f}x"


def settings(sizes: Sequence[Measured]) -> Iterator[tuple[str, ...]]:
    """Rows of cells: a contender, then for each size the time to load, that of a change (and within a process), the kernel's memory, the
    process's."""
    for name in contenders(sizes):
        cells = []
        for measured in sizes:
            own = next((setting for setting in measured.settings if setting.contender == name), None)
            if own is None:
                cells.append("-")
                continue
            change = "-" if own.change is None else f"{own.change * 1000:,.0f} ms"
            change += "" if own.in_process is None else f" ({own.in_process * 1000:,.0f} ms)"
            memory = (f"{amount / 2**20:,.1f}" if amount > 0 else "-" for amount in (own.kernel_memory, own.process_memory))
            cells.append(f"{own.load:,.2f} s / {change} / {' / '.join(memory)} MiB")
        yield name, *cells


def left_out(sizes: Sequence[Measured]) -> Iterator[str]:
    """Who is not in the tables, and why."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for measured in sizes:
        for each in measured.left_out:
            reasons.setdefault((each.contender, each.reason), []).append(measured.asked)
    for (contender, reason), counts in reasons.items():
        yield f"{contender} at {', '.join(f'{count:,}' for count in counts)}: {reason}"


def growth(sizes: Sequence[Measured], trace: str) -> str:
    """How much more Mantlet's packet costs at each size than at the smallest."""
    found = [
        (measured.asked, cost.added) for measured in sizes for cost in measured.costs if (cost.contender, cost.trace) == (MANTLET, trace)
    ]
    if len(found) < 2 or found[0][1] <= 0:
        return ""
    (least, base), *others = found
    return f"Mantlet against itself at {least:,}: " + ", ".join(f"{count:,}: {_ratio(added / base)}" for count, added in others)


# -- the page ----------------------------------------------------------------------------------------------------------


def page(results: Results) -> str:
    """In Markdown."""
    return "\n".join([*_page(results), ""])


def _page(results: Results) -> Iterator[str]:
    machine = results.machine
    tools = ", ".join(machine.tools)
    yield "# Performance"
    yield ""
    yield "<!-- made by `mantlet bench --classbench --write docs/reference` -->"
    yield ""
    yield "One run of `mantlet bench --classbench` on a machine of"
    yield f"{machine.processors} processors ({machine.processor}), Linux {machine.linux}, {tools}."
    if machine.load is not None:
        yield f"When it began, {machine.load:.1f} processes of other work wanted a processor (the last minute's mean)."
    yield "All figures are of this run; absolute times belong to the machine, ratios less so."
    yield ""
    yield "* **Cost a packet**: nanoseconds of CPU time that the rules add to a packet of 64 bytes, above an empty rule set: the median of"
    yield f"  {results.rounds} rounds, with half the distance from the lowest to the highest, and the ratio to Mantlet. Contenders"
    yield "  take turns. Differences below 200 ns mean little; the spread shows how busy the machine was with other work."
    yield "* **Rules**: ClassBench's filters (addresses, ports, protocol) with random verdicts; the first match decides, and"
    yield f"  {DROPPED:.0%} of the rules drop. A smaller set is a random part of a larger one, in order. `one-shape` has a source /24, a"
    yield "  destination and a TCP port in every rule: the one set here for which a map made by hand means the same."
    yield "* **Traces**: `uniform`: each packet is made for a rule, all equally likely; `skewed`: the n-th of the rules in a random order"
    yield "  by 1/n; `random`: any packets."
    yield "* **Agreement**: a contender whose verdict on any packet of any trace is not that of the rules, looked through one after the"
    yield "  other, is left out and named."
    yield "* **Load, change**: wall clock of whole processes (`mantlet apply`, `nft -f`, `iptables-nft-restore`, `ipset restore`); a change"
    yield "  replaces the rule in the middle, or adds or removes one element. In brackets: from the changed text to its enforcement in a"
    yield "  process that goes on, as the API's does. Mantlet's bytecode is there already, as where it ran before."
    yield "* **Memory**: what the kernel of the whole machine held more afterwards, and the peak of the loading process. `-`: too"
    yield "  little, or too short, to see."
    for name in results.names:
        yield from _section(results.named(name))
    if results.floor is not None:
        yield from _floor(results.floor)


def _section(sizes: Sequence[Measured]) -> Iterator[str]:
    name = sizes[0].name
    unit = "prefixes" if name == LISTS else "rules"
    yield ""
    yield f"## {name[0].upper() + name[1:] if name == LISTS else name}"
    yield ""
    if name == LISTS:
        yield "Packets from a listed source are dropped. `listed`: all of them; `others`: none."
    else:
        yield "; ".join(f"{each.asked:,}: {each.rules:,} rules, {each.origin}" for each in sizes) + "."
    if times := [f"{each.asked:,}: {each.took:,.0f} s" for each in sizes if each.took is not None]:
        yield f"Measured in ({unit}) {', '.join(times)}."
    yield ""
    yield f"![cost a packet]({FOLDER}/{name}.png)"
    kinds = tuple(sizes[0].packets)
    for trace in kinds:
        yield ""
        yield f"Nanoseconds added a packet, {trace}:"
        yield ""
        yield from _markdown([f"{each.asked:,} {unit}" for each in sizes], costs(sizes, trace))
        if grown := growth(sizes, trace):
            yield ""
            yield f"{grown}."
    yield ""
    yield "Load / one change / memory of the kernel / of the process:"
    yield ""
    yield from _markdown([f"{each.asked:,} {unit}" for each in sizes], settings(sizes))
    if missing := list(left_out(sizes)):
        yield ""
        yield "Left out:"
        yield ""
        yield from (f"* {line}" for line in missing)


def _floor(floor: Floor) -> Iterator[str]:
    yield ""
    yield "## The floor"
    yield ""
    yield f"A frame that an XDP program drops unseen takes {floor.xdp_drop:,.0f} ns in all ({floor.xdp_lowest:,.0f} to"
    yield f"{floor.xdp_highest:,.0f}), its making included; one that goes through the stack to an empty rule set {floor.stack:,.0f} ns."
    yield "That difference is what an early drop can save."


def _markdown(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "| | " + " | ".join(header) + " |"
    yield "| --- |" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


if __name__ == "__main__":
    _folder = Path(sys.argv[1])
    write(read(_folder), _folder)
