"""Imports point one way: rules_dsl <- bpf <- firewall <- api; and nothing is imported at start that a command does not need."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("rules_dsl", "bpf", "firewall", "api")
"""Each may import those before it."""
RUN_TIME = {
    "anyio",
    "lark",
    "maxminddb",
    "matplotlib",
    "numpy",
    "nftables",
    "fastapi",
    "uvicorn",
    "pydantic",
    "pydantic_core",
    "starlette",
    "etcd3gw",
    "requests",
}
"""What else the packages may import at run time, besides the standard library."""


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Line and first name of every absolute import of a module, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield node.lineno, name.name.split(".")[0]
            case ast.ImportFrom(module=str(module), level=0):
                yield node.lineno, module.split(".")[0]
            case ast.ImportFrom(level=level) if level > 0:
                yield node.lineno, "a relative import"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_before_it(room: str) -> None:
    later = set(ROOMS[ROOMS.index(room) + 1 :])
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}" for path in modules(room) for line, name in imported_rooms(path) if name in later
    ]
    assert not wrong


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_nothing_that_is_not_declared(room: str) -> None:
    known = set(sys.stdlib_module_names) | set(ROOMS) | RUN_TIME
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in modules(room)
        for line, name in imported_rooms(path)
        if name not in known
    ]
    assert not wrong


def test_only_the_replay_asks_the_reference() -> None:
    """What is compiled shares no code with the meaning that it is held against."""
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for room in ROOMS[1:]
        for path in modules(room)
        if ROOT / "firewall" / "replay" not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in ("rules_dsl.reference", "rules_dsl.packet")
    ]
    assert not wrong


def test_rooms_do_not_import_tests() -> None:
    assert not [path for room in ROOMS for path in modules(room) if any(name == "tests" for _, name in imported_rooms(path))]


def test_the_parser_is_built_without_the_libraries() -> None:
    """`mantlet --help` must not wait for Lark, libbpf or nftables."""
    script = (
        "import sys; from firewall.cli.parser import build_parser; build_parser();"
        "print([name for name in ('lark', 'rules_dsl', 'bpf', 'firewall.plan', 'nftables', 'ctypes') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_every_module_says_its_subject_first() -> None:
    silent = [str(path.relative_to(ROOT)) for room in ROOMS for path in modules(room) if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent
