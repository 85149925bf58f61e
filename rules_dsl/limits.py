"""Limits: how much a text may ask for before it is refused. All of them are clear errors (E04xx)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one text may hold. The defaults are the API's; an operator may raise them for files of his own."""

    expression_characters: int = 4_096
    """Of one expression, in a rule file as in a request (Cloudflare's figure)."""
    nesting: int = 128
    """Levels of parentheses, `not` and function calls."""
    list_items: int = 1_000_000
    """Of one list, inline or from a file."""
    rules: int = 100_000
    """Of one rule file."""
    regex_characters: int = 1_024
    """Of one `matches` pattern."""
    regex_repeat: int = 1_000
    """The largest count in a pattern's `{m,n}`."""
