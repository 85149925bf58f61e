"""Puts tests/ on the module path, so that every test can import `generators`, and the project's root, so that its packages stand
before the directories of tests/ that bear their names."""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).parent
sys.path[:0] = [str(_TESTS.parent), str(_TESTS)]
