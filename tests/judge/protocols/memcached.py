"""memcached: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

PAIRS: tuple[tuple[str, str], ...] = (
    ("memcached", under("(?:udp|tcp):memcache")),
    ('memcached.command == "get"', f'({under("tcp:memcache")} and memcache.command == "get")'),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "memcached on other ports",
        ("memcached",),
        mantlet="memcached and not (tcp.srcport == 11211 or tcp.dstport == 11211 or udp.srcport == 11211 or udp.dstport == 11211)",
    ),
    Difference("memcached's frame header", ("memcached",), wireshark=under("udp:memcache")),
    Difference(
        "memcached within a stream",
        ("memcached",),
        wireshark=f'{under("tcp:memcache")} and not memcache.magic and (not memcache.command or memcache.command == "quit")',
    ),
)
