"""The capabilities of this process of which bpf(2) and nf_tables ask (capabilities(7))."""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path


class Capability(IntEnum):
    """Numbers of linux/capability.h."""

    NET_ADMIN = 12
    SYS_ADMIN = 21
    BPF = 39


def effective() -> frozenset[Capability]:
    """Those that the process has. CAP_SYS_ADMIN contains CAP_BPF (and Linux before 5.8 knows only that)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    bits = int(status["CapEff"], 16)
    held = frozenset(each for each in Capability if bits >> each & 1)
    return held | {Capability.BPF} if Capability.SYS_ADMIN in held else held
