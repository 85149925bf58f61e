"""Programs in the kernel: loading an image, pinning, running on a packet; and what the verifier says against one."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bpf.btf import FUNC_INFO_SIZE, LINE_INFO_SIZE, debug_info
from bpf.descriptor import Descriptor
from bpf.image import ProgramImage, SourceLine, kernel_name
from bpf.libbpf import BpfError, Libbpf, ProgramInfo, TestRun, libbpf, refused
from bpf.maps import Map, create_map

__all__ = ["BpfError", "Program", "ProgramImage", "VerifierError", "load", "open_pinned"]

_LOG_SIZE: Final = (1 << 24) - 1
"""Bytes of verifier log asked for (libbpf's BPF_LOG_BUF_SIZE). Where that is too little, Linux 6.4 and later keep the log's end."""
_VERIFIER_ERRNOS: Final = (errno.EINVAL, errno.EACCES, errno.E2BIG, errno.EFAULT, errno.EPERM, errno.ENOSPC, 524)
"""What a refusal by the verifier comes as; 524 is the kernel's own ENOTSUPP."""

_MULTI_BUFFER: Final = 1 << 5
"""BPF_F_XDP_HAS_FRAGS."""

_IPV4, _IPV6, _EXPERIMENTAL = b"\x08\x00", b"\x86\xdd", b"\x88\xb5"
"""Ethernet types (IEEE 802); the last is local experimental 1."""


class VerifierError(Exception):
    """The verifier refused a program of ours: a bug of ours, told so that it can be found.

    `line` is the source line of the instruction refused (None where the verifier names none), `slot` that instruction, `excerpt` the
    few lines of the log that matter, `log` the whole of it."""

    def __init__(self, image: ProgramImage, log: str, number: int) -> None:
        self.image = image
        self.log = log
        self.errno = number
        self.slot = refused_slot(log)
        self.line: SourceLine | None = image.line_at(self.slot) if self.slot is not None else None
        self.excerpt = excerpt(log)
        where = f", at `{self.line.text}` (line {self.line.number}, instruction {self.slot})" if self.line else ""
        told = "\n".join(f"    {row}" for row in self.excerpt) or f"    (no log: {os.strerror(number)})"
        super().__init__(f"the verifier refuses the program {image.name!r}{where}:\n{told}")

    @property
    def rule(self) -> str | None:
        """The text of the rule's line whose code was refused."""
        return self.line.text if self.line else None


_INSTRUCTION: Final = re.compile(r"(\d+): \([0-9a-f]{2}\) ")
_NAMED: Final = re.compile(r"\binsn (\d+)\b")


def refused_slot(log: str) -> int | None:
    """The instruction that the verifier stopped at: the last one it shows, or the one that its message names."""
    shown = [row for row in log.splitlines() if _INSTRUCTION.match(row)]
    if shown:
        return int(shown[-1].split(":")[0])
    named = _NAMED.search(log)
    return int(named[1]) if named else None


def excerpt(log: str) -> tuple[str, ...]:
    """The verifier's last words: the last two instructions that it looked at with what it knew, and its message."""
    rows = [row for row in log.splitlines() if row and not row.startswith(("processed ", "verification time", "stack depth "))]
    shown = [index for index, row in enumerate(rows) if _INSTRUCTION.match(row)]
    start = shown[-2] if len(shown) > 1 else shown[0] if shown else max(0, len(rows) - 3)
    return tuple(rows[start:])


class Program(Descriptor):
    """A loaded program. `close` gives up our descriptors; pins, rules and attachments keep the program alive."""

    def __init__(self, fd: int, maps: Mapping[str, Map], library: Libbpf) -> None:
        self.fd = fd
        self.maps = MappingProxyType(dict(maps))
        """By the name in the image; empty for a program opened from a pin."""
        self._library = library

    @property
    def info(self) -> ProgramInfo:
        """What the kernel says about it."""
        return self._library.prog_info(self.fd)

    @property
    def id(self) -> int:
        """The kernel's number of it, as `bpftool prog show id` takes."""
        return self.info.id

    def pin(self, path: Path) -> None:
        """Give it the name `path` in a BPF file system, where it stays. Raises BpfError: EEXIST, EPERM outside such a file system."""
        if "." in path.name:
            raise BpfError(f"cannot pin {path}: the BPF file system keeps names with a dot for itself", errno.EPERM)
        try:
            self._library.obj_pin(self.fd, path)
        except BpfError as error:
            match error.errno:
                case errno.EEXIST:
                    raise BpfError(f"cannot pin {path}: there is a pin of that name", error.errno) from error
                case errno.ENOENT:
                    raise BpfError(f"cannot pin {path}: the directory {path.parent} is not there", error.errno) from error
                case errno.EPERM | errno.EINVAL if path.parent.is_dir():
                    raise BpfError(f"{error}; is {path.parent} in a BPF file system (`stat -f {path.parent}`)?", error.errno) from error
                case _:
                    raise

    def run(self, packet: bytes) -> int:
        """The program's return value for `packet`, which starts with its IP header (BPF_PROG_TEST_RUN).

        Raises BpfError for packets longer than the kernel tries (about 3.5 kB: one page less its own overhead)."""
        return self.measure(packet, 1).returned

    def measure(self, packet: bytes, repeat: int) -> TestRun:
        """As `run`, `repeat` times, with the average duration."""
        try:
            return self._library.test_run(self.fd, ethernet(packet), repeat=repeat)
        except BpfError as error:
            if error.errno == errno.EINVAL:
                raise BpfError(f"the kernel does not try programs on a packet of {len(packet)} bytes", error.errno) from error
            raise

    def close_maps(self) -> None:
        """Gives up the maps' descriptors alone."""
        for used in self.maps.values():
            used.close()

    def close(self) -> None:
        self.close_maps()
        super().close()


def ethernet(packet: bytes) -> bytes:
    """`packet` behind the 14-byte Ethernet header that a test run wants and strips. One that is too short for the IP header that its
    version promises goes under an experimental type, as the kernel refuses it under its own."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        return bytes(12) + _IPV4 + packet
    if version == 6 and len(packet) >= 40:
        return bytes(12) + _IPV6 + packet
    return bytes(12) + _EXPERIMENTAL + packet


@contextmanager
def shared_maps(images: Iterable[ProgramImage]) -> Iterator[Mapping[str, Map]]:
    """The maps that the images share, by name, for `load`; programs that are loaded by then keep them. Raises BpfError."""
    with ExitStack() as stack:
        specs = {spec.name: spec for image in images for spec in image.maps if spec.shared}
        yield {name: stack.enter_context(create_map(spec)) for name, spec in specs.items()}


def load(image: ProgramImage, shared: Mapping[str, Map] | None = None) -> Program:
    """Make the image's maps and load it with names and source lines. Maps that are `shared` by name are taken from there, and
    stay the caller's to close.

    Raises VerifierError where the program is refused, BpfError where the machine cannot."""
    library = libbpf()
    maps: dict[str, Map] = {}
    try:
        for spec in image.maps:
            if spec.shared and shared is not None:
                maps[spec.name] = shared[spec.name].again()
            else:
                maps[spec.name] = create_map(spec)
        return Program(_load(library, image, [used.fd for used in maps.values()]), maps, library)
    except BaseException:
        for used in maps.values():
            used.close()
        raise


def _load(library: Libbpf, image: ProgramImage, maps: list[int]) -> int:
    """The descriptor. The log costs time, so it is asked for only once the kernel has refused."""
    debug = debug_info(image)
    btf = library.btf_load(debug.btf)
    try:
        for log_size in (0, _LOG_SIZE):
            fd, number, log = library.prog_load(
                image.kind,
                kernel_name(image.name),
                image.code,
                maps=maps,
                btf=btf,
                func_info=(debug.func_info, FUNC_INFO_SIZE),
                line_info=(debug.line_info, LINE_INFO_SIZE),
                flags=_MULTI_BUFFER if image.multi_buffer else 0,
                log_level=1 if log_size else 0,
                log_size=log_size,
            )
            if fd >= 0:
                return fd
    finally:
        os.close(btf)
    if log and number in _VERIFIER_ERRNOS:
        raise VerifierError(image, log, number)
    raise refused(f"load the program {image.name!r}", number)


def open_pinned(path: Path) -> Program:
    """The program pinned at `path`. Raises BpfError."""
    library = libbpf()
    return Program(library.obj_get(path), {}, library)
