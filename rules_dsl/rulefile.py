"""Rule files: from the text of a policy, and the files it names, to the Policy, with every diagnostic of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.expressions import NO_LISTS, not_text
from rules_dsl.files import BYTE_ORDER_MARK, read_text
from rules_dsl.geo import Geo
from rules_dsl.lexemes import NAME, STRING, Gathered
from rules_dsl.limits import Limits
from rules_dsl.lists import ListValue
from rules_dsl.parser import parse_statement_tree
from rules_dsl.policy import Policy
from rules_dsl.statement_checks import PolicyChecks
from rules_dsl.statements import KEYWORDS, RULE_WORDS, Piece, pieces
from rules_dsl.suggestions import did_you_mean
from rules_dsl.syntax import (
    DefaultStatement,
    ExpectStatement,
    GeoStatement,
    HookStatement,
    ListStatement,
    ProtectStatement,
    RuleStatement,
    Statement,
    TenantStatement,
)

MAX_FOUND = 200
"""Diagnostics after which a run ends: who has made so many has made one of them often."""


def parse_piece(source: Source, piece: Piece, limits: Limits, found: list[Diagnostic]) -> tuple[Statement, Gathered] | None:
    """A statement and its parts (offsets from the piece's start), or None: then what is wrong goes to `found`."""
    if not piece.known:
        found.append(_unknown(source, piece))
        return None
    try:
        return parse_statement_tree(source, piece.start, piece.end, limits.nesting)
    except DiagnosticError as error:
        found += error.diagnostics
        return None


def _unknown(source: Source, piece: Piece) -> Diagnostic:
    word = piece.word or re.split(r"[ \t\r\n\f]", source.text[piece.start : piece.end], maxsplit=1)[0][:40]
    span = Span(source, piece.start, piece.start + len(word))
    help = did_you_mean(word, KEYWORDS) if piece.word else None
    return Diagnostic(
        "E0501", f"`{word}` begins no statement", span, "unknown statement", help=help or "statements: " + " ".join(sorted(KEYWORDS))
    )


_LIST_HEAD = re.compile(rf"list[ \t]+(?P<name>{NAME})")
_RULE_HEAD = re.compile(rf"(?:[a-z]+[ \t]+)+(?P<name>{STRING})")


def _name_unparsed(source: Source, piece: Piece, checks: PolicyChecks) -> None:
    """What a statement would have named had it parsed is taken to be there: one message about it is enough."""
    head = _LIST_HEAD if piece.word == "list" else _RULE_HEAD if piece.word in RULE_WORDS else None
    checks.rule_count += piece.word in RULE_WORDS
    found = None if head is None else head.match(source.text, piece.start, piece.end)
    if found is None:
        return
    if piece.word == "list":
        checks.lists.setdefault(found["name"], ListValue.of_addresses([]))
    else:
        checks.rule_names.setdefault(found["name"][1:-1], Span(source, found.start("name"), found.end("name")))


def _checked(
    source: Source, folder: Path, limits: Limits, geo: Geo | None, lists: Mapping[str, ListValue]
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:  # fmt: skip
    refused = not_text(source)
    if refused is not None:
        return None, (refused,)
    found: list[Diagnostic] = []
    checks = PolicyChecks(source, folder, limits, geo, lists, found)
    # A rule may name a list that stands below it, and a test a rule: what they refer to comes first. Of many rules only one syntax tree
    # is alive at a time, which spares the garbage collector most of its work.
    first: list[Piece] = []
    rules: list[Piece] = []
    tests: list[Piece] = []
    for piece in pieces(source.text):
        (rules if piece.word in RULE_WORDS else tests if piece.word == "expect" else first).append(piece)
    for piece in (*first, *rules, *tests):
        if len(found) >= MAX_FOUND:
            break
        parsed = parse_piece(source, piece, limits, found)
        if parsed is None:
            _name_unparsed(source, piece, checks)
            continue
        base, (statement, gathered) = piece.start, parsed
        match statement:
            case RuleStatement():
                checks.rule_statement(base, statement, gathered)
            case TenantStatement():
                checks.tenant_statement(base, statement)
            case ProtectStatement():
                checks.protect_statement(base, statement)
            case HookStatement():
                checks.hook_statement(base, statement)
            case DefaultStatement():
                checks.default_statement(base, statement)
            case GeoStatement():
                checks.geo_statement(base, statement)
            case ListStatement():
                checks.list_statement(base, statement)
            case ExpectStatement():
                checks.expect_statement(base, statement)
            case _:
                assert_never(statement)
    policy = checks.policy()
    ordered = sorted(found, key=lambda d: (d.span.source.name != source.name, d.span.source.name, d.span.start))
    return (None if any(d.is_error for d in found) else policy), tuple(ordered)


def check_policy(
    path_or_source: Path | str,
    *,
    name: str | None = None,
    folder: Path | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    geo: Geo | None = None,
    lists: Mapping[str, ListValue] | None = None,
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:
    """The policy of a file (a Path) or of a text (a str), None where it has errors; and every error and warning, in their order.

    `folder` is where relative paths in the text start: the file's own, or the current one. `geo` is the table for country and asn
    fields, behind the files that the text names itself; `lists` are stored lists that it may use besides its own."""
    if isinstance(path_or_source, Path):
        try:
            text = read_text(path_or_source, name)
        except DiagnosticError as error:
            return None, error.diagnostics
        name = str(path_or_source) if name is None else name
        folder = path_or_source.parent if folder is None else folder
    else:
        text = path_or_source.removeprefix(BYTE_ORDER_MARK)
    source = Source("<policy>" if name is None else name, text)
    return _checked(source, folder or Path(), limits, geo, NO_LISTS if lists is None else lists)


def _or_raise(policy: Policy | None, found: tuple[Diagnostic, ...]) -> Policy:
    if policy is None:
        raise DiagnosticError(tuple(diagnostic for diagnostic in found if diagnostic.is_error))
    return policy


def load_policy(
    path: Path,
    *,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    geo: Geo | None = None,
    lists: Mapping[str, ListValue] | None = None,
) -> Policy:
    """The policy of a rule file and of the files that it names. Raises DiagnosticError with every error."""
    return _or_raise(*check_policy(path, limits=limits, geo=geo, lists=lists))


def parse_policy(
    text: str,
    *,
    name: str = "<policy>",
    folder: Path = Path(),
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    geo: Geo | None = None,
    lists: Mapping[str, ListValue] | None = None,
) -> Policy:
    """The policy that `text` says. Raises DiagnosticError with every error."""
    return _or_raise(*check_policy(text, name=name, folder=folder, limits=limits, geo=geo, lists=lists))
