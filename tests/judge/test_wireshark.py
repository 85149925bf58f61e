"""tshark as judge over the whole corpus: `match` with either engine selects the frames that Wireshark's display filter selects."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from judge import corpus, wireshark
from judge.differences import DIFFERENCES, Difference
from judge.expressions import PAIRS

from firewall import capture
from firewall.capture import Frame
from firewall.replay import EngineName, match, replay
from rules_dsl import expression as ex
from rules_dsl import parse_expression
from rules_dsl.policy import Policy

pytestmark = [
    pytest.mark.skipif(not corpus.captures(), reason="the corpus of captures is not there (../shared/corpus)"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (make setup)"),
]
QUICK = {
    "ip.src in {10.0.0.0/8}", "ip.ttl < 5", "ip.frag", "tcp.flags.syn and not tcp.flags.ack", "udp.length > 512",
    "tcp.options.mss == 1460", 'udp.payload contains "google"', "vlan.id in {1..4094}",
}  # fmt: skip
"""Judged in the usual run; the rest in the long one."""


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.pcapng"
    corpus.join(path)
    return path


@cache
def _frames(path: Path) -> Sequence[Frame]:
    return list(capture.read(path))


@cache
def _unseen(path: Path) -> frozenset[int]:
    """Frames that no rule sees, by the reference's reading of what the kernel admits; the engines are held together elsewhere."""
    return frozenset(record.frame for _, record, _ in replay(Policy("judge", ()), _frames(path), "reference") if record.verdict is None)


@cache
def _explained(path: Path, difference: Difference) -> frozenset[int]:
    if difference.wireshark is not None:
        return frozenset(wireshark.frames(path, difference.wireshark))
    assert difference.mantlet is not None
    return frozenset(match(parse_expression(difference.mantlet), _frames(path), "reference"))


@cache
def _judged(path: Path, display_filter: str) -> frozenset[int]:
    return frozenset(wireshark.frames(path, display_filter)) - _unseen(path)


def _cases() -> list[object]:
    return [pytest.param(ours, theirs, id=ours, marks=[] if ours in QUICK else [pytest.mark.long]) for ours, theirs in PAIRS]


@pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])
@pytest.mark.parametrize(("ours", "theirs"), _cases())
def test_match_selects_what_wireshark_selects(ours: str, theirs: str, engine: EngineName, joined: Path) -> None:
    expression = parse_expression(ours)
    selected = set(match(expression, _frames(joined), engine, text=ours))
    fields = {root.field.name for test in ex.tests_of(expression) if isinstance(root := ex.root_of(ex.operand_of(test)), ex.FieldValue)}
    differing = selected ^ _judged(joined, theirs)
    for difference in DIFFERENCES:
        if differing and any(name.startswith(difference.fields) for name in fields):
            differing -= _explained(joined, difference)
    assert not differing, f"{len(differing)} frames differ, the first {sorted(differing)[:10]}"


def test_every_difference_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "wireshark.md").read_text(encoding="utf-8")
    for difference in DIFFERENCES:
        assert f"## {difference.title}" in page


def test_there_are_at_least_sixty_expressions() -> None:
    assert len(PAIRS) >= 60
