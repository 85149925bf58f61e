"""The state directory: every revision of every tenant's rules, with what they were made of.

Which revision is enforced is not written here: the kernel knows. A revision is written before it is enforced, and marked once it
was; one that is neither marked nor enforced is what a killed `apply` left, and `settle` removes it.

    lock
    TENANT/rN/manifest.json  policy.rules  files/0 files/1 ...  [geo geo.1 ...]  [enforced]"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from firewall.sources import Sources

VARIABLE = "MANTLET_STATE_DIR"
USUAL_PLACE = Path("/var/lib/mantlet")
FORMAT = 1
"""Of the manifest; a later one may be newer than this program can read."""
LOCK_TIMEOUT = 60.0
"""Seconds to wait for another mantlet's change."""

_REVISION = re.compile(r"r(\d+)")
_MARK = "enforced"


class StateError(Exception):
    """The state directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RuleRecord:
    name: str
    action: str
    mode: str
    expression: str
    counter: str
    """The counter's name in the kernel."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision of a tenant's rules."""

    tenant: str
    number: int
    previous: int | None
    """The revision that was enforced before this one was applied."""
    when: str
    """Time of `apply`, ISO 8601, UTC."""
    who: str
    source: str
    """The rule file's name, as the user gave it."""
    hook: str
    default: str
    node: str
    region: str
    rules: tuple[RuleRecord, ...]


def state_directory() -> Path:
    """$MANTLET_STATE_DIR, or /var/lib/mantlet."""
    return Path(os.environ.get(VARIABLE) or USUAL_PLACE)


class State:
    """The revisions on disk. Readers need no lock: a revision appears and goes whole."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or state_directory()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held by whoever changes rules on this machine. Raises StateError where another holds it for too long."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"the state directory {self.directory}: {error.strerror} (set {VARIABLE} to another)") from error
        try:
            end = time.monotonic() + LOCK_TIMEOUT
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise StateError(f"another mantlet has been changing rules for {LOCK_TIMEOUT:.0f} seconds") from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(file)

    # --- reading

    def tenants(self) -> tuple[str, ...]:
        return tuple(sorted(entry.name for entry in _entries(self.directory) if entry.is_dir()))

    def revisions(self, tenant: str) -> tuple[Revision, ...]:
        """The tenant's revisions, the oldest first. Raises StateError for a damaged manifest."""
        return tuple(self.revision(tenant, number) for number in self.numbers(tenant))

    def numbers(self, tenant: str) -> tuple[int, ...]:
        """The numbers of the tenant's revisions, damaged ones too, the oldest first."""
        return tuple(sorted(int(found[1]) for entry in _entries(self.directory / tenant) if (found := _REVISION.fullmatch(entry.name))))

    def revision(self, tenant: str, number: int) -> Revision:
        """Raises KeyError where there is none, StateError where it is damaged."""
        path = self._folder(tenant, number) / "manifest.json"
        return _read_manifest(path)[0]

    def sources(self, tenant: str, number: int) -> tuple[Sources, Mapping[str, Path]]:
        """What a revision was made of, and where the files that its text names are stored (by the path as written)."""
        folder = self._folder(tenant, number)
        revision, written = _read_manifest(folder / "manifest.json")
        stored = {path: folder / "files" / str(at) for at, path in enumerate(written)}
        try:
            geo = tuple(place.read_bytes() for place in takewhile(Path.exists, map(folder.joinpath, _geo_names())))
            files = {path: place.read_bytes() for path, place in stored.items()}
            text = (folder / "policy.rules").read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise StateError(f"revision {number} of {tenant} is damaged: {error}") from error
        return Sources(revision.source, text, files, geo), stored

    def _folder(self, tenant: str, number: int) -> Path:
        return self.directory / tenant / f"r{number}"

    # --- changing, under the lock

    def write(self, revision: Revision, sources: Sources) -> None:
        """Stores a revision: on disk, whole, when this returns. Raises StateError (a full disk), and then nothing of it stands."""
        folder = self._folder(revision.tenant, revision.number)
        making = folder.with_name(folder.name + ".new")
        try:
            self._write(making, folder, revision, sources)
        except OSError as error:
            shutil.rmtree(making, ignore_errors=True)
            raise StateError(f"revision {revision.number} of {revision.tenant} cannot be stored in {folder}: {error.strerror}") from error

    def _write(self, making: Path, folder: Path, revision: Revision, sources: Sources) -> None:
        shutil.rmtree(making, ignore_errors=True)
        (making / "files").mkdir(mode=0o700, parents=True)
        manifest = {"format": FORMAT, **_said(revision), "rules": [_said(rule) for rule in revision.rules], "files": list(sources.files)}
        # Without indentation: only so json does it in C, and there may be 100,000 rules.
        _write(making / "manifest.json", json.dumps(manifest, ensure_ascii=False).encode() + b"\n")
        _write(making / "policy.rules", sources.text.encode())
        for at, content in enumerate(sources.files.values()):
            _write(making / "files" / str(at), content)
        for name, content in zip(_geo_names(), sources.geo, strict=False):
            _write(making / name, content)
        _sync(making / "files")
        _sync(making)
        making.rename(folder)
        _sync(folder.parent)
        _sync(self.directory)

    def mark_enforced(self, tenant: str, number: int) -> None:
        """Notes that the kernel has enforced this revision."""
        folder = self._folder(tenant, number)
        if folder.exists() and not (folder / _MARK).exists():
            _write(folder / _MARK, b"")
            _sync(folder)

    def forget(self, tenant: str, number: int) -> None:
        """Removes a revision."""
        folder = self._folder(tenant, number)
        going = folder.with_name(folder.name + ".gone")
        if folder.exists():
            shutil.rmtree(going, ignore_errors=True)
            folder.rename(going)  # whole or not at all, for those who read
        shutil.rmtree(going, ignore_errors=True)
        if not any(_entries(folder.parent)):
            shutil.rmtree(folder.parent, ignore_errors=True)

    def settle(self, enforced: Mapping[str, int]) -> tuple[str, ...]:
        """Removes what killed changes left, given the enforced revision of each tenant. Returns the names of what went."""
        gone = []
        for tenant in self.tenants():
            for entry in sorted(_entries(self.directory / tenant)):
                found = _REVISION.fullmatch(entry.name)
                if found is None:
                    shutil.rmtree(entry, ignore_errors=True)
                    gone.append(str(entry))
                elif enforced.get(tenant) == int(found[1]):
                    self.mark_enforced(tenant, int(found[1]))
                elif not (entry / _MARK).exists():
                    self.forget(tenant, int(found[1]))
                    gone.append(str(entry))
            if not any(_entries(self.directory / tenant)):
                shutil.rmtree(self.directory / tenant, ignore_errors=True)
        return tuple(gone)


def _geo_names() -> Iterator[str]:
    """Of the files of countries and AS numbers given beside a rule file, without end."""
    return (f"geo.{at}" if at else "geo" for at in count())


def _entries(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise StateError(f"the state directory: {error.filename}: {error.strerror}") from error


def _said(of: Revision | RuleRecord) -> dict[str, Any]:
    """Its fields, as they are (asdict copies what is in them)."""
    return {name: getattr(of, name) for name in of.__slots__}


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _read_manifest(path: Path) -> tuple[Revision, tuple[str, ...]]:
    """The revision, and the paths of its files as the rule file writes them."""
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        if manifest.pop("format") != FORMAT:
            raise StateError(f"{path} is of a newer mantlet than this one")
        written = tuple(manifest.pop("files"))
        rules = tuple(RuleRecord(**rule) for rule in manifest.pop("rules"))
        return Revision(**manifest, rules=rules), written
    except FileNotFoundError as error:
        if path.parent.exists():
            raise StateError(f"{path} is missing") from error
        raise KeyError(path.parent.name) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StateError(f"{path} is damaged: {error}") from error
