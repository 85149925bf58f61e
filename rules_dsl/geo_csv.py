"""Countries and AS numbers from CSV with the header `network,country,asn`.

A network is a CIDR or an address range, a country an ISO 3166-1 alpha-2 code; country or asn may be empty.
"""

from __future__ import annotations

import csv

from rules_dsl import literals
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.geo_entries import BROKEN, MAX_ERRORS, Entries, is_country
from rules_dsl.literals import LiteralError

HEADER = ["network", "country", "asn"]


def read_csv(source: Source) -> Entries:
    """The entries of a table. Raises DiagnosticError (E0605) with up to 20 errors."""
    found: list[Diagnostic] = []
    entries = Entries()
    seen_header = False
    offset = 0
    for line in source.text.split("\n"):
        span = Span(source, offset, offset + len(line))
        offset += len(line) + 1
        try:
            row = [cell.strip() for cell in next(csv.reader([line]), [])]
        except csv.Error as error:
            raise DiagnosticError((Diagnostic(BROKEN, f"this line is not CSV: {error}", span),)) from None
        if not row or row[0].startswith("#"):
            continue
        if not seen_header:
            if row != HEADER:
                raise _no_header(source.name, span)
            seen_header = True
            continue
        try:
            version, low, high, country, system = _row(row)
        except LiteralError as error:
            found.append(Diagnostic(BROKEN, error.message, span, help=error.help))
            if len(found) >= MAX_ERRORS:
                break
            continue
        if country:
            entries.of_country(country)[version == 6].append((low, high))
        if system is not None:
            entries.of_system(system)[version == 6].append((low, high))
    if not seen_header:
        raise _no_header(source.name, Span(source, 0, 0))
    if found:
        raise DiagnosticError(tuple(found))
    return entries


def _no_header(name: str, place: Span) -> DiagnosticError:
    help = "the first line is: network,country,asn; MMDB and delegated statistics files are known by their content"
    return DiagnosticError((Diagnostic(BROKEN, f"`{name}` is no table of countries", place, "expected the header", help=help),))


def _row(row: list[str]) -> tuple[int, int, int, bytes, int | None]:
    if len(row) != 3:
        raise LiteralError(BROKEN, f"a line has three columns, and this one has {len(row)}", 0, 0, "network,country,asn")
    version, low, high = literals.address_range(row[0])
    if row[1] and not is_country(row[1].encode()):
        raise LiteralError(BROKEN, f"`{row[1]}` is no country code", 0, 0, "two capital letters (ISO 3166-1 alpha-2): DE")
    system = literals.number(row[2].removeprefix("AS")) if row[2] else None
    if system is not None and system >= 1 << 32:
        raise LiteralError(BROKEN, f"`{row[2]}` is no autonomous system number: they end at 4294967295", 0, 0)
    return version, low, high, row[1].encode(), system
