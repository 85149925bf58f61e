"""Policy tests: `expect` statements, and their results as JUnit XML."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from firewall.capture import Frame
from firewall.capture_write import write_pcap
from firewall.replay import Result, junit_xml, run_expectations
from firewall.replay.admission import repair_checksum
from rules_dsl import parse_policy

RULES = 'tenant acme\nblock "one" when udp.dstport == 1\nallow "two" when udp.dstport == 2\n'


@pytest.fixture
def folder(tmp_path) -> Path:
    """With ports.pcap: UDP to ports 1, 2, 3, and an ARP frame; and cut.pcap, cut in its first frame."""
    packets = [
        repair_checksum(bytes.fromhex("4500001c00000000401100000a0000010a00000203e8") + bytes([0, n, 0, 8, 0, 0])) for n in (1, 2, 3)
    ]
    data = [*(bytes(12) + b"\x08\x00" + packet for packet in packets), bytes(12) + b"\x08\x06" + bytes(28)]
    frames = [Frame(number, 0, one, 1, len(one), "eth0") for number, one in enumerate(data, 1)]
    write_pcap(tmp_path / "ports.pcap", frames, link_type=1)
    (tmp_path / "cut.pcap").write_bytes((tmp_path / "ports.pcap").read_bytes()[:50])
    return tmp_path


def results(folder: Path, *expectations: str, engine="reference") -> tuple[Result, ...]:
    return run_expectations(parse_policy(RULES + "".join(f"expect {one}\n" for one in expectations), folder=folder), folder, engine)


@pytest.mark.parametrize("engine", ["reference", pytest.param("both", marks=pytest.mark.kernel)])
@pytest.mark.parametrize(
    ("expectation", "tested"),
    [
        ('block "one" from "ports.pcap" packet 1', 1),
        ('block from "ports.pcap" packet 1', 1),
        ('allow "two" when udp.dstport == 2 from "ports.pcap"', 1),
        ('default when udp.dstport > 2 from "ports.pcap"', 1),
        ('default from "ports.pcap" packets 3..3', 1),
    ],
)
def test_an_expectation_that_holds(folder, engine, expectation, tested):
    (result,) = results(folder, expectation, engine=engine)
    assert (result.passed, result.failures, result.tested) == (True, (), tested)


@pytest.mark.parametrize(
    ("expectation", "failures"),
    [
        ('allow from "ports.pcap" packet 1', ('packet 1: expected allow, got block by "one" (dropped)',)),
        ('allow "two" from "ports.pcap" packet 3', ('packet 3: expected allow by "two", got default (passed)',)),
        (
            'block "one" from "ports.pcap"',
            (
                'packet 2: expected block by "one", got allow by "two" (passed)',
                'packet 3: expected block by "one", got default (passed)',
            ),
        ),
        ('block from "ports.pcap" packet 4', ("packet 4: not judged, ARP, not IP",)),
        ('default from "ports.pcap" packets 3..9', ("packet 4: not judged, ARP, not IP", "ports.pcap has no packet 9: its last is 4")),
        ('block when udp.dstport == 7 from "ports.pcap"', ("no packet of ports.pcap was tested",)),
    ],
)
def test_an_expectation_that_fails_says_why(folder, expectation, failures):
    (result,) = results(folder, expectation)
    assert not result.passed
    assert result.failures == failures


def test_a_damaged_capture_fails_its_expectations(folder):
    (result,) = results(folder, 'block from "cut.pcap" packet 1')
    assert result.failures == (f"{folder / 'cut.pcap'}: cut in a frame: 10 of 42 bytes are there, at byte 24, frame 1",)


def test_results_come_in_the_order_of_the_file(folder):
    found = results(folder, 'block from "cut.pcap" packet 1', 'allow from "ports.pcap" packet 2', 'block from "cut.pcap" packet 2')
    assert [result.title for result in found] == [
        "block from cut.pcap packet 1",
        "allow from ports.pcap packet 2",
        "block from cut.pcap packet 2",
    ]
    assert [result.passed for result in found] == [False, True, False]


def test_junit(folder):
    found = results(folder, 'block "one" from "ports.pcap" packet 1', 'allow "two" from "ports.pcap" packet 3')
    root = ET.fromstring(junit_xml([("acme.rules", found, 0.5)]).encode())
    (suite,) = root
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("time")) == ("acme.rules", "2", "1", "0.500")
    good, bad = suite
    assert (good.get("classname"), good.get("name"), good.get("line"), len(good)) == (
        "acme.rules",
        'block "one" from ports.pcap packet 1',
        "4",
        0,
    )
    assert [failure.get("message") for failure in bad] == ['packet 3: expected allow by "two", got default (passed)']
