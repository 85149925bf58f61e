"""Rule files and the files beside them, as the commands take them: read, or refused in one line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.console import BadInput

if TYPE_CHECKING:
    from rules_dsl import Geo
    from rules_dsl.policy import Policy


def require_file(path: Path) -> None:
    """Raises BadInput where `path` is no file that can be opened."""
    try:
        with path.open("rb"):
            return
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None


def require_capture(path: Path) -> Path:
    """The path to read a capture from: `-` is standard input. Raises BadInput where it cannot be opened."""
    if str(path) == "-":
        return Path("/dev/stdin")
    if not path.is_fifo():  # who writes into a pipe would be gone after it had been opened and closed
        require_file(path)
    return path


def require_other_file(output: Path, *inputs: Path) -> None:
    """Raises BadInput where `output` is one of the files that are read: it would be lost before."""
    for path in inputs:
        if output.is_file() and path.is_file() and output.samefile(path):
            raise BadInput(f"{output} is what is read: say another file with -o")


def read_text(path: Path) -> str:
    """The text of a file, its line ends as they are. Raises BadInput for what is no UTF-8."""
    require_file(path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: byte {error.start} is not UTF-8") from None


def load(options: argparse.Namespace, path: Path | None = None) -> Policy:
    """The policy of `path`, or of the command's FILE. Raises BadInput or DiagnosticError."""
    from rules_dsl import load_policy

    path = path or options.file
    require_file(path)
    return load_policy(path, geo=geo_table(options.geo))


def geo_table(paths: Sequence[Path]) -> Geo | None:
    """The table of the files of `--geo`, or None without one."""
    if not paths:
        return None
    from rules_dsl import Geo

    for path in paths:
        require_file(path)
    return Geo.load(*paths)
