"""The map of an address set in the kernel: made, pinned, opened again by its pin, changed in place.

The map can be mapped into the writer's memory (BPF_F_MMAPABLE), so that a change is a few stores, whatever the set's size.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bpf.image import MapKind, MapSpec, kernel_name
from bpf.libbpf import BpfError, Libbpf, libbpf
from bpf.maps import Map
from bpf.prefix_set import END_AT, HEADER_SIZE, MAGIC, MAGIC_AT, Span, spans
from bpf.prefix_set_change import Change, PrefixSetWriter, size_of
from bpf.prefix_set_lookup import set_spec

_MAPPABLE: Final = 1 << 10
"""BPF_F_MMAPABLE, since Linux 5.5."""


class PrefixSetMap:
    """An address set in the kernel; made by `create` or `open_pinned`. `close` gives up our descriptors, while pins and programs keep
    the map."""

    def __init__(self, fd: int, name: str, library: Libbpf) -> None:
        """Takes the descriptor over. Raises BpfError where it is no such map's."""
        self._library = library
        try:
            with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ) as first:
                words = memoryview(first[:HEADER_SIZE]).cast("Q")
                if words[MAGIC_AT // 8] != MAGIC:
                    raise BpfError(f"the map {name} is no address set of this version")
                size = int(words[END_AT // 8])
            self.map = Map(fd, set_spec(name, size), library)
            self._memory = mmap.mmap(fd, size, mmap.MAP_SHARED)
        except OSError as error:
            os.close(fd)
            raise BpfError(f"the map {name} is no address set: {os.strerror(error.errno or 0)}", error.errno) from error
        except BaseException:
            os.close(fd)
            raise
        self.writer = PrefixSetWriter(memoryview(self._memory))

    @property
    def spec(self) -> MapSpec:
        """As programs that look into the set name it (`load(image, {spec.name: set.map})`)."""
        return self.map.spec

    def change(self, changes: Sequence[Change]) -> None:
        """Put spans in or take them out, for every packet all at once. Raises FullError, and then nothing is changed."""
        self.writer.change(changes)

    def ranges(self) -> tuple[list[Span], list[Span]]:
        """The IPv4 and IPv6 addresses that are in it, as sorted spans."""
        v4, v6 = spans(memoryview(self._memory))
        return list(v4), list(v6)

    def pin(self, path: Path) -> None:
        """Give it the name `path` in a BPF file system. Raises BpfError."""
        self._library.obj_pin(self.map.fd, path)

    def close(self) -> None:
        if self.map.fd >= 0:
            self.writer.release()
            self._memory.close()
            self.map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def create(name: str, value: bytes | bytearray) -> PrefixSetMap:
    """A map with that value, which `value_for` made. Raises BpfError."""
    library = libbpf()
    size = size_of(value)
    fd = library.map_create(MapKind.ARRAY, kernel_name(name), 4, size, 1, flags=_MAPPABLE)
    try:
        with mmap.mmap(fd, size, mmap.MAP_SHARED) as memory:
            memory[: len(value)] = bytes(value) if isinstance(value, bytearray) else value
    except OSError as error:
        os.close(fd)
        raise BpfError(f"cannot fill the map {name}: {os.strerror(error.errno or 0)}", error.errno) from error
    return PrefixSetMap(fd, name, library)


def open_pinned(path: Path, name: str) -> PrefixSetMap:
    """The set pinned at `path`, for programs that call its map `name`. Raises BpfError, ENOENT where nothing is."""
    library = libbpf()
    return PrefixSetMap(library.obj_get(path), name, library)
