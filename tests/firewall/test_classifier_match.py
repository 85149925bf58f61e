"""A classifier behind a real `match bpf` of nftables: the packets that it is to drop, and no others."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack

import pytest
from generators.boxes import first_of
from generators.live_tree import LiveTree, units_for
from generators.packets import with_checksum

from bpf import load
from bpf.bpffs import make_directory
from bpf.classifier import (
    Entry,
    Family,
    build,
    compile_classifier,
    counters_spec,
    five_tuple,
    read_counters,
    tree_spec,
)
from bpf.maps import create_map
from firewall import netlink, nft
from firewall.namespace import Namespace
from firewall.netlink import Netlink, Verdict
from firewall.pins import Pins

MAC = bytes.fromhex("020000000001")


@pytest.mark.kernel
def test_nftables_drops_what_the_classifier_blocks() -> None:
    rng = random.Random(3)
    keys = five_tuple(Family.IPV4)
    entries = []
    for number in range(500):
        low = 0x0A00_0000 | rng.randrange(64) << 4
        port = rng.randrange(20)
        box = ((low, low + 15), (0, 0xFFFF_FFFF), (0, 65536), rng.choice(((port, port + 3), (0, 65536))), rng.choice(((17, 17), (0, 256))))
        entries.append(Entry(box, number, number, rng.randrange(2)))
    classifier = build(Family.IPV4, keys, entries)
    specs = tree_spec("tree", units_for(classifier)), counters_spec("counters", len(entries))
    image = compile_classifier("test", Family.IPV4, keys, specs[0], counters=specs[1], yes={1})
    counted = [0] * len(entries)
    blocked = 0
    with ExitStack() as stack:
        space = stack.enter_context(Namespace())
        tap = space.tap("lab0", mac=MAC)
        stack.callback(os.close, tap)
        maps = {spec.name: stack.enter_context(create_map(spec)) for spec in specs}
        with LiveTree(maps["tree"]) as live:
            live.put(classifier)
        pin = make_directory(Pins.of(space.inode).folder("test", 1)) / "classifier"
        stack.callback(Pins.of(space.inode).clear)
        stack.enter_context(load(image, maps)).pin(pin)
        space.call(
            nft.run,
            """add table inet t
            add counter inet t blocked
            add chain inet t blocks
            add rule inet t blocks counter name blocked drop
            add chain inet t c { type filter hook prerouting priority -450; }
            add rule inet t c meta nfproto != ipv4 drop""",
        )
        kernel = stack.enter_context(space.call(Netlink))
        kernel.transact([netlink.add_rule("t", "c", [netlink.match_bpf(str(pin)), netlink.immediate(Verdict("blocks"))])])
        for _ in range(500):
            source, port = 0x0A00_0000 | rng.randrange(2048), rng.randrange(26)
            udp = (9).to_bytes(2, "big") + port.to_bytes(2, "big") + (8).to_bytes(2, "big") + bytes(2)
            head = b"\x45\0\0\x1c\0\0\0\0\x40\x11\0\0" + source.to_bytes(4, "big") + (0xC0000201).to_bytes(4, "big")
            os.write(tap, MAC + b"\x02\0\0\0\0\x02" + b"\x08\0" + with_checksum(head + udp))
            number = first_of(entries, (source, 0xC0000201, 9, port, 17))
            if number is not None:
                counted[number] += 1
                blocked += entries[number].outcome
        (counter,) = kernel.counters("t")
        assert counter.packets == blocked > 20
        assert read_counters(maps["counters"])[:, 0].tolist() == counted
