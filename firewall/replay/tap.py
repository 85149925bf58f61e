"""The interfaces of a replay: one tap device per interface and VLAN stack of the capture, in a namespace of the replay's own.

A frame is written with its place in the replay as its source MAC address, which no rule can see and every log report gives back.
The write returns when the kernel's receive path is through, prerouting included.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from hashlib import blake2s
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from firewall.namespace import Namespace, NamespaceError, rename
from rules_dsl.policy import LONGEST_INTERFACE_NAME

SENTINEL: Final = "mantlet~end"
"""The interface by which the replay's own packets come in; no interface of a capture gets a name with `~`."""

TUNSETPERSIST: Final = 0x400454CB
"""linux/if_tun.h."""

MAC: Final = bytes.fromhex("020000000001")
"""Of every tap: a frame for another address would be dropped before any rule."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.@+-]")
"""What is replaced in a name: what the kernel does not take (net/core/dev.c, dev_valid_name) or no rule could name."""

_TAKEN: Final = frozenset({".", "..", "all", "default"})
"""Names that the kernel has another use for: below /proc/sys/net/ipv4/conf each interface has a folder, and these are there."""


class Interface(NamedTuple):
    """Where frames of a capture come in."""

    name: str
    """As rules see it in `interface.in`."""
    vlan: int | None
    """The outermost VLAN id, as rules see it in `vlan.id`."""


def interface_of(name: str, vlan: tuple[int, ...]) -> Interface:
    """The interface for frames captured at `name` with these VLAN tags (outermost first): `eth0`, `eth0.10`, `eth0.100.200`.

    A name that would not do in Linux (Windows' `\\Device\\NPF_{...}`, more than 15 characters) has its bad characters replaced by
    `_`, is cut to 9, and ends in `@` and five hex digits that tell it from others cut to the same.

    An interface that the capture itself names `eth0.10` is the VLAN interface that Linux so names: its frames, whose tag is off
    already, came by VLAN 10 just as those of `eth0` with that tag."""
    full = ".".join((name, *map(str, vlan)))
    usable = _FORBIDDEN.sub("_", full)
    if usable != full or not 0 < len(full) <= LONGEST_INTERFACE_NAME or full in _TAKEN:
        digest = blake2s(full.encode()).hexdigest()[:5]
        usable = f"{usable[: LONGEST_INTERFACE_NAME - 6]}@{digest}"
    ids = tuple(takewhile(_is_vlan_id, reversed(full.split(".")[1:])))
    return Interface(usable, int(ids[-1]) if ids else None)


def _is_vlan_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4 and 0 < int(text) < 4096


class Taps(dict[str, int]):
    """Interface name -> file descriptor on which one write is one frame received; a tap is made when it is first asked for.

    The taps have no address and, as far as they can be told, say nothing of themselves. A context manager: the taps go with it.
    Raises NamespaceError."""

    def __init__(self, namespace: Namespace) -> None:
        super().__init__()
        self._namespace = namespace
        namespace.call(_silence)

    def __missing__(self, name: str) -> int:
        if name == "lo":
            self._namespace.call(rename, "lo", "mantlet~lo")
        try:
            tap = self._namespace.tap(name, mac=MAC)
        except NamespaceError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EMFILE or len(self) < 2:
                raise
            # A capture may name more interfaces than a process may have files. A persistent tap is opened again when it is asked for.
            for other in self.keys() - {SENTINEL}:
                os.close(self.pop(other))
            tap = self._namespace.tap(name, mac=MAC)
        self[name] = tap
        # A tap that goes when it is closed takes a quarter of a second for it; a persistent one goes with its namespace, unwaited for.
        fcntl.ioctl(tap, TUNSETPERSIST, 1)
        return tap

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for file in self.values():
            os.close(file)
        self.clear()


def _silence() -> None:
    """Interfaces to come take IPv6, and neither make themselves an address nor ask for a router."""
    for name, value in (("disable_ipv6", 0), ("addr_gen_mode", 1), ("accept_ra", 0), ("router_solicitations", 0), ("accept_dad", 0)):
        for scope in ("all", "default"):
            setting = Path("/proc/sys/net/ipv6/conf") / scope / name
            # Without IPv6 in the kernel there is nothing to set; where /proc/sys is read-only the kernel's own defaults serve.
            if setting.exists() and os.access(setting, os.W_OK):
                setting.write_text(str(value))
