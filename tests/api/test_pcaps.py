"""Captures of an account's own packets, as the official SDK asks for them; real packets on a wire."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from api_lab import ServedNode
from cloudflare import Cloudflare
from rule_lab import SENDER, Wire

from api.captures import expression_of
from api.errors import ApiError
from firewall.capture import read

ACCOUNT = "acme"
ASKED: dict[str, Any] = {"account_id": ACCOUNT, "system": "magic-transit", "type": "simple", "time_limit": 30, "packet_limit": 100}


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with Wire() as made:
        yield made


@pytest.fixture(scope="module")
def node(wire: Wire) -> Iterator[ServedNode]:
    with ServedNode(wire) as served:
        yield served


@pytest.fixture
def cf(node: ServedNode) -> Iterator[Cloudflare]:
    client = node.client(ACCOUNT)
    yield client
    for each in client.magic_transit.pcaps.list(account_id=ACCOUNT):
        client.magic_transit.pcaps.stop(str(each.id), account_id=ACCOUNT)
        until(lambda each=each: client.magic_transit.pcaps.get(str(each.id), account_id=ACCOUNT).status == "success")


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def packets_of(cf: Cloudflare, capture: str, folder: Path) -> list[bytes]:
    """The UDP payloads of what was captured."""
    until(lambda: cf.magic_transit.pcaps.get(capture, account_id=ACCOUNT).status == "success")
    path = folder / "fetched.pcap"
    cf.magic_transit.pcaps.download.get(capture, account_id=ACCOUNT).write_to_file(path)
    return [frame.data[28:] for frame in read(path)]


@pytest.mark.kernel
def test_packets_are_captured_up_to_their_number(cf: Cloudflare, wire: Wire, tmp_path: Path) -> None:
    made = cf.magic_transit.pcaps.create(
        **ASKED | {"packet_limit": 2}, filter_v1={"source_address": SENDER, "destination_port": 9, "protocol": 17}
    )
    assert made.id is not None
    assert (made.status, made.system, made.filter_v1 and made.filter_v1.source_address) == ("running", "magic-transit", SENDER)
    other = cf.magic_transit.pcaps.create(**ASKED)
    assert wire.arrived(b"a", b"b", b"c") == [b"a", b"b", b"c"]  # at another port: not asked for
    cf.magic_transit.pcaps.stop(str(other.id), account_id=ACCOUNT)
    assert packets_of(cf, str(other.id), tmp_path)[:3] == [b"a", b"b", b"c"]
    found = cf.magic_transit.pcaps.get(made.id, account_id=ACCOUNT)
    assert (found.status, getattr(found, "packets_captured", None)) == ("running", 0)
    assert [each.id for each in cf.magic_transit.pcaps.list(account_id=ACCOUNT)][-2:] == [made.id, other.id]


@pytest.mark.kernel
def test_a_capture_that_ends_by_itself_is_fetched_whole(cf: Cloudflare, wire: Wire, tmp_path: Path) -> None:
    made = cf.magic_transit.pcaps.create(**ASKED | {"packet_limit": 2}, extra_body={"expression": 'udp.payload == "b"'})
    with pytest.raises(cloudflare.BadRequestError):  # it goes on
        cf.magic_transit.pcaps.download.get(str(made.id), account_id=ACCOUNT)
    wire.arrived(b"a", b"b", b"b", b"b")
    assert packets_of(cf, str(made.id), tmp_path) == [b"b", b"b"]


@pytest.mark.kernel
def test_what_rules_drop_is_captured_too(cf: Cloudflare, wire: Wire, tmp_path: Path) -> None:
    cf.rulesets.phases.update("magic_transit", account_id=ACCOUNT, rules=[{"action": "block", "expression": 'udp.payload == "b"'}])
    made = cf.magic_transit.pcaps.create(**ASKED)
    assert wire.arrived(b"a", b"b") == [b"a"]
    cf.magic_transit.pcaps.stop(str(made.id), account_id=ACCOUNT)
    assert packets_of(cf, str(made.id), tmp_path)[:2] == [b"a", b"b"]


@pytest.mark.kernel
@pytest.mark.parametrize("colo", ["colo_name", "colo"])
def test_a_full_capture_names_the_node(cf: Cloudflare, node: ServedNode, colo: str) -> None:
    asked: dict[str, Any] = ASKED | {"type": "full", "destination_conf": "s3://bucket/path"}
    name = {"colo_name": node.name} if colo == "colo_name" else {"colo_name": node.name, "extra_body": {"colo": node.name}}
    made = cf.magic_transit.pcaps.create(**asked, **name)
    assert (made.type, getattr(made, "colo_name", None)) == ("full", node.name)
    with pytest.raises(cloudflare.BadRequestError) as error:
        cf.magic_transit.pcaps.create(**asked, colo_name="elsewhere")
    assert error.value.errors[0].message == f"this is node {node.name}: ask the one that is to capture"


@pytest.mark.kernel
def test_captures_are_their_accounts_own_and_bounded(cf: Cloudflare, node: ServedNode) -> None:
    made = [cf.magic_transit.pcaps.create(**ASKED) for _ in range(4)]
    with pytest.raises(cloudflare.RateLimitError):
        cf.magic_transit.pcaps.create(**ASKED)
    operator = node.client("-")
    with pytest.raises(cloudflare.NotFoundError):
        operator.magic_transit.pcaps.get(str(made[0].id), account_id="-")


@pytest.mark.parametrize(
    ("asked", "expression"),
    [
        ((None, None, None, None, None), "ip"),
        (("192.0.2.1", None, "2001:0db8::0001", None, None), "ip.src == 192.0.2.1 and ip.dst == 2001:db8::1"),
        ((None, 53, None, None, 17), "ip.proto == 17 and (udp.srcport == 53)"),
        ((None, None, None, 443, None), "(tcp.dstport == 443 or udp.dstport == 443 or sctp.dstport == 443)"),
    ],
)
def test_a_filter_is_an_expression(asked: tuple[Any, ...], expression: str) -> None:
    assert expression_of(*asked) == expression


@pytest.mark.parametrize("asked", [("192.0.2.0/24", None, None, None, None), ("a", None, None, None, None), (None, 1, None, None, 1)])
def test_a_filter_that_makes_no_sense_is_refused(asked: tuple[Any, ...]) -> None:
    with pytest.raises(ApiError):
        expression_of(*asked)
