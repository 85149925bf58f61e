# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of BitTorrent."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, text

BITTORRENT: Final = Protocol(
    "bittorrent",
    "BitTorrent peer protocol, handshake (BEP 3)",
    (Header.TCP,),
    "TCP's payload begins with a byte 19 and `BitTorrent protocol`.",
    (
        flag("bittorrent", "A handshake of BitTorrent: the first packet of each side. What follows it has no mark of its own, and an encrypted connection has none at all."),
        text("bittorrent.reserved", "The 8 bytes of the extensions offered; absent where the packet ends before their end.", wireshark="bittorrent.reserved"),
        text("bittorrent.info_hash", "The 20 bytes of the hash that names the torrent; absent where the packet ends before their end.", wireshark="bittorrent.info_hash"),
        text("bittorrent.peer_id", "The 20 bytes of the peer's own name, which begin with the client's: `-qB4500-`; absent where the packet ends before their end.", wireshark="bittorrent.peer_id"),
    ),
)  # fmt: skip
