"""The handshake of BitTorrent's peer protocol (BEP 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

_BEGIN = b"\x13BitTorrent protocol"
_PARTS = (("bittorrent.reserved", 20, 28), ("bittorrent.info_hash", 28, 48), ("bittorrent.peer_id", 48, 68))


def dissect_bittorrent(packet: Packet) -> Mapping[str, Value] | None:
    message = packet.tcp_payload
    if message is None or not message.startswith(_BEGIN):
        return None
    return {"bittorrent": True, **{name: message[start:end] for name, start, end in _PARTS if end <= len(message)}}
