"""The interfaces at which frames are dropped early: which tenants' programs each hands frames to, and whether that is in its driver.

Of each interface there is a folder among the namespace's pins, `_early/INDEX`, with the link that holds its program (`bpf.early_drop`), the
map of the tenants' programs, which the kernel empties where nobody has it open or pinned, and a text that says what the program has. The
program is made anew, with its maps, where any of that is different, and replaced in one step."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bpf.bpffs import make_directory
from bpf.early_drop import PREFIXES, PROGRAMS, compile_root, prefix_keys
from bpf.libbpf import BpfError
from bpf.program import Program, load, open_pinned, shared_maps
from bpf.xdp import Link, Mode, attach, open_link
from firewall.early_drop import pinned
from firewall.early_drop.pinned import Told, program_name
from firewall.pins import Pins
from rules_dsl.expression import Ranges

_FOLDER: Final = "_early"
"""Among the pins of the namespace, where no tenant's name begins so."""
_LINK, _PROGRAMS, _STATE, _NEW = "link", "programs", "state", "new"

_RTM_NEWLINK, _RTM_GETLINK, _NLM_F_REQUEST = 16, 18, 0x1
_IFLA_ADDRESS, _IFLA_MASTER, _IFLA_XDP = 1, 10, 43
_IFLA_XDP_ATTACHED: Final = 2
_MODES: Final = {1: Mode.NATIVE, 2: Mode.GENERIC}
"""XDP_ATTACHED_DRV and XDP_ATTACHED_SKB of linux/if_link.h."""
_ARPHRD_ETHER: Final = 1
_MOST_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Protected:
    """What a tenant's program at an interface is to see."""

    revision: int
    prefixes: Mapping[int, Ranges]
    """Destination addresses, by IP version."""


@dataclass(frozen=True, slots=True)
class AtInterface:
    """How a tenant's early drop stands at one of the interfaces that it names."""

    interface: str
    mode: Mode | None
    """None: nothing is dropped there, and nftables does it all."""
    reason: str = ""
    """Why nothing is dropped there."""


@dataclass(frozen=True, slots=True)
class _Interface:
    """As the kernel says (RTM_GETLINK; linux/if_link.h)."""

    index: int
    kind: int
    address: bytes
    master: int | None
    mode: Mode | None
    """In which an XDP program is attached."""

    @property
    def refusal(self) -> str | None:
        """Why frames there are not to be judged early."""
        if self.kind != _ARPHRD_ETHER or len(self.address) != 6:
            return "it is no Ethernet interface"
        if self.master is not None:
            return "its frames go to the bridge, bond or VRF that it belongs to"
        return None


@dataclass(frozen=True, slots=True)
class _State:
    """What the program at an interface has."""

    address: str
    """Of the interface, in hexadecimal digits."""
    tenants: Mapping[str, tuple[int, str]]
    """Revision, and what it protects."""
    reason: str
    """Why it could not be attached."""

    def text(self) -> str:
        content = {"address": self.address, "tenants": self.tenants, "reason": self.reason}
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def of(cls, text: str) -> _State:
        content = json.loads(text)
        tenants = {tenant: (revision, protects) for tenant, (revision, protects) in content["tenants"].items()}
        return cls(content["address"], tenants, content["reason"])


class Interfaces:
    """Those of the calling thread's network namespace."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins
        self._root = pins.root / _FOLDER

    @property
    def is_used(self) -> bool:
        """Whether a program is, or was to be, at one of them."""
        return self._root.exists()

    def settle(self, tenants: Mapping[str, tuple[Told, Protected]]) -> None:
        """Makes it so that frames go to the programs of these tenants and no others. What cannot be attached is told by `at`."""
        wanted: dict[str, dict[str, tuple[Told, Protected]]] = {}
        for tenant, (told, protected) in tenants.items():
            for name in told.interfaces:
                wanted.setdefault(name, {})[tenant] = told, protected
        used = set()
        for name, found in wanted.items():
            interface = _interface(name)
            if interface is not None:
                used.add(str(interface.index))
                self._settle(interface, found)
        for folder in self._folders():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            self._root.rmdir()

    def at(self, tenant: str, revision: int, told: Told) -> tuple[AtInterface, ...]:
        """How the generation's early drop stands at each interface that it names."""
        return tuple(self._at(name, tenant, revision) for name in told.interfaces)

    def _at(self, name: str, tenant: str, revision: int) -> AtInterface:
        interface = _interface(name)
        if interface is None:
            return AtInterface(name, None, "there is no such interface")
        folder = self._root / str(interface.index)
        state = _state(folder)
        if state is None:
            return AtInterface(name, None, interface.refusal or "nothing is attached there")
        if state.reason:
            return AtInterface(name, None, state.reason)
        with ExitStack() as opened:
            link = _standing_link(folder, interface, opened)
            if link is None or state.tenants.get(tenant, (None,))[0] != revision:
                return AtInterface(name, None, "nothing is attached there")
        return AtInterface(name, interface.mode)

    # -- one interface -------------------------------------------------------------------------------------------------

    def _settle(self, interface: _Interface, tenants: Mapping[str, tuple[Told, Protected]]) -> None:
        folder = self._root / str(interface.index)
        asked = {tenant: (protected.revision, _text(protected)) for tenant, (_, protected) in tenants.items()}
        address = interface.address.hex()
        before = _state(folder)
        with ExitStack() as opened:
            link = _standing_link(folder, interface, opened)
            if link is not None and before == _State(address, asked, ""):
                return
            make_directory(folder)
            (folder / _STATE).unlink(missing_ok=True)
            reason = interface.refusal or ""
            if reason:
                (folder / _LINK).unlink(missing_ok=True)
            else:
                try:
                    root = opened.enter_context(self._root_program(interface.address, tenants, folder / _NEW))
                    if link is not None:
                        link.update(root)
                    else:
                        (folder / _LINK).unlink(missing_ok=True)
                        opened.enter_context(attach(root, interface.index)).pin(folder / _LINK)
                    os.rename(folder / _NEW, folder / _PROGRAMS)
                except BpfError as error:
                    (folder / _LINK).unlink(missing_ok=True)
                    reason = "another XDP program is there" if error.errno in (errno.EBUSY, errno.EEXIST) else str(error)
        (folder / _NEW).unlink(missing_ok=True)
        pinned.write(folder / _NEW, _State(address, asked, reason).text())
        os.rename(folder / _NEW, folder / _STATE)

    def _root_program(self, address: bytes, tenants: Mapping[str, tuple[Told, Protected]], pin: Path) -> Program:
        """Its maps have the tenants' programs, and that of these is pinned. Raises BpfError."""
        image = compile_root(address)
        pin.unlink(missing_ok=True)
        with shared_maps((image,)) as maps:
            maps[PROGRAMS.name].pin(pin)
            place = 0
            for tenant, (told, protected) in tenants.items():
                folder = self._pins.folder(tenant, protected.revision)
                for version in told.versions:
                    keys = prefix_keys(version, protected.prefixes.get(version, ()))
                    if not keys:
                        continue
                    value = place.to_bytes(4, "little")
                    with open_pinned(folder / program_name(version)) as program:
                        maps[PROGRAMS.name].update(value, program.fd.to_bytes(4, "little"))
                    for key in keys:
                        maps[PREFIXES[version].name].update(key, value)
                    place += 1
            return load(image, maps)

    def _folders(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from [entry for entry in self._root.iterdir() if entry.is_dir()]


def _state(folder: Path) -> _State | None:
    text = pinned.read(folder / _STATE)
    return None if text is None else _State.of(text)


def _text(protected: Protected) -> str:
    return ",".join(f"{low:x}-{high:x}" for ranges in protected.prefixes.values() for low, high in ranges)


def _standing_link(folder: Path, interface: _Interface, opened: ExitStack) -> Link | None:
    """The link that is pinned, if it is of this interface yet."""
    try:
        link = opened.enter_context(open_link(folder / _LINK))
    except BpfError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return link if link.interface == interface.index else None


def _interface(name: str) -> _Interface | None:
    """None where there is none of that name."""
    try:
        index = socket.if_nametoindex(name)
    except OSError:
        return None
    request = struct.pack("=IHHII", 32, _RTM_GETLINK, _NLM_F_REQUEST, 0, 0) + struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        link.send(request)
        answer = link.recv(_MOST_BYTES)
    length, kind = struct.unpack_from("=IH", answer)
    if kind != _RTM_NEWLINK:  # it has gone meanwhile
        return None
    (device,) = struct.unpack_from("=H", answer, 18)
    attributes = dict(_attributes(answer[32:length]))
    master = attributes.get(_IFLA_MASTER)
    attached = dict(_attributes(attributes.get(_IFLA_XDP, b""))).get(_IFLA_XDP_ATTACHED, b"\0")[0]
    above = None if master is None else int.from_bytes(master, sys.byteorder)
    return _Interface(index, device, attributes.get(_IFLA_ADDRESS, b""), above, _MODES.get(attached))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += (length + 3) // 4 * 4
