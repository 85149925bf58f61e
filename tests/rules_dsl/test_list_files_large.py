"""List files that are read by the quick way and by the careful one give the same list, and the same complaints."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

import pytest

from rules_dsl.limits import Limits
from rules_dsl.listfile import parse_list
from rules_dsl.lists import ListKind, ListValue, gathered, item_value
from rules_dsl.ranges import merged, merged_packed


def _item(dice: random.Random) -> str:
    version = dice.choice((4, 6))
    bits, kind = (32, IPv4Address) if version == 4 else (128, IPv6Address)
    address = dice.choice((0, 0x0A << (bits - 8), (1 << bits) - 1)) ^ dice.getrandbits(10) << dice.choice((0, 0, bits - 10))
    length = dice.choice((0, 1, bits // 2, bits - 1, *range(bits - 8, bits + 1)))
    network = address >> (bits - length) << (bits - length)
    other = min(address + dice.getrandbits(8), (1 << bits) - 1)
    return dice.choice((f"{kind(address)}", f"{kind(network)}/{length}", f"{kind(network)}/0{length}", f"{kind(address)}..{kind(other)}"))


@pytest.mark.parametrize("seed", range(20))
def test_addresses_in_every_spelling(seed: int) -> None:
    dice = random.Random(seed)
    items = [_item(dice) for _ in range(300)]
    items = [item for item in items if not item.endswith(("/0100", *(f"/0{length}" for length in range(101, 129))))]
    lines = [dice.choice(("{}", "  {}\t", "{} # why", "{}#why", "# {}\n{}", "\n{}")).replace("{}", item) for item in items]
    value, found = parse_list("\n".join(lines), "listed.txt", Limits())
    assert not found
    assert value == gathered([(item, item_value(item)) for item in items]) == ListValue.of_addresses(items)


def test_numbers_and_strings() -> None:
    assert parse_list('"a"\n"b#c" # d\n"a"\n', "x", Limits())[0] == ListValue(ListKind.STRINGS, strings=(b"a", b"b#c"))
    assert parse_list("80\n443\n8000..8080\n81", "x", Limits())[0] == ListValue(
        ListKind.NUMBERS, numbers=((80, 81), (443, 443), (8000, 8080))
    )
    assert parse_list("# none\n\n", "x", Limits())[0] == ListValue(ListKind.ADDRESSES)


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("192.0.2.0/24\n192.0.2.1/24\n", "E0303", "192.0.2.1/24"),
        ("192.0.2.0/24\n  192.0.2.0/33 # x\n", "E0302", "/33"),
        ("192.0.2.0/24\n192.0.2.0/24 192.0.3.0/24\n", "E0602", "192.0.2.0/24 192.0.3.0/24"),
        ("2001:db8::/32\n2001:db8::1::/32", "E0302", "2001:db8::1::"),
        ('r"text":1', "E0602", 'r"text":1'),
        ("192.0.2.0/24\n80\n", "E0604", "80"),
        ('"text"\n80\n192.0.2.0/24\n', "E0604", "80"),
        ("80\n2001:db8::/32\n", "E0604", "2001:db8::/32"),
        ("192.0.2.1\n192.0.2.2\n192.0.2.3\n192.0.2.4", "E0403", "192.0.2.4"),
        ("192.0.2.1\u0000\n", "E0302", "192.0.2.1\u0000"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, code: str, where: str) -> None:
    value, found = parse_list(text, "listed.txt", Limits(list_items=3))
    assert value is None
    assert [each.code for each in found] == [code]
    span = found[0].span
    assert text[span.start : span.end] == where
    assert span.start == text.rindex(where)


@pytest.mark.parametrize("seed", range(10))
def test_packed_ranges_merge_as_pairs_do(seed: int) -> None:
    dice = random.Random(seed)
    pairs = []
    for _ in range(dice.choice((0, 1, 2, 200))):
        low = dice.choice((0, dice.getrandbits(9), 0xFFFF_FFF0))
        pairs.append((low, min(low + dice.choice((0, 0, 1, dice.getrandbits(5))), 0xFFFF_FFFF)))
    assert merged_packed([low << 32 | high for low, high in pairs], 32) == merged(pairs)
