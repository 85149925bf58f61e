"""The public captures of the corpus, joined into one file, so that each judge reads them once per expression."""

from __future__ import annotations

import contextlib
from pathlib import Path

from firewall import capture
from firewall.capture_write import PcapngFile

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


def captures() -> list[Path]:
    """Every capture of the corpus, in a stable order; empty where the corpus is missing."""
    return sorted(path for folder in ("tcpdump", "nDPI") for path in (CORPUS / folder).glob("*") if path.is_file())


def join(target: Path) -> tuple[int, int]:
    """Write every readable frame of the corpus to `target` (pcapng), interface names dropped. Returns captures and frames."""
    frames = files = 0
    with PcapngFile(target) as writer:
        for path in captures():
            before = frames
            with contextlib.suppress(capture.CaptureError):  # damaged on purpose; what stands before the damage was delivered
                for frame in capture.read(path):
                    writer.write(frame._replace(interface=capture.DEFAULT_INTERFACE))
                    frames += 1
            files += frames > before
    return files, frames
