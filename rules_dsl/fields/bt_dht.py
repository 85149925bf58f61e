# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of BitTorrent's distributed hash table."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, text

BT_DHT: Final = Protocol(
    "bt_dht",
    "BitTorrent distributed hash table (BEP 5)",
    (Header.UDP,),
    "UDP's payload begins with a bencoded dictionary whose first key, or the one behind `ip` with 6 or 18 bytes, is `a` or `r` with a dictionary or `e` with a list. "
    "Of the payload the first 1,500 bytes are looked at.",
    (
        flag("bt_dht", "A message of the distributed hash table.", wireshark="bt-dht"),
        text("bt_dht.type", "The kind of message, of the key `y`: `q` query, `r` response, `e` error; absent without one."),
        text("bt_dht.query", "The method of a query, of the key `q`: `ping`, `find_node`, `get_peers`, `announce_peer`; absent without one."),
        text("bt_dht.id", "The 20 bytes of the sending node's id, of the key `id` in `a` or else in `r`; absent without one."),
        text("bt_dht.info_hash", "The 20 bytes that name a torrent, of the key `info_hash` in `a`; absent without one."),
    ),
)  # fmt: skip
