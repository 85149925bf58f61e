"""Puts tests/ on the module path, so that every test can import `generators`, and the project's root, so that its packages stand
before the directories of tests/ that bear their names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
sys.path[:0] = [str(_TESTS.parent), str(_TESTS)]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write what comes out into tests/cases/*.md; review the diff")
