"""Countries and autonomous systems: which addresses each one has, from the operator's own file.

The file is CSV with the header `network,country,asn`: a CIDR or address range, an ISO 3166-1 alpha-2 code, a number; country or
asn may be empty. What no line names is unknown: the country and asn fields are absent there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rules_dsl import literals
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.expression import Ranges
from rules_dsl.files import read_text, stray_return
from rules_dsl.literals import LiteralError
from rules_dsl.ranges import merged

Addresses = tuple[Ranges, Ranges]
"""IPv4 and IPv6 ranges."""

_MAX_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Geo:
    countries: dict[bytes, Addresses] = field(default_factory=dict)
    """By ISO 3166-1 alpha-2 code."""
    systems: dict[int, Addresses] = field(default_factory=dict)
    """By autonomous system number."""

    @staticmethod
    def load(path: Path) -> Geo:
        """Reads a `network,country,asn` file. Raises DiagnosticError (E06xx)."""
        return Geo.parse(read_text(path), str(path))

    @staticmethod
    def parse(text: str, name: str) -> Geo:
        """The table that `text` holds. Raises DiagnosticError (E0605) with up to 20 errors."""
        return _parse(text, name)

    def in_countries(self, passes: Callable[[bytes], bool]) -> Addresses:
        """The addresses whose country passes."""
        return _union(ranges for code, ranges in self.countries.items() if passes(code))

    def in_systems(self, passes: Callable[[int], bool]) -> Addresses:
        """The addresses whose autonomous system number passes."""
        return _union(ranges for number, ranges in self.systems.items() if passes(number))


def is_country(code: bytes) -> bool:
    """Two capital letters, or a letter and a digit: who makes such tables writes T1 for Tor and the like."""
    return re.fullmatch(rb"[A-Z][A-Z0-9]", code) is not None


def _union(parts: Iterable[Addresses]) -> Addresses:
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    for part_v4, part_v6 in parts:
        v4 += part_v4
        v6 += part_v6
    return merged(v4), merged(v6)


def _parse(text: str, name: str) -> Geo:
    source = Source(name, text)
    refused = stray_return(source)
    if refused is not None:
        raise DiagnosticError((refused,))
    found: list[Diagnostic] = []
    countries: dict[bytes, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    systems: dict[int, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}
    seen_header = False
    offset = 0
    for line in text.split("\n"):
        span = Span(source, offset, offset + len(line))
        offset += len(line) + 1
        try:
            row = [cell.strip() for cell in next(csv.reader([line]), [])]
        except csv.Error as error:
            raise DiagnosticError((Diagnostic("E0605", f"this line is not CSV: {error}", span),)) from None
        if not row or row[0].startswith("#"):
            continue
        if not seen_header:
            if row != ["network", "country", "asn"]:
                raise _no_header(name, span)
            seen_header = True
            continue
        try:
            version, low, high, country, system = _row(row)
        except LiteralError as error:
            found.append(Diagnostic("E0605", error.message, span, help=error.help))
            if len(found) >= _MAX_ERRORS:
                break
            continue
        if country:
            countries.setdefault(country, ([], []))[version == 6].append((low, high))
        if system is not None:
            systems.setdefault(system, ([], []))[version == 6].append((low, high))
    if not seen_header:
        raise _no_header(name, Span(source, 0, 0))
    if found:
        raise DiagnosticError(tuple(found))
    return Geo(
        {code: (merged(v4), merged(v6)) for code, (v4, v6) in countries.items()},
        {number: (merged(v4), merged(v6)) for number, (v4, v6) in systems.items()},
    )


def _no_header(name: str, place: Span) -> DiagnosticError:
    help = "the first line is: network,country,asn"
    return DiagnosticError((Diagnostic("E0605", f"`{name}` is no table of countries", place, "expected the header", help=help),))


def _row(row: list[str]) -> tuple[int, int, int, bytes, int | None]:
    if len(row) != 3:
        raise LiteralError("E0605", f"a line has three columns, and this one has {len(row)}", 0, 0, "network,country,asn")
    version, low, high = literals.address_range(row[0])
    if row[1] and not is_country(row[1].encode()):
        raise LiteralError("E0605", f"`{row[1]}` is no country code", 0, 0, "two capital letters (ISO 3166-1 alpha-2): DE")
    system = literals.number(row[2].removeprefix("AS")) if row[2] else None
    if system is not None and system >= 1 << 32:
        raise LiteralError("E0605", f"`{row[2]}` is no autonomous system number: they end at 4294967295", 0, 0)
    return version, low, high, row[1].encode(), system
