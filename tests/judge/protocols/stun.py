"""STUN: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _stun(test: str) -> str:
    """The first message of the outermost packet."""
    return f"({under('(?:udp|tcp):stun')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("stun", _stun("stun.cookie")),
    ("stun.type == 0x0001", _stun("stun.type#1 == 0x0001")),
    ("stun.type in {0x0101 0x0113}", _stun("stun.type#1 in {0x0101, 0x0113}")),
    ("stun.method == 3", _stun("stun.type.method#1 == 3")),
    ("stun.type.method > 5", _stun("stun.type.method#1 > 5")),
    ('stun.class == "success"', _stun("stun.type.class#1 == 0x10")),
    ("stun.type.class == 0x11", _stun("stun.type.class#1 == 0x11")),
    ("stun.type.class == 0 and stun", _stun("stun.type.class#1 == 0")),
    ("stun.length > 80", _stun("stun.length#1 > 80 and stun.cookie")),
    ("stun.length == 0", _stun("stun.length#1 == 0 and stun.cookie")),
    ("stun.cookie == 21:12:a4:42", _stun("stun.cookie#1 == 21:12:a4:42")),
    ("starts_with(stun.id, 70:72)", _stun("stun.id#1[0:2] == 70:72")),
    ("stun.att.type == 6", _stun("stun.att.type == 6")),
    ("stun.att.type in {0x8022 0x8028}", _stun("(stun.att.type == 0x8022 or stun.att.type == 0x8028)")),
    ('stun.att.username contains "ToEd"', _stun('stun.att.username contains "ToEd"')),
    ('stun.att.username == "Mf2h9Hi5aPMRplF1"', _stun('stun.att.username == "Mf2h9Hi5aPMRplF1"')),
    ('starts_with(stun.att.software, "Coturn-4")', _stun('stun.att.software matches "^Coturn-4"')),
    ("len(stun.att.software) > 0", _stun("stun.att.software")),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "STUN methods that nobody assigned",
        ("stun",),
        mantlet="stun and not stun.method in {0x0001 0x0003 0x0004 0x0006..0x000c 0x0080 0x0200}",
    ),
)  # fmt: skip
