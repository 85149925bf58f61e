"""Countries and AS numbers from MMDB files, registries' statistics and CSV: what is read, how files add up, and what damage is told."""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import maxminddb
import pytest
from generators.mmdb import write_mmdb

from rules_dsl import DiagnosticError, Geo, check_policy
from rules_dsl.geo import Addresses

DE = {"country": {"iso_code": "DE", "names": {"en": "Germany"}}, "registered_country": {"iso_code": "FR"}}


def addresses(*networks: str) -> Addresses:
    """Networks in ascending order that do not touch."""
    parsed = [ipaddress.ip_network(network) for network in networks]
    v4, v6 = (
        tuple((int(net.network_address), int(net.broadcast_address)) for net in parsed if net.version == version) for version in (4, 6)
    )
    return v4, v6


def mmdb(folder: Path, networks: Mapping[str, object], **how: object) -> Geo:
    return Geo.load(write_mmdb(folder / "x.mmdb", networks, **how))  # type: ignore[arg-type]


def message(content: bytes | str, name: str = "x") -> str:
    with pytest.raises(DiagnosticError) as error:
        Geo.parse(content, name)
    assert {diagnostic.code for diagnostic in error.value.diagnostics} <= {"E0605", "E0007"}
    return error.value.diagnostics[0].message


# -- MMDB --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "country", "system"),
    [
        (DE, b"DE", None),
        ({"country": {"iso_code": "DE"}, "autonomous_system_number": 64496}, b"DE", 64496),
        ({"registered_country": {"iso_code": "FR"}}, b"FR", None),
        ({"country": {"names": {"en": "?"}}, "registered_country": {"iso_code": "FR"}}, b"FR", None),
        ({"autonomous_system_number": 4294967295, "autonomous_system_organization": "x"}, None, 4294967295),
        ({"country": "United States", "country_code": "US", "asn": "AS64497", "as_name": "x"}, b"US", 64497),
        ({"country": "us", "country_name": "United States"}, b"US", None),
        ({"asn": "64498"}, None, 64498),
        ({"asn": 64499, "country": {"iso_code": "ZZ"}}, None, 64499),
        ({"traits": {"autonomous_system_number": 64500}, "country": {"iso_code": "AT"}}, b"AT", 64500),
    ],
)
def test_the_shapes_of_records(tmp_path: Path, record: object, country: bytes | None, system: int | None) -> None:
    geo = mmdb(tmp_path, {"192.0.2.0/24": record, "2001:db8::/32": record})
    here = addresses("192.0.2.0/24", "2001:db8::/32")
    assert geo.countries == ({} if country is None else {country: here})
    assert geo.systems == ({} if system is None else {system: here})


@pytest.mark.parametrize("aliased", [False, True])
def test_ipv4_in_an_ipv6_tree_is_there_once(tmp_path: Path, aliased: bool) -> None:
    networks = ("0.0.0.0/1", "192.0.2.0/24", "255.255.255.255/32", "2001:db8::/32", "2a00::/12")
    geo = mmdb(tmp_path, dict.fromkeys(networks, DE), aliased=aliased)
    assert geo.countries == {b"DE": addresses(*networks)}


def test_a_tree_of_ipv4_alone(tmp_path: Path) -> None:
    geo = mmdb(tmp_path, {"0.0.0.0/1": DE, "128.0.0.0/1": DE, "10.0.0.0/8": {"country": "FR"}}, ip_version=4)
    assert geo.countries[b"FR"] == addresses("10.0.0.0/8")
    assert geo.countries[b"DE"] == (((0, 0x09FFFFFF), (0x0B000000, 0xFFFFFFFF)), ())


def test_a_network_that_ipv4_is_a_part_of(tmp_path: Path) -> None:
    geo = mmdb(tmp_path, {"::/64": DE, "2001:db8::/32": DE})
    low, high = 0x20010DB8 << 96, (0x20010DB9 << 96) - 1
    assert geo.countries == {b"DE": (((0, 0xFFFFFFFF),), ((1 << 32, (1 << 64) - 1), (low, high)))}


def test_all_of_ipv4_with_the_record_of_an_ipv6_network(tmp_path: Path) -> None:
    assert mmdb(tmp_path, {"0.0.0.0/0": DE, "2001:db8::/32": DE}).countries == {b"DE": addresses("0.0.0.0/0", "2001:db8::/32")}


@pytest.mark.parametrize("record_size", [24, 28, 32])
def test_random_trees_say_what_a_look_up_in_the_library_says(tmp_path: Path, record_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmdb_writer

    def widened(writer: mmdb_writer.TreeWriter) -> None:
        writer.record_size = record_size
        writer.data_offset = record_size * 2 // 8 * writer._node_counter

    monkeypatch.setattr(mmdb_writer.TreeWriter, "_adjust_record_size", widened)
    random_ = random.Random(record_size)
    networks: dict[str, object] = {}
    for _ in range(400):
        length = random_.randint(4, 32)
        networks[str(ipaddress.ip_network((random_.getrandbits(length) << 32 - length, length)))] = {
            "country": random_.choice(["DE", "FR"])
        }
        length = random_.randint(9, 128)
        number = (0x2C << 120 | random_.getrandbits(120)) >> 128 - length << 128 - length
        networks[str(ipaddress.ip_network((number, length)))] = {"country": random_.choice(["DE", "FR"]), "asn": random_.randint(1, 5)}
    path = write_mmdb(tmp_path / "x.mmdb", networks, aliased=True)
    geo = Geo.load(path)
    edges = [edge for by in (geo.countries, geo.systems) for pairs in by.values() for part in pairs for pair in part for edge in pair]
    with maxminddb.open_database(str(path)) as database:
        assert database.metadata().record_size == record_size
        for number in {near for edge in edges for near in (edge - 1, edge, edge + 1) if 0 <= near < 1 << 128}:
            for address in (
                (ipaddress.IPv4Address(number), ipaddress.IPv6Address(number)) if number < 1 << 32 else (ipaddress.IPv6Address(number),)
            ):
                if address.version == 6 and (number < 1 << 32 or any(address in ipaddress.ip_network(net) for net in ALIASED)):
                    continue
                record = database.get(address) or {}
                assert isinstance(record, dict)
                code, system = record.get("country"), record.get("asn")
                assert [key.decode() for key in geo.countries if _has(geo.countries[key], address)] == ([code] if code else [])
                assert [key for key in geo.systems if _has(geo.systems[key], address)] == ([system] if system else [])


ALIASED = ("2002::/16", "2001::/32", "::ffff:0:0/96", "64:ff9b::/96")


def _has(ranges: Addresses, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(low <= int(address) <= high for low, high in ranges[address.version == 6])


def test_a_damaged_mmdb_is_a_diagnostic(tmp_path: Path) -> None:
    """Bytes changed anywhere: what is read is a table or a diagnostic, in time, and never anything else."""
    networks = {f"10.{i}.0.0/16": {"country": {"iso_code": "DE"}, "asn": i + 1} for i in range(40)}
    good = write_mmdb(tmp_path / "x.mmdb", networks).read_bytes()
    random_ = random.Random(5)
    told = 0
    for _ in range(1_500):
        data = bytearray(good)
        for _ in range(random_.randint(1, 4)):
            data[random_.randrange(len(data))] = random_.randrange(256)
        if random_.random() < 0.2:
            del data[: random_.randrange(len(data))]
        with suppress(DiagnosticError):
            Geo.parse(bytes(data), "x.mmdb")
            continue
        told += 1
    assert told > 300


def test_an_mmdb_that_was_cut_short(tmp_path: Path) -> None:
    good = write_mmdb(tmp_path / "x.mmdb", {"10.0.0.0/8": DE}).read_bytes()
    assert message(good[:-400]) == "`x` is neither an MMDB file nor text"
    assert "damaged MMDB file" in message(good[400:])


def test_a_tree_without_end(tmp_path: Path) -> None:
    good = bytearray(write_mmdb(tmp_path / "x.mmdb", {"10.0.0.0/8": DE}, ip_version=4).read_bytes())
    good[:6] = bytes(6)  # both ways of the first node lead to itself
    assert message(bytes(good)) == "`x` is a damaged MMDB file: its search tree has no end"


def test_a_small_file_of_a_great_many_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of each node lead to the next one, so that 2^31 networks have the one record."""
    networks: dict[str, object] = {"0.0.0.0/32": DE}
    good = bytearray(write_mmdb(tmp_path / "x.mmdb", networks, ip_version=4).read_bytes())
    for node in range(31):
        good[node * 6 : node * 6 + 6] = (node + 1).to_bytes(3, "big") * 2
    monkeypatch.setattr("rules_dsl.geo_mmdb.MAX_STEPS", 100_000)
    assert message(bytes(good)) == "`x` is a damaged MMDB file: its search tree has no end"


def test_an_mmdb_of_something_else(tmp_path: Path) -> None:
    data = write_mmdb(tmp_path / "x.mmdb", {"10.0.0.0/8": {"domain": "example.com"}}).read_bytes()
    assert message(data) == "`x` is an MMDB file without countries and AS numbers"


def test_packed_files_say_so() -> None:
    assert message(b"\x1f\x8b\x08\x00rest") == "`x` is packed (gzip)"


def test_the_extension_of_a_name_says_nothing(tmp_path: Path) -> None:
    data = write_mmdb(tmp_path / "x.mmdb", {"10.0.0.0/8": DE}).read_bytes()
    assert list(Geo.parse(data, "table.csv").countries) == [b"DE"]
    assert list(Geo.parse("network,country,asn\n10.0.0.0/8,FR,\n", "x.mmdb").countries) == [b"FR"]


# -- registries --------------------------------------------------------------------------------------------------------

REGISTRY = """\
# as the registries write them
2.3|ripencc|1700000000|9|19830705|20231114|+0100
ripencc|*|ipv4|*|4|summary
ripencc|*|asn|*|1|summary
ripencc|DE|ipv4|192.0.2.0|256|20100712|allocated|aaaa
ripencc|DE|ipv4|192.0.3.0|768|20100712|assigned
ripencc|FR|ipv4|255.255.255.0|256|20100712|assigned|bbbb|e-stats
ripencc|FR|asn|64496|1|20100712|allocated|bbbb
ripencc|ZZ|ipv4|10.0.0.0|256||reserved
ripencc||ipv4|10.0.1.0|256||available
ripencc|AT|ipv6|2001:db8::|32|20100712|allocated|cccc
"""


def test_a_registry_s_statistics() -> None:
    geo = Geo.parse(REGISTRY.replace("\n", "\r\n"), "delegated")
    assert geo.countries == {
        b"DE": (((0xC0000200, 0xC00005FF),), ()),
        b"FR": (((0xFFFFFF00, 0xFFFFFFFF),), ()),
        b"AT": addresses("2001:db8::/32"),
    }
    assert geo.systems == {}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("ripencc|DE|ipv4|192.0.2.0|256|20100712", "a record has at least seven fields, and this one has 6"),
        ("ripencc|DE|ipv5|192.0.2.0|256|20100712|allocated", "`ipv5` is no type of record"),
        ("ripencc|DEU|ipv4|192.0.2.0|256|20100712|allocated", "`DEU` is no country code"),
        ("ripencc|DE|ipv4|192.0.2|256|20100712|allocated", "`192.0.2` is no IPv4 address"),
        ("ripencc|DE|ipv6|192.0.2.0|32|20100712|allocated", "`192.0.2.0` is no IPv6 address"),
        ("ripencc|DE|ipv4|192.0.2.0|-1|20100712|allocated", "`-1` is no number"),
        ("ripencc|DE|ipv4|255.255.255.0|257|20100712|allocated", "257 addresses from 255.255.255.0 on: there are none, or they end behind"),
        ("ripencc|DE|ipv4|192.0.2.0|0|20100712|allocated", "0 addresses from 192.0.2.0 on"),
        ("ripencc|DE|ipv6|2001:db8::|129|20100712|allocated", "`129` is no prefix length"),
        ("ripencc|DE|ipv6|2001:db8::|28|20100712|allocated", "`2001:db8::/28` has host bits set"),
    ],
)
def test_a_bad_record_is_told_with_its_line(record: str, said: str) -> None:
    with pytest.raises(DiagnosticError) as error:
        Geo.parse(REGISTRY + record + "\n", "delegated")
    (diagnostic,) = error.value.diagnostics
    assert (diagnostic.code, diagnostic.span.source.position(diagnostic.span.start)) == ("E0605", (12, 1))
    assert diagnostic.message.startswith(said)


def test_no_more_than_twenty_bad_records() -> None:
    with pytest.raises(DiagnosticError) as error:
        Geo.parse(REGISTRY + "ripencc|DE|ipv5|192.0.2.0|256|20100712|allocated\n" * 50, "delegated")
    assert len(error.value.diagnostics) == 20


# -- several files -----------------------------------------------------------------------------------------------------


def test_a_later_file_adds_what_earlier_ones_do_not_say(tmp_path: Path) -> None:
    countries = write_mmdb(tmp_path / "c.mmdb", {"10.0.0.0/9": {"country": "DE"}, "2001:db8::/33": {"country": "DE"}})
    systems = write_mmdb(tmp_path / "a.mmdb", {"10.0.0.0/8": {"autonomous_system_number": 64496}})
    more = tmp_path / "more.csv"
    more.write_text("network,country,asn\n10.0.0.0/8,FR,64497\n11.0.0.0/8,DE,64497\n2001:db8::/32,FR,\n")
    geo = Geo.load(countries, systems, more)
    assert geo.countries == {
        b"DE": (((0x0A000000, 0x0A7FFFFF), (0x0B000000, 0x0BFFFFFF)), addresses("2001:db8::/33")[1]),
        b"FR": addresses("10.128.0.0/9", "2001:db8:8000::/33"),
    }
    assert geo.systems == {64496: addresses("10.0.0.0/8"), 64497: addresses("11.0.0.0/8")}


def test_random_files_add_up_as_address_by_address() -> None:
    random_ = random.Random(3)
    for _ in range(200):
        files = []
        for _ in range(3):
            starts = sorted(random_.sample(range(40), 2 * random_.randint(0, 6)))
            rows = [(low, high, random_.choice(["DE", "FR", "AT"])) for low, high in zip(starts[::2], starts[1::2], strict=True)]
            files.append(rows)
        texts = ["network,country,asn\n" + "".join(f"10.0.0.{low}..10.0.0.{high},{code},\n" for low, high, code in rows) for rows in files]
        geo = Geo.parse_all((text.encode(), f"{at}") for at, text in enumerate(texts))
        for last in range(41):
            said = next((code for rows in files for low, high, code in rows if low <= last <= high), None)
            found = [key.decode() for key, (v4, _) in geo.countries.items() if any(low <= 0x0A000000 + last <= high for low, high in v4)]
            assert found == ([said] if said else [])


def test_what_is_wrong_in_all_files_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("words\n")
    with pytest.raises(DiagnosticError) as error:
        Geo.load(tmp_path / "nowhere.mmdb", tmp_path / "bad.csv")
    assert [diagnostic.code for diagnostic in error.value.diagnostics] == ["E0601", "E0605"]


def test_a_rule_file_s_own_files_go_before_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("network,country,asn\n10.0.0.0/8,DE,\n")
    (tmp_path / "x.rules").write_text('geo "own.csv"\nblock "a" when ip.src.asnum == 1 and ip.src.country == "FR"\n')
    beside = Geo.parse("network,country,asn\n10.0.0.0/7,FR,1\n", "beside")
    policy, found = check_policy(tmp_path / "x.rules", geo=beside)
    assert found == ()
    assert policy is not None
    assert "(184549376, 201326591)" in repr(policy.rules[0].predicate)  # 11.0.0.0/8


def test_half_a_million_networks_are_read_in_seconds() -> None:
    lines = "".join(
        f"apnic|{('DE', 'FR', 'AT')[i % 3]}|ipv4|{i >> 12}.{i >> 4 & 255}.{i << 4 & 255}.0|4096|20200101|allocated\n"
        for i in range(500_000)
    )
    before = time.process_time()
    geo = Geo.parse("2|apnic|20240101|500000|19830101|20240101|+1000\n" + lines, "delegated")
    assert time.process_time() - before < 20
    assert sum(len(v4) for v4, _ in geo.countries.values()) == 500_000
