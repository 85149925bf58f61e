"""The reader of log reports, against the kernel."""

import os

import pytest

from firewall import nft
from firewall.namespace import Namespace
from firewall.replay.admission import repair_checksum
from firewall.replay.nflog import LogOverrunError, LogReader
from firewall.replay.tap import MAC, Taps

pytestmark = pytest.mark.kernel

GROUP = 5
V4 = repair_checksum(bytes.fromhex("4500001c00000000401100000a0000010a000002") + bytes(8))
V6 = bytes.fromhex("6000000000083b40") + bytes(15) + b"\x02" + bytes(15) + b"\x03" + bytes(8)


@pytest.fixture
def namespace():
    with Namespace() as inside:
        yield inside


def rules(namespace: Namespace, *texts: str) -> None:
    lines = ["add table inet t", "add chain inet t c { type filter hook prerouting priority -450; policy drop; }"]
    namespace.call(nft.run, "\n".join(lines + [f"add rule inet t c {text}" for text in texts]))


def send(tap: int, source: int, packet: bytes = V4) -> None:
    os.write(tap, MAC + source.to_bytes(6) + (b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd") + packet)


def test_a_report_is_the_source_address_and_the_prefix(namespace):
    rules(namespace, f'log prefix "first" group {GROUP}', f'meta mark set 7 log prefix "{"x" * 100}" group {GROUP}', f"log group {GROUP}")
    with Taps(namespace) as taps, namespace.call(LogReader, GROUP) as log:
        send(taps["a"], 0x02_00_00_00_00_07)
        send(taps["b.10"], 0x02_FF_FF_FF_FF_FF, V6)
        one, two = bytes.fromhex("020000000007"), bytes.fromhex("02ffffffffff")
        long = b"x" * 100 + b"\0"
        assert log.read() == [(one, b"first\0"), (one, long), (one, b"\0"), (two, b"first\0"), (two, long), (two, b"\0")]
        assert log.read() == []


def test_reports_come_in_batches_once_enough_have_gathered(namespace):
    rules(namespace, f'log prefix "1" group {GROUP}')
    with Taps(namespace) as taps, namespace.call(LogReader, GROUP, threshold=10) as log:
        for number in range(9):
            send(taps["a"], number)
        assert log.read() == []
        send(taps["a"], 9)
        assert [int.from_bytes(mac) for mac, _ in log.read()] == list(range(10))


def test_another_group_is_not_heard(namespace):
    rules(namespace, f'log prefix "1" group {GROUP + 1}')
    with Taps(namespace) as taps, namespace.call(LogReader, GROUP) as log:
        send(taps["a"], 1)
        assert log.read() == []


def test_reports_that_find_no_room_are_told_of(namespace):
    rules(namespace, f'log prefix "1" group {GROUP}')
    with Taps(namespace) as taps, namespace.call(LogReader, GROUP, receive_bytes=10_000) as log:
        for number in range(1000):
            send(taps["a"], number)
        with pytest.raises(LogOverrunError):
            log.read()
        assert log.read() == []
        send(taps["a"], 1000)
        assert len(log.read()) == 1
