"""Maps in the kernel: made from a MapSpec, read and written by user space."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import Final

from bpf.descriptor import Descriptor
from bpf.image import MapKind, MapSpec, kernel_name
from bpf.libbpf import BpfError, Libbpf, libbpf, refused

_READ_ONLY_FOR_PROGRAMS: Final = 1 << 7
"""BPF_F_RDONLY_PROG."""
_MAPPED: Final = 1 << 10
"""BPF_F_MMAPABLE, Linux 5.5."""
_GROWING: Final = 1
"""BPF_F_NO_PREALLOC."""


class Map(Descriptor):
    """An open map; `close` gives up the descriptor, while programs that use the map keep it alive."""

    def __init__(self, fd: int, spec: MapSpec, library: Libbpf) -> None:
        self.fd = fd
        self.spec = spec
        self._library = library

    @property
    def value_size(self) -> int:
        """Bytes that user space reads and writes at one key: of all possible CPUs, each rounded up to 8, in a per-CPU map."""
        if self.spec.kind in (MapKind.PERCPU_ARRAY, MapKind.PERCPU_HASH):
            return (self.spec.value_size + 7) // 8 * 8 * self._library.possible_cpus
        return self.spec.value_size

    @property
    def id(self) -> int:
        """The kernel's number of it, as `bpftool map show id` takes."""
        return int(_told(self.fd)["map_id"])

    def lookup(self, key: bytes) -> bytes | None:
        """The value, None where the key is not there."""
        assert len(key) == self.spec.key_size
        return self._library.map_lookup(self.fd, key, self.value_size)

    def update(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == (self.spec.key_size, self.value_size)
        self._library.map_update(self.fd, key, value)

    def delete(self, key: bytes) -> bool:
        """Whether the key was there."""
        return self._library.map_delete(self.fd, key)

    def items(self) -> list[tuple[bytes, bytes]]:
        """All keys and values, in one call."""
        keys, values = self._library.map_lookup_batch(self.fd, self.spec.key_size, self.value_size, self.spec.entries)
        return list(zip(_pieces(keys, self.spec.key_size), _pieces(values, self.value_size), strict=True))

    def fill(self, values: bytes) -> None:
        """An array's first entries, one value behind the other."""
        size = self.spec.value_size
        count = len(values) // size
        assert self.spec.kind is MapKind.ARRAY
        assert (len(values) % size, count <= self.spec.entries) == (0, True)
        if count == 1:
            self.update(bytes(4), values)
        else:
            keys = b"".join(index.to_bytes(4, "little") for index in range(count))
            self._library.map_update_batch(self.fd, keys, values, count)

    def memory(self) -> mmap.mmap:
        """The values of a mapped array, as memory that is the map's. Raises BpfError."""
        assert self.spec.mapped
        size = (self.spec.value_size + 7) // 8 * 8 * self.spec.entries
        try:
            return mmap.mmap(self.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        except OSError as error:
            raise refused(f"map {self.spec.name} into memory", error.errno or 0) from error

    def pin(self, path: Path) -> None:
        """Give it the name `path` in a BPF file system, where it stays. Raises BpfError, EEXIST where the name is taken."""
        self._library.obj_pin(self.fd, path)

    def again(self) -> Map:
        """The same map by another descriptor."""
        return Map(os.dup(self.fd), self.spec, self._library)


def create_map(spec: MapSpec) -> Map:
    """Make the map and put its initial values in. Raises BpfError."""
    library = libbpf()
    flags = (_READ_ONLY_FOR_PROGRAMS if spec.read_only else 0) | (_MAPPED if spec.mapped else 0)
    if spec.kind is MapKind.LPM_TRIE:
        flags |= _GROWING
    fd = library.map_create(spec.kind, kernel_name(spec.name), spec.key_size, spec.value_size, spec.entries, flags=flags)
    created = Map(fd, spec, library)
    try:
        if spec.initial:
            created.fill(spec.initial + bytes(-len(spec.initial) % spec.value_size))
        if spec.read_only:
            library.map_freeze(fd)
    except BaseException:
        created.close()
        raise
    return created


def open_map(path: Path, spec: MapSpec | None = None) -> Map:
    """The map pinned at `path`, which was made from `spec`; without one the kernel tells its sizes. Raises BpfError, ENOENT where nothing
    is pinned."""
    library = libbpf()
    fd = library.obj_get(path)
    if spec is not None:
        return Map(fd, spec, library)
    try:
        told = _told(fd)
        kind, key_size, value_size, entries = (int(told[name]) for name in ("map_type", "key_size", "value_size", "max_entries"))
        return Map(fd, MapSpec(path.name, MapKind(kind), key_size, value_size, entries), library)
    except (KeyError, ValueError) as error:
        os.close(fd)
        raise BpfError(f"{path} is no map of ours") from error


def _told(fd: int) -> dict[str, str]:
    """What the kernel says of a map."""
    return dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii").splitlines())


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
