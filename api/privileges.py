"""What a process may do, given up for good: capabilities, its user, and the means of gaining privileges (capabilities(7), prctl(2)).

Capabilities are a thread's: give them up before other threads are started, which then start with the same."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final


class Capability(IntEnum):
    """Numbers of linux/capability.h, of those that are kept."""

    NET_ADMIN = 12
    """nf_tables."""
    NET_RAW = 13
    """Packet sockets, for captures."""
    PERFMON = 38
    """The verifier lets programs be as they are tested: without it, it takes every branch for one that may be speculated on."""
    BPF = 39
    """bpf(2): programs, maps, BTF. Pins need nothing more than to own the directory in the BPF file system."""


ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment that say how many threads libraries of numbers start when they are imported."""
ENFORCER: Final = frozenset(Capability)

_VERSION_3: Final = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3."""
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 1, 24, 38, 47, 4
_LAST_CAPABILITY: Final = Path("/proc/sys/kernel/cap_last_cap")


class PrivilegeError(Exception):
    """Privileges cannot be given up as asked, or the user is not there; the message says what to do."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int


def user_of(name: str) -> User:
    """The user of this name, or of this number, which needs no name. Raises PrivilegeError."""
    if name.isascii() and name.isdecimal():
        uid = int(name)
        try:
            return User(uid, pwd.getpwuid(uid).pw_gid)
        except (KeyError, OverflowError):
            if uid >= 1 << 32:
                raise PrivilegeError(f"there is no user {name}") from None
            return User(uid, uid)
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PrivilegeError(f"there is no user {name}") from None
    return User(entry.pw_uid, entry.pw_gid)


def keep_only(kept: Collection[Capability]) -> None:
    """The calling thread has these capabilities and can never get others. Those of them that it has not, it has not afterwards
    either. Raises PrivilegeError."""
    bits = sum(1 << each for each in kept)
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # struct __user_cap_data_struct [2]: effective, permitted, inheritable
    _called(libc.capget(header, data), "capget")
    permitted = (data[1] | data[4] << 32) & bits
    setpcap = data[0] >> 8 & 1
    if setpcap:
        for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
            if not bits >> number & 1:
                _prctl(libc, _PR_CAPBSET_DROP, number)
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    _called(libc.capset(header, data), "capset")


def become(user: User) -> None:
    """From here on the process is the user's, without any capability. Raises PrivilegeError."""
    if os.geteuid() == 0:
        # The bounding set can only be cut while CAP_SETPCAP is there, and the user only be changed with CAP_SETUID.
        libc = ctypes.CDLL(None, use_errno=True)
        for number in range(int(_LAST_CAPABILITY.read_text()) + 1):
            _prctl(libc, _PR_CAPBSET_DROP, number)
        try:
            os.setgroups([])
            os.setresgid(user.gid, user.gid, user.gid)
            os.setresuid(user.uid, user.uid, user.uid)
        except OSError as error:
            raise PrivilegeError(f"cannot become user {user.uid}: {error.strerror}") from error
    elif os.geteuid() != user.uid:
        raise PrivilegeError(f"only root can become user {user.uid}")
    keep_only(())


def end_with_parent() -> None:
    """The kernel ends this process when its parent ends, in whatever way. To be called after a change of user, which forgets it."""
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(libc: ctypes.CDLL, option: int, argument: int) -> None:
    _called(libc.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))), f"prctl {option}")


def _called(result: int, name: str) -> None:
    if result:
        raise PrivilegeError(f"privileges cannot be given up: {name}: {os.strerror(ctypes.get_errno())}")
