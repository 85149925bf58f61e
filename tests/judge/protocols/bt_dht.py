"""BitTorrent's distributed hash table: pairs of expressions."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _dht(test: str) -> str:
    return f"({under('udp:bt-dht')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("bt_dht", under("udp:bt-dht")),
    ('bt_dht.query == "get_peers"', _dht('bt-dht.bencoded.string == "get_peers"')),
    ('bt_dht.query == "find_node"', _dht('bt-dht.bencoded.string == "find_node"')),
    ('bt_dht.type == "q"', _dht('udp.payload contains "1:y1:q"')),
    ('bt_dht.type == "r"', _dht('udp.payload contains "1:y1:r"')),
    ("starts_with(bt_dht.id, f6:02:77)", _dht("udp.payload contains 32:3a:69:64:32:30:3a:f6:02:77")),
    ("starts_with(bt_dht.info_hash, f7:f6:01)", _dht("udp.payload contains 68:61:73:68:32:30:3a:f7:f6:01")),
)

DIFFERENCES: tuple[Difference, ...] = ()
