"""What eBPF programs cannot test, and the error where one is asked to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rules_dsl.expression import FieldValue, Test, operand_of, root_of

_NATIVE: Final = "an eBPF program of this hook is not told {}; nftables tests it"
_LATER: Final = "{} cannot be enforced yet"
_FOLDED: Final = "{} is resolved before any program is made"

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "interface.in": _NATIVE.format("the interface's name"),
        "interface.out": _NATIVE.format("the interface's name"),
        "vlan.id": _NATIVE.format("the interface's VLAN"),
        "ct.state": _LATER.format("ct.state"),
        "ct.direction": _LATER.format("ct.direction"),
        **{
            name: _FOLDED.format(name)
            for name in (
                "cf.colo.name", "cf.colo.region",
                "ip.src.country", "ip.dst.country", "ip.geoip.country", "ip.src.asnum", "ip.dst.asnum",
            )
        },
    }
)  # fmt: skip


class LoweringError(Exception):
    """A test that no program can be made for: refused (`refusal` says so beforehand), or beyond a bound of the tables."""

    def __init__(self, test: Test, reason: str) -> None:
        self.test = test
        self.reason = reason
        super().__init__(reason)


def refusal(test: Test) -> str | None:
    """Why eBPF cannot test it; None where it can."""
    root = root_of(operand_of(test))
    if isinstance(root, FieldValue) and root.field.name in _FIELDS:
        return _FIELDS[root.field.name]
    return None
