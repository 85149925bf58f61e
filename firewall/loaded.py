"""What this process has loaded for a tenant's generation, to be used by the next one: programs that are the same, and maps that are, or
that a patch makes so. Else the verifier, and filling large maps, take most of a change's time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from hashlib import blake2s
from typing import Final

from bpf.image import MapSpec, ProgramImage
from bpf.maps import Map, create_map
from bpf.program import Program, load
from firewall.generation import Generation, TreePatch

_LOADING: Final = 4
"""Programs at a time."""


class StaleError(Exception):
    """A generation goes on from one that this process has not loaded, or that is not enforced: it is to be rendered anew."""


@dataclass(slots=True)
class Loaded:
    """For one generation. Its descriptors are open."""

    revision: int
    number: int | None
    """Of the generation's contents."""
    programs: dict[str, tuple[bytes, Program]] = field(default_factory=dict)
    """Digest and program, by the name of the pin."""
    maps: dict[str, tuple[bytes, Map]] = field(default_factory=dict)
    """Those that programs share, by name."""
    spare: dict[bytes, Program] = field(default_factory=dict)
    """By digest: programs of the generation before. Trees are looked up at two cells in turn, by a program each."""

    @property
    def descriptors(self) -> list[Program | Map]:
        return [*(each for _, each in self.programs.values()), *(each for _, each in self.maps.values()), *self.spare.values()]

    def close(self, but: Loaded | None = None) -> None:
        """All descriptors that the other has not."""
        kept = {id(each) for each in but.descriptors} if but else set()
        for each in self.descriptors:
            if id(each) not in kept:
                each.close()

    def supersede(self, before: Loaded) -> None:
        """Its programs may be used again by the next generation; everything else of it is closed."""
        used = {id(program) for _, program in self.programs.values()}
        self.spare = {digest: program for digest, program in before.programs.values() if id(program) not in used}
        before.close(but=self)


def load_for(generation: Generation, before: Loaded | None) -> Loaded:
    """Loads what `before` has not. What is written to maps of that stands where no packet of its generation looks.

    Raises StaleError, VerifierError, BpfError; then nothing is left open."""
    contents = generation.contents
    former = None
    if contents and contents.base is not None:
        if before is None or before.number != contents.base:
            raise StaleError(f"revision {generation.revision} of {generation.tenant} goes on from one that is not enforced")
        former = before
    made = Loaded(generation.revision, contents.number if contents else None)
    images = generation.programs
    patches = {patch.map_name: patch for patch in contents.patches} if contents else {}
    try:
        for spec in {spec.name: spec for image in images.values() for spec in image.maps if spec.shared}.values():
            made.maps[spec.name] = _shared_map(spec, former, patches.get(spec.name))
        for patch in patches.values():
            _write(made.maps[patch.map_name][1], patch)
        shared = {name: held for name, (_, held) in made.maps.items()}
        numbers = {name: held.id for name, held in shared.items()}
        digests = {name: _digest(image, numbers) for name, image in images.items()}
        known = former.spare | dict(former.programs.values()) if former else {}
        fresh = [image for name, image in images.items() if digests[name] not in known]
        with ThreadPoolExecutor(_LOADING) as threads:  # the verifier takes a core for each program
            loading = [(image, threads.submit(_load, image, shared)) for image in fresh]
        made.programs = {image.name: (digests[image.name], program.result()) for image, program in loading if not program.exception()}
        for _, program in loading:
            program.result()  # raises what it was refused for
        made.programs |= {name: (digests[name], known[digests[name]]) for name in images if name not in made.programs}
    except BaseException:
        made.close(but=former)
        raise
    return made


def _shared_map(spec: MapSpec, former: Loaded | None, patch: TreePatch | None) -> tuple[bytes, Map]:
    """Of the former generation, where it is the same or is made so by a patch; else a new one."""
    bare = replace(spec, initial=b"")
    digest = _map_digest(bare if patch else spec)
    held = former.maps.get(spec.name) if former else None
    if held and patch and held[1].spec == bare:
        return digest, held[1]
    if held and held[0] == digest:
        return held
    if patch:
        raise StaleError(f"there is no map {spec.name} to be patched")
    made = create_map(spec)
    made.spec = bare
    return digest, made


def _load(image: ProgramImage, shared: Mapping[str, Map]) -> Program:
    """Without descriptors of its maps."""
    program = load(image, shared)
    program.close_maps()
    return program


def _write(held: Map, patch: TreePatch) -> None:
    with held.memory() as memory:
        for offset, data in patch.writes:
            memory[offset : offset + len(data)] = data


def _digest(image: ProgramImage, maps: Mapping[str, int]) -> bytes:
    """`maps`: the kernel's numbers of those that are shared."""
    found = blake2s(repr((image.name, image.kind, [(spec.name, spec.shared and maps[spec.name]) for spec in image.maps])).encode())
    found.update(image.code)
    for spec in image.maps:
        if not spec.shared:
            found.update(_map_digest(spec))
    return found.digest()


def _map_digest(spec: MapSpec) -> bytes:
    found = blake2s(repr(replace(spec, initial=b"")).encode())
    found.update(spec.initial)
    return found.digest()
