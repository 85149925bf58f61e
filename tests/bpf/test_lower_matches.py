"""`matches` in the kernel: random patterns of every form on short payloads, and long payloads that lie in several windows."""

from __future__ import annotations

import random

import pytest
from generators.patterns import pattern, text

from bpf import LoweringError, compile_program, load, too_large
from bpf.regex_automaton import TooLargeError
from bpf.search import WINDOW
from rules_dsl.expression import BytesOperand, Contains, Expression, FieldValue, Folded, Matches, Not, Or, Substring
from rules_dsl.fields import FIELDS
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

PAYLOAD = FieldValue(FIELDS["udp.payload"])
OPERANDS: tuple[BytesOperand, ...] = (PAYLOAD, Folded(PAYLOAD, upper=False), Folded(PAYLOAD, upper=True), Substring(PAYLOAD, 1, -1))


def udp(payload: bytes) -> Packet:
    header = bytes([0x45, 0]) + (28 + len(payload)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2])
    return Packet(header + bytes([0, 9, 0, 9]) + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload, Place("eth0"))


def hits(expression: Expression, packets: list[Packet]) -> int:
    """Kernel = reference on all; how many of the packets hit."""
    found = 0
    with load(compile_program("check", expression)) as program:
        for packet in packets:
            wanted = holds(expression, packet)
            assert program.run(packet.data) == wanted, f"reference {wanted}: {expression!r} on {packet.data.hex()}"
            found += wanted
    return found


def test_random_patterns() -> None:
    rng = random.Random(12)
    found = 0
    for _ in range(250):
        packets = [udp(text(rng, 12)) for _ in range(20)]
        found += hits(Matches(rng.choice(OPERANDS), pattern(rng)), packets)
    assert 1_000 < found < 4_000


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("^x*ab$", b"ab"),
        (r"\bevil\b", b" evil "),
        ("(?m)^evil$", b"\nevil\n"),
        ("(?s)evil.*again", b"evil" + b"." * (WINDOW + 1) + b"again"),
        (r"\d{3}-\d{4}", b"555-1234"),
    ],
)
def test_long_payloads(written: str, part: bytes) -> None:
    """The part stands at, around and behind the edges of windows, and at the end."""
    places = [0, 1, *range(WINDOW - len(part) - 1, WINDOW + 2), 2 * WINDOW - 1, 3000]
    packets = [udp(b"x" * place + part) for place in places]
    packets += [udp(b"x" * place + part + b"x" * WINDOW) for place in places] + [udp(b"x" * place) for place in places]
    assert hits(Matches(PAYLOAD, written), packets) >= len(places) - 2


def test_several_patterns_in_one_program() -> None:
    tests = [Matches(PAYLOAD, written) for written in ("^GET ", r"(?i)host:\s+evil", r"\x00\x00$", "[0-9]{4}")]
    packets = [udp(payload) for payload in (b"", b"GET /", b"get /", b"HoSt: evil", b"a\0\0", b"\0\0a", b"123", b"x1234", b"needle")]
    assert hits(Or((*tests, Contains(PAYLOAD, (b"needle",)))), packets) == 5
    assert hits(Or((Not(tests[0]), tests[0])), packets) == len(packets)


def test_what_is_too_large_names_the_test() -> None:
    test = Matches(Folded(PAYLOAD, upper=False), "a.{20}b")
    reason = too_large(test)
    assert reason == "it needs more than 20,000 states, and the limit is 10,000"
    with pytest.raises(LoweringError) as error:
        compile_program("large", Not(test))
    assert (error.value.test, error.value.reason) == (test, reason)
    assert isinstance(error.value.__cause__, TooLargeError)
    assert too_large(Matches(PAYLOAD, "a.{5}b")) is None
