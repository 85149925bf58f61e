"""Lets the tests of the API meet real packets in the labs of tests/firewall, and the servers of etcd in tests/api/store."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "firewall"))
sys.path.append(str(Path(__file__).parent / "store"))
