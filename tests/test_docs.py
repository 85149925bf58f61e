"""Docs that cannot go stale: generated pages are fresh, links lead somewhere, commands and rules shown do what they say."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.reference import page as rest_api_page
from firewall.cli.parser import build_parser
from firewall.cli.reference import PAGES, walk
from rules_dsl import CODES, check_policy
from rules_dsl.fields import FIELDS

ROOT = Path(__file__).parent.parent
PAGES_WRITTEN = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
each_page = pytest.mark.parametrize("path", PAGES_WRITTEN, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(text: str) -> Iterator[str]:
    """The fenced blocks of a page."""
    yield from re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


MADE = {**PAGES, "rest-api.md": rest_api_page}


@pytest.mark.parametrize("name", MADE)
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == MADE[name](), "run `make docs`"


def test_every_field_and_every_code_has_its_place_in_the_reference() -> None:
    fields, errors = (PAGES[name]() for name in ("fields.md", "errors.md"))
    assert [name for name in FIELDS if f"`{name}`" not in fields] == []
    assert [code for code in CODES if f"### {code}:" not in errors] == []


@each_page
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        page = (path.parent / file).resolve() if file else path
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings], target


@each_page
def test_commands_shown_are_understood(path: Path) -> None:
    """Every line of a block that calls mantlet must be accepted by the argument parser."""
    if path.name == "cli.md":
        pytest.skip("its usage lines are no calls; the examples are tested with the help texts")
    for block in blocks(path.read_text(encoding="utf-8")):
        for line in block.splitlines():
            called = line.removeprefix("$ ").removeprefix("ExecStart=/usr/local/bin/")
            if called.startswith(("mantlet ", "sudo mantlet ")):
                for call in re.split(r"\|\||;|&&", called):
                    words = [word for word in shlex.split(call, comments=True) if word != "sudo"]
                    if words[0] == "mantlet":
                        build_parser().parse_args(words[1:])


(COMMANDS,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))


@pytest.mark.parametrize("command", [command for _, command in walk(COMMANDS)], ids=[name for name, _ in walk(COMMANDS)])
def test_examples_of_the_help_are_understood(command: argparse.ArgumentParser) -> None:
    for line in (command.epilog or "").splitlines()[1:]:
        words = [word for word in shlex.split(line, comments=True) if word != "sudo"]
        assert words[0] == "mantlet"
        build_parser().parse_args(words[1:])


@each_page
def test_rule_files_shown_are_right(path: Path) -> None:
    if path.name == "errors.md":
        pytest.skip("it shows what is wrong")
    for block in blocks(path.read_text(encoding="utf-8")):
        if not re.search(r"^tenant ", block, re.MULTILINE):
            continue
        _, diagnostics = check_policy(block, name=path.name)
        wrong = [diagnostic for diagnostic in diagnostics if diagnostic.is_error and diagnostic.code != "E0601"]  # files that are not there
        assert [diagnostic.message for diagnostic in wrong] == []


def test_the_first_screen_shows_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    from firewall.cli import main

    shown = next(block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if "verdict" in block)
    example = ROOT / "examples/dns-resolver.rules"
    assert main(["replay", str(example), str(example.with_suffix(".pcap")), "--engine", "reference"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in shown.splitlines() if line.strip() != "..." and line not in printed] == []


def test_the_page_on_the_plan_shows_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from firewall.cli import main

    shown = [*blocks((ROOT / "docs/concepts/plan.md").read_text(encoding="utf-8"))]
    path = tmp_path / "edge.rules"
    path.write_text(next(block for block in shown if block.startswith("tenant ")), encoding="utf-8")
    for command in ("explain", "check"):
        lines = next(block for block in shown if block.startswith(f"$ mantlet {command} edge.rules")).splitlines()[1:]
        main([command, str(path)])
        printed = iter(capsys.readouterr().out.splitlines())
        assert [line for line in lines if line not in printed] == [], "in this order"


@each_page
def test_make_targets_named_are_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= targets
