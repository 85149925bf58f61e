"""Reading the user's text files: missing ones and bytes that are not UTF-8 become diagnostics."""

from __future__ import annotations

import re
from pathlib import Path

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span

BYTE_ORDER_MARK = "\ufeff"


_STRAY_RETURN = re.compile(r"\r(?!\n|\Z)")


def stray_return(source: Source) -> Diagnostic | None:
    """E0008 for a carriage return within a line. An editor may show a line break there, and a rule behind it that stands in a comment."""
    found = _STRAY_RETURN.search(source.text)
    if found is None:
        return None
    help = r"end lines with a line feed, or with both; in a string, write \r"
    span = Span(source, found.start(), found.end())
    return Diagnostic("E0008", "a carriage return without a line feed ends no line", span, "stray carriage return", help=help)


def read_text(path: Path, name: str | None = None, asked_at: Span | None = None) -> str:
    """The text of a UTF-8 file. Raises DiagnosticError: E0601 where it cannot be read, E0007 where it is not UTF-8.

    `asked_at` is where the text that names the file says so."""
    return decode(read_bytes(path, name, asked_at), str(path) if name is None else name)


def read_bytes(path: Path, name: str | None = None, asked_at: Span | None = None) -> bytes:
    """As `read_text`, whatever is in the file. Raises DiagnosticError (E0601)."""
    name = str(path) if name is None else name
    try:
        return path.read_bytes()
    except OSError as error:
        span = asked_at or Span(Source(name, ""), 0, 0)
        reason = error.strerror or type(error).__name__
        help = None if path.is_absolute() and name == str(path) else f"looked for {path}"
        raise DiagnosticError((Diagnostic("E0601", f"cannot read `{name}`: {reason}", span, help=help),)) from None
    except ValueError:  # a path with a NUL in it
        raise DiagnosticError((Diagnostic("E0601", "this is no file name", asked_at or Span(Source(name, ""), 0, 0)),)) from None


def decode(data: bytes, name: str) -> str:
    """UTF-8 bytes as text, without a byte order mark. Raises DiagnosticError (E0007) with the line and the byte offset."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        # Every bad byte is shown as one replacement character, so that the line can be shown.
        shown = data.decode(errors="replace")
        start = len(data[: error.start].decode())
        message = f"byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"
        span = Span(Source(name, shown), start, start + 1)
        raise DiagnosticError((Diagnostic("E0007", message, span, "not UTF-8", help=r'in a string, write a byte as "\xHH"'),)) from None
    return text.removeprefix(BYTE_ORDER_MARK)
