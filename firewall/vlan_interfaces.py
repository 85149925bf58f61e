"""The VLAN interfaces of the calling thread's network namespace, each with its outermost VLAN id.

Source: /proc/net/vlan/config (net/8021q/vlanproc.c), which is there only while the module 8021q is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CONFIG = Path("/proc/thread-self/net/vlan/config")


def vlan_interfaces() -> Mapping[str, int]:
    """Interface name -> the VLAN id of the outermost tag of the packets that come by it."""
    try:
        text = CONFIG.read_text()
    except OSError:
        return {}
    return outermost(text)


def outermost(config: str) -> dict[str, int]:
    """From the text of the file: lines `NAME | ID | PARENT` after two of heading. Of stacked interfaces (802.1ad) the lowest one,
    on the physical interface, takes the outermost tag off."""
    own: dict[str, tuple[int, str]] = {}
    for line in config.splitlines()[2:]:
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 3 and cells[1].isdecimal():
            own[cells[0]] = (int(cells[1]), cells[2])
    found = {}
    for name in own:
        below = name
        while own[below][1] in own:
            below = own[below][1]
        found[name] = own[below][0]
    return found
