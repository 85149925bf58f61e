"""Where Mantlet and Wireshark mean different things on purpose. docs/reference/wireshark.md lists them with their reasons; a test
holds the two together. A frame on which they differ must be one of these, for one of these fields."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Difference:
    title: str
    """As the page's heading has it."""
    fields: tuple[str, ...]
    """Expressions that name a field with one of these prefixes are concerned."""
    mantlet: str | None = None
    """The frames concerned, as an expression of ours,"""
    wireshark: str | None = None
    """or as a display filter."""


DIFFERENCES = (
    Difference("A TCP header that is not whole", ("tcp",), mantlet='ip.proto == "tcp" and not tcp and not ip.frag.offset > 0'),
    Difference("AccECN connections", ("tcp.flags",), wireshark="tcp.flags.ace"),
    Difference("An IPv6 payload length of 0", ("ip.frag", "ipv6.exthdr"), mantlet="ip.version == 6 and ip.len == 40"),
)
