"""tshark as judge: the frames of a capture that display filters select, and the values of fields, reassembly off."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_PREFERENCES = (
    "ip.defragment:false",
    "ipv6.defragment:false",
    "tcp.desegment_tcp_streams:false",
    "tcp.reassemble_out_of_order:false",
)  # fmt: skip
_OPTIONS = [word for preference in _PREFERENCES for word in ("-o", preference)]
_MANY = Path(__file__).with_name("wireshark.lua")


@cache
def version() -> str:
    """`4.0.17` or the like."""
    said = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    assert found is not None, said
    return found[0]


def frames(capture: Path, display_filter: str, heuristics: Sequence[str] = ()) -> frozenset[int]:
    """Numbers of the frames of `capture` that `display_filter` selects, as `tshark -Y` prints them."""
    said = _tshark(capture, *_OPTIONS, *_switched(heuristics), "-Y", display_filter, "-T", "fields", "-e", "frame.number")
    return frozenset(int(number) for number in said.split())


@dataclass(frozen=True, slots=True)
class Answers:
    frames: Mapping[str, frozenset[int]]
    """By display filter, the numbers of the frames that it selects."""
    values: Mapping[str, Mapping[int, tuple[str, ...]]]
    """By field and frame's number, the field's values in the order of their bytes, written as `wireshark.lua` says."""


def ask(capture: Path, filters: Sequence[str], fields: Sequence[str] = (), heuristics: Sequence[str] = ()) -> Answers:
    """What tshark says of many filters and fields in one pass, with `heuristics` switched on besides its own."""
    questions = [f"filter {text}" for text in filters] + [f"field {name}" for name in fields]
    assert not any("\n" in question for question in questions)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(f"{question}\n" for question in questions))
        file.flush()
        said = _tshark(capture, *_OPTIONS, *_switched(heuristics), "-q", "-X", f"lua_script:{_MANY}", "-X", f"lua_script1:{file.name}")
    first, _, rest = said.partition("\n")
    if first != f"asked {len(questions)}":
        raise AssertionError(f"tshark did not take every question: {said[:1000]}")
    selected: list[set[int]] = [set() for _ in filters]
    values: list[dict[int, tuple[str, ...]]] = [{} for _ in fields]
    for line in rest.splitlines():
        number, frame, *found = line.split(" ")
        if int(number) < len(filters):
            selected[int(number)].add(int(frame))
        else:
            values[int(number) - len(filters)][int(frame)] = tuple(found)
    return Answers(dict(zip(filters, map(frozenset, selected), strict=True)), dict(zip(fields, values, strict=True)))


def _switched(heuristics: Sequence[str]) -> list[str]:
    return [word for name in heuristics for word in ("--enable-heuristic", name)]


def _tshark(capture: Path, *arguments: str) -> str:
    done = subprocess.run(["tshark", "-n", "-r", str(capture), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"tshark refuses: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
