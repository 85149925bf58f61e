"""Puts tests/ on the module path, so that every test can import `generators`, and the project's root, so that its packages stand
before the directories of tests/ that bear their names. Tests marked `kernel` fail where they cannot run, and say why."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
sys.path[:0] = [str(_TESTS.parent), str(_TESTS)]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write what comes out into tests/cases/*.md; review the diff")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("kernel") is None:
        return
    from bpf import bpffs

    if os.geteuid() != 0:
        pytest.fail("kernel tests need root", pytrace=False)
    if not bpffs.is_mounted():
        pytest.fail(f"kernel tests need bpffs: mount -t bpf bpf {bpffs.place()}", pytrace=False)
