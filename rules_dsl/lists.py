"""Lists: named sets of addresses, numbers or strings, from a rule file, from a file of their own, or from a store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from rules_dsl import literals
from rules_dsl.expression import Ranges
from rules_dsl.literals import LiteralError
from rules_dsl.ranges import merged, merged_packed


class ListKind(Enum):
    ADDRESSES = "addresses"
    NUMBERS = "numbers"
    STRINGS = "strings"


@dataclass(frozen=True, slots=True)
class ListValue:
    """What a list holds; the parts that its kind does not need are empty."""

    kind: ListKind
    v4: Ranges = ()
    v6: Ranges = ()
    numbers: Ranges = ()
    strings: tuple[bytes, ...] = ()
    """Unique, in source order."""

    @staticmethod
    def of_addresses(items: Iterable[str]) -> ListValue:
        """Addresses, CIDRs and address ranges. Raises LiteralError."""
        found = PackedAddresses()
        for item in items:
            if not found.add_plain(item):
                found.add(*literals.address_range(item))
        return found.gathered()

    @staticmethod
    def of_numbers(items: Iterable[int | tuple[int, int]]) -> ListValue:
        """Numbers and inclusive (low, high) pairs."""
        return ListValue(ListKind.NUMBERS, numbers=merged((item, item) if isinstance(item, int) else item for item in items))

    @staticmethod
    def of_strings(items: Iterable[bytes]) -> ListValue:
        return ListValue(ListKind.STRINGS, strings=tuple(dict.fromkeys(items)))


_HOST_BITS: Final = {version: {str(bits - host): (1 << host) - 1 for host in range(bits + 1)} for version, bits in literals.BITS.items()}
"""The bits behind a prefix, by its length in plain decimal, by IP version."""


class PackedAddresses:
    """Addresses that are gathered: of each range its low end above its high end in one number, which takes less time and memory than
    a pair."""

    def __init__(self) -> None:
        self._v4: list[int] = []
        self._v6: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._v4 or self._v6)

    def add(self, version: int, low: int, high: int) -> None:
        (self._v4 if version == 4 else self._v6).append(low << literals.BITS[version] | high)

    def add_plain(self, spelling: str) -> bool:
        """Add it, if it is an address or a network without a doubt (literals.address_range knows them all, and what is wrong)."""
        base, slash, length = spelling.partition("/")
        try:
            if ":" in base:
                address = int.from_bytes(inet_pton(AF_INET6, base), "big")
                host = _HOST_BITS[6][length] if slash else 0
                if not address & host:
                    self._v6.append(address << 128 | address | host)
                    return True
            else:
                address = int.from_bytes(inet_pton(AF_INET, base), "big")
                host = _HOST_BITS[4][length] if slash else 0
                if not address & host:
                    self._v4.append(address << 32 | address | host)
                    return True
        except (OSError, ValueError, KeyError):
            pass
        return False

    def gathered(self) -> ListValue:
        """The list, for which all of them are used up."""
        v4, v6 = merged_packed(self._v4, 32), merged_packed(self._v6, 128)
        self._v4.clear()
        self._v6.clear()
        return ListValue(ListKind.ADDRESSES, v4, v6)


ItemValue = tuple[int, int, int] | tuple[int, int] | bytes
"""(version, low, high) of an address range, (low, high) of a number range, or a string."""


def kind_of(value: ItemValue) -> ListKind:
    if isinstance(value, bytes):
        return ListKind.STRINGS
    return ListKind.ADDRESSES if len(value) == 3 else ListKind.NUMBERS


def item_value(spelling: str) -> ItemValue:
    """The value of one item of a list, whose spelling says what it is. Raises LiteralError."""
    if spelling.startswith(('"', 'r"', "r#")):
        return literals.string_value(spelling)
    first = spelling.split("..", 1)[0]
    if ":" in first:
        try:
            return literals.address_range(spelling)
        except LiteralError as error:
            if error.code != "E0302":
                raise
            try:
                return literals.bytes_value(spelling)
            except LiteralError:
                raise error from None
    if "." in first or "/" in first:
        return literals.address_range(spelling)
    return literals.number_range(spelling)


def gathered(items: Iterable[tuple[str, ItemValue]]) -> ListValue:
    """One list from the values of its items, which are of one kind (an assertion: say so to the user before)."""
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    numbers: list[tuple[int, int]] = []
    strings: dict[bytes, None] = {}
    for _, value in items:
        if isinstance(value, bytes):
            strings[value] = None
        elif len(value) == 3:
            (v4 if value[0] == 4 else v6).append((value[1], value[2]))
        else:
            numbers.append(value)
    assert (bool(v4) or bool(v6)) + bool(numbers) + bool(strings) <= 1
    kind = ListKind.STRINGS if strings else ListKind.NUMBERS if numbers else ListKind.ADDRESSES
    return ListValue(kind, merged(v4), merged(v6), merged(numbers), tuple(strings))
