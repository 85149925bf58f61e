"""What this machine has of what enforcing and replaying need: probes that change nothing, with what to do where one fails."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bpf import bpffs
from bpf.capabilities import Capability, effective
from bpf.libbpf import BpfError, libbpf
from firewall import nft
from firewall.kernel import KernelError
from firewall.netlink import Netlink, NetlinkError

BTF = Path("/sys/kernel/btf/vmlinux")
TUN = Path("/dev/net/tun")

MATCH = ("bpf", 1)
"""The xtables match that payload rules need, and its revision."""


class Need(Enum):
    """What does not work without a feature."""

    ENFORCE = "enforce"
    """`apply`, and everything else too."""
    REPLAY = "replay"
    """The kernel engine of `replay`, `match` and `test`."""
    COMFORT = "comfort"
    """Only what is said beside it."""


class EnvironmentRefusedError(KernelError):
    """This machine, or this user on it, cannot enforce; `missing` says why and what to do."""

    def __init__(self, missing: tuple[Feature, ...]) -> None:
        self.missing = missing
        super().__init__("; ".join(f"{feature.name}: {feature.found} ({feature.remedy})" for feature in missing))


@dataclass(frozen=True, slots=True)
class Feature:
    name: str
    need: Need
    present: bool
    found: str
    """What was found: a version, a path, or what is wrong."""
    remedy: str = ""
    """What to do where it is missing."""


def _privileges() -> Feature:
    held = effective()
    lacking = [f"CAP_{each.name}" for each in Capability if each not in held]
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    found = f"{who} lacks {', '.join(lacking)}" if lacking else who
    return Feature("privileges", Need.ENFORCE, not lacking, found, "run it as root")


def _nf_tables() -> Feature:
    name, remedy = "nf_tables", "a kernel with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET; `modprobe nf_tables`"
    try:
        with Netlink() as netlink:
            netlink.has_table("mantlet")
    except (NetlinkError, OSError) as error:
        return Feature(name, Need.ENFORCE, False, str(error), remedy)
    return Feature(name, Need.ENFORCE, True, f"Linux {platform.release()}")


def _match_bpf() -> Feature:
    name = "nft match bpf"
    remedy = "a kernel with CONFIG_NFT_COMPAT and CONFIG_NETFILTER_XT_MATCH_BPF; `modprobe -a nft_compat xt_bpf`"
    try:
        with Netlink() as netlink:
            if netlink.has_match(*MATCH):
                return Feature(name, Need.ENFORCE, True, "revision 1")
    except (NetlinkError, OSError) as error:
        return Feature(name, Need.ENFORCE, False, str(error), remedy)
    return Feature(name, Need.ENFORCE, False, "the kernel has no such match", remedy)


def _bpffs() -> Feature:
    place = bpffs.place()
    if bpffs.is_mounted(place):
        return Feature("bpffs", Need.ENFORCE, True, str(place))
    return Feature("bpffs", Need.ENFORCE, False, f"not mounted at {place}", f"mount -t bpf bpf {place}")


def _libbpf() -> Feature:
    try:
        library = libbpf()
    except BpfError as error:
        return Feature("libbpf", Need.ENFORCE, False, str(error), "apt install libbpf1")
    return Feature("libbpf", Need.ENFORCE, True, str(library.version))


def _libnftables() -> Feature:
    missing = nft.available()
    return Feature("libnftables", Need.ENFORCE, missing is None, missing or "found", "apt install python3-nftables")


def _tun() -> Feature:
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return Feature("tap interfaces", Need.REPLAY, False, f"{TUN}: {error.strerror}", "modprobe tun")
    return Feature("tap interfaces", Need.REPLAY, True, str(TUN))


def _btf() -> Feature:
    found = BTF.exists()
    told = str(BTF) if found else "no type information of the kernel: `bpftool prog dump` shows programs without their rules' text"
    return Feature("BTF", Need.COMFORT, found, told, "a kernel with CONFIG_DEBUG_INFO_BTF")


PROBES: tuple[Callable[[], Feature], ...] = (_privileges, _nf_tables, _match_bpf, _bpffs, _libbpf, _libnftables, _tun, _btf)


def probe() -> tuple[Feature, ...]:
    """All features, in the order in which to mend them."""
    return tuple(check() for check in PROBES)


def require_netlink() -> None:
    """Raises EnvironmentRefusedError where the rules that stand cannot be listed or removed, which takes far less than to enforce."""
    missing = tuple(feature for check in (_privileges, _nf_tables) if not (feature := check()).present)
    if missing:
        raise EnvironmentRefusedError(missing[:1])


def require_enforcement() -> None:
    """Raises EnvironmentRefusedError where rules cannot be enforced here. Without privileges the rest is not asked."""
    privileges = _privileges()
    if not privileges.present:
        raise EnvironmentRefusedError((privileges,))
    missing = tuple(feature for feature in probe() if feature.need is Need.ENFORCE and not feature.present)
    if missing:
        raise EnvironmentRefusedError(missing)
