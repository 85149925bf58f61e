"""tshark as judge over the whole corpus: `match` with either engine selects the frames that Wireshark's display filter selects, and
the reference reads the values that Wireshark shows.

The usual run asks `match` one expression a protocol. The long run asks all of them in one pass of each engine. tshark is asked everything
in one pass too. The workers of a run share the answers."""

from __future__ import annotations

import fcntl
import os
import pickle
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from judge import corpus, judgement, table, wireshark
from judge.fields import RETOLD, VALUE_DIFFERENCES
from judge.judgement import ALL_DIFFERENCES, ALL_PAIRS, HEURISTIC, Read, Selected, differences_of
from judge.protocols import JUDGED

from firewall.replay import EngineName, match
from rules_dsl import expression as ex
from rules_dsl import parse_expression
from rules_dsl.fields import PROTOCOLS

pytestmark = [
    pytest.mark.skipif(not corpus.captures(), reason="the corpus of captures is not there (../shared/corpus)"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed (make setup)"),
]
DOCS = Path(__file__).parents[2] / "docs" / "reference"
QUICK = ("ip.src in {10.0.0.0/8}", "ip.ttl < 5", "ip.frag", "tcp.flags.syn and not tcp.flags.ack", "udp.length > 512")
"""Of the headers, judged in the usual run; of each protocol it is the first pair."""

Answer = TypeVar("Answer")


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of the run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def _once(folder: Path, name: str, make: Callable[[], Answer]) -> Answer:
    """What `make` gives, made by the first worker that asks."""
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = folder / f"{name}.pickle"
        if not kept.exists():
            made = make()
            kept.write_bytes(pickle.dumps(made))
            return made
        answer: Answer = pickle.loads(kept.read_bytes())
        return answer


@pytest.fixture(scope="session")
def joined(run_folder: Path) -> Path:
    """The corpus in one file."""
    path = run_folder / "corpus.pcapng"
    _once(run_folder, "corpus", lambda: corpus.join(path))
    return path


@pytest.fixture(scope="session")
def answers(joined: Path) -> wireshark.Answers:
    return _once(joined.parent, "wireshark", lambda: judgement.ask(joined))


@pytest.fixture(scope="session")
def reference(joined: Path) -> Selected:
    return _once(joined.parent, "reference", lambda: judgement.select(joined, "reference"))


@pytest.fixture(scope="session")
def kernel(joined: Path) -> Selected:
    return _once(joined.parent, "kernel", lambda: judgement.select(joined, "kernel"))


@pytest.fixture(scope="session")
def read(joined: Path) -> Read:
    return _once(joined.parent, "values", lambda: judgement.read(joined))


def _fields_of(text: str) -> tuple[str, ...]:
    operands = map(ex.operand_of, ex.tests_of(parse_expression(text)))
    return tuple({root.field.name for operand in operands if isinstance(root := ex.root_of(operand), ex.FieldValue)})


# -- the usual run -----------------------------------------------------------------------------------------------------


def _quick() -> Iterator[object]:
    for name, pairs in ALL_PAIRS.items():
        for ours, theirs in pairs if name == "headers" else pairs[:1]:
            if name != "headers" or ours in QUICK:
                yield pytest.param(ours, theirs, id=f"{name}: {ours}")


@pytest.fixture(scope="session")
def explaining(joined: Path) -> Selected:
    """The frames of the differences that are told by expressions of ours."""
    return _once(joined.parent, "differences", lambda: judgement.select(joined, "reference", judgement.MANTLET_DIFFERENCES))


@pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])
@pytest.mark.parametrize(("ours", "theirs"), list(_quick()))
def test_match_selects_what_wireshark_selects(
    ours: str, theirs: str, engine: EngineName, joined: Path, answers: wireshark.Answers, explaining: Selected
) -> None:
    selected = frozenset(match(parse_expression(ours), judgement.frames_of(joined), engine, text=ours))
    differing = selected ^ (answers.frames[theirs] & explaining.seen)
    for difference in differences_of(_fields_of(ours), ALL_DIFFERENCES):
        differing -= judgement.explained(difference, explaining, answers)
    assert not differing, f"{len(differing)} frames differ, the first {sorted(differing)[:10]}"


@pytest.mark.parametrize("name", ["headers", "dns", "rtp"])
def test_one_pass_says_what_tshark_prints(name: str, joined: Path, answers: wireshark.Answers) -> None:
    _, theirs = ALL_PAIRS[name][0]
    assert answers.frames[theirs] == wireshark.frames(joined, theirs, ("rtp_udp",) if name in HEURISTIC else ())


# -- the long run ------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("engine", ["reference", pytest.param("kernel", marks=pytest.mark.kernel)])
@pytest.mark.parametrize("name", list(ALL_PAIRS))
def test_every_expression_selects_what_wireshark_selects(
    name: str, engine: EngineName, answers: wireshark.Answers, reference: Selected, request: pytest.FixtureRequest
) -> None:
    judged: Selected = request.getfixturevalue(engine)
    assert judged.seen == reference.seen
    found = []
    for ours, theirs in ALL_PAIRS[name]:
        differing = judged.frames[ours] ^ (answers.frames[theirs] & judged.seen)
        for difference in differences_of(_fields_of(ours), ALL_DIFFERENCES):
            differing -= judgement.explained(difference, reference, answers)
        if differing:
            found.append(f"{ours}: {len(differing)} frames differ, the first {sorted(differing)[:10]}")
    assert not found, "\n".join(found)


@pytest.mark.long
def test_every_value_is_what_wireshark_shows_or_has_its_reason(answers: wireshark.Answers, reference: Selected, read: Read) -> None:
    unexplained = {row.field.name: sorted(row.unexplained)[:10] for row in table.rows(reference, answers, read) if row.unexplained}
    assert not unexplained


@pytest.mark.long
def test_the_table_is_that_of_a_fresh_run(joined: Path, answers: wireshark.Answers, reference: Selected, read: Read) -> None:
    page = (DOCS / table.NAME).read_text(encoding="utf-8")
    if f"({wireshark.version()})" not in page:
        pytest.skip("the page is another Wireshark's; `make judged` makes it anew")
    captures, frames = _once(joined.parent, "corpus", lambda: corpus.join(joined))
    fresh = table.page(tuple(table.rows(reference, answers, read)), captures, frames, len(reference.seen))
    assert page == fresh, "run `make judged`"


# -- what is judged ----------------------------------------------------------------------------------------------------


def test_every_protocol_is_judged() -> None:
    assert set(JUDGED) == set(PROTOCOLS)
    assert all(judged.pairs for judged in JUDGED.values())


def test_every_difference_is_documented() -> None:
    page = (DOCS / "wireshark.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^## (.*)$", page, re.MULTILINE))
    assert {one.title for one in (*ALL_DIFFERENCES, *VALUE_DIFFERENCES, *RETOLD)} - headings == set()


def test_there_are_at_least_sixty_expressions() -> None:
    assert len(ALL_PAIRS["headers"]) >= 60
