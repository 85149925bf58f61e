"""tshark as judge: the frames of a capture that a display filter selects, reassembly off."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PREFERENCES = (
    "ip.defragment:false",
    "ipv6.defragment:false",
    "tcp.desegment_tcp_streams:false",
    "tcp.reassemble_out_of_order:false",
)  # fmt: skip


def frames(capture: Path, display_filter: str) -> set[int]:
    """Numbers of the frames of `capture` that `display_filter` selects."""
    options = [word for preference in _PREFERENCES for word in ("-o", preference)]
    command = ["tshark", "-n", "-r", str(capture), *options, "-Y", display_filter, "-T", "fields", "-e", "frame.number"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"tshark refuses {display_filter!r}: {done.stderr.strip().splitlines()[-1]}")
    return {int(number) for number in done.stdout.split()}
