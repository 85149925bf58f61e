"""What a process takes: its time from start to end, and its memory; and how much memory the kernel holds."""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WORDS: Final = 200
"""Letters of a failed process's words that are told."""
LOOK: Final = 0.002
"""Seconds between looks at a process's memory."""
_PEAK: Final = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_FILE: Final = re.compile(r"/tmp/\S*/")


class ProcessError(Exception):
    """It failed or took too long; the message is its last line."""


@dataclass(frozen=True, slots=True)
class Usage:
    seconds: float
    """Wall clock, from start to end."""
    memory: int
    """Bytes: the most that stood in memory at once, as seen every LOOK seconds."""


def run(command: Sequence[str], *, timeout: float, environment: Mapping[str, str] | None = None) -> Usage:
    """Runs a command to its end, in the network namespace of the calling thread. Raises ProcessError."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env={**os.environ, **(environment or {})}
            )
        except OSError as error:
            raise ProcessError(f"{command[0]}: {error.strerror}") from error
        memory, is_late = 0, False
        ended = os.pidfd_open(process.pid)
        try:
            while not select.select([ended], [], [], LOOK if memory else 0)[0]:
                memory = max(memory, _memory(process.pid))
                if time.perf_counter() - started > timeout and not is_late:
                    is_late = True
                    process.kill()
            seconds = time.perf_counter() - started
        finally:
            os.close(ended)
            process.wait()
        if is_late:
            raise ProcessError(f"not done after {timeout:.0f} s")
        if process.returncode:
            said.seek(0)
            lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if set(line.strip()) - set("^~")]
            told = next((line for line in lines if "rror" in line), lines[-1] if lines else f"exit code {process.returncode}")
            raise ProcessError(_FILE.sub("", told)[:WORDS])
    return Usage(seconds, memory)


def _memory(process: int) -> int:
    """Its peak so far (`VmHWM`, proc(5)); 0 when it has gone. (The peak that wait4 tells of a process is at least its parent's.)"""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = _PEAK.search(status)
    return int(found[1]) * 1024 if found else 0


_COUNTED: Final = ("Slab", "VmallocUsed", "Percpu")


def kernel_memory() -> int:
    """Bytes that the kernel holds for itself, of the whole machine: slabs, vmalloc and per-CPU memory (proc(5), /proc/meminfo)."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return sum(int(fields[name].split()[0]) * 1024 for name in _COUNTED if name in fields)
