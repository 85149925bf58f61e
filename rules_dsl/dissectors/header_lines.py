"""Header lines of text protocols (HTTP, SSDP, SIP): what stands between the start line and the empty line (RFC 9112 section 2,
RFC 3261 section 7).

A line ends with a newline, before which a carriage return belongs to the end too. A header line is a name (a token, RFC 9110 section
5.6.2), a colon, and a value without the blanks and tabs at its two ends; blanks and tabs before the colon only where the protocol
lets them stand. Any other line is skipped: one that begins with a blank (an old continuation of the line before) too, so a value is
never more than its own line. A line whose newline is not in the packet is not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rules_dsl.value import Keyed

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class HeaderBlock:
    start_line: bytes | None
    """Without its end; None where the end is not in the packet."""
    lines: tuple[Keyed, ...]
    """Name and value of each header line, in order."""
    whole: bool
    """The empty line is in the packet."""

    def values(self, *names: bytes) -> tuple[bytes, ...]:
        """Of the lines that have one of these names (in lower case), in order."""
        return tuple(line.value for line in self.lines if line.key.lower() in names)

    def first(self, *names: bytes) -> bytes | None:
        return next(iter(self.values(*names)), None)


def read_header_block(message: bytes, *, blanks_before_colon: bool = False) -> HeaderBlock:
    """The block of a message that begins with its start line."""
    *ended, _ = message.split(b"\n")
    rows = [row.removesuffix(b"\r") for row in ended]
    if not rows:
        return HeaderBlock(None, (), whole=False)
    whole = b"" in rows[1:]
    last = rows.index(b"", 1) if whole else len(rows)
    lines = []
    for row in rows[1:last]:
        name, colon, value = row.partition(b":")
        if blanks_before_colon:
            name = name.rstrip(b" \t")
        if colon and _NAME.fullmatch(name):
            lines.append(Keyed(name, value.strip(b" \t")))
    return HeaderBlock(rows[0], tuple(lines), whole)
