"""From an exception of the libraries to what the user reads and the exit code.

The libraries are not imported here: an exception of a module that was never loaded cannot have been raised.
"""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from firewall.cli.console import BadInput, Exit, Refused

if TYPE_CHECKING:
    from rules_dsl.diagnostics import Diagnostic


@dataclass(frozen=True, slots=True)
class Failure:
    exit: Exit
    message: str = ""
    help: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


KNOWN: tuple[tuple[str, str, Exit], ...] = (
    ("firewall.capture", "CaptureError", Exit.BAD_INPUT),
    ("bpf.refusal", "LoweringError", Exit.BAD_INPUT),
    ("firewall.kernel", "KernelError", Exit.REFUSED),
    ("firewall.enforce", "UnknownTenantError", Exit.BAD_INPUT),
    ("firewall.enforce", "NoRevisionError", Exit.BAD_INPUT),
    ("firewall.state", "StateError", Exit.REFUSED),
    ("firewall.nft", "NftMissingError", Exit.REFUSED),
    ("firewall.nft", "NftError", Exit.REFUSED),
    ("firewall.netlink", "NetlinkError", Exit.REFUSED),
    ("firewall.namespace", "NamespaceError", Exit.REFUSED),
    ("firewall.replay.kernel_engine", "EngineUnavailableError", Exit.REFUSED),
    ("firewall.bench.packet_cost", "BenchError", Exit.REFUSED),
    ("bpf.libbpf", "BpfError", Exit.REFUSED),
    ("bpf.program", "VerifierError", Exit.REFUSED),
)
"""Module, exception, exit code."""

OWN = frozenset({"rules_dsl", "bpf", "firewall", "api"})

_UNWRITABLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What the system says of a full disk, a spent quota, a file size limit and a broken device, without the name of a file."""


def failure_of(error: Exception) -> Failure | None:
    """What `error` tells the user; None where it is a bug of ours."""
    match error:
        case BadInput():
            return Failure(Exit.BAD_INPUT, str(error), error.help)
        case Refused():
            return Failure(Exit.REFUSED, str(error), error.help)
    language = sys.modules.get("rules_dsl.diagnostics")
    if language is not None and isinstance(error, language.DiagnosticError):
        return Failure(Exit.BAD_INPUT, diagnostics=error.diagnostics)
    for module_name, class_name, code in KNOWN:
        known = getattr(sys.modules.get(module_name), class_name, None)
        if known is not None and isinstance(error, known):
            return Failure(code, str(error))
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in OWN:
        return Failure(Exit.REFUSED, f"the Python package {error.name} is not installed", ("pip install 'mantlet[api]'",))
    if isinstance(error, OSError) and error.filename is not None:
        # Of our own files (a state folder, an output file); what the user named to be read is opened by the commands.
        return Failure(Exit.BAD_INPUT, f"{error.filename}: {error.strerror}")
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return Failure(Exit.REFUSED, f"the output cannot be written: {(error.strerror or '').lower()}")
    if isinstance(error, PermissionError):
        return Failure(Exit.REFUSED, f"{error.strerror}", ("run it as root",))
    return None
