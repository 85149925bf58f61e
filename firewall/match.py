"""One nft match as data, and the classes of packets that it is made for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rules_dsl.expression import Ranges


class PacketClass(Enum):
    """Packets for which nftables reads the transport header in one way. Each class has its own chain.

    nft does not keep its hands off later fragments: on Linux 6.18 `tcp dport` compares bytes of an IPv4 later fragment's data, and
    of the IPv6 header itself (offset 0) for an IPv6 one. So they are told apart before any rule."""

    IP4 = "ip4"
    """IPv4 with fragment offset 0."""
    IP4_LATER = "ip4.later"
    """IPv4, a later fragment: no transport header."""
    IP6 = "ip6"
    """IPv6 whose transport header, if any, nft finds."""
    IP6_LATER = "ip6.later"
    """IPv6 whose first fragment header has an offset: no transport header."""
    IP6_ODD = "ip6.odd"
    """IPv6 with an authentication header (nft's walk ends there, ours goes on), or with a further extension header behind the
    first fragment's fragment header (it may be a second fragment header, which nft's matches do not see): eBPF finds the
    transport header."""

    @property
    def version(self) -> int:
        return 4 if self in (PacketClass.IP4, PacketClass.IP4_LATER) else 6

    @property
    def is_later_fragment(self) -> bool:
        return self in (PacketClass.IP4_LATER, PacketClass.IP6_LATER)


class Key(Enum):
    """What a verdict map can look a packet up by."""

    SOURCE = "source address"
    DESTINATION = "destination address"
    SOURCE_PORT = "source port"
    DESTINATION_PORT = "destination port"
    PROTOCOL = "protocol"


class Notation(Enum):
    """How nft writes the values of a match."""

    NUMBER = "number"
    HEX = "hex"
    IPV4 = "ipv4"
    IPV6 = "ipv6"
    INTERFACE = "interface"
    """The names are in `Match.names`."""
    EXISTS = "exists"
    """`exists` or, negated, `missing`."""


@dataclass(frozen=True, slots=True)
class Match:
    """One nft match: `left` has a value in `ranges` (negated: has a value, and none of these).

    Where the packet does not have what `left` reads, nft's rule ends without a match, negated or not."""

    left: str
    """nft's expression, with its mask if it has one."""
    ranges: Ranges = ()
    notation: Notation = Notation.NUMBER
    names: tuple[str, ...] = ()
    """Interface names; a last `*` is a wildcard, and then it is the only name."""
    negated: bool = False
    always: bool = False
    """Every packet of the class has `left`: the opposite is the same match negated."""
    protocol: int | None = None
    """The transport protocol (IANA number) under which alone `left` means this."""
    typed: bool = False
    """nft adds the match on `protocol` itself."""
    reach: int = 0
    """How many bytes of the transport header, from its first, are certainly there where the match holds."""
    key: Key | None = None
    is_header: bool = False
    """It, or it with others of which that is said, says that the fixed part of the protocol's header is whole."""
    list_name: str | None = None

    @property
    def cost(self) -> int:
        """Rank of the price of one evaluation: what is cheap stands first in a rule."""
        extra = 0 if len(self.ranges) <= 1 else 2
        if self.left.startswith(("exthdr", "frag")):
            return 6
        if self.left.startswith("@ih"):
            return 3
        if self.key is Key.PROTOCOL:
            return extra
        return 1 + extra + (self.notation is Notation.IPV6)


Conjunction = tuple[Match, ...]
