"""Countries and AS numbers from a MaxMind DB (MMDB) file, whoever made it: format version 2.0.

The library checks the file and decodes its records. The search tree is walked here, as files share records among networks: the library's
own walk decodes a record anew for every network, which takes most of a minute for half a million, and gives up on a network shorter than
::/96 that IPv4 is a part of.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping

import maxminddb
from maxminddb.decoder import Decoder

from rules_dsl.geo_entries import Entries, Open, broken, is_country

SEPARATOR = 16
"""Zero bytes between the search tree and the records."""
MAX_STEPS = 20_000_000
"""Nodes looked at, about one a network. Nodes of a damaged file may lead to each other in ever so many ways."""

_V4 = 96
"""The depth at which IPv4 stands in an IPv6 tree: 0.0.0.0/0 is ::/96."""
_SYSTEM = re.compile(r"(?:AS)?([0-9]{1,10})", re.IGNORECASE)
_UNKNOWN = "ZZ"


class _NoSenseError(Exception):
    """What the file says cannot be."""


# What the library and the walk may meet in a damaged file; the library checks sizes, and not the types of the metadata.
_DAMAGE = (maxminddb.InvalidDatabaseError, _NoSenseError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


def read_mmdb(data: bytes, name: str) -> Entries:
    """The entries of a file. Raises DiagnosticError (E0605)."""
    try:
        entries = _entries(data)
    except _DAMAGE as error:
        # What the other exceptions say is about Python's objects.
        reason = (
            " ".join(str(error).split())
            if isinstance(error, maxminddb.InvalidDatabaseError | _NoSenseError)
            else "its metadata or records make no sense"
        )
        raise broken(name, f"`{name}` is a damaged MMDB file: {reason}", "fetch it again") from None
    if not entries.countries and not entries.systems:
        help = "a country, city or ASN database is wanted"
        raise broken(name, f"`{name}` is an MMDB file without countries and AS numbers", help)
    return entries


def _entries(data: bytes) -> Entries:
    with maxminddb.open_database(io.BytesIO(data), maxminddb.MODE_FD) as database:
        metadata = database.metadata()
    if metadata.binary_format_major_version != 2 or metadata.ip_version not in (4, 6):
        raise _NoSenseError(f"format {metadata.binary_format_major_version}, IP version {metadata.ip_version}")
    count, start = metadata.node_count, metadata.search_tree_size
    decoder = Decoder(data, start + SEPARATOR)
    entries = Entries()
    known: dict[int, tuple[Open, ...]] = {}
    v6_tree = metadata.ip_version == 6
    bits = 128 if v6_tree else 32
    for pointer, depth, prefix in _leaves(_node_reader(data, metadata.record_size), count, bits):
        owners = known.get(pointer)
        if owners is None:
            owners = known[pointer] = _owners(entries, decoder.decode(pointer - count + start)[0])
        if not owners:
            continue
        low = prefix << (bits - depth)
        high = low | ((1 << (bits - depth)) - 1)
        for owner in owners:
            if not v6_tree or high < 1 << 32:
                owner[0].append((low, high))
            elif low == 0:  # a network that all of IPv4 is a part of
                owner[0].append((0, (1 << 32) - 1))
                owner[1].append((1 << 32, high))
            else:
                owner[1].append((low, high))
    return entries


def _node_reader(data: bytes, size: int) -> Callable[[int], tuple[int, int]]:
    """Reads a node's two records, of `size` bits each."""
    number = int.from_bytes
    if size == 24:
        return lambda node: (number(data[(at := node * 6) : at + 3], "big"), number(data[at + 3 : at + 6], "big"))
    if size == 28:  # the middle byte holds the high bits of both
        return lambda node: (
            number(data[(at := node * 7) : at + 3], "big") | (data[at + 3] & 0xF0) << 20,
            number(data[at + 3 : at + 7], "big") & 0xFFFFFFF,
        )
    return lambda node: (number(data[(at := node * 8) : at + 4], "big"), number(data[at + 4 : at + 8], "big"))


def _leaves(read: Callable[[int], tuple[int, int]], count: int, bits: int) -> Iterator[tuple[int, int, int]]:
    """(record, depth, prefix) of every network that has a record, in ascending order.

    An IPv6 tree may lead to the IPv4 networks at several places (2002::/16, 2001::/32, ::ffff:0:0/96, 64:ff9b::/96): these are ways to look
    an address up, and no networks of their own."""
    ipv4 = 0
    for _ in range(_V4 if bits == 128 else 0):
        if ipv4 >= count:
            break
        ipv4 = read(ipv4)[0]
    if bits == 32 or ipv4 >= count:
        ipv4 = -1
    steps = 0
    waiting = [(0, 0, 0)]
    while waiting:
        node, depth, prefix = waiting.pop()
        if node > count:
            yield node, depth, prefix
        elif node < count and not (node == ipv4 and prefix):
            steps += 1
            if depth == bits or steps > MAX_STEPS:
                raise _NoSenseError("its search tree has no end")
            left, right = read(node)
            waiting.append((right, depth + 1, prefix << 1 | 1))
            waiting.append((left, depth + 1, prefix << 1))


# -- records -----------------------------------------------------------------------------------------------------------


def _owners(entries: Entries, record: object) -> tuple[Open, ...]:
    """Where the networks of a record are gathered."""
    if not isinstance(record, Mapping):
        return ()
    country, system = _country(record), _system(record)
    of_country = () if country is None else (entries.of_country(country),)
    return of_country if system is None else (*of_country, entries.of_system(system))


def _country(record: Mapping[str, object]) -> bytes | None:
    """Where the addresses are; or else, of a record that does not say, for where they are registered."""
    for said in (record.get("country"), record.get("country_code"), record.get("registered_country")):
        code = said.get("iso_code") if isinstance(said, Mapping) else said
        if isinstance(code, str) and code.upper() != _UNKNOWN and is_country(code.upper().encode()):
            return code.upper().encode()
    return None


def _system(record: Mapping[str, object]) -> int | None:
    traits = record.get("traits")
    for holder in (record, traits if isinstance(traits, Mapping) else {}):
        for key in ("autonomous_system_number", "asn", "as_number"):
            said = holder.get(key)
            if isinstance(said, str) and (spelled := _SYSTEM.fullmatch(said)):
                said = int(spelled[1])
            if isinstance(said, int) and not isinstance(said, bool) and 0 < said < 1 << 32:
                return said
    return None
