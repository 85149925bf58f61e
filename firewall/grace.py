"""Waiting until no packet is on its way through rules as they stood before.

nf_tables has two generations of every chain's rules and picks one by a single bit when a packet enters a base chain. A packet
that is on its way over two transactions would so read, in the chains it enters last, what the second one wrote: rules already
removed, or chains not yet filled. Between two transactions that touch its chains there must be an RCU grace period, after which
every packet that was on its way has arrived (nf_tables_commit_chain in net/netfilter/nf_tables_api.c)."""

from __future__ import annotations

import ctypes
import platform
import time
from typing import Final

SYSCALL: Final = {"x86_64": 324, "aarch64": 283, "riscv64": 283, "ppc64le": 365, "s390x": 356}
"""membarrier, by machine."""
MEMBARRIER_CMD_GLOBAL: Final = 1
"""Since Linux 4.3; it calls synchronize_rcu (8 ms on an idle machine). Refused where CPUs run without a timer tick (nohz_full)."""
INSTEAD: Final = 0.2
"""Seconds to sleep where there is no such call: many times what a packet takes."""


def grace_period() -> None:
    """Returns when every packet has left the rules that it was in at the call."""
    number = SYSCALL.get(platform.machine())
    if number is None or ctypes.CDLL(None).syscall(number, MEMBARRIER_CMD_GLOBAL, 0, 0):
        time.sleep(INSTEAD)
