"""The BPF file system: is it there, what to do when not, directories and pins."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf import bpffs
from bpf.libbpf import BpfError

pytestmark = pytest.mark.kernel


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Path]:
    """A BPF file system of this test's own, in a place with a blank in its name."""
    place = tmp_path / "a place"
    place.mkdir()
    bpffs.mount(place)
    yield place
    assert ctypes.CDLL(None).umount2(os.fsencode(place), 2) == 0  # MNT_DETACH


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bpffs.ENVIRONMENT, raising=False)
    assert bpffs.place() == Path("/sys/fs/bpf")
    monkeypatch.setenv(bpffs.ENVIRONMENT, "/run/bpf")
    assert bpffs.place() == Path("/run/bpf")


def test_what_is_no_bpf_file_system_is_told_with_the_command(tmp_path: Path) -> None:
    assert not bpffs.is_mounted(tmp_path)
    with pytest.raises(BpfError, match=f"`mount -t bpf bpf {tmp_path}` as root"):
        bpffs.require(tmp_path)


def test_a_directory_below_the_usual_place_is_told_to_mount_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(bpffs.ENVIRONMENT, str(tmp_path))
    with pytest.raises(BpfError, match=f"`mount -t bpf bpf {tmp_path}` as root"):
        bpffs.make_directory(tmp_path / "mantlet" / "acme")


def test_a_mounted_one_is_found_and_mounting_again_does_nothing(file_system: Path) -> None:
    assert bpffs.require(file_system) == file_system
    (file_system / "inner").mkdir()
    assert bpffs.is_mounted(file_system / "inner" / "not yet")
    bpffs.mount(file_system)
    assert (file_system / "inner").is_dir()


def test_mounting_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="No such file"):
        bpffs.mount(tmp_path / "none")


def test_directories_are_made_with_their_parents_for_root_only(file_system: Path) -> None:
    made = bpffs.make_directory(file_system / "mantlet" / "acme")
    assert made.is_dir()
    assert made.stat().st_mode & 0o777 == 0o700
    assert bpffs.make_directory(made) == made


def test_a_directory_with_a_dot_is_refused(file_system: Path) -> None:
    with pytest.raises(BpfError, match=r"names with a dot such as 'acme\.r1'"):
        bpffs.make_directory(file_system / "acme.r1")


def test_no_directory_has_no_pins(tmp_path: Path) -> None:
    assert bpffs.pins(tmp_path / "none") == ()
