"""What a generation with an early drop has pinned beside its other programs: its XDP programs, their gate, what they have counted, and,
last of all, `early_told` with the rest that is to be known of them."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bpf.early_drop import GATE
from bpf.image import MapSpec
from bpf.libbpf import BpfError
from bpf.maps import create_map, open_map
from bpf.program import load, shared_maps
from firewall.generation import EarlyDrop

COUNTS: Final = "early_counts"
"""The name of the map in which the programs count, and of its pin."""
_TOLD: Final = "early_told"
_FIRST: Final = bytes(4)
"""The key of a map's only entry."""


@dataclass(frozen=True, slots=True)
class Told:
    """Of a generation's early drop."""

    interfaces: tuple[str, ...]
    versions: tuple[int, ...]
    """Of IP: those that it has a program for."""
    names: tuple[str, ...]
    """The rules that are counted, by their slots."""


def program_name(version: int) -> str:
    return f"early{version}"


def pin(folder: Path, early: EarlyDrop) -> None:
    """Loads the programs of a generation. Their gate is shut. Raises VerifierError, BpfError."""
    with shared_maps(early.programs.values()) as shared:
        for version, image in early.programs.items():
            with load(image, shared) as program:
                program.pin(folder / program_name(version))
        for name in (GATE.name, COUNTS):
            shared[name].pin(folder / name)
    told = {"interfaces": early.interfaces, "versions": tuple(early.programs), "names": early.counted}
    write(folder / _TOLD, json.dumps(told, separators=(",", ":")))


def check(early: EarlyDrop) -> None:
    """Has the verifier check the programs. Raises VerifierError, BpfError."""
    with shared_maps(early.programs.values()) as shared:
        for image in early.programs.values():
            load(image, shared).close()


def told(folder: Path) -> Told | None:
    """None where the generation has no early drop, or it is not pinned to the end."""
    text = read(folder / _TOLD) if (folder / _TOLD).exists() else None
    if text is None:
        return None
    content = json.loads(text)
    return Told(tuple(content["interfaces"]), tuple(content["versions"]), tuple(content["names"]))


def open_gate(folder: Path) -> None:
    """From now on the generation's programs drop. Raises BpfError."""
    _set_gate(folder, 1)


def shut_gate(folder: Path) -> None:
    """From now on they pass every frame; nothing is done where the generation has none. Raises BpfError."""
    _set_gate(folder, 0)


def _set_gate(folder: Path, value: int) -> None:
    try:
        with open_map(folder / GATE.name, GATE) as gate:
            gate.update(_FIRST, value.to_bytes(GATE.value_size, "little"))
    except BpfError as error:
        if error.errno != errno.ENOENT:
            raise


def counted(folder: Path) -> list[tuple[str, tuple[int, int]]]:
    """Rules with the packets and bytes that were dropped by them; none where the generation has no early drop. Raises BpfError."""
    found = told(folder)
    if found is None or not found.names:
        return []
    from bpf.classifier.counters import read_counters  # noqa: PLC0415 (numpy takes a tenth of a second)

    try:
        with open_map(folder / COUNTS) as counts:
            values = read_counters(counts).tolist()
    except BpfError as error:  # it goes at this moment
        if error.errno == errno.ENOENT:
            return []
        raise
    return [(name, (packets, octets)) for name, (packets, octets) in zip(found.names, values, strict=False)]


# -- texts -------------------------------------------------------------------------------------------------------------


def write(path: Path, text: str) -> None:
    """Pins a text. Raises BpfError, EEXIST where the name is taken."""
    content = text.encode()
    with create_map(MapSpec("text", value_size=len(content), initial=content)) as made:
        made.pin(path)


def read(path: Path) -> str | None:
    """The text that is pinned; None where nothing is. Raises BpfError."""
    try:
        with open_map(path) as pinned:
            content = pinned.lookup(_FIRST)
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return None if content is None else content.decode()
