"""Address sets in the kernel: the programs agree with the spans, changes are seen at once and survive a killed writer. Needs root."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from generators.packets import with_checksum
from prefix_sets import Span, borders, changed, is_inside, networks, packet, random_change, random_span

from bpf import bpffs
from bpf.image import MapKind, MapSpec
from bpf.libbpf import BpfError
from bpf.maps import create_map
from bpf.prefix_set_change import Change, FullError, value_for
from bpf.prefix_set_lookup import Side, compile_prefix_set
from bpf.prefix_set_map import PrefixSetMap, create, open_pinned
from bpf.program import Program, load
from bpf.traffic import trace
from firewall import netlink
from firewall.netlink import Netlink, Verdict
from rules_dsl.ranges import merged

pytestmark = pytest.mark.kernel

Spans = tuple[Span, ...]
OTHER = {4: 0xC6336401, 6: 0x20010DB8FFFF << 80 | 1}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory in a BPF file system."""
    path = bpffs.make_directory(bpffs.place() / f"prefix_set_{os.getpid()}")
    yield path
    for pin in path.iterdir():
        pin.unlink()
    path.rmdir()


@contextmanager
def _loaded(v4: Spans, v6: Spans) -> Iterator[tuple[PrefixSetMap, Program, Program]]:
    with create("listed", value_for(v4, v6)) as addresses:
        source, destination = (
            load(compile_prefix_set(side.name, addresses.spec, side), {addresses.spec.name: addresses.map}) for side in Side
        )
        with source, destination:
            yield addresses, source, destination


def _agree(v4: Spans, v6: Spans, source: Program, destination: Program, dice: random.Random, most: int) -> None:
    for version, expected in ((4, v4), (6, v6)):
        for address in borders(expected, version, dice, most):
            inside = is_inside(expected, address)
            assert source.run(packet(version, address, OTHER[version])) == inside, hex(address)
            if dice.random() < 0.2:
                assert destination.run(packet(version, OTHER[version], address)) == inside, hex(address)


@pytest.mark.parametrize("lengths", [(32, 48, 56, 64), (128,), (63, 64, 65, 127)], ids=["networks", "hosts", "about half"])
def test_the_programs_find_what_is_in_the_set(lengths: tuple[int, ...]) -> None:
    dice = random.Random(1)
    v4, v6 = networks(dice, 4, 20_000, 20, 24, 32), networks(dice, 6, 20_000, *lengths)
    with _loaded(v4, v6) as (addresses, source, destination):
        _agree(v4, v6, source, destination, dice, 400)
        assert tuple(map(tuple, addresses.ranges())) == (v4, v6)


def test_the_programs_search_dense_sets() -> None:
    v4 = (*((address, address) for address in range(0x0A000000, 0x0A010000, 2)), *((0x0B000000 + 40 * n,) * 2 for n in range(3_000)))
    v6 = tuple((0x20010DB8 << 96 | address, 0x20010DB8 << 96 | address) for address in range(0, 20_000, 2))
    with _loaded(v4, v6) as (_, source, destination):
        _agree(v4, v6, source, destination, random.Random(2), 400)


def test_an_empty_set_and_strange_packets() -> None:
    with _loaded((), ()) as (_, source, _):
        assert source.run(packet(4, 1, 2)) == source.run(packet(6, 1, 2)) == 0
    with _loaded(((0, 0xFFFFFFFF),), ((0, (1 << 128) - 1),)) as (_, source, destination):
        assert source.run(packet(4, 1, 2)) == source.run(packet(6, 1, 2)) == 1
        for cut in (b"", packet(4, 1, 2)[:15], packet(6, 1, 2)[:23], b"\x55" + bytes(39)):
            assert source.run(cut) == 0
        assert (source.run(packet(4, 1, 2)[:16]), destination.run(packet(4, 1, 2)[:19])) == (1, 0)


@pytest.mark.parametrize("seed", range(5))
def test_changes_are_seen(seed: int) -> None:
    dice = random.Random(10 + seed)
    v4, v6 = (merged(random_span(dice, version) for _ in range(30)) for version in (4, 6))
    with _loaded(v4, v6) as (addresses, source, destination):
        for _ in range(40):
            changes = [random_change(dice) for _ in range(dice.choice((1, 1, 5)))]
            try:
                addresses.change(changes)
            except FullError:
                break
            for change in changes:
                if change.version == 4:
                    v4 = changed(v4, change)
                else:
                    v6 = changed(v6, change)
            _agree(v4, v6, source, destination, dice, 5)


def test_a_set_is_opened_by_its_pin(folder: Path) -> None:
    with _loaded(((1, 5),), ()) as (addresses, source, _):
        addresses.pin(folder / "listed")
        with open_pinned(folder / "listed", "listed") as again:
            assert again.spec == addresses.spec
            again.change([Change(4, 3, 3, inside=False)])
        assert [source.run(packet(4, address, 9)) for address in range(7)] == [0, 1, 1, 0, 1, 1, 0]


def test_other_pins_are_refused(folder: Path) -> None:
    with pytest.raises(BpfError, match="No such file"):
        open_pinned(folder / "nothing", "nothing")
    with create_map(MapSpec("plain", value_size=8192)) as plain:
        plain.pin(folder / "plain")
        with pytest.raises(BpfError, match="cannot map plain into memory"):
            open_pinned(folder / "plain", "plain")
    for spec, refusal in (
        (MapSpec("mapped", value_size=8192, mapped=True), "the map mapped is no address set of this version"),
        (MapSpec("hash", MapKind.HASH), "the map hash is no address set"),
    ):
        with create_map(spec) as other:
            other.pin(folder / spec.name)
        with pytest.raises(BpfError, match=refusal):
            open_pinned(folder / spec.name, spec.name)


WRITER = """
import sys
from pathlib import Path
from bpf.prefix_set_change import Change
from bpf.prefix_set_map import open_pinned
with open_pinned(Path(sys.argv[1]), "listed") as listed:
    print("ready", flush=True)
    for number in range(1_000_000):
        low = 0x0A000000 + number * 4
        listed.change([Change(4, low, low + 1, True), Change(6, low << 60, (low << 60) + 9, True)])
"""


def test_a_killed_writer_leaves_pairs_whole(folder: Path) -> None:
    """Each change puts two spans in: however it is killed, both are there or neither, and the next writer goes on."""
    dice = random.Random(3)
    with create("listed", value_for((), ((1, 2),), room=1 << 26)) as addresses:
        addresses.pin(folder / "listed")
        for _ in range(8):
            with subprocess.Popen([sys.executable, "-c", WRITER, str(folder / "listed")], stdout=subprocess.PIPE) as writer:
                assert writer.stdout is not None
                writer.stdout.readline()
                time.sleep(0.01 + dice.random() / 100)
                writer.send_signal(signal.SIGKILL)
            v4, v6 = addresses.ranges()
            pairs = {(low << 60, (low << 60) + 9) for low, _ in v4}
            assert pairs == set(v6) - {(1, 2)}
            assert v4
            addresses.change([Change(4, 0, 0xFFFFFFFF, inside=False), Change(6, 10, (1 << 128) - 1, inside=False)])
            assert addresses.ranges() == ([], [(1, 2)])


def test_readers_beside_a_writer_see_the_old_or_the_new() -> None:
    """One address is always inside and one never, while all around them changes."""
    with _loaded(((0x0A000080, 0x0A000080),), ()) as (addresses, source, _):
        stop = threading.Event()
        wrong: list[int] = []

        def look() -> None:
            while not stop.is_set():
                if source.measure(packet(4, 0x0A000080, 1), 2_000).returned != 1:
                    wrong.append(1)
                if source.measure(packet(4, 0x0A000081, 1), 2_000).returned != 0:
                    wrong.append(0)

        with ThreadPoolExecutor(1) as thread:
            looking = thread.submit(look)
            dice = random.Random(4)
            for _ in range(3_000):
                low = 0x0A000000 + dice.choice((*range(0x80), *range(0x82, 0x200)))
                try:
                    addresses.change([Change(4, low, low, inside=dice.random() < 0.5)])
                except FullError:
                    break
            stop.set()
            looking.result()
        assert not wrong


# -- matched by nftables -----------------------------------------------------------------------------------------------


RULES = """
table inet seen {
    chain listed { counter comment "listed"; }
    chain pre { type filter hook prerouting priority -450; policy accept; }
}
"""


def test_an_nft_rule_matches_the_set(folder: Path) -> None:
    """Packets of a trace from both families, before and after a change."""
    v4, v6 = ((0x0A000000, 0x0A0000FF),), ((0x20010DB8 << 96, (0x20010DB8 << 96) + 9),)
    frames = [_datagram(4, source) for source in (0x0A000000, 0x0A0000FF, 0x0A000100, 0x0B000001)]
    frames += [_datagram(6, source) for source in (v6[0][0] + 1, v6[0][1], v6[0][1] + 1)]

    def act() -> None:
        _in_namespace()
        with _loaded(v4, v6) as (addresses, source, _), Netlink() as kernel, trace("va", frames) as traffic:
            source.pin(folder / "source")
            expressions = [netlink.match_bpf(str(folder / "source")), netlink.immediate(Verdict("listed"))]
            kernel.transact([netlink.add_rule("seen", "pre", expressions)])
            counted = []
            for change in (Change(4, 0x0A000100, 0x0A0001FF, inside=True), Change(6, v6[0][0], v6[0][1] + 1, inside=False)):
                traffic.send(7_000)
                counted.append(_counted())
                addresses.change([change])
            traffic.send(7_000)
            assert (*counted, _counted()) == (4_000, 9_000, 12_000)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(act).result()


def _in_namespace() -> None:
    """A network namespace of this thread's own."""
    assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0, os.strerror(ctypes.get_errno())  # CLONE_NEWNET
    for command in ("link add va type veth peer name vb", "link set va up", "link set vb up", "address add 192.0.2.2/24 dev va"):
        subprocess.run(["ip", *command.split()], check=True)
    subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)


def _datagram(version: int, source: int) -> bytes:
    """An IP packet with no transport header."""
    if version == 4:
        return with_checksum(struct.pack(">BBHHHBBHII", 0x45, 0, 20, 1, 0, 64, 59, 0, source, 0xC0000202))
    return struct.pack(">IHBB", 6 << 28, 0, 59, 64) + source.to_bytes(16, "big") + OTHER[6].to_bytes(16, "big")


def _counted() -> int:
    listed = subprocess.run(["nft", "list", "chain", "inet", "seen", "listed"], capture_output=True, text=True, check=True).stdout
    words = listed.split()
    return int(words[words.index("packets") + 1])
