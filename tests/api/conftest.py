"""Lets the tests of the API meet real packets in the labs of tests/firewall."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "firewall"))
