"""Rule files: from the text of a policy, and the files it names, to the Policy, with every diagnostic of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.division import Run, divide
from rules_dsl.expressions import NO_LISTS, not_text
from rules_dsl.files import BYTE_ORDER_MARK, read_text
from rules_dsl.geo import Geo
from rules_dsl.lexemes import NAME, Gathered
from rules_dsl.limits import Limits
from rules_dsl.lists import ListValue
from rules_dsl.parser import parse_statement_tree
from rules_dsl.policy import Policy
from rules_dsl.rule_memory import memory
from rules_dsl.statement_checks import PolicyChecks
from rules_dsl.statements import KEYWORDS, RULE_WORDS, Piece
from rules_dsl.suggestions import did_you_mean
from rules_dsl.syntax import (
    DefaultStatement,
    EarlyDropStatement,
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


def _name_unparsed(source: Source, piece: Piece, checks: PolicyChecks) -> None:
    """A list that a statement would have defined had it parsed is taken to be there: one message about it is enough."""
    found = _LIST_HEAD.match(source.text, piece.start, piece.end) if piece.word == "list" else None
    if found is not None:
        checks.lists.setdefault(found["name"], ListValue.of_addresses([]))


def _checked(
    source: Source, folder: Path, limits: Limits, geo: Geo | None, lists: Mapping[str, ListValue]
) -> tuple[Policy | None, tuple[Diagnostic, ...]]:  # fmt: skip
    refused = not_text(source)
    if refused is not None:
        return None, (refused,)
    found: list[Diagnostic] = []
    checks = PolicyChecks(source, folder, limits, geo, lists, found)
    # A rule may name a list that stands below it, and a test a rule: what they refer to comes first.
    remembered = memory(limits)
    parts = divide(source.text, remembered)
    for piece in parts:
        if isinstance(piece, Piece) and piece.word not in RULE_WORDS and piece.word != "expect" and len(found) < MAX_FOUND:
            _statement(source, piece, limits, checks, found)
    if remembered.use(checks.lists):
        parts = divide(source.text, remembered)
    # Of many rules only one syntax tree is alive at a time, which spares the garbage collector most of its work.
    for part in parts:
        if len(found) >= MAX_FOUND:
            break
        if isinstance(part, Run):
            checks.rules.run(part)
        elif part.word in RULE_WORDS:
            checks.rules.piece(part)
    for piece in parts:
        if isinstance(piece, Piece) and piece.word == "expect" and len(found) < MAX_FOUND:
            _statement(source, piece, limits, checks, found)
    policy = checks.policy()
    ordered = sorted(found, key=lambda d: (d.span.source.name != source.name, d.span.source.name, d.span.start))
    return (None if any(d.is_error for d in found) else policy), tuple(ordered)


def _statement(source: Source, piece: Piece, limits: Limits, checks: PolicyChecks, found: list[Diagnostic]) -> None:
    """One that is no rule."""
    parsed = parse_piece(source, piece, limits, found)
    if parsed is None:
        _name_unparsed(source, piece, checks)
        return
    base, (statement, _) = piece.start, parsed
    match statement:
        case TenantStatement():
            checks.tenant_statement(base, statement)
        case ProtectStatement():
            checks.protect_statement(base, statement)
        case HookStatement():
            checks.hook_statement(base, statement)
        case EarlyDropStatement():
            checks.early_drop_statement(base, statement)
        case DefaultStatement():
            checks.default_statement(base, statement)
        case GeoStatement():
            checks.geo_statement(base, statement)
        case ListStatement():
            checks.list_statement(base, statement)
        case ExpectStatement():
            checks.expect_statement(base, statement)
        case RuleStatement():
            raise AssertionError("a rule begins with its own words")
        case _:
            assert_never(statement)


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
