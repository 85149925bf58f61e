"""A network namespace of one's own, without a name: for replays and tests. Only the network is another; files, and with them
bpffs, stay as they are (`ip netns exec` would hide bpffs).

Linux gives each thread its own network namespace: one thread lives inside, and functions are sent to it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar

from firewall import nft
from firewall.pins import Pins
from rules_dsl.policy import LONGEST_INTERFACE_NAME

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET: Final = 0x40000000
TUNSETIFF: Final = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 0x0001, 0x0002, 0x1000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFHWADDR = 0x8913, 0x8914, 0x8924
SIOCSIFMTU, SIOCSIFNAME = 0x8922, 0x8923
LOOPBACK: Final = 1
"""Its index in every namespace."""
RTM_DELLINK, NLM_F_REQUEST, NLM_F_ACK = 17, 0x1, 0x4
IFF_UP: Final = 0x1
ARPHRD_ETHER: Final = 1


class NamespaceError(Exception):
    """The kernel gave no namespace or interface; the message says what to do."""


class Namespace:
    """A new, empty network namespace (its loopback is up). It goes, with all that stands in it, when it is closed: as long as
    no socket, tap or process of it is left."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mantlet-namespace")
        try:
            self._file, self.inode = self._thread.submit(_leave_for_new).result()
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def path(self) -> str:
        """A path by which others can enter (`nsenter --net=PATH`, `ip link set X netns PATH`) while it is open."""
        return f"/proc/{os.getpid()}/fd/{self._file}"

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result, run inside. Sockets that it opens and processes that it starts stay in the namespace."""
        return self._thread.submit(function, *args, **kwargs).result()

    def tap(self, name: str, *, mac: bytes | None = None, mtu: int | None = None) -> int:
        """A new Ethernet interface, up, with its other end in our hand: a file descriptor on which one write is one frame
        received by the interface, and one read one frame sent. The caller closes it, and the interface goes."""
        return self.call(_interface, name, IFF_TAP, mac, mtu)

    def tun(self, name: str, *, mtu: int | None = None) -> int:
        """As `tap`, without a link layer: one write is one IP packet."""
        return self.call(_interface, name, IFF_TUN, None, mtu)

    def clear(self) -> None:
        """All is as it was when the namespace was made, but for settings below /proc/sys: for one that is used again, by a process that
        may not make another. Raises OSError, nft.NftError."""
        self.call(_clear)
        Pins.of(self.inode).clear()

    def close(self) -> None:
        """Leaves the namespace. Its pins are removed."""
        if self._file < 0:
            return
        Pins.of(self.inode).clear()
        os.close(self._file)
        self._file = -1
        self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _leave_for_new() -> tuple[int, int]:
    """(file descriptor, inode) of the new namespace of this thread. Pins that a killed process left for a namespace that had the
    same inode are removed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        number = ctypes.get_errno()
        raise NamespaceError(f"no network namespace of its own: {os.strerror(number)} (needs root, or CAP_SYS_ADMIN)")
    file = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    inode = os.fstat(file).st_ino
    Pins.of(inode).clear()
    try:
        set_up("lo")
    except OSError as error:
        os.close(file)
        raise NamespaceError(f"no interface of it can be set up: {error.strerror} (needs root, or CAP_NET_ADMIN)") from error
    return file, inode


def enter(file: int) -> None:
    """The calling thread is from now on in the network namespace that the file descriptor is of. Raises NamespaceError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, CLONE_NEWNET):
        raise NamespaceError(f"the network namespace cannot be entered: {os.strerror(ctypes.get_errno())} (needs root, or CAP_SYS_ADMIN)")


def _clear() -> None:
    nft.run("flush ruleset")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
        for index, _ in socket.if_nameindex():
            if index != LOOPBACK:
                header = struct.pack("=IHHII", 32, RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, index, 0)
                link.send(header + struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0))
                number = -struct.unpack_from("=i", link.recv(8192), 16)[0]
                if number not in (0, errno.ENODEV):
                    raise OSError(number, os.strerror(number))
    if (name := socket.if_indextoname(LOOPBACK)) != "lo":
        rename(name, "lo")
        set_up("lo")


def rename(old: str, new: str) -> None:
    """Renames an interface of the calling thread's namespace, which is then down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("=16sH14x", old.encode(), 0))
        fcntl.ioctl(control, SIOCSIFNAME, struct.pack("=16s16s8x", old.encode(), new.encode()))


def set_up(name: str) -> None:
    """Sets an interface of the calling thread's namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        request = struct.pack("=16sH14x", name.encode(), 0)
        flags = struct.unpack("=16sH14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("=16sH14x", name.encode(), flags | IFF_UP))


def _interface(name: str, kind: int, mac: bytes | None, mtu: int | None) -> int:
    encoded = name.encode()
    if not 0 < len(encoded) <= LONGEST_INTERFACE_NAME:
        raise NamespaceError(f"interface name {name!r}: 1 to {LONGEST_INTERFACE_NAME} bytes")
    try:
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NamespaceError(f"/dev/net/tun: {error.strerror} (modprobe tun)") from error
    try:
        fcntl.ioctl(file, TUNSETIFF, struct.pack("=16sH22x", encoded, kind | IFF_NO_PI))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            if mac is not None:
                fcntl.ioctl(control, SIOCSIFHWADDR, struct.pack("=16sH6s8x", encoded, ARPHRD_ETHER, mac))
            if mtu is not None:
                fcntl.ioctl(control, SIOCSIFMTU, struct.pack("=16si12x", encoded, mtu))
        set_up(name)
    except OSError as error:
        os.close(file)
        raise NamespaceError(f"interface {name}: {error.strerror}") from error
    return file
