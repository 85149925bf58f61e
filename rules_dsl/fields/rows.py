"""Short ways to write a protocol's rows of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping

from rules_dsl.fields.model import Field, Type

_GROUP = "protocol"


def flag(name: str, summary: str, *, aliases: tuple[str, ...] = (), wireshark: str | None = None) -> Field:
    return Field(name, Type.BOOL, _GROUP, summary, 1, aliases=aliases, wireshark=wireshark)


def number(
    name: str,
    bits: int,
    summary: str,
    *,
    aliases: tuple[str, ...] = (),
    names: Mapping[str, int] | None = None,
    multiple: bool = False,
    bound: int = 16,
    wireshark: str | None = None,
) -> Field:
    """A number of so many bits, at most 32; `names` stand for numbers in comparisons."""
    return Field(
        name, Type.INT, _GROUP, summary, (1 << bits) - 1, aliases=aliases, names=names, multiple=multiple, bound=bound, wireshark=wireshark
    )  # fmt: skip


def text(
    name: str,
    summary: str,
    *,
    aliases: tuple[str, ...] = (),
    multiple: bool = False,
    bound: int = 16,
    keyed: bool = False,
    caseless: bool = False,
    wireshark: str | None = None,
) -> Field:
    """A run of bytes."""
    return Field(
        name, Type.BYTES, _GROUP, summary, aliases=aliases, multiple=multiple, bound=bound, keyed=keyed, caseless=caseless,
        wireshark=wireshark,
    )  # fmt: skip


def address(name: str, summary: str, *, aliases: tuple[str, ...] = (), wireshark: str | None = None) -> Field:
    """An IPv4 or IPv6 address."""
    return Field(name, Type.ADDRESS, _GROUP, summary, aliases=aliases, wireshark=wireshark)
