"""Countries and AS numbers of an MMDB in the kernel: what is compiled decides as the reference does, and its sets are loaded in bulk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from generators.mmdb import write_mmdb
from kernel_lab import GROUP, KernelLab, ipv4, ipv6, udp

from firewall.generation import Generation
from firewall.plan import Environment, plan
from firewall.render import render
from rules_dsl import load_policy
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Policy
from rules_dsl.reference import matched

pytestmark = pytest.mark.kernel

RULES = """
tenant acme
geo "countries.mmdb" "asn.mmdb"
log "from DE" when ip.src.country == "DE"
log "not from DE" when ip.src.country != "DE"
log "to AT or FR" when ip.dst.country in { "AT" "FR" }
log "one is FR" when ip.geoip.country == "FR"
log "all are DE" when all(ip.geoip.country == "DE")
log "another" when any(ip.geoip.country != "DE")
log "from AS" when ip.src.asnum in { 64496 64500..64502 }
log "to AS" when ip.dst.asnum >= 64501 and udp
log "not to AS" when ip.dst.asnum != 64496
log "both" when ip.src.asnum == 64496 and ip.src.country == "DE"
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[KernelLab]:
    with KernelLab() as opened:
        yield opened


def network(rng: random.Random, version: int) -> tuple[str, int]:
    """A network of 10.0.0.0/8 or 2001:db8::/32, and its first address."""
    if version == 4:
        length = rng.randint(10, 30)
        number = (10 << 24 | rng.getrandbits(24)) >> 32 - length << 32 - length
        return f"{'.'.join(map(str, number.to_bytes(4, 'big')))}/{length}", number
    length = rng.randint(36, 128)
    number = (0x20010DB8 << 96 | rng.getrandbits(96)) >> 128 - length << 128 - length
    return ":".join(f"{number >> 112 - 16 * at & 0xFFFF:x}" for at in range(8)) + f"/{length}", number


def made(folder: Path, rng: random.Random, networks: int) -> tuple[Policy, dict[int, list[int]]]:
    """The policy over random files, and the addresses of each version at the edges of their networks."""
    countries: dict[str, object] = {}
    systems: dict[str, object] = {}
    edges: dict[int, list[int]] = {4: [0x0A001000, 0x0AFFFFFF, *[0x0B000000] * 20], 6: [0x20010DB9 << 96]}
    for version in (4, 6):
        for _ in range(networks):
            for table, record in (
                (countries, {"country": {"iso_code": rng.choice(["DE", "FR", "AT"])}}),
                (systems, {"autonomous_system_number": rng.randint(64496, 64503)}),
            ):
                text, first = network(rng, version)
                bits = 32 if version == 4 else 128
                last = first | (1 << bits - int(text.partition("/")[2])) - 1
                edges[version] += [first, last, first - 1, last + 1]
                table[text] = record
    # What the rules ask for is there, whatever the numbers were.
    countries |= {f"11.0.{at}.0/24": {"country": {"iso_code": code}} for at, code in enumerate(("DE", "FR", "AT"))}
    systems |= {f"11.0.{at}.0/24": {"autonomous_system_number": 64496 + at} for at in range(8)}
    write_mmdb(folder / "countries.mmdb", countries, aliased=True, kind="GeoLite2-Country")
    write_mmdb(folder / "asn.mmdb", systems, aliased=True, kind="GeoLite2-ASN")
    (folder / "acme.rules").write_text(RULES)
    return load_policy(folder / "acme.rules"), edges


def generation(policy: Policy) -> Generation:
    return render(plan(policy, Environment()), 1, observe=GROUP)


@pytest.mark.parametrize("seed", range(3))
def test_packets_between_countries(lab: KernelLab, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    policy, edges = made(tmp_path, rng, 30)
    lab.install(generation(policy))
    seen: set[str] = set()
    for _ in range(300):
        version = rng.choice((4, 6))
        src, dst = rng.choice(edges[version]), rng.choice(edges[version])
        packet = ipv4(udp(), src=src, dst=dst) if version == 4 else ipv6(udp(), src=src, dst=dst)
        expected = [rule.name for rule in matched(policy, Packet(packet, Place("mantlet0")))]
        found = [policy.rules[int(prefix)].name for prefix in lab.send(packet) if prefix != "default"]
        assert found == expected, f"seed {seed}: {packet.hex()}"
        seen |= set(expected)
    assert seen == {rule.name for rule in policy.rules}


def test_large_sets_are_loaded_in_bulk_and_shared(lab: KernelLab, tmp_path: Path) -> None:
    """A country of 15,000 networks in each family, which 20 rules name, is one set of each family, and no element of it is text."""
    networks = 15_000
    v4 = "".join(f"apnic|{'DE' if at % 2 else 'FR'}|ipv4|10.{at >> 8}.{at & 255}.0|192|20200101|allocated\n" for at in range(2 * networks))
    v6 = "".join(f"apnic|{'DE' if at % 2 else 'FR'}|ipv6|2001:db8:{at:x}::|48|20200101|assigned\n" for at in range(2 * networks))
    (tmp_path / "delegated").write_text("2|apnic|20240101|0|19830101|20240101|+1000\n" + v4 + v6)
    rules = "".join(f'log "{port}" when ip.src.country == "DE" and udp.dstport == {port}\n' for port in range(1, 20))
    (tmp_path / "acme.rules").write_text(f'tenant acme\ngeo "delegated"\n{rules}log "not" when ip.src.country != "DE"\n')
    policy = load_policy(tmp_path / "acme.rules")
    rendered = generation(policy)
    assert {bulk.key_bytes: len(bulk.ranges) for bulk in rendered.bulk} == {4: networks, 16: networks}
    assert len(rendered.bulk) == 2
    assert "elements" not in rendered.nft
    assert "not" not in {match.rule_name for match in rendered.matches}  # a country alone needs no eBPF
    assert all(len(program.functions) < 5 and program.slots < 500 for program in rendered.programs.values())  # nor do programs hold the set
    lab.install(rendered)
    rng = random.Random(2)
    for _ in range(300):
        at, port = rng.randrange(2 * networks), rng.randint(0, 20)
        first4, first6 = 0x0A000000 + (at << 8), (0x20010DB8 << 96) + (at << 80)
        for packet in (
            ipv4(udp(destination=port), src=first4 + rng.choice([-1, 0, 191, 192])),
            ipv6(udp(destination=port), src=first6 + rng.choice([-1, 0, (1 << 80) - 1, 1 << 80])),
        ):
            expected = [rule.name for rule in matched(policy, Packet(packet, Place("mantlet0")))]
            assert [policy.rules[int(prefix)].name for prefix in lab.send(packet) if prefix != "default"] == expected, packet.hex()
