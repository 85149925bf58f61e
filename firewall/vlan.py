"""The VLAN interfaces of this host: which name carries which outermost VLAN id."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CONFIG = Path("/proc/thread-self/net/vlan/config")
"""Of the calling thread's network namespace (net/8021q/vlanproc.c); not there before the first VLAN interface is made."""


def vlan_interfaces() -> Mapping[str, int]:
    """Name -> outermost VLAN id, of the calling thread's network namespace."""
    try:
        return outermost_ids(CONFIG.read_text())
    except FileNotFoundError:
        return {}


def outermost_ids(config: str) -> Mapping[str, int]:
    """The same from the text of such a file, with rows `name | id | parent`. A VLAN on a VLAN (QinQ) has its parent's."""
    rows = [[part.strip() for part in line.split("|")] for line in config.splitlines()]
    known = {row[0]: (int(row[1]), row[2]) for row in rows if len(row) == 3}

    def outermost(name: str) -> int:
        vlan, parent = known[name]
        return outermost(parent) if parent in known else vlan

    return {name: outermost(name) for name in known}
