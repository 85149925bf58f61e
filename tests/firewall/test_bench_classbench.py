"""The classification benchmark: rule sets as ClassBench makes them, contenders that agree or are named, and what is told of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from firewall.bench import classification, nft_tree, results
from firewall.bench.classbench import (
    ANY,
    NAMES,
    ONE_SHAPE,
    SEEDS,
    TCP,
    TRACES,
    UDP,
    Filter,
    FilterError,
    generate,
    holds,
    parse,
    rule_set,
    trace,
)
from firewall.bench.contenders import MANTLET, NFT, NFT_MAP, NFT_SET, NFT_TREE, Contender, as_mantlet, as_nft_map, of_rules
from firewall.bench.processes import ProcessError, run
from rules_dsl import parse_policy
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import judge

DOCS = Path(__file__).parents[2] / "docs/reference"


def quiet(_: str) -> None:
    """No progress."""


# -- rule sets ---------------------------------------------------------------------------------------------------------


def line(addresses: str = "10.1.0.0/16\t192.0.2.1/32", ports: str = "0 : 65535\t53 : 53", protocol: str = "0x11/0xFF") -> str:
    return f"@{addresses}\t{ports}\t{protocol}\t0x0000/0x0000\t\n"


def test_a_line_is_a_filter() -> None:
    assert list(parse(line())) == [Filter(0x0A010000, 16, 0xC0000201, 32, ANY, (53, 53), UDP)]


def test_ports_of_any_protocol_are_those_of_tcp_and_of_udp() -> None:
    assert [each.protocol for each in parse(line(protocol="0x00/0x00"))] == [TCP, UDP]
    assert [each.protocol for each in parse(line(ports="0 : 65535\t0 : 65535", protocol="0x00/0x00"))] == [None]


def test_other_protocols_have_no_ports() -> None:
    assert [(each.protocol, each.destination_ports) for each in parse(line(protocol="0x01/0xFF"))] == [(1, ANY)]


def test_a_line_that_is_none_is_named() -> None:
    with pytest.raises(FilterError, match="line 2 is no filter"):
        list(parse(line() + "10.0.0.0/8\n"))


def test_a_smaller_set_is_a_part_of_the_file_in_order(tmp_path: Path) -> None:
    all_of_it = [line(f"10.0.{number}.0/24\t192.0.2.1/32") for number in range(100)]
    (tmp_path / "acl1_100.cb").write_text("".join(all_of_it))
    found = rule_set("acl1", 20, tmp_path)
    sources = [each.source for each in found.filters]
    assert found.origin == "acl1_100.cb"
    assert len(sources) == 20
    assert sources == sorted(sources)
    assert found == rule_set("acl1", 20, tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_generated_set_has_distinct_filters_the_specific_ones_first(name: str) -> None:
    found = generate(name, 1_000)
    assert found == generate(name, 1_000)
    assert len(set(found)) == len(found) >= 999
    lengths = [each.source_length + each.destination_length for each in found]
    assert lengths == sorted(lengths, reverse=True)
    if name != ONE_SHAPE:
        assert holds(found[-1], Filter(1, 32, 2, 32, (3, 3), (4, 4), 5))


@pytest.mark.parametrize("name", NAMES)
def test_the_first_rule_is_that_of_a_plain_look_through(name: str) -> None:
    found = rule_set(name, 300)
    packets = [each for kind in TRACES for each in trace(found, kind, 200)]
    plain = [next((number for number, rule in enumerate(found.filters) if holds(rule, packet)), None) for packet in packets]
    assert list(found.first(packets)) == plain
    assert len(set(plain)) > 20


@pytest.mark.parametrize("name", NAMES)
def test_packets_made_for_rules_meet_one(name: str) -> None:
    found = rule_set(name, 300)
    for kind in ("uniform", "skewed"):
        assert None not in found.first(trace(found, kind, 200))


@pytest.mark.parametrize("name", NAMES)
def test_mantlet_means_the_same(name: str) -> None:
    """The rule file, by the reference."""
    found = rule_set(name, 100)
    policy = parse_policy(as_mantlet(found))
    packets = [each for kind in TRACES for each in trace(found, kind, 30)]
    judged = [judge(policy, Packet(classification.packet(each, 1), Place("eth0"))) for each in packets]
    expected = [None if number is None else f"rule {number}" for number in found.first(packets)]
    assert [each.rule.name if each.rule else None for each in judged] == expected


def test_a_map_is_made_of_one_exact_shape_alone() -> None:
    exact = rule_set(ONE_SHAPE, 10)
    assert as_nft_map(exact) is not None
    first, *others = exact.filters
    for other in (replace(first, source_length=16), replace(first, destination_ports=(1, 2)), replace(first, protocol=None)):
        assert as_nft_map(replace(exact, filters=(other, *others))) is None


def test_the_changed_set_differs_in_one_rule() -> None:
    found = rule_set("acl1", 100)
    assert sum(old != new for old, new in zip(found.filters, found.changed().filters, strict=True)) == 1


# -- processes ---------------------------------------------------------------------------------------------------------


def test_a_process_is_measured() -> None:
    usage = run((sys.executable, "-c", "import time; held = bytearray(50 << 20); time.sleep(0.1)"), timeout=60)
    assert usage.seconds > 0.1
    assert 50 << 20 < usage.memory < 200 << 20


def test_a_failed_process_says_why() -> None:
    with pytest.raises(ProcessError, match="no good"):
        run((sys.executable, "-c", "import sys; sys.exit('no good')"), timeout=60)


def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ProcessError, match="not done after"):
        run(("sleep", "60"), timeout=0.05)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(ProcessError, match="no-such-command"):
        run(("no-such-command",), timeout=1)


# -- measuring ---------------------------------------------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.parametrize("name", ["fw1", ONE_SHAPE])
def test_the_contenders_agree_on_rules(name: str) -> None:
    measured = classification.rules(rule_set(name, 10), 10, 1, quiet)
    assert [each for each in measured.left_out if each.contender in (MANTLET, NFT, NFT_MAP) or each.is_wrong] == []
    wanted = {MANTLET, NFT, NFT_MAP} if name == ONE_SHAPE else {MANTLET, NFT}
    assert {cost.contender for cost in measured.costs} >= wanted
    assert {(cost.contender, cost.trace) for cost in measured.costs} == {
        (setting.contender, kind) for setting in measured.settings for kind in TRACES
    }
    changed = {setting.contender: setting.change for setting in measured.settings}
    assert all(changed[contender] for contender in wanted)


@pytest.mark.kernel
@pytest.mark.parametrize("name", SEEDS)
def test_a_decision_tree_means_the_same(name: str) -> None:
    found = rule_set(name, 200)
    traces = {}
    for kind in TRACES:
        packets = trace(found, kind, 500)
        traces[kind] = [classification.packet(each, at) for at, each in enumerate(packets)], found.dropped(packets)

    def tree(folder: Path) -> Sequence[Contender]:
        return [each for each in of_rules(found, folder) if each.name == NFT_TREE]

    assert classification.measure(name, 200, 200, "", tree, traces, 1, quiet).left_out == ()


def test_a_tree_that_is_too_large_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft_tree, "MOST", 3)
    with pytest.raises(nft_tree.TooLargeError, match="more than 3 chains"):
        nft_tree.as_nft_tree(rule_set("fw1", 300), ["counter drop"] * 300, "")


@pytest.mark.kernel
def test_the_contenders_agree_on_a_list() -> None:
    measured = classification.prefixes(10, 1, quiet)
    assert [each for each in measured.left_out if each.contender in (MANTLET, NFT_SET) or each.is_wrong] == []
    assert {setting.contender for setting in measured.settings} >= {MANTLET, NFT_SET}
    assert min(measured.empty.values()) > 0


@pytest.mark.kernel
def test_who_judges_one_packet_otherwise_is_left_out(tmp_path: Path) -> None:
    found = rule_set("acl1", 10)
    packets = trace(found, "uniform", 100)
    drops = found.dropped(packets)
    sent = [classification.packet(each, at) for at, each in enumerate(packets)]

    def plain(folder: Path) -> Sequence[Contender]:
        return [each for each in of_rules(found, folder) if each.name == NFT]

    turned = [not drops[0], *drops[1:]]
    (left_out,) = classification.measure("acl1", 10, 10, "", plain, {"uniform": (sent, turned)}, 1, quiet).left_out
    assert left_out.is_wrong
    assert "1 of 100 packets (uniform)" in left_out.reason


@pytest.mark.kernel
def test_the_floor_is_below_the_stack() -> None:
    found = classification.floor(1)
    assert 0 < found.xdp_drop < found.stack


# -- what is told ------------------------------------------------------------------------------------------------------


def test_the_page_is_that_of_the_results() -> None:
    assert (DOCS / results.PAGE).read_text(encoding="utf-8") == results.page(results.read(DOCS)), (
        "python -m firewall.bench.results docs/reference"
    )


def test_the_page_shows_a_plot_a_set() -> None:
    found = results.read(DOCS)
    assert [(DOCS / results.FOLDER / f"{name}.png").exists() for name in found.names] == [True] * len(found.names)


def test_results_are_read_as_they_were_written() -> None:
    found = results.read(DOCS)
    assert results.from_json(json.loads(json.dumps(results.to_json(found)))) == found


def test_results_of_another_version_are_refused() -> None:
    with pytest.raises(ValueError, match="version 0"):
        results.from_json({**results.to_json(results.read(DOCS)), "version": 0})


def test_plots_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'mantlet[bench]'")
    found = results.read(DOCS)
    results.write(found, tmp_path)
    assert results.read(tmp_path) == found
    assert {path.stem for path in (tmp_path / results.FOLDER).glob("*.png")} == set(found.names)


def test_matplotlib_is_imported_to_draw_alone() -> None:
    script = "import sys, firewall.cli.parser as p, firewall.bench.suite; p.build_parser(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
