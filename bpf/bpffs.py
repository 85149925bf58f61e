"""The BPF file system, where programs and maps have names that outlive us: finding it, mounting it, directories and pins in it.

Format of the mount list: proc_pid_mountinfo(5). Names with a dot are the kernel's own there (`bpf_lookup` in kernel/bpf/inode.c).
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import Final

from bpf.libbpf import BpfError, refused

ENVIRONMENT: Final = "MANTLET_BPFFS"
"""Environment variable with the place of the BPF file system, where it is not the usual one."""
USUAL_PLACE: Final = Path("/sys/fs/bpf")

_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


def place() -> Path:
    """Where the BPF file system is looked for: $MANTLET_BPFFS, or /sys/fs/bpf."""
    return Path(os.environ.get(ENVIRONMENT) or USUAL_PLACE)


def file_system_type(path: Path) -> str:
    """The type of the file system that holds `path` in this process's mount namespace, such as `bpf` or `sysfs`."""
    real = Path(os.path.realpath(path))
    best, found = -1, ""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as rows:
        for row in rows:
            before, _, after = row.partition(" - ")
            mounted = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), before.split(" ")[4]))
            if real.is_relative_to(mounted) and len(mounted.parts) >= best:  # of two on one place the later one is seen
                best, found = len(mounted.parts), after.split(" ")[0]
    return found


def is_mounted(path: Path | None = None) -> bool:
    """Whether `path` (place() unless given) lies in a BPF file system."""
    return file_system_type(path or place()) == "bpf"


def require(path: Path | None = None) -> Path:
    """`path` (place() unless given), once it is known to lie in a BPF file system. Raises BpfError with the command that mounts one."""
    path = path or place()
    if not is_mounted(path):
        where = place() if path.is_relative_to(place()) else path
        raise BpfError(
            f"no BPF file system is mounted at {where}: `mount -t bpf bpf {where}` as root, or set {ENVIRONMENT} to where one is"
        )
    return path


def mount(path: Path | None = None) -> None:
    """Mount a BPF file system at `path` (place() unless given) unless there is one. Raises BpfError."""
    path = path or place()
    if is_mounted(path):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"bpf", ctypes.c_char_p(os.fsencode(path)), b"bpf", ctypes.c_ulong(0), None) != 0:
        raise refused(f"mount a BPF file system at {path}", ctypes.get_errno())


def make_directory(path: Path) -> Path:
    """`path` with all its parents within a BPF file system, for root's eyes only. Raises BpfError."""
    existing = path
    while not os.path.exists(existing):  # Path.exists would raise on the names with a dot
        existing = existing.parent
    require(existing)
    dotted = next((part for part in path.relative_to(existing).parts if "." in part), None)
    if dotted is not None:
        raise BpfError(f"cannot make {path}: the BPF file system keeps names with a dot such as {dotted!r} for itself")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise refused(f"make the directory {path}", error.errno or 0) from error
    return path


def pins(path: Path) -> tuple[Path, ...]:
    """Every pin below the directory `path`, sorted; none where the directory is not there. (`maps.debug` and such are the kernel's.)"""
    return tuple(sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names if "." not in name))
