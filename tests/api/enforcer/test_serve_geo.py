"""`mantlet serve --geo`: countries and AS numbers in the rules of tenants, from the operator's files to what becomes of packets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from generators.mmdb import write_mmdb
from rule_lab import SENDER
from test_serve import Serving, serving, waited

__all__ = ["serving"]

pytestmark = pytest.mark.kernel

ENTRY = "/rulesets/phases/magic_transit/entrypoint"
GERMAN = {"country": {"iso_code": "DE"}}


def begun(serving: Serving, *geo: Path) -> str:
    """Serves with these files; a token."""
    if not (serving.folder / "state").exists():
        serving.command("tenant", "create", "acme", "--protect", "10.9.0.2")
    serving.start(*(word for path in geo for word in ("--geo", str(path))))
    waited(serving, serving.ready)
    return serving.command("token", "create", "--tenant", "acme", "--scope", "write").split()[0]


def ended(serving: Serving) -> None:
    serving.process.terminate()
    assert serving.process.wait(30) == 0


def asked(serving: Serving, token: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = serving.ask(f"/client/v4/accounts/acme{path}", token, method, json.dumps(body))
    return json.loads(answer.partition("\r\n\r\n")[2])  # type: ignore[no-any-return]


def put(serving: Serving, token: str, expression: str) -> dict[str, Any]:
    return asked(serving, token, "PUT", ENTRY, {"rules": [{"action": "block", "expression": f"udp.dstport == 4000 and {expression}"}]})


def passes(serving: Serving) -> bool:
    return serving.wire.arrived(b"x") == [b"x"]


def test_rules_ask_for_countries_and_as_numbers(serving: Serving) -> None:
    countries = write_mmdb(serving.folder / "countries.mmdb", {"10.9.0.0/24": GERMAN})
    systems = serving.folder / "systems.csv"
    systems.write_text("network,country,asn\n10.9.0.0/28,,64496\n")
    token = begun(serving, countries, systems)
    for expression, blocked in (
        ('ip.src.country == "DE"', True),
        ('ip.src.country == "FR"', False),
        ("ip.src.asnum in { 64490..64500 }", True),
        ("ip.src.asnum == 64497", False),
        ('ip.geoip.country == "DE" and udp.payload contains "x"', True),
    ):
        found = put(serving, token, expression)
        assert found["success"], found
        assert passes(serving) is not blocked

    # By the reference, in the process that listens; and a word that no country has.
    packet = "450000200000000040110000" + bytes(map(int, SENDER.split("."))).hex() + "0a090002" + "04d20fa0000c0000" + "78797a7a"
    ruleset = found["result"]["id"]
    judged = asked(serving, token, "POST", f"/rulesets/{ruleset}/test", {"packets": [{"data": packet, "expected": "block"}]})
    assert judged["result"]["passed"], judged
    refused = put(serving, token, 'ip.src.country == "Germany"')
    assert refused["errors"][0]["source"] == {"pointer": "/rules/0/expression"}

    # Another file in the old one's place: in force when it is served again.
    ended(serving)
    assert not passes(serving)
    write_mmdb(countries, {"10.9.0.0/24": {"country": {"iso_code": "FR"}}})
    begun(serving, countries, systems)
    assert passes(serving)


def test_without_files_the_error_says_what_to_do(serving: Serving) -> None:
    token = begun(serving)
    for expression in ('ip.src.country == "DE"', "ip.dst.asnum == 64496"):
        (error,) = put(serving, token, expression)["errors"]
        assert error["diagnostic"]["code"] == "E0607"
        assert "--geo FILE" in error["diagnostic"]["help"]
        assert error["source"] == {"pointer": "/rules/0/expression"}


def test_a_file_that_is_broken_is_told_before_anything_is_served(serving: Serving) -> None:
    broken = serving.folder / "broken.csv"
    broken.write_text("network,country,asn\n10.9.0.0/24,Germany,1\n")
    assert serving.start("--geo", str(broken)).wait(40) == 2
    assert "E0605" in serving.log.read_text()
    assert serving.start("--geo", str(serving.folder / "none")).wait(40) == 2
    assert "No such file" in serving.log.read_text()
