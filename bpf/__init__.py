"""The payload side: from predicates to verified, pinned eBPF programs.

A predicate by itself becomes a program (bpf.lower); those of all payload rules of a tenant become one (bpf.evaluate)."""

from __future__ import annotations

from bpf.image import ProgramImage
from bpf.libbpf import BpfError
from bpf.lower import compile_program
from bpf.lower_bytes import too_large
from bpf.program import Program, VerifierError, load, open_pinned
from bpf.refusal import LoweringError, refusal

__all__ = [
    "BpfError",
    "LoweringError",
    "Program",
    "ProgramImage",
    "VerifierError",
    "compile_program",
    "load",
    "open_pinned",
    "refusal",
    "too_large",
]
