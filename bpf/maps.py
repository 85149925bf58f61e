"""Maps in the kernel: made from a MapSpec, read and written by user space."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Final, Self

from bpf.image import MapKind, MapSpec, kernel_name
from bpf.libbpf import Libbpf, libbpf

_READ_ONLY_FOR_PROGRAMS: Final = 1 << 7
"""BPF_F_RDONLY_PROG."""


class Map:
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

    def again(self) -> Map:
        """The same map by another descriptor."""
        return Map(os.dup(self.fd), self.spec, self._library)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def create_map(spec: MapSpec) -> Map:
    """Make the map and put its initial values in. Raises BpfError."""
    library = libbpf()
    flags = _READ_ONLY_FOR_PROGRAMS if spec.read_only else 0
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


def _pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
