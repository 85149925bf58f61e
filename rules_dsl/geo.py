"""Countries and autonomous systems: which addresses each one has, from the operator's own files.

A file is an MMDB, a registry's delegated statistics, or CSV; which of them is told by what is in it. What no file names is unknown: the
country and asn fields are absent there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import TypeVar

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source
from rules_dsl.expression import Ranges
from rules_dsl.files import decode, read_bytes, stray_return
from rules_dsl.geo_csv import read_csv
from rules_dsl.geo_entries import Addresses, Entries, broken, is_country
from rules_dsl.geo_registry import is_registry_file, read_registry
from rules_dsl.ranges import merged

__all__ = ["Addresses", "Geo", "is_country"]

Key = TypeVar("Key", bytes, int)

MMDB_MARKER = b"\xab\xcd\xefMaxMind.com"
MMDB_TAIL = 128 * 1024
"""Bytes at the end of a file, in which the marker stands (MaxMind DB file format, "Database metadata")."""
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
"""How packed files begin, and what packed them."""


@dataclass(frozen=True, slots=True)
class Geo:
    countries: dict[bytes, Addresses] = field(default_factory=dict)
    """By ISO 3166-1 alpha-2 code."""
    systems: dict[int, Addresses] = field(default_factory=dict)
    """By autonomous system number."""
    incomplete: bool = False
    """A file could not be read, and that is reported: what is missing here says nothing."""

    @staticmethod
    def load(*paths: Path) -> Geo:
        """Reads files; what an earlier one says goes before.

        Raises DiagnosticError (E0601, E0605, E0007, E0008) with what is wrong in all of them."""
        return _all((partial(read_bytes, path), str(path)) for path in paths)

    @staticmethod
    def parse(content: bytes | str, name: str) -> Geo:
        """The table that a file's content holds. Raises DiagnosticError (E0605) with up to 20 errors."""
        return _parsed(content.encode() if isinstance(content, str) else content, name)

    @staticmethod
    def parse_all(contents: Iterable[tuple[bytes, str]]) -> Geo:
        """As `load`, of contents and names."""
        return _all((partial(bytes, content), name) for content, name in contents)

    def joined(self, later: Geo) -> Geo:
        """With what `later` says of addresses of which this says nothing: of their country, and, on its own, of their AS number."""
        return Geo(
            _joined(self.countries, later.countries),
            _joined(self.systems, later.systems),
            self.incomplete or later.incomplete,
        )

    def in_countries(self, passes: Callable[[bytes], bool]) -> Addresses:
        """The addresses whose country passes."""
        return _union(ranges for code, ranges in self.countries.items() if passes(code))

    def in_systems(self, numbers: Ranges) -> Addresses:
        """The addresses whose autonomous system number is one of these."""
        if sum(high - low + 1 for low, high in numbers) <= len(self.systems):
            asked: Iterable[int] = (number for low, high in numbers for number in range(low, high + 1) if number in self.systems)
        else:
            asked = (number for number in self.systems if _within(number, numbers))
        return _union(self.systems[number] for number in asked)


def _within(number: int, ranges: Ranges) -> bool:
    """`ranges` are sorted."""
    at = bisect_left(ranges, (number + 1,)) - 1
    return at >= 0 and ranges[at][1] >= number


def _union(parts: Iterable[Addresses]) -> Addresses:
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    for part_v4, part_v6 in parts:
        v4 += part_v4
        v6 += part_v6
    return merged(v4), merged(v6)


def _joined(first: dict[Key, Addresses], later: dict[Key, Addresses]) -> dict[Key, Addresses]:
    if not first or not later:
        return first or later
    known = _union(first.values())
    result = dict(first)
    for key, (v4, v6) in later.items():
        new = _without(v4, known[0]), _without(v6, known[1])
        if new[0] or new[1]:
            result[key] = _union((result[key], new)) if key in result else new
    return result


def _without(ranges: Ranges, known: Sequence[tuple[int, int]]) -> Ranges:
    """What of sorted ranges lies in none of the `known` ones, sorted too."""
    result: list[tuple[int, int]] = []
    for low, high in ranges:
        at = max(bisect_left(known, (low,)) - 1, 0)
        start = low
        while at < len(known) and known[at][0] <= high:
            if known[at][1] >= start:
                if known[at][0] > start:
                    result.append((start, known[at][0] - 1))
                start = known[at][1] + 1
            at += 1
        if start <= high:
            result.append((start, high))
    return tuple(result)


def _all(files: Iterable[tuple[Callable[[], bytes], str]]) -> Geo:
    tables: list[Geo] = []
    found: list[Diagnostic] = []
    for content, name in files:
        try:
            tables.append(Geo.parse(content(), name))
        except DiagnosticError as error:
            found += error.diagnostics
    if found:
        raise DiagnosticError(tuple(found))
    return reduce(Geo.joined, tables, Geo())


# -- files -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _parsed(data: bytes, name: str) -> Geo:
    """Kept, as rule files of one folder name the same files. Who gets it changes nothing in it."""
    return Geo(*_read(data, name).closed())


def _read(data: bytes, name: str) -> Entries:
    if data.rfind(MMDB_MARKER, max(0, len(data) - MMDB_TAIL)) >= 0:
        from rules_dsl.geo_mmdb import read_mmdb  # noqa: PLC0415 (the library is loaded where such a file is given)

        return read_mmdb(data, name)
    packer = next((packer for start, packer in PACKED.items() if data.startswith(start)), None)
    if packer is not None:
        raise broken(name, f"`{name}` is packed ({packer})", "unpack it first")
    if b"\0" in data:
        help = "an MMDB file ends with its metadata, and this one was perhaps cut short: fetch it again"
        raise broken(name, f"`{name}` is neither an MMDB file nor text", help)
    source = Source(name, decode(data, name))
    refused = stray_return(source)
    if refused is not None:
        raise DiagnosticError((refused,))
    return read_registry(source) if is_registry_file(source.text) else read_csv(source)
