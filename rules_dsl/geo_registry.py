"""Countries from the statistics files of the regional Internet registries, plain or extended ("RIR statistics exchange format").

A record is `registry|cc|type|start|value|date|status[|opaque-id[|...]]`. Of ipv4 the value is a count of addresses, which need not be a
power of two; of ipv6 it is a prefix length. Records of type asn say which country a number was given to, and nothing of addresses.
"""

from __future__ import annotations

import re
import socket

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.geo_entries import BROKEN, MAX_ERRORS, Entries, is_country
from rules_dsl.literals import LiteralError

GIVEN_OUT = ("allocated", "assigned")
"""The status of what is in use; `available` and `reserved` are of no country."""
NO_COUNTRY = ("", "*", "ZZ")

_VERSION_LINE = re.compile(r"[0-9]+(?:\.[0-9]+)?\|")
_DECIMAL = re.compile(r"[0-9]{1,10}")
_SUMMARY_FIELDS = 6


def is_registry_file(text: str) -> bool:
    """Whether the first line that is no comment has the fields of such a file."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    return first.count("|") >= _SUMMARY_FIELDS - 1


def read_registry(source: Source) -> Entries:
    """The entries of a statistics file. Raises DiagnosticError (E0605) with up to 20 errors."""
    found: list[Diagnostic] = []
    entries = Entries()
    offset = 0
    for line in source.text.split("\n"):
        start = offset
        offset += len(line) + 1
        fields = line.rstrip().split("|")
        if not fields[0] or line.startswith("#") or fields[-1] == "summary" or _VERSION_LINE.match(line):
            continue
        try:
            entry = _record(fields)
        except LiteralError as error:
            found.append(Diagnostic(BROKEN, error.message, Span(source, start, start + len(line.rstrip())), help=error.help))
            if len(found) >= MAX_ERRORS:
                break
            continue
        if entry is not None:
            version, low, high, country = entry
            entries.of_country(country)[version == 6].append((low, high))
    if found:
        raise DiagnosticError(tuple(found))
    return entries


def _record(fields: list[str]) -> tuple[int, int, int, bytes] | None:
    """Version, first and last address, country; or None for a record that says no country of an address."""
    if len(fields) <= _SUMMARY_FIELDS:
        help = "registry|cc|type|start|value|date|status"
        raise LiteralError(BROKEN, f"a record has at least seven fields, and this one has {len(fields)}", 0, 0, help)
    _, country, kind, start, value, _, status, *_ = fields
    if kind not in ("ipv4", "ipv6", "asn"):
        raise LiteralError(BROKEN, f"`{kind}` is no type of record", 0, 0, "asn, ipv4 or ipv6")
    if kind == "asn" or status not in GIVEN_OUT or country in NO_COUNTRY:
        return None
    code = country.upper().encode()
    if not is_country(code):
        raise LiteralError(BROKEN, f"`{country}` is no country code", 0, 0, "two letters (ISO 3166-1 alpha-2): DE")
    version = 4 if kind == "ipv4" else 6
    low = _address(version, start)
    if not (value.isascii() and _DECIMAL.fullmatch(value)):
        raise LiteralError(BROKEN, f"`{value}` is no number", 0, 0)
    if version == 4:
        high = low + int(value) - 1
        if not low <= high < 1 << 32:
            raise LiteralError(BROKEN, f"{value} addresses from {start} on: there are none, or they end behind 255.255.255.255", 0, 0)
    else:
        if int(value) > 128:
            raise LiteralError(BROKEN, f"`{value}` is no prefix length: they end at 128", 0, 0)
        high = low | ((1 << 128 - int(value)) - 1)
        if low & ((1 << 128 - int(value)) - 1):
            raise LiteralError(BROKEN, f"`{start}/{value}` has host bits set", 0, 0)
    return version, low, high, code


def _address(version: int, spelling: str) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, spelling), "big")
    except (OSError, ValueError):  # ValueError: a NUL in it
        raise LiteralError(BROKEN, f"`{spelling}` is no IPv{version} address", 0, 0) from None
