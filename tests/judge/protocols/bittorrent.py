"""BitTorrent: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _handshake(test: str) -> str:
    return f"({under('tcp(?::mptcp)*:bittorrent')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("bittorrent", under("tcp(?::mptcp)*:bittorrent")),
    ('bittorrent.peer_id contains "-UW130Q-"', _handshake('bittorrent.peer_id contains "-UW130Q-"')),
    ("starts_with(bittorrent.info_hash, 0f:6b:9c)", _handshake("bittorrent.info_hash[0:3] == 0f:6b:9c")),
    ("bittorrent.reserved == 00:00:00:00:00:18:00:05", _handshake("bittorrent.reserved == 00:00:00:00:00:18:00:05")),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("BitTorrent behind its handshake", ("bittorrent",), wireshark="bittorrent and not bittorrent.protocol.name"),
)  # fmt: skip
