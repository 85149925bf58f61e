"""Diagnostics as text for people, with the source line underlined, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rules_dsl.diagnostics import Diagnostic, Source, Span

WIDTH = 120
"""Characters of a source line that are shown; a longer line is cut around what it is about."""

_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "frame": "\x1b[1;34m", "bold": "\x1b[1m"}
_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class _Mark:
    """An underlined place of one line: columns from 0, half-open."""

    start: int
    end: int
    label: str
    main: bool


class _Paint:
    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, role: str) -> str:
        return f"{_COLOURS[role]}{text}{_RESET}" if self.colour and text else text


def severity(diagnostic: Diagnostic) -> str:
    """`error` or `warning`."""
    return "error" if diagnostic.is_error else "warning"


def render(diagnostic: Diagnostic, colour: bool = False) -> str:
    """The diagnostic as several lines of text, without a final line break."""
    paint = _Paint(colour)
    kind = severity(diagnostic)
    source = diagnostic.span.source
    line, column = source.position(diagnostic.span.start)
    marks: dict[tuple[str, int], list[_Mark]] = {}
    sources: dict[str, Source] = {}
    spans = [(diagnostic.span, diagnostic.label, True), *((span, label, False) for span, label in diagnostic.related)]
    for span, label, main in spans:
        span_line, mark = _mark(span, label, main)
        sources.setdefault(span.source.name, span.source)
        marks.setdefault((span.source.name, span_line), []).append(mark)
    gutter = len(str(max(number for _, number in marks)))
    out = [f"{paint(f'{kind}[{diagnostic.code}]', kind)}{paint(': ' + printable(diagnostic.message), 'bold')}"]
    out.append(f"{' ' * gutter}{paint('-->', 'frame')} {printable(source.name)}:{line}:{column}")
    if source.text:
        out += _snippets(marks, sources, source.name, gutter, kind, paint)
    if diagnostic.help:
        out.append(f"{' ' * gutter} {paint('=', 'frame')} {paint('help', 'bold')}: {printable(diagnostic.help)}")
    return "\n".join(out)


def _mark(span: Span, label: str, main: bool) -> tuple[int, _Mark]:
    """The line of a span and its place in it; of a span over several lines, the first."""
    line, column = span.source.position(span.start)
    text = _line(span.source, line)
    start = column - 1
    end = min(start + max(span.end - span.start, 1), max(len(text), start + 1))
    return line, _Mark(start, end, label, main)


def _line(source: Source, number: int) -> str:
    start = 0
    for _ in range(number - 1):
        start = source.text.find("\n", start) + 1
    end = source.text.find("\n", start)
    return source.text[start : len(source.text) if end < 0 else end].rstrip("\r")


def _snippets(
    marks: dict[tuple[str, int], list[_Mark]], sources: dict[str, Source], main_source: str, gutter: int, kind: str, paint: _Paint
) -> list[str]:  # fmt: skip
    bar = paint("|", "frame")
    out = [f"{' ' * gutter} {bar}"]
    previous: tuple[str, int] | None = None
    for name, number in sorted(marks, key=lambda place: (place[0] != main_source, place)):
        if name != (previous[0] if previous else main_source):
            out.append(f"{' ' * gutter}{paint(':::', 'frame')} {printable(name)}:{number}")
        elif previous is not None and number > previous[1] + 1:
            out.append(paint("...", "frame"))
        previous = (name, number)
        here = marks[name, number]
        text, here = _cut(_line(sources[name], number), here)
        out.append(f"{paint(str(number).rjust(gutter), 'frame')} {bar} {printable(text)}".rstrip())
        out += [f"{' ' * gutter} {bar} {row}" for row in _underlines(text, here, kind, paint)]
    return out


def _cut(text: str, marks: list[_Mark]) -> tuple[str, list[_Mark]]:
    """A long line, cut around its main mark (or its first)."""
    if len(text) <= WIDTH:
        return text, marks
    centre = next((mark for mark in marks if mark.main), marks[0])
    low = max(0, min(centre.start - WIDTH // 3, len(text) - WIDTH))
    high = low + WIDTH
    head, tail = "..." if low else "", "..." if high < len(text) else ""
    shift = len(head) - low
    kept = []
    for mark in marks:
        if mark.end > low and mark.start <= high:
            start, end = max(mark.start, low), min(mark.end, high)
            kept.append(_Mark(start + shift, max(end, start + 1) + shift, mark.label, mark.main))
    return head + text[low:high] + tail, kept


def _underlines(text: str, marks: list[_Mark], kind: str, paint: _Paint) -> list[str]:
    """The row of `^^^` and `---`, the main label behind it, and the labels of the others below it."""
    if not marks:
        return []
    marks = sorted(marks, key=lambda mark: (mark.start, not mark.main))
    row: list[str] = []
    at = 0
    for mark in marks:
        if mark.start < at:  # within one that is drawn already
            continue
        row.append(_blank(text, at, mark.start))
        row.append(paint(("^" if mark.main else "-") * (mark.end - mark.start), kind if mark.main else "frame"))
        at = mark.end
    last = marks[-1]
    if last.label:
        row.append(" " + paint(printable(last.label), kind if last.main else "frame"))
    rows = ["".join(row)]
    rows += [
        f"{_blank(text, 0, mark.start)}{paint(printable(mark.label), kind if mark.main else 'frame')}"
        for mark in reversed(marks[:-1])
        if mark.label
    ]
    return rows


def _blank(text: str, start: int, end: int) -> str:
    """Spaces as wide as a part of the line: its tabs stay tabs."""
    return "".join("\t" if char == "\t" else " " for char in text[start:end].ljust(end - start))


def printable(text: str) -> str:
    """`text` without characters that would move the terminal's cursor or change its state."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def render_all(diagnostics: Iterable[Diagnostic], colour: bool = False) -> str:
    """All of them, with an empty line between."""
    return "\n\n".join(render(diagnostic, colour) for diagnostic in diagnostics)


def _place(span: Span) -> dict[str, object]:
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "start": span.start,
        "end": span.end,
    }


def to_json(diagnostic: Diagnostic) -> dict[str, object]:
    """The diagnostic as JSON values: lines and columns from 1, `start` and `end` as character offsets, all ends exclusive."""
    return {
        "code": diagnostic.code,
        "severity": severity(diagnostic),
        "message": diagnostic.message,
        **_place(diagnostic.span),
        "label": diagnostic.label,
        "help": diagnostic.help,
        "related": [{**_place(span), "label": label} for span, label in diagnostic.related],
    }
