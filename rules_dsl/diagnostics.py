"""Diagnostics: what is wrong with a user's text, where, and how to mend it.

A code is a row of `CODES`, which `mantlet explain CODE` and the error reference print; a diagnostic is one occurrence.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A text and the name it is shown under (a file's name as given, or `<expression>`)."""

    name: str
    text: str = field(repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character offset."""
        line = self.text.count("\n", 0, offset) + 1
        return line, offset - (self.text.rfind("\n", 0, offset) + 1) + 1


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (half-open) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    code: str
    """A key of `CODES`: E... an error, W... a warning."""
    message: str
    span: Span
    label: str = ""
    """Stands behind the underline."""
    related: tuple[tuple[Span, str], ...] = ()
    """Further places of the same source line or of others, each with its own label."""
    help: str | None = None

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")


class DiagnosticError(Exception):
    """Raised where a caller wanted a result and the text has errors; carries all of them."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(f"{d.code}: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics
