"""`match`: the frames that an expression matches."""

import subprocess

import pytest
from judge.corpus import CORPUS

from firewall.capture import Frame
from firewall.replay import EnginesDifferError, Options, match, match_all
from firewall.replay.admission import repair_checksum
from firewall.replay.record import Fate, Record
from firewall.replay.run import Difference
from rules_dsl import DiagnosticError, parse_expression

engines = pytest.mark.parametrize(
    "engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel), pytest.param("both", marks=pytest.mark.kernel)]
)


def frames() -> list[Frame]:
    """Four UDP packets to ports 0 to 3, and behind each an ARP frame."""
    udp = [
        repair_checksum(bytes.fromhex("4500001c00000000401100000a0000010a00000203e8") + bytes([0, port, 0, 8, 0, 0])) for port in range(4)
    ]
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    data = [one for packet in udp for one in (bytes(12) + b"\x08\x00" + packet, arp)]
    return [Frame(number, 0, one, 1, len(one), "eth0") for number, one in enumerate(data, 1)]


@engines
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp.dstport in {1..2}", [3, 5]),
        ("not udp.dstport in {1..2}", [1, 7]),
        ("true", [1, 3, 5, 7]),
        ("not true", []),
        ("ip.src == 10.0.0.1 and payload.len == 0", [1, 3, 5, 7]),
        ("meta.mark == 9 and udp.dstport == 2", [5]),
    ],
)
def test_numbers_of_the_frames_that_match(engine, text, expected):
    assert list(match(parse_expression(text), frames(), engine, Options(mark=9), text=text)) == expected


@engines
def test_what_cannot_be_enforced_points_into_the_expression(engine):
    text = 'udp.payload matches "a.{20}b"'
    with pytest.raises(DiagnosticError) as raised:
        list(match(parse_expression(text), frames(), engine, text=text))
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.span.source.text == text


def test_engines_that_differ_are_told_with_both_answers():
    kernel, reference = (
        Record(3, Fate("block", "dropped", "match"), "kernel"),
        Record(3, Fate(None, "not judged", None, "cut"), "reference"),
    )
    assert str(EnginesDifferError(Difference(3, kernel, reference))) == (
        'frame 3: the kernel says block (dropped) by "match", the reference not judged (cut)'
    )


@pytest.mark.parametrize(
    ("text", "judge"),
    [
        ("tcp.dstport == 443", "tcp.dstport == 443"),
        ("udp.length > 100 and ip.ttl < 64", "udp.length > 100 && ip.ttl#1 < 64"),
        ("tcp.flags.syn and not tcp.flags.ack", "tcp.flags.syn == 1 && tcp.flags.ack == 0"),
    ],
)
def test_wireshark_finds_the_same_frames(text, judge):
    path = CORPUS / "nDPI" / "http.pcapng"
    captures = [path] if path.exists() else sorted(CORPUS.glob("nDPI/d*.pcap"))[:6]
    if not captures:
        pytest.skip(f"{CORPUS} is missing")
    for capture in captures:
        command = ["tshark", "-n", "-r", str(capture), "-Y", judge, "-T", "fields", "-e", "frame.number", "-o", "ip.defragment:FALSE"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("tshark is not installed")
        assert list(match(parse_expression(text), capture, "reference")) == [int(line) for line in done.stdout.split()], capture


@pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])
def test_many_expressions_in_one_pass_are_each_by_itself(engine):
    expressions = [parse_expression(text) for text in ("udp.dstport > 1", "false", "udp", "udp.dstport in {0 2}")]
    nothing = dict.fromkeys((2, 4, 6, 8))
    assert dict(match_all(expressions, frames(), engine)) == {1: (2, 3), 3: (2,), 5: (0, 2, 3), 7: (0, 2), **nothing}
