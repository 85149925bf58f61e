"""What a policy was made of: its text and the files that the text names, so that a revision can be compiled again as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rules_dsl import Geo, Limits, Source, parse_policy
from rules_dsl.files import read_text
from rules_dsl.literals import quoted, string_value
from rules_dsl.parser import parse_statement_tree
from rules_dsl.policy import Policy
from rules_dsl.statements import pieces
from rules_dsl.syntax import GeoStatement, ListStatement, Text


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that a policy depends on besides the machine."""

    name: str
    """The rule file's name, as the user gave it."""
    text: str
    files: Mapping[str, bytes]
    """Contents of the files that the text names, by the path as written there."""
    geo: tuple[bytes, ...] = ()
    """Files of countries and AS numbers given beside the rule file."""


@dataclass(frozen=True, slots=True)
class _NamedFile:
    start: int
    end: int
    path: str
    """As written."""


def read_sources(path: Path, *, geo: Sequence[Path] = ()) -> tuple[Sources, Policy]:
    """The sources of a rule file, and the policy that they say. Raises DiagnosticError with every error."""
    return sources_of(read_text(path), name=str(path), folder=path.parent, geo=geo)


def sources_of(text: str, *, name: str, folder: Path, geo: Sequence[Path] = ()) -> tuple[Sources, Policy]:
    """As `read_sources`, for a text; `folder` is where the paths in it start."""
    policy = parse_policy(text, name=name, folder=folder, geo=Geo.load(*geo) if geo else None)
    files = {named.path: (folder / named.path).read_bytes() for named in _named_files(name, text)}
    return Sources(name, text, files, tuple(path.read_bytes() for path in geo)), policy


def policy_from(sources: Sources, stored: Mapping[str, Path]) -> Policy:
    """The policy again, its files read from where they are `stored` (by the path as written). Raises DiagnosticError."""
    parts = []
    at = 0
    for named in _named_files(sources.name, sources.text):
        parts += [sources.text[at : named.start], quoted(str(stored[named.path].absolute()).encode())]
        at = named.end
    text = "".join((*parts, sources.text[at:]))
    geo = Geo.parse_all((content, f"geo {at}") for at, content in enumerate(sources.geo, 1)) if sources.geo else None
    return parse_policy(text, name=sources.name, geo=geo)


_NAMING: Final = re.compile(r"(?:\A|\n)[ \t]*(?:list|geo)\b")


def _named_files(name: str, text: str) -> list[_NamedFile]:
    if _NAMING.search(text) is None:
        return []
    found: list[_NamedFile] = []
    source = Source(name, text)
    for piece in pieces(text):
        if piece.word not in ("list", "geo"):
            continue
        match parse_statement_tree(source, piece.start, piece.end, Limits().nesting)[0]:
            case ListStatement(content=Text() as literal):
                literals: tuple[Text, ...] = (literal,)
            case GeoStatement(paths=literals):
                pass
            case _:
                literals = ()
        for literal in literals:
            path = string_value(literal.text).decode(errors="replace")
            found.append(_NamedFile(piece.start + literal.start, piece.start + literal.end, path))
    return found
