"""The reference on handshakes of BitTorrent."""

from __future__ import annotations

import pytest

from rules_dsl.dissectors import DISSECTORS
from rules_dsl.packet import Packet, Place
from rules_dsl.value import Value

HANDSHAKE = b"\x13BitTorrent protocol" + bytes(5) + b"\x18\0\5" + b"h" * 20 + b"-qB4500-abcdefghijkl"


def get(payload: bytes) -> dict[str, Value] | None:
    segment = bytes(12) + b"\x50\x18" + bytes(6) + payload
    packet = b"\x45\0" + (20 + len(segment)).to_bytes(2) + bytes(4) + b"\x40\x06" + bytes(10) + segment
    values = DISSECTORS["bittorrent"](Packet(packet, Place("eth0")))
    return None if values is None else dict(values)


@pytest.mark.parametrize("behind", [b"", b"\0\0\0\5\x14"])
def test_a_handshake(behind: bytes) -> None:
    assert get(HANDSHAKE + behind) == {
        "bittorrent": True, "bittorrent.reserved": b"\0\0\0\0\0\x18\0\5", "bittorrent.info_hash": b"h" * 20,
        "bittorrent.peer_id": b"-qB4500-abcdefghijkl",
    }  # fmt: skip


@pytest.mark.parametrize(("length", "fields"), [(67, 3), (48, 3), (47, 2), (28, 2), (27, 1), (20, 1)])
def test_what_is_not_whole_is_absent(length: int, fields: int) -> None:
    values = get(HANDSHAKE[:length])
    assert values is not None
    assert len(values) == fields


@pytest.mark.parametrize("payload", [b"", HANDSHAKE[:19], b"\x12" + HANDSHAKE[1:], HANDSHAKE[1:], HANDSHAKE.lower()])
def test_what_is_none(payload: bytes) -> None:
    assert get(payload) is None
