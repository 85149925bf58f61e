"""What this machine lacks for enforcement, replay and the tests, and how to get it."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from firewall.features import Need, probe

JIT = Path("/proc/sys/net/core/bpf_jit_enable")


class State(Enum):
    OK = "ok"
    MISSING = "missing"
    """Rules cannot be enforced, or captures not replayed through the kernel, without it."""
    OPTIONAL = "optional"
    """Not there, and only speed, comfort or the project's tests miss it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    detail: str
    """What was found."""
    mend: str = ""
    """The command that mends it, or what to look for where none does; empty where all is well."""


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which to mend."""
    yield _python()
    for feature in probe():
        lacking = State.OPTIONAL if feature.need is Need.COMFORT else State.MISSING
        yield Finding(feature.name, State.OK if feature.present else lacking, feature.found, "" if feature.present else feature.remedy)
    yield _jit()
    yield _program("nft", "nftables", "only lists the rules that stand, for people")
    yield _program("bpftool", "bpftool", "only shows the programs that are pinned, for people")
    yield _program("tshark", "tshark", "only the project's tests compare with it")


def _python() -> Finding:
    return Finding("Python", State.OK, f"{platform.python_version()} ({sys.executable})")


def _jit() -> Finding:
    try:
        enabled = JIT.read_text().strip() != "0"
    except OSError:
        return Finding("eBPF JIT", State.OPTIONAL, "unknown; without it payload rules run interpreted", "a kernel with CONFIG_BPF_JIT")
    if enabled:
        return Finding("eBPF JIT", State.OK, "on")
    return Finding("eBPF JIT", State.OPTIONAL, "off: payload rules run interpreted", "sysctl net.core.bpf_jit_enable=1")


def _program(name: str, package: str, purpose: str) -> Finding:
    path = shutil.which(name)
    if path:
        return Finding(name, State.OK, path)
    return Finding(name, State.OPTIONAL, f"not found; it {purpose}", f"apt-get install {package}")
