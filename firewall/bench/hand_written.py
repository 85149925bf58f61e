"""The yardstick for programs that search payloads: the same automaton run by a program in C, compiled by clang."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bpf.automaton import Fold
from bpf.bpffs import make_directory
from bpf.pattern_set import pattern_set
from bpf.tables import ROW_REACH
from firewall import netlink, nft
from firewall.netlink import Netlink, Verdict
from firewall.pins import Pins
from rules_dsl.expression import Contains, FieldValue
from rules_dsl.fields import FIELDS

TABLE = """table inet bench {
 chain out { drop; }
 chain rules { type filter hook prerouting priority -450; policy accept; }
}"""

SOURCE: Final = """
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
static long (*skb_load_bytes)(const void *skb, u32 offset, void *to, u32 size) = (void *)26;
static long (*bpf_loop)(u32 steps, void *callback, void *state, u64 flags) = (void *)181;

#define WINDOW 128
#define LIMIT %(limit)d
static const u32 rows[] = {%(rows)s};
static const u8 classes[256] = {%(classes)s};

struct run {
    void *skb;
    u32 at, left, state;
};

static long window(u32 index, struct run *run)
{
    u8 bytes[WINDOW];
    u32 size = run->left, state = run->state, i;

    if (size > WINDOW)
        size = WINDOW;
    if (!size || state > LIMIT || skb_load_bytes(run->skb, run->at, bytes, size))
        return 1;
    for (i = 0; i < WINDOW; i++) {
        if (i >= size)
            break;
        state = *(const u32 *)((const u8 *)rows + state + 4 * (classes[bytes[i]] + 2));
        if (state > LIMIT)
            break;
    }
    run->state = state;
    run->at += size;
    run->left -= size;
    return state > LIMIT;
}

__attribute__((section("socket"), used)) int search(void *skb)
{
    struct run run = { skb };
    u8 header[20], length[2];
    u32 start;

    if (skb_load_bytes(skb, 0, header, sizeof(header)) || header[0] >> 4 != 4 || header[9] != 17 || (header[6] & 0x1f) | header[7])
        return 0;
    start = (header[0] & 15) * 4;
    if (skb_load_bytes(skb, start + 4, length, sizeof(length)))
        return 0;
    run.at = start + 8;
    run.left = (length[0] << 8 | length[1]) - 8;
    if (run.left > 65507)
        return 0;
    bpf_loop(run.left / WINDOW + 1, window, &run, 0);
    return run.state > LIMIT;
}

__attribute__((section("license"), used)) char license_text[] = "GPL";
"""
"""Returns 1 where a pattern is in the payload of a UDP datagram over IPv4."""


def missing() -> str | None:
    """What has to be installed for it; None where nothing has."""
    lacking = [f"{package} (Debian package)" for package in ("clang", "bpftool") if shutil.which(package) is None]
    return f"install {' and '.join(lacking)}" if lacking else None


def source(patterns: Sequence[bytes]) -> str:
    """The program for these patterns."""
    (automaton,) = pattern_set([(Contains(FieldValue(FIELDS["udp.payload"]), tuple(patterns)), Fold.NONE)])
    cells = [*automaton.rows, *[0] * (ROW_REACH // 4)]
    return SOURCE % {
        "limit": len(automaton.rows) * 4,
        "rows": ",".join(f"{cell}u" for cell in cells),
        "classes": ",".join(map(str, automaton.classes)),
    }


def install(patterns: Sequence[bytes]) -> None:
    """Packets with one of the patterns are dropped by the C program, in the calling thread's network namespace. Raises
    subprocess.CalledProcessError with what clang or bpftool said."""
    folder = make_directory(Pins.here().folder("clang", 1))
    with tempfile.TemporaryDirectory() as place:
        text, compiled = Path(place, "search.c"), Path(place, "search.o")
        text.write_text(source(patterns))
        command = ["clang", "-O2", "-g", "-mcpu=v3", "-target", "bpf", "-Wno-unused-parameter", "-c", str(text), "-o", str(compiled)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        subprocess.run(["bpftool", "prog", "load", str(compiled), str(folder / "search")], check=True, capture_output=True, text=True)
    nft.run(TABLE)
    with Netlink() as kernel:
        match = [netlink.match_bpf(str(folder / "search")), netlink.immediate(Verdict("out", goto=True))]
        kernel.transact([netlink.add_rule("bench", "rules", match)])
