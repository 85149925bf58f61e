"""What this machine lacks for enforcement and replay, and how to get it: one probe a line, none of which changes anything."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class State(Enum):
    OK = "ok"
    MISSING = "missing"
    """Mantlet cannot enforce, or cannot replay through the kernel, without it."""
    OPTIONAL = "optional"
    """Not there, and only tests, benchmarks or speed miss it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    state: State
    detail: str
    """What was found."""
    mend: str = ""
    """The command that mends it, or a sentence where none does; empty where all is well."""


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info >= (3, 11):
        return Finding("Python", State.OK, version)
    return Finding("Python", State.MISSING, f"{version}, 3.11 or later is needed", "apt-get install python3")


def _capabilities() -> Finding:
    from bpf.libbpf import permitted

    if permitted():
        return Finding("capabilities", State.OK, "root" if os.geteuid() == 0 else "CAP_BPF and CAP_NET_ADMIN")
    return Finding("capabilities", State.MISSING, f"user {os.geteuid()} may not change rules or load programs", "run mantlet as root (sudo mantlet ...)")


def _libnftables() -> Finding:
    from firewall import nft

    missing = nft.available()
    if missing is None:
        return Finding("libnftables", State.OK, "loads, with its Python module")
    return Finding("libnftables", State.MISSING, missing, "apt-get install libnftables1 python3-nftables")


def _libbpf() -> Finding:
    from bpf.libbpf import BpfError, libbpf

    try:
        library = libbpf()
    except BpfError as error:
        return Finding("libbpf", State.MISSING, str(error), "apt-get install libbpf1")
    return Finding("libbpf", State.OK, f"{library.version} ({library.path})")


def _bpffs() -> Finding:
    from firewall import pins

    path = pins.bpffs()
    if pins.mounted():
        return Finding("bpffs", State.OK, f"mounted at {path}")
    return Finding("bpffs", State.MISSING, f"not mounted at {path}", f"mount -t bpf bpf {path}")


def _tun() -> Finding:
    if Path("/dev/net/tun").exists():
        return Finding("/dev/net/tun", State.OK, "there, for replays")
    return Finding("/dev/net/tun", State.MISSING, "not there, replays through the kernel need it", "modprobe tun")


def _jit() -> Finding:
    setting = Path("/proc/sys/net/core/bpf_jit_enable")
    try:
        enabled = setting.read_text().strip() != "0"
    except OSError:
        return Finding("eBPF JIT", State.OPTIONAL, "this kernel has none, payload rules run interpreted")
    if enabled:
        return Finding("eBPF JIT", State.OK, "on")
    return Finding("eBPF JIT", State.OPTIONAL, "off, payload rules run interpreted", "sysctl net.core.bpf_jit_enable=1")


def _program(name: str, package: str, purpose: str) -> Callable[[], Finding]:
    def probe() -> Finding:
        path = shutil.which(name)
        if path:
            return Finding(name, State.OK, path)
        return Finding(name, State.OPTIONAL, f"not found; {purpose}", f"apt-get install {package}")

    return probe


PROBES: tuple[Callable[[], Finding], ...] = (
    _python,
    _capabilities,
    _libnftables,
    _libbpf,
    _bpffs,
    _tun,
    _jit,
    _program("nft", "nftables", "Mantlet does not need it; it lists the rules that stand"),
    _program("bpftool", "bpftool", "Mantlet does not need it; it shows the programs that are pinned"),
    _program("tshark", "tshark", "only the tests compare with it"),
)


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which to mend."""
    yield Finding("kernel", State.OK, f"{platform.system()} {platform.release()} on {platform.machine()}")
    for probe in PROBES:
        yield probe()
