"""The examples: right, tested, judged the same by both engines, and each rule met and missed by a packet of its capture."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from firewall.capture import read
from firewall.replay import replay, run_expectations
from firewall.replay.arrival import Arrival, arrival_of
from rules_dsl import check_policy, format_policy, load_policy, parse_policy
from rules_dsl.expression import Const
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Policy, Verdict
from rules_dsl.reference import holds, matched

FOLDER = Path(__file__).parent.parent.parent / "examples"
RULE_FILES = sorted(FOLDER.glob("*.rules"))
each_example = pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: path.stem)


def packets_of(path: Path) -> list[Packet]:
    """The packets of the capture beside a rule file, as rules see them."""
    arrivals = [arrival_of(frame) for frame in read(path.with_suffix(".pcap"))]
    return [Packet(arrival.ip, Place(arrival.interface.name)) for arrival in arrivals if isinstance(arrival, Arrival)]


def judged_packets(policy: Policy, path: Path) -> list[Packet]:
    """Those that are to what the policy protects."""
    records = [entry.record for entry in replay(policy, path.with_suffix(".pcap"), "reference")]
    return [packet for packet, record in zip(packets_of(path), records, strict=True) if record.verdict is not None]


def captures_script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_captures", FOLDER / "make_captures.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_there_are_the_examples_that_a_newcomer_wants() -> None:
    wanted = {
        "web-server",
        "sip-provider",
        "dns-resolver",
        "game-server",
        "vpn-edge",
        "cloudflare",
        "amplification",
        "tls-egress",
        "early-drop",
    }
    assert wanted <= {path.stem for path in RULE_FILES}


def test_the_captures_are_what_the_script_makes(tmp_path: Path) -> None:
    captures_script().main(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: (FOLDER / name).read_bytes() for name in made} == made


@each_example
def test_a_rule_file_has_no_findings(path: Path) -> None:
    policy, diagnostics = check_policy(path)
    assert policy is not None
    assert [diagnostic.message for diagnostic in diagnostics] == []


@each_example
def test_the_canonical_form_means_the_same(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    formatted = format_policy(text)
    assert format_policy(formatted) == formatted
    before, after = load_policy(path), parse_policy(formatted, folder=FOLDER)
    assert [(rule.name, rule.action, rule.mode, rule.predicate) for rule in before.rules] == [
        (rule.name, rule.action, rule.mode, rule.predicate) for rule in after.rules
    ]


@each_example
def test_a_rule_file_is_in_canonical_form(path: Path) -> None:
    if path.stem == "cloudflare":
        pytest.skip("it keeps the expressions as Cloudflare's pages write them")
    text = path.read_text(encoding="utf-8")
    assert format_policy(text) == text


@each_example
def test_every_rule_is_met_and_missed(path: Path) -> None:
    policy = load_policy(path)
    packets = judged_packets(policy, path)
    reached = {rule.name for packet in packets for rule in matched(policy, packet)}
    assert [rule.name for rule in policy.rules if rule.name not in reached] == []
    always = [rule.name for rule in policy.rules if all(holds(rule.predicate, packet) for packet in packets)]
    assert always == [rule.name for rule in policy.rules if rule.predicate == Const(True)]


@each_example
def test_every_expectation_holds_by_the_reference(path: Path) -> None:
    policy = load_policy(path)
    results = run_expectations(policy, FOLDER, "reference")
    assert results
    assert [(result.title, result.failures) for result in results if not result.passed] == []


@each_example
def test_the_expectations_name_every_rule_that_decides(path: Path) -> None:
    """An example whose tests pass over a rule that blocks or allows teaches less than it could."""
    if path.stem == "cloudflare":
        pytest.skip("its expressions are tested one by one elsewhere")
    policy = load_policy(path)
    named = {expectation.rule for expectation in policy.expectations}
    decided = {entry.record.rule for entry in replay(policy, path.with_suffix(".pcap"), "reference")} - {None}
    assert decided - named == set()


@pytest.mark.kernel
@each_example
def test_the_kernel_decides_as_the_reference_does(path: Path) -> None:
    policy = load_policy(path)
    entries = list(replay(policy, path.with_suffix(".pcap"), "both"))
    assert [str(entry.difference) for entry in entries if entry.difference is not None] == []
    assert {entry.record.verdict for entry in entries} & {verdict.value for verdict in Verdict}
