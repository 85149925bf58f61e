"""The cases of tests/cases/*.md: rules or an expression in, diagnostics, typed nodes or the canonical form out.

A case is a heading, some words and fenced blocks: one input (`rules` or `expression`), files that it names (`file NAME`), and what
comes out of it (`diagnostics`, `typed`, `formatted`). `pytest --update` writes what comes out; review the diff. An input's fence may
say more: `rules planned` (also asks whether the rules can be enforced, and are reached), `rules escaped` (the text is bytes with
Python's escapes), `expression nesting=3` (a limit). `{{( * 129}}` stands for 129 parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typed_text import typed_text

from rules_dsl import (
    CODES,
    Diagnostic,
    DiagnosticError,
    Geo,
    Limits,
    ListValue,
    check_policy,
    format_expression,
    format_policy,
    parse_expression,
    render_all,
)

CASES = Path(__file__).parent / "cases"
LISTS = {
    "offices": ListValue.of_addresses(["198.51.100.0/24", "2001:db8:10::/48"]),
    "ports": ListValue.of_numbers([80, 443]),
    "words": ListValue.of_strings([b"friendly-scanner", b"sipvicious"]),
    "cf.anonymizer": ListValue.of_addresses(["192.0.2.128/25"]),
}
GEO = Geo.parse("network,country,asn\n192.0.2.0/25,DE,64496\n198.51.100.0/24,FR,64497\n2001:db8::/33,DE,64497\n", "geo.csv")

FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
REPEATED = re.compile(r"\{\{(.+?) \* (\d+)\}\}")


@dataclass
class Block:
    kind: str
    arguments: list[str]
    body: str
    start: int
    """Of the body, in the file."""
    end: int


@dataclass
class Case:
    path: Path
    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def input(self) -> Block:
        (block,) = [block for block in self.blocks if block.kind in ("rules", "expression")]
        return block

    @property
    def outputs(self) -> list[Block]:
        return [block for block in self.blocks if block.kind in ("diagnostics", "typed", "formatted")]


def cases() -> Iterator[Case]:
    for path in sorted(CASES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        headings = [
            (match.start(), match[1]) for match in re.finditer(r"^#+ (.*)$", FENCE.sub(lambda m: " " * len(m[0]), text), re.MULTILINE)
        ]
        found = [(start, Case(path, title)) for start, title in headings]
        for match in FENCE.finditer(text):
            kind, *arguments = match["info"].split()
            owner = [case for start, case in found if start < match.start()][-1]
            owner.blocks.append(Block(kind, arguments, match["body"], match.start("body"), match.end("body")))
        yield from (case for _, case in found if case.blocks)


ALL = list(cases())


@dataclass
class Outcome:
    diagnostics: tuple[Diagnostic, ...]
    typed: str = ""
    formatted: str = ""


def run(case: Case, folder: Path) -> Outcome:
    block = case.input
    text = REPEATED.sub(lambda match: match[1] * int(match[2]), block.body)
    limits = Limits(**{key: int(value) for key, _, value in (word.partition("=") for word in block.arguments if "=" in word)})
    for other in case.blocks:
        if other.kind == "file":
            data = other.body.encode()
            (folder / other.arguments[0]).write_bytes(
                data.decode("unicode_escape").encode("latin-1") if "escaped" in other.arguments else data
            )
    if block.kind == "expression":
        return _expression(text.removesuffix("\n"), limits, geo=None if "no-table" in block.arguments else GEO)
    path = folder / "case.rules"
    path.write_bytes(text.encode().decode("unicode_escape").encode("latin-1") if "escaped" in block.arguments else text.encode())
    policy, found = check_policy(path, name="case.rules", limits=limits)
    if policy is None:
        return Outcome(found)
    if "planned" in block.arguments:
        from firewall.cli.compiling import enforcement_findings
        from firewall.cli.shadowed import shadow_diagnostic, shadowed_rules

        found += (*enforcement_findings(policy), *(shadow_diagnostic(policy, each) for each in shadowed_rules(policy, found).found))
    typed = "".join(f"{rule.name}: {typed_text(rule.predicate)}\n" for rule in policy.rules)
    return Outcome(found, typed, format_policy(text) if "escaped" not in block.arguments else "")


def _expression(text: str, limits: Limits, geo: Geo | None) -> Outcome:
    try:
        expression = parse_expression(text, lists=LISTS, limits=limits, geo=geo)
    except DiagnosticError as error:
        return Outcome(error.diagnostics)
    return Outcome((), typed_text(expression) + "\n", format_expression(text) + "\n")


def written(block: Block, outcome: Outcome, folder: Path) -> str:
    match block.kind:
        case "diagnostics":
            text = render_all(outcome.diagnostics).replace(f"{folder}/", "")
            return text + "\n" if text else ""
        case "typed":
            return outcome.typed
        case _:
            return outcome.formatted


@pytest.mark.parametrize("case", ALL, ids=[f"{case.path.stem}: {case.title}" for case in ALL])
def test_case(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    outcome = run(case, tmp_path)
    wrong = [(block, text) for block in case.outputs if (text := written(block, outcome, tmp_path)) != block.body]
    if wrong and request.config.getoption("--update"):
        update(case, tmp_path, outcome)
        return
    assert case.outputs, "nothing to compare: add a block `diagnostics`, `typed` or `formatted`"
    for block, text in wrong:
        assert text == block.body
    errors = [diagnostic for diagnostic in outcome.diagnostics if diagnostic.is_error]
    assert not errors or any(block.kind == "diagnostics" for block in case.outputs), "the case has errors, and shows none"


def update(case: Case, folder: Path, outcome: Outcome) -> None:
    """Writes what comes out of one case; the others may have moved since this module read the file."""
    fresh = next(other for other in cases() if other.path == case.path and other.title == case.title)
    text = case.path.read_text(encoding="utf-8")
    for block in reversed(fresh.outputs):
        text = text[: block.start] + written(block, outcome, folder) + text[block.end :]
    case.path.write_text(text, encoding="utf-8")


def test_every_code_has_a_case(tmp_path: Path) -> None:
    shown = {
        code for case in ALL for block in case.blocks if block.kind == "diagnostics" for code in re.findall(r"\[([EW]\d{4})\]", block.body)
    }
    assert set(CODES) - shown == set(), "codes without a case"
    assert shown - set(CODES) == set(), "cases with a code that the registry lacks"


def test_titles_are_unique() -> None:
    names = [(case.path, case.title) for case in ALL]
    assert len(set(names)) == len(names)
