"""The payload side: from a predicate to verified, pinned eBPF. It knows the language, not nftables."""

from bpf.image import ProgramImage
from bpf.libbpf import BpfError
from bpf.program import Program, VerifierError, load, open_pinned

__all__ = ["BpfError", "Program", "ProgramImage", "VerifierError", "load", "open_pinned"]
