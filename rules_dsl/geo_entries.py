"""What a file of countries and AS numbers says, gathered entry by entry: what its readers share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.expression import Ranges
from rules_dsl.ranges import merged

Addresses = tuple[Ranges, Ranges]
"""IPv4 and IPv6 ranges."""
Open = tuple[list[tuple[int, int]], list[tuple[int, int]]]
"""The same while they are gathered: inclusive pairs in any order."""

MAX_ERRORS = 20
"""Bad lines of a file after which it is read no further."""
BROKEN = "E0605"

_COUNTRY = re.compile(rb"[A-Z][A-Z0-9]")


def is_country(code: bytes) -> bool:
    """Two capital letters, or a letter and a digit: who makes such tables writes T1 for Tor and the like."""
    return _COUNTRY.fullmatch(code) is not None


@dataclass(frozen=True, slots=True)
class Entries:
    """The addresses of each country and of each autonomous system, as one file has them."""

    countries: dict[bytes, Open] = field(default_factory=dict)
    systems: dict[int, Open] = field(default_factory=dict)

    def of_country(self, code: bytes) -> Open:
        return self.countries.setdefault(code, ([], []))

    def of_system(self, number: int) -> Open:
        return self.systems.setdefault(number, ([], []))

    def closed(self) -> tuple[dict[bytes, Addresses], dict[int, Addresses]]:
        """As sorted ranges."""
        return (
            {code: (merged(v4), merged(v6)) for code, (v4, v6) in self.countries.items()},
            {number: (merged(v4), merged(v6)) for number, (v4, v6) in self.systems.items()},
        )


def broken(name: str, message: str, help: str | None = None) -> DiagnosticError:
    """What is wrong with a file as a whole; there is no line to show."""
    return DiagnosticError((Diagnostic(BROKEN, message, Span(Source(name, ""), 0, 0), help=help),))
