"""Captures and packets that clients send, judged by their rules: as JSON, as a commented capture, by the reference and the kernel."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from api_lab import ServedNode
from api_server import Served, served
from kernel_lab import ipv4, tcp, udp
from rule_lab import RECEIVER, Wire

from firewall.capture import Frame, read
from firewall.capture_write import PcapngWriter, write_pcap

ANY = bytes.fromhex("123401000001000000000000") + b"\x03www\x07example\x00\x00\xff\x00\x01"
HERE = int(ip_address(RECEIVER))
PACKETS = (
    ipv4(udp(5000, 53, ANY), dst=HERE),
    ipv4(udp(5000, 54, b"a"), dst=HERE),
    ipv4(tcp(flags=2), 6, dst=HERE),
    ipv4(udp(5000, 54, b""), dst=HERE + 1),
)
"""To the address that the account protects, but the last."""
RULES = [
    {"action": "block", "expression": "dns.qry.type == 255", "ref": "any"},
    {"action": "log", "expression": "udp.dstport == 54", "ref": "logged"},
]
VERDICTS = ["block", "log", "default", None]
"""No rule sees the last."""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        found.tenant("acme", f"{RECEIVER}/32")
        yield found


@pytest.fixture(scope="module")
def rules(server: Served) -> list[str]:
    """The ids of RULES, which are stored."""
    with server.http(server.token("acme")) as http:
        answer = http.put("/accounts/acme/rulesets/phases/magic_transit/entrypoint", json={"rules": RULES})
    return [rule["id"] for rule in answer.json()["result"]["rules"]]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "packets.pcap"
    frames = [Frame(number, number * 10**9, packet, 101, len(packet), "") for number, packet in enumerate(PACKETS, 1)]
    write_pcap(path, frames, link_type=101)
    return path


def judged(result: list[dict[str, Any]]) -> list[tuple[int, str | None, str | None]]:
    return [(each["frame"], each["verdict"], each["rule"]) for each in result]


def expected(rules: list[str]) -> list[tuple[int, str | None, str | None]]:
    return list(zip((1, 2, 3, 4), VERDICTS, (rules[0], rules[1], None, None), strict=True))


def test_a_capture_gets_a_verdict_for_each_frame(server: Served, rules: list[str], capture: Path) -> None:
    with server.http(server.token("acme", "read")) as http:
        url = "/accounts/acme/replay?engine=reference"
        answers = [http.post(url, content=capture.read_bytes()), http.post(url, files={"capture": capture.read_bytes()})]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert judged(answer.json()["result"]) == expected(rules)


@pytest.mark.parametrize(
    ("query", "accept"), [("&format=pcapng", "*/*"), ("", "application/x-pcapng"), ("", "application/vnd.tcpdump.pcap;q=1")]
)
def test_a_capture_comes_back_with_a_comment_in_each_frame(
    server: Served, rules: list[str], capture: Path, query: str, accept: str, tmp_path: Path
) -> None:
    with server.http(server.token("acme", "read")) as http:
        answer = http.post(f"/accounts/acme/replay?engine=reference{query}", content=capture.read_bytes(), headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-pcapng")
    path = tmp_path / "judged.pcapng"
    path.write_bytes(answer.content)
    assert [frame.data for frame in read(path)] == list(PACKETS)
    assert f'mantlet: block by "{rules[0]}", dropped (reference)'.encode() in answer.content


def test_pcapng_is_taken_too(server: Served, rules: list[str]) -> None:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    for number, packet in enumerate(PACKETS, 1):
        writer.write(Frame(number, 0, packet, 101, len(packet), "wan"))
    with server.http(server.token("acme", "read")) as http:
        answer = http.post("/accounts/acme/replay?engine=reference", content=stream.getvalue())
    assert judged(answer.json()["result"]) == expected(rules)


@pytest.mark.parametrize(("body", "message"), [(b"", "the file is empty"), (b"PK\x03\x04 and more", "it is a zip archive")])
def test_what_is_no_capture_is_refused(server: Served, body: bytes, message: str) -> None:
    with server.http(server.token("acme", "read")) as http:
        answer = http.post("/accounts/acme/replay?engine=reference", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["errors"][0]["message"]
    assert "/tmp" not in answer.text


def test_formats_that_are_not_offered_are_said_to_be(server: Served, capture: Path) -> None:
    with server.http(server.token("acme", "read")) as http:
        answer = http.post("/accounts/acme/replay", content=capture.read_bytes(), headers={"Accept": "text/html"})
        form = http.post("/accounts/acme/replay", data={"name": "value"}, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, form.status_code) == (406, 400)


def test_packets_are_tried_on_a_ruleset_that_nothing_enforces(server: Served) -> None:
    packets = [
        {"data": PACKETS[0].hex(":"), "expected": "block"},
        {"data": base64.b64encode(PACKETS[1]).decode(), "encoding": "base64", "expected": "block"},
        {"data": (bytes(12) + b"\x08\x00" + PACKETS[2]).hex(), "link": "ethernet"},
    ]
    with server.http(server.token("acme")) as http:
        body = {"name": "draft", "kind": "custom", "phase": "magic_transit", "rules": RULES[:1]}
        made = http.post("/accounts/acme/rulesets", json=body).json()["result"]
        answer = http.post(f"/accounts/acme/rulesets/{made['id']}/test", json={"packets": packets})
        wrong = http.post(f"/accounts/acme/rulesets/{made['id']}/test", json={"packets": [{"data": "???"}]})
    result = answer.json()["result"]
    assert result["passed"] is False
    told = [(each["frame"], each["verdict"], each["passed"], each["rule"]) for each in result["packets"]]
    assert told == [(1, "block", True, made["rules"][0]["id"]), (2, "default", False, None), (3, "default", None, None)]
    assert (wrong.status_code, wrong.json()["errors"][0]["source"]["pointer"]) == (400, "/packets/0/data")


def test_a_rule_that_is_executed_is_told_with_the_one_that_executes_it(server: Served) -> None:
    with server.http(server.token("-")) as operator, server.http(server.token("acme")) as http:
        body = {"name": "offered", "kind": "managed", "phase": "magic_transit_managed", "rules": RULES[:1]}
        offered = operator.post("/accounts/-/rulesets", json=body).json()["result"]
        execute = {"action": "execute", "expression": "ip", "action_parameters": {"id": offered["id"]}}
        url = "/accounts/acme/rulesets/phases/magic_transit_managed/entrypoint"
        entry = http.put(url, json={"rules": [execute]}).json()["result"]
        answer = http.post(f"/accounts/acme/rulesets/{entry['id']}/test", json={"packets": [{"data": PACKETS[0].hex()}]})
        (found,) = answer.json()["result"]["packets"]
        counted = [http.get(f"/accounts/acme/rules/{each}/counters").json()["result"] for each in (found["rule"], found["executed"])]
        http.put(url, json={"rules": []})
    assert (found["rule"], found["executed"]) == (entry["rules"][0]["id"], offered["rules"][0]["id"])
    assert [each["packets"] for each in counted] == [3, 3]  # it is the third of the account's rules, and so the third counter


# -- with the kernel ---------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_captures_and_counters_are_as_the_kernel_says(capture: Path) -> None:
    with Wire() as wire, ServedNode(wire) as node:
        cf = node.client()
        more = {"action": "block", "expression": 'starts_with(udp.payload, "b")'}
        cf.rulesets.phases.update("magic_transit", account_id="acme", rules=[*RULES, more])  # type: ignore[list-item]
        entry = cf.rulesets.phases.get("magic_transit", account_id="acme")
        rules = [str(rule.id) for rule in entry.rules]
        for engine in ("kernel", "both"):
            answer = cf.post(f"/accounts/acme/replay?engine={engine}", cast_to=object, content=capture.read_bytes())
            assert isinstance(answer, dict)
            assert judged(answer["result"]) == expected(rules)
            assert {each["engine"] for each in answer["result"]} == {engine}
        assert wire.arrived(b"a", b"b", b"b") == [b"a"]
        counted = cf.get(f"/accounts/acme/rules/{rules[2]}/counters", cast_to=object)
        assert isinstance(counted, dict)
        assert counted["result"] == {"id": rules[2], "packets": 2, "bytes": 2 * 29}
        events = node.store.list("audit/acme/").entries
        assert json.loads(events[-1].value)["action"] == "rulesets.phases.update"
