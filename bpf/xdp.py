"""XDP: numbers of its programs, and holding one at an interface.

A link holds a program as long as it is open or pinned; where the interface goes, the link stays and holds nothing. Formats: `struct
xdp_md`, `enum xdp_action` and BPF_LINK_CREATE in linux/bpf.h, XDP_FLAGS in linux/if_link.h."""

from __future__ import annotations

import errno
from enum import Enum
from pathlib import Path
from typing import Final

from bpf.descriptor import Descriptor
from bpf.libbpf import XDP_GENERIC, XDP_NATIVE, BpfError, Libbpf, libbpf
from bpf.program import Program

ETHERNET: Final = 14
"""Bytes of a frame before its IP header."""
DATA, DATA_END = 0, 4
"""Offsets in the context of a program: where the frame begins, and where its first piece ends."""
DROP, PASS = 1, 2
"""What a program returns."""


class Mode(Enum):
    """Where a program runs."""

    NATIVE = "native"
    """In the driver."""
    GENERIC = "generic"
    """In the network stack, which has made its own of the frame by then."""


_FLAGS: Final = {Mode.NATIVE: XDP_NATIVE, Mode.GENERIC: XDP_GENERIC}


class Link(Descriptor):
    """An open link."""

    def __init__(self, fd: int, library: Libbpf) -> None:
        self.fd = fd
        self._library = library

    @property
    def program(self) -> int:
        """The id of the program that it holds."""
        return self._library.link_info(self.fd).program

    @property
    def interface(self) -> int:
        """The index of its interface; 0 where that is gone."""
        return self._library.link_info(self.fd).interface

    def update(self, program: Program) -> None:
        """It holds this program instead, from one frame to the next."""
        self._library.link_update(self.fd, program.fd)

    def pin(self, path: Path) -> None:
        self._library.obj_pin(self.fd, path)


def attach(program: Program, interface: int) -> Link:
    """Holds the program at the interface of that index, in the calling thread's network namespace: in its driver, where that can.

    Raises BpfError: EBUSY where somebody else's program is there."""
    library = libbpf()
    refusal: BpfError | None = None
    for flags in _FLAGS.values():
        try:
            return Link(library.xdp_link_create(program.fd, interface, flags), library)
        except BpfError as error:
            refusal = refusal or error
            if error.errno in (errno.EBUSY, errno.EEXIST, errno.ENODEV, errno.EPERM):
                raise
    assert refusal is not None
    raise refusal


def open_link(path: Path) -> Link:
    """The link pinned at `path`. Raises BpfError, ENOENT where nothing is."""
    library = libbpf()
    return Link(library.obj_get(path), library)
