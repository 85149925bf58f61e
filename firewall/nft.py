"""nft's text, through libnftables: python-nftables of the distribution or of the environment, one transaction a call.

A libnftables context opens its netlink socket when it is made, in the network namespace of the calling thread; so each call
makes its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

DISTRIBUTION = Path("/usr/lib/python3/dist-packages/nftables/__init__.py")
"""Where Debian's python3-nftables stands; other Pythons do not look there."""

_FILE = re.compile(r"/proc/self/fd/\d+:")
_POSITION = re.compile(r":(\d+):\d+(?:-\d+)?: Error: (.*)")


class NftMissingError(Exception):
    """libnftables or its Python module is not on this machine; the message says how to get it."""


class NftError(Exception):
    """nft refused a text. `words` is all that it said; `line` the failing line's number (from 1) and `command` that line, or
    None where nft gave no place."""

    def __init__(self, words: str, text: str) -> None:
        self.words = _FILE.sub("line ", words.strip())
        found = _POSITION.search(words)
        lines = text.splitlines()
        self.line = int(found[1]) if found else None
        self.command = lines[self.line - 1].strip() if self.line is not None and self.line <= len(lines) else None
        reason = found[2] if found else self.words or "no reason given"
        super().__init__(f"nft: {reason}" + (f" in `{self.command}`" if self.command else ""))


@cache
def _module() -> ModuleType:
    try:
        import nftables  # type: ignore[import-not-found,import-untyped,unused-ignore] # noqa: PLC0415 (only where it is needed)

        if hasattr(nftables, "Nftables"):
            return nftables  # type: ignore[no-any-return,unused-ignore]
    except ImportError:
        pass
    if not DISTRIBUTION.exists():
        raise NftMissingError("python-nftables is missing: install the package python3-nftables (or `pip install oxl-libnftables`)")
    specification = importlib.util.spec_from_file_location("nftables", DISTRIBUTION, submodule_search_locations=[str(DISTRIBUTION.parent)])
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["nftables"] = module  # its own `from .nftables import` needs it there
    specification.loader.exec_module(module)
    return module


def _context() -> Any:
    try:
        return _module().Nftables()
    except OSError as error:
        raise NftMissingError(f"libnftables.so.1 is missing: install the package libnftables1 ({error})") from error


def available() -> str | None:
    """None where nft's text can be run, or what is missing."""
    try:
        _context()
    except NftMissingError as missing:
        return str(missing)
    return None


def run(text: str) -> None:
    """Runs nft commands as one transaction. Raises NftError (nothing of the text stands then) or NftMissingError."""
    _command(_context(), text)


def check(text: str) -> None:
    """Has nft and the kernel check the text without changing anything. Raises NftError or NftMissingError."""
    context = _context()
    context.set_dry_run(True)
    _command(context, text)


def listing(text: str) -> str:
    """What a `list` command prints."""
    return _command(_context(), text)


def listing_json(text: str) -> dict[str, Any]:
    """What a `list` command prints with `nft --json`."""
    context = _context()
    context.set_json_output(True)
    return dict(json.loads(_command(context, text) or "{}"))


def _command(context: Any, text: str) -> str:
    """Hands the text over as a file in memory: of a text in a buffer nft tells no line numbers."""
    file = os.memfd_create("nft")
    try:
        with open(file, "w", encoding="utf-8", closefd=False) as writer:
            writer.write(text)
        code, output, words = context.cmd_from_file(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
    if code:
        raise NftError(words, text)
    return str(output)
