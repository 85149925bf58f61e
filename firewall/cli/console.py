"""What the commands print: diagnostics, tables, JSON documents; and the exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rules_dsl.diagnostics import Diagnostic

JSON_VERSION = 1
"""The version of every JSON document that a command prints: it grows when a key changes its meaning or goes, not when one comes."""


class Exit(IntEnum):
    """What a command's exit code says."""

    WELL = 0
    FINDINGS = 1
    """Findings, failed tests, differences."""
    BAD_INPUT = 2
    """Bad input or usage."""
    REFUSED = 3
    """The kernel or the environment refused."""
    BUG = 70


class BadInput(Exception):  # noqa: N818 (it is what the user gave, not a fault of ours)
    """The user's input cannot be used; the message is one line, `help` says what to do."""

    def __init__(self, message: str, *help_lines: str) -> None:
        super().__init__(message)
        self.help = help_lines


class Refused(Exception):  # noqa: N818
    """The kernel or the environment refused; the message is one line, `help` says what to do."""

    def __init__(self, message: str, *help_lines: str) -> None:
        super().__init__(message)
        self.help = help_lines


def coloured(stream: TextIO) -> bool:
    """Colour only on a terminal, and not where NO_COLOR (no-color.org) is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


PAINT = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "grey": "90", "bold": "1"}
"""SGR parameters (ECMA-48) of the colours in use."""


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """`text` in a colour of PAINT, or bare where `stream` (standard output) takes none."""
    return f"\x1b[{PAINT[colour]}m{text}\x1b[0m" if coloured(stream or sys.stdout) else text


def say(text: str = "") -> None:
    """A line of the command's result."""
    print(text)


def warn(text: str) -> None:
    """A line beside the result."""
    print(text, file=sys.stderr)


def say_json(command: str, content: Mapping[str, object]) -> None:
    """A whole JSON document: `{"version": 1, "command": ..., ...}`."""
    print(json.dumps({"version": JSON_VERSION, "command": command, **content}, indent=2, ensure_ascii=False))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Rows under a header in columns as wide as their widest cell; the columns in `right` are aligned right."""
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    lines[0] = paint(lines[0], "bold")
    return "\n".join(lines)


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 rule`, `2 rules`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def show_diagnostics(diagnostics: Iterable[Diagnostic], *, as_json: bool, stream: TextIO | None = None) -> None:
    """All diagnostics: as one JSON document on standard output, or as text on `stream` (standard error)."""
    from rules_dsl import render, to_json

    if as_json:
        say_json("diagnostics", {"diagnostics": [to_json(diagnostic) for diagnostic in diagnostics]})
        return
    target = stream or sys.stderr
    for diagnostic in diagnostics:
        print(render(diagnostic, colour=coloured(target)), file=target)
        print(file=target)
