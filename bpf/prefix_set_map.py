"""The map of an address set in the kernel: made, pinned, opened again by its pin, changed in place.

The map is mapped into the writer's memory, so that a change is a few stores, whatever the set's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bpf.image import MapKind, MapSpec
from bpf.libbpf import BpfError, libbpf
from bpf.maps import Map, create_map, open_map
from bpf.prefix_set import Span, spans
from bpf.prefix_set_change import Change, PrefixSetWriter, size_of
from bpf.prefix_set_lookup import set_spec


class PrefixSetMap:
    """An address set in the kernel; made by `create` or `open_pinned`. `close` gives up our descriptor, while pins and programs keep
    the map."""

    def __init__(self, opened: Map) -> None:
        """Takes the map over. Raises BpfError where it is no address set's."""
        try:
            self.map = opened
            self._memory = opened.memory()
            try:
                self._writer = PrefixSetWriter(memoryview(self._memory))
            except ValueError as error:
                raise BpfError(f"the map {opened.spec.name} is no address set of this version") from error
        except BaseException:
            opened.close()
            raise

    @property
    def spec(self) -> MapSpec:
        """As programs that look into the set name it (`load(image, {spec.name: set.map})`)."""
        return self.map.spec

    @property
    def free(self) -> int:
        """Bytes for changes: one takes ten to some hundred where few addresses are near, ten thousand where very many are."""
        return self._writer.free

    def change(self, changes: Sequence[Change]) -> None:
        """Put spans in or take them out, for every packet all at once. Raises FullError, and then nothing is changed."""
        self._writer.change(changes)

    def ranges(self) -> tuple[list[Span], list[Span]]:
        """The IPv4 and IPv6 addresses that are in it, as sorted spans."""
        with memoryview(self._memory) as value:
            v4, v6 = spans(value)
            return list(v4), list(v6)

    def pin(self, path: Path) -> None:
        """Give it the name `path` in a BPF file system. Raises BpfError."""
        self.map.pin(path)

    def close(self) -> None:
        if self.map.fd >= 0:
            self._writer.release()
            self._memory.close()
            self.map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def create(name: str, value: bytes | bytearray) -> PrefixSetMap:
    """A map with that value, which `value_for` made. Raises BpfError."""
    created = create_map(set_spec(name, size_of(value)))
    try:
        with created.memory() as memory:
            memory[: len(value)] = value
    except BaseException:
        created.close()
        raise
    return PrefixSetMap(created)


def open_pinned(path: Path, name: str) -> PrefixSetMap:
    """The set pinned at `path`, for programs that call its map `name`. Raises BpfError, ENOENT where nothing is."""
    opened = open_map(path)
    if (opened.spec.kind, opened.spec.entries) != (MapKind.ARRAY, 1):
        opened.close()
        raise BpfError(f"the map {name} is no address set")
    return PrefixSetMap(Map(opened.fd, set_spec(name, opened.spec.value_size), libbpf()))
