"""Programs in the kernel: loading, pinning, running."""

from __future__ import annotations

from bpf.image import ProgramImage

__all__ = ["ProgramImage"]
