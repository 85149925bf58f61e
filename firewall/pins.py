"""Where the programs of a network namespace are pinned: BPFFS/mantlet/NAMESPACE INODE/TENANT/rREVISION/PROGRAM.
Beside them stands what programs have counted (`counts`).

Each network namespace has a folder of its own, so that rules under test and the host's do not meet."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpf import bpffs
from rules_dsl.policy import TENANT_NAME

_REVISION = re.compile(r"r(\d+)")


def namespace_inode() -> int:
    """The inode of the calling thread's network namespace."""
    return os.stat("/proc/thread-self/ns/net").st_ino


@dataclass(frozen=True, slots=True)
class Pins:
    """The pins of one network namespace."""

    root: Path

    @classmethod
    def here(cls) -> Pins:
        """Those of the calling thread's network namespace."""
        return cls.of(namespace_inode())

    @classmethod
    def of(cls, inode: int) -> Pins:
        return cls(bpffs.place() / "mantlet" / str(inode))

    def folder(self, tenant: str, revision: int) -> Path:
        return self.root / tenant / f"r{revision}"

    def tenants(self) -> tuple[str, ...]:
        """Those of which something is pinned."""
        return tuple(folder.name for folder in _folders(self.root) if TENANT_NAME.fullmatch(folder.name))

    def generations(self) -> Iterator[tuple[str, int]]:
        """(tenant, revision) of every folder that stands."""
        for tenant in self.tenants():
            yield from ((tenant, revision) for revision in self.revisions(tenant))

    def revisions(self, tenant: str) -> Iterator[int]:
        """Of the tenant's folders that stand."""
        for folder in _folders(self.root / tenant):
            if found := _REVISION.fullmatch(folder.name):
                yield int(found[1])

    def remove(self, tenant: str, revision: int) -> None:
        """Removes a generation's pins (rules that stand keep their programs), and the folders left empty."""
        shutil.rmtree(self.folder(tenant, revision), ignore_errors=True)
        self.remove_empty(tenant)

    def remove_empty(self, tenant: str) -> None:
        """Removes the tenant's folder, and those above, as far as nothing is in them."""
        _remove_empty(self.root / tenant, self.root, self.root.parent)

    def clear(self) -> None:
        """Removes all pins of the namespace."""
        shutil.rmtree(self.root, ignore_errors=True)
        _remove_empty(self.root.parent)


def clear_dead() -> tuple[str, ...]:
    """Removes the pins of network namespaces that are no more, which a killed replay leaves; returns their folders. A namespace
    that is kept in a way not seen here (in another PID namespace, say) loses its pins, and its rules go on without."""
    folders = [folder for folder in _folders(bpffs.place() / "mantlet") if folder.name.isdecimal()]
    if not folders:
        return ()
    living = _living_namespaces()
    gone = [folder for folder in folders if int(folder.name) not in living]
    for folder in gone:
        Pins(folder).clear()
    return tuple(map(str, gone))


_NAMESPACE = re.compile(r"net:\[(\d+)\]")


def _living_namespaces() -> set[int]:
    """Inodes of the network namespaces that a thread is in, that a process has open, or that are mounted somewhere."""
    found = {int(inode) for inode in _NAMESPACE.findall(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))}
    for pattern in ("[0-9]*/task/*/ns/net", "[0-9]*/fd/*"):
        for link in Path("/proc").glob(pattern):
            try:
                target = _NAMESPACE.fullmatch(os.readlink(link))
            except OSError:  # it has ended meanwhile
                continue
            if target:
                found.add(int(target[1]))
    return found


def _folders(path: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(entry for entry in path.iterdir() if entry.is_dir()))
    except FileNotFoundError:
        return ()


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not empty, or gone
            return
