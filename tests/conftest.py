"""Puts tests/ on the module path, so that every test can import `generators`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
