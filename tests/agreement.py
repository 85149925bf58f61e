"""Kernel = reference: the packets and the comparison that tests of programs have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bpf import compile_program, load
from bpf.describe import describe
from rules_dsl.expression import Expression
from rules_dsl.expression import tests_of as every_test_of
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

LONGEST = 3300
"""Bytes of a packet that BPF_PROG_TEST_RUN takes, with room for its own."""


def as_a_hook_shows(data: bytes) -> Packet | None:
    """The packet that begins with these bytes, cut to LONGEST; None where no hook would show it. What a hook shows is whole: the IP length
    never goes beyond the data, nor below the IP header."""
    try:
        packet = Packet(data[:LONGEST], Place("eth0"))
    except ValueError:
        return None
    return packet if packet.data and packet.data[0] >> 4 == packet.version else None


def packets_from(draw: Callable[[], bytes], count: int) -> list[Packet]:
    """So many packets as a hook shows them, of the bytes that `draw` gives."""
    packets: list[Packet] = []
    while len(packets) < count:
        if (packet := as_a_hook_shows(draw())) is not None:
            packets.append(packet)
    return packets


def true_pairs(pairs: Iterable[tuple[Expression, Sequence[Packet]]]) -> int:
    """How many pairs are true: expressions, each with the packets that it is tried on. Fails where the kernel says otherwise than the
    reference."""
    hits, differing = 0, []
    for expression, packets in pairs:
        with load(compile_program("random", expression)) as program:
            for one in packets:
                wanted = holds(expression, one)
                hits += wanted
                if program.run(one.data) != wanted:
                    tests = "; ".join(describe(test) for test in every_test_of(expression))
                    differing.append(f"reference {wanted}, kernel {not wanted}: {tests}\n{expression!r}\n{one.data.hex()}")
    assert not differing, f"{len(differing)} differences\n" + "\n".join(differing[:3])
    return hits
