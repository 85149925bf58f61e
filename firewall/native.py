"""One test as nft matches that say exactly this test for a class of packets, and matches as nft text.

What nft cannot say exactly gets a reason instead, and goes to eBPF."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address

from firewall.match import Conjunction, Key, Match, Notation, PacketClass
from firewall.native_fields import Load, bits_load, load_of
from rules_dsl import expression as ex
from rules_dsl.expression import Ranges
from rules_dsl.fields import HEADER_BYTES, PROTOCOL_OF, Field, Header
from rules_dsl.policy import LONGEST_INTERFACE_NAME

_SAFE_INTERFACE = re.compile(rb"[A-Za-z0-9_.@:+-]+")
"""Interface names that need no quoting rules of nft."""

_EXTENSION_NAMES = {0: "hbh", 43: "rt", 44: "frag", 60: "dst"}
"""nft's names of the IPv6 extension headers, by protocol number; it has none for AH (51)."""


def native(test: ex.Test, packets: PacketClass, vlan_interfaces: Mapping[str, int]) -> Conjunction | bool | str:
    """The matches that together say `test` for packets of the class, or its constant value, or why nft cannot say it.

    `vlan_interfaces`: name of a VLAN interface -> its outermost VLAN id. `test` must have been folded: its field can be in packets
    of the class, and is not constant in them."""
    root = ex.root_of(ex.operand_of(test))
    if isinstance(root, ex.FieldValue) and root.field.name in PROTOCOL_OF:
        return f"nftables does not read into {PROTOCOL_OF[root.field.name].name}"
    match test:
        case ex.IsTrue(field):
            return _is_true(field, packets)
        case ex.InRanges(ex.FieldValue(field), ranges):
            return _field_in_ranges(field, ranges, packets, vlan_interfaces)
        case ex.InRanges(ex.BitSlice(header, start, end), ranges):
            load = bits_load(header, start, end, packets)
            return load if isinstance(load, str) else _in_ranges(load, ranges)
        case ex.InAddresses(ex.FieldValue(field), v4, v6, list_name):
            load = load_of(field, packets)
            return load if isinstance(load, str) else _in_ranges(load, v4 if packets.version == 4 else v6, list_name)
        case ex.AnyBit(ex.FieldValue(field), mask):
            if field.name == "vlan.id":
                return _vlan(lambda number: number & mask != 0, vlan_interfaces)
            load = load_of(field, packets)
            return load if isinstance(load, str) else _any_bit(load, mask)
        case ex.AnyBit(ex.BitSlice(header, start, end), mask):
            load = bits_load(header, start, end, packets)
            return load if isinstance(load, str) else _any_bit(load, mask)
        case _:
            if isinstance(root, ex.FieldValue) and root.field.name in ("interface.in", "interface.out"):
                return _interface(test, root.field)
            return "nftables cannot search or order bytes"


# -- Boolean fields ----------------------------------------------------------------------------------------------------


def _is_true(field: Field, packets: PacketClass) -> Conjunction | bool | str:
    match field.name:
        case "ip.frag" if packets.version == 4:
            return (Match("@nh,48,16 & 0x3fff", ((0, 0),), Notation.HEX, negated=True, always=True),)
        case "ip.frag":
            return (exists(44),)
        case "tcp" | "udp" | "icmp" | "icmpv6" | "sctp" | "gre" | "esp":
            return _whole_header(Header(field.name), packets)
        case _ if field.at:
            load = load_of(field, packets)
            return load if isinstance(load, str) else _in_ranges(load, ((1, 1),)) if load.mask is None else _any_bit(load, 1)
        case _:
            return "nftables does not compute it"


def _whole_header(header: Header, packets: PacketClass) -> Conjunction | str:
    last = bits_load(header, HEADER_BYTES[header] * 8 - 8, HEADER_BYTES[header] * 8, packets)
    if isinstance(last, str):
        return last
    # Loading the last byte says that it is there; masked with 0 it is always 0.
    is_there = Match(f"{last.left} & 0x0", ((0, 0),), Notation.HEX, protocol=last.protocol, reach=last.reach, is_header=True)
    if header is not Header.TCP:
        return (is_there,)
    return (Match("@th,96,8", ((0x50, 0xFF),), Notation.HEX, protocol=last.protocol, reach=13, is_header=True), is_there)


def exists(extension: int) -> Match:
    """The packet has this IPv6 extension header."""
    return Match(f"exthdr {_EXTENSION_NAMES[extension]}", ((1, 1),), Notation.EXISTS, always=True)


# -- numbers and addresses ---------------------------------------------------------------------------------------------


def _field_in_ranges(field: Field, ranges: Ranges, packets: PacketClass, vlan_interfaces: Mapping[str, int]) -> Conjunction | bool | str:
    match field.name:
        case "vlan.id":
            return _vlan(lambda number: any(low <= number <= high for low, high in ranges), vlan_interfaces)
        case "ipv6.exthdr":  # one value at a time: the fold pass takes wider tests apart
            number = ranges[0][0]
            if ranges == ((number, number),) and number in _EXTENSION_NAMES:
                return (exists(number),)
            return "nftables has no match for this extension header"
        case "ip.opt.type":
            options = Match("@nh,0,8 & 0x0f", ((6, 15),), Notation.HEX, always=True)
            return (options, Match("@nh,160,8", ranges, Notation.HEX))
    load = load_of(field, packets)
    return load if isinstance(load, str) else _in_ranges(load, ranges)


def _in_ranges(load: Load, ranges: Ranges, list_name: str | None = None) -> Conjunction | bool:
    inside = ranges
    if load.add or load.scale != 1 or load.shift or (ranges and not 0 <= ranges[0][0] <= ranges[-1][1] <= load.maximum):
        found: list[tuple[int, int]] = []
        for low, high in ranges:
            first, last = max(-((load.add - low) // load.scale), 0), min((high - load.add) // load.scale, load.maximum)
            if first <= last:
                found.append((first << load.shift, last << load.shift))
        inside = tuple(found)
    if not inside:
        return False
    if load.always and inside == ((0, load.maximum << load.shift),):
        return True
    left = load.left if load.mask is None else f"{load.left} & {load.mask:#x}"
    return (
        Match(
            left, inside, load.notation, always=load.always, protocol=load.protocol, typed=load.typed, key=load.key,
            reach=load.reach, list_name=list_name,
        ),
    )  # fmt: skip


def _any_bit(load: Load, mask: int) -> Conjunction | bool | str:
    if load.add or not load.has_bits:
        return "nftables cannot mask this number"
    bits = (mask // load.scale & load.maximum) << load.shift
    if bits == 0:
        return False
    return (
        Match(f"{load.left} & {bits:#x}", ((0, 0),), Notation.HEX, negated=True, always=load.always, protocol=load.protocol,
              typed=load.typed, reach=load.reach),
    )  # fmt: skip


# -- interfaces --------------------------------------------------------------------------------------------------------


def _vlan(accepts: Callable[[int], bool], vlan_interfaces: Mapping[str, int]) -> Conjunction | bool:
    names = tuple(sorted(name for name, number in vlan_interfaces.items() if accepts(number)))
    return (Match("iifname", (), Notation.INTERFACE, names, always=True),) if names else False


def _interface(test: ex.Test, field: Field) -> Conjunction | bool | str:
    left = "iifname" if field.name == "interface.in" else "oifname"
    match test:
        case ex.CompareBytes(ex.FieldValue(), ex.Order.EQ, value):
            values: tuple[bytes, ...] = (value,)
        case ex.InStrings(ex.FieldValue(), values):
            pass
        case ex.Wildcard(ex.FieldValue(), (value,), True):
            values = (value,)
        case ex.StartsWith(ex.FieldValue(), prefix) | ex.Wildcard(ex.FieldValue(), (prefix, b""), True):
            return _interface_prefix(left, prefix)
        case _:
            return UNSUPPORTED_INTERFACE
    names = [value for value in values if 0 < len(value) <= LONGEST_INTERFACE_NAME]
    if not names:
        return False
    if not all(_SAFE_INTERFACE.fullmatch(name) for name in names):
        return UNSAFE_INTERFACE
    return (Match(left, (), Notation.INTERFACE, tuple(name.decode() for name in names), always=True),)


UNSUPPORTED_INTERFACE = 'interfaces compare by ==, in { ... }, starts_with or strict wildcard "name*" only'
UNSAFE_INTERFACE = "an interface name here is letters, digits and _ . @ : + -"


def _interface_prefix(left: str, prefix: bytes) -> Conjunction | bool | str:
    if not prefix:
        return True
    if len(prefix) > LONGEST_INTERFACE_NAME:
        return False
    if not _SAFE_INTERFACE.fullmatch(prefix):
        return UNSAFE_INTERFACE
    name = prefix.decode()
    return (Match(left, (), Notation.INTERFACE, (name if len(prefix) == LONGEST_INTERFACE_NAME else name + "*",), always=True),)


# -- text --------------------------------------------------------------------------------------------------------------


def protocol_match(number: int) -> Match:
    return Match("meta l4proto", ((number, number),), key=Key.PROTOCOL)


def match_text(match: Match, set_name: str | None = None) -> str:
    """nft's words for one match; `set_name`: a named set with its values."""
    if match.notation is Notation.EXISTS:
        return f"{match.left} {'missing' if match.negated else 'exists'}"
    operator = "!=" if match.negated else "=="
    if set_name is not None:
        return f"{match.left} {operator} @{set_name}" if match.negated else f"{match.left} @{set_name}"
    if match.notation is Notation.INTERFACE:
        quoted = [f'"{name}"' for name in match.names]
        values = quoted[0] if len(quoted) == 1 else "{ " + ", ".join(quoted) + " }"
        return f"{match.left} {operator} {values}"
    texts = [range_text(match.notation, low, high) for low, high in match.ranges]
    if len(texts) == 1:
        return f"{match.left} {operator} {texts[0]}"
    return f"{match.left} {'!= ' if match.negated else ''}{{ {', '.join(texts)} }}"


def range_text(notation: Notation, low: int, high: int) -> str:
    return value_text(notation, low) if low == high else f"{value_text(notation, low)}-{value_text(notation, high)}"


def value_text(notation: Notation, value: int) -> str:
    match notation:
        case Notation.IPV4:
            return str(IPv4Address(value))
        case Notation.IPV6:
            return str(IPv6Address(value))
        case Notation.HEX:
            return hex(value)
        case _:
            return str(value)
