"""What an operator sets of the listening process: sizes, rates, what answers without a token, and where its state is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

USUAL_STATE: Final = Path("/var/lib/mantlet")
"""As `firewall.state` has it, which is not imported for a help text."""


def usual_file() -> Path:
    """The SQLite file that is the store where no other is named, in a folder of its own."""
    return Path(os.environ.get("MANTLET_STATE_DIR") or USUAL_STATE) / "api" / "store.db"


def usual_store() -> str:
    """The address of the store where a command names none."""
    return os.environ.get("MANTLET_STORE") or str(usual_file())


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and so many at once (a token bucket)."""

    per_second: float
    burst: float


@dataclass(frozen=True, slots=True)
class Settings:
    body_limit: int = 16 << 20
    """Bytes of a request's body; a thousand rules are some hundred kilobytes."""
    capture_limit: int = 64 << 20
    """Bytes of a capture that is sent to be replayed."""
    requests: Rate = Rate(200, 400)
    """Of each token."""
    failures: Rate = Rate(0.2, 20)
    """Of each address: requests whose token does not count. One with a token that counts is never held up by them."""
    open_metrics: bool = False
    """Whether /metrics answers without a token to clients on loopback."""
    heartbeat_s: float = 15.0
    """Seconds between signs of life of an event stream."""
    at_once: int = 64
    """Requests of each tenant that are answered at a time: what one asks for does not take all threads from the others."""
    replays: int = 2
    """Of these, replays."""
    streams: int = 32
    """Event streams at a time, of each tenant."""
    audit_days: int = 400
    """After which a record of the audit log is deleted."""


DEFAULTS = Settings()
