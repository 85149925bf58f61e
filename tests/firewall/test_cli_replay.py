"""compile, match, replay and test: what they print, and how they refuse."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from firewall.capture import read
from firewall.cli import main

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RULES, CAPTURE = str(EXAMPLES / "dns-resolver.rules"), str(EXAMPLES / "dns-resolver.pcap")
RULE_FILES = sorted(str(path) for path in EXAMPLES.glob("*.rules"))

BY_REFERENCE = ("--engine", "reference")


# -- match


def test_match_prints_frame_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", "udp.payload contains 00:00:ff:00:01", CAPTURE, *BY_REFERENCE]) == 0
    assert capsys.readouterr().out == "3\n4\n"


@pytest.mark.kernel
@pytest.mark.parametrize("expression", ["tcp.dstport == 853", "ip.frag", 'lower(udp.payload) contains "bind"', "not udp", "true"])
def test_match_by_the_kernel_is_match_by_the_reference(expression: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", expression, CAPTURE, *BY_REFERENCE]) == 0
    wanted = capsys.readouterr().out
    assert main(["match", expression, CAPTURE]) == 0
    assert capsys.readouterr().out == wanted
    assert main(["match", expression, CAPTURE, "--engine", "both"]) == 0
    assert capsys.readouterr().out == wanted


def test_match_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", "tcp.dstport == 853", CAPTURE, *BY_REFERENCE, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {"version": 1, "command": "match", "expression": "tcp.dstport == 853", "engine": "reference", "frames": [22, 23]}


def test_match_of_a_broken_expression_shows_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", "tcp.dstport == ", CAPTURE, *BY_REFERENCE]) == 2
    assert "<expression>:1:" in capsys.readouterr().err
    assert main(["match", "tcp.dstprt == 1", CAPTURE, *BY_REFERENCE, "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["diagnostics"][0]["code"].startswith("E02")


@pytest.mark.parametrize("content", [b"", b"hello, this is no capture", (EXAMPLES / "dns-resolver.pcap").read_bytes()[:700]])
def test_a_capture_that_is_none_or_is_cut_is_one_line(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(content)
    assert main(["match", "true", str(path), *BY_REFERENCE]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mantlet: {path}")
    assert len(err.splitlines()) == 1


def test_a_capture_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", RULES, str(tmp_path / "none.pcap"), *BY_REFERENCE]) == 2
    assert capsys.readouterr().err == f"mantlet: {tmp_path}/none.pcap: No such file or directory\n"


# -- replay


def test_replay_prints_a_table_with_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", RULES, CAPTURE, *BY_REFERENCE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["frame", "verdict", "outcome", "rule"]
    assert lines[3].split(maxsplit=3) == ["3", "block", "dropped", '"DNS ANY"']
    assert lines[-1] == "30 frames: 10 passed, 20 dropped"


def test_replay_as_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", RULES, CAPTURE, *BY_REFERENCE, "--format", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 30
    assert lines[2] == {"frame": 3, "verdict": "block", "outcome": "dropped", "rule": "DNS ANY", "engine": "reference"}
    assert lines[22] == {"frame": 23, "verdict": "default", "outcome": "dropped", "rule": None, "engine": "reference"}


@pytest.mark.kernel
@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: Path(path).stem)
def test_replay_by_both_engines_agrees_on_the_examples(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", path, path.replace(".rules", ".pcap"), "--engine", "both", "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert {json.loads(line)["engine"] for line in captured.out.splitlines()} == {"both"}
    assert captured.err == ""


def test_replay_to_pcapng_keeps_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "judged.pcapng"
    assert main(["replay", RULES, CAPTURE, *BY_REFERENCE, "--format", "pcapng", "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}: 30 frames, each with its verdict as packet comment\n"
    assert [frame.data for frame in read(out)] == [frame.data for frame in read(CAPTURE)]
    shown = subprocess.run(["tshark", "-r", out, "-T", "fields", "-e", "frame.comment"], capture_output=True, text=True, check=True).stdout
    assert 'mantlet: block by "DNS ANY", dropped (reference)' in shown.splitlines()[2]


def test_a_replay_leaves_the_garbage_collector_as_it_was() -> None:
    for collecting, toggle in ((True, gc.enable), (False, gc.disable)):
        toggle()
        try:
            assert main(["replay", RULES, CAPTURE, *BY_REFERENCE]) == 0
            assert gc.isenabled() == collecting
        finally:
            gc.enable()


def test_replay_to_pcapng_wants_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", RULES, CAPTURE, "--format", "pcapng"]) == 2
    assert "-o FILE" in capsys.readouterr().err


def test_replay_of_a_broken_rule_file_judges_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.rules"
    path.write_text('block "x" when nonsense\n')
    assert main(["replay", str(path), CAPTURE, *BY_REFERENCE]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "bad.rules:1:16" in captured.err


@pytest.mark.parametrize("form", ["table", "json", "pcapng"])
@pytest.mark.parametrize("read", ["rules", "capture"])
def test_replay_does_not_write_over_what_it_reads(form: str, read: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, traffic, link = tmp_path / "x.rules", tmp_path / "x.pcap", tmp_path / "link"
    rules.write_text("tenant t\n")
    traffic.write_bytes(Path(CAPTURE).read_bytes())
    link.symlink_to(rules if read == "rules" else traffic)
    assert main(["replay", str(rules), str(traffic), *BY_REFERENCE, "--format", form, "-o", str(link)]) == 2
    assert capsys.readouterr().err == f"mantlet: {link} is what is read: say another file with -o\n"
    assert (rules.read_text(), traffic.read_bytes()) == ("tenant t\n", Path(CAPTURE).read_bytes())


@pytest.mark.parametrize("mark", ["-1", "0x100000000", "red"])
def test_a_mark_that_no_packet_can_have(mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["match", "true", CAPTURE, f"--mark={mark}"])
    assert left.value.code == 2
    assert f"`{mark}` is not a number from 0 to 0xffffffff" in capsys.readouterr().err


@pytest.mark.kernel
@pytest.mark.parametrize("expression", ["udp", "udp and not vlan.id == 1"])  # for vlan.id a capture is read twice
def test_a_capture_may_come_by_a_pipe(expression: str, tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", Path(CAPTURE).read_bytes()
    os.mkfifo(pipe)
    wanted = subprocess.run([sys.executable, "-m", "firewall", "match", expression, CAPTURE], capture_output=True, check=True).stdout
    assert wanted
    for capture, given in (("-", content), (str(pipe), None)):
        with subprocess.Popen(
            [sys.executable, "-m", "firewall", "match", expression, capture], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            if given is None:
                pipe.write_bytes(content)
            assert process.communicate(given)[0] == wanted
        assert process.returncode == 0


@pytest.mark.kernel
def test_damage_in_a_capture_that_comes_by_a_pipe_is_told_of_the_pipe() -> None:
    cut = Path(CAPTURE).read_bytes()[:700]
    arguments = [sys.executable, "-m", "firewall", "match", "vlan.id == 1", "-"]
    result = subprocess.run(arguments, input=cut, capture_output=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith(b"mantlet: /dev/stdin: cut in a")


@pytest.mark.kernel
@pytest.mark.parametrize("lacking", ["-all", "-net_admin", "-sys_admin"])
def test_replay_without_privileges_is_refused_in_one_line(lacking: str) -> None:
    result = subprocess.run(
        ["setpriv", f"--bounding-set={lacking}", sys.executable, "-m", "firewall", "replay", RULES, CAPTURE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 3
    assert result.stderr.startswith("mantlet: the kernel engine cannot run here: ")
    assert len(result.stderr.splitlines()) == 1


# -- test


def test_test_runs_every_rule_file_of_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(EXAMPLES), *BY_REFERENCE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(RULE_FILES) + 1
    assert lines[-1].endswith(", 0 failed")


def test_test_shows_what_failed_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.rules"
    path.write_text(f'tenant t\nblock "b" when udp\nexpect allow from "{CAPTURE}" packet 1\nexpect block "b" from "{CAPTURE}" packet 1\n')
    junit = tmp_path / "x.xml"
    assert main(["test", str(path), *BY_REFERENCE, "--junit", str(junit)]) == 1
    out = capsys.readouterr().out
    assert "line 3: expect allow" in out
    assert 'expected allow, got block by "b" (dropped)' in out
    suite = ET.parse(junit).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", RULES, *BY_REFERENCE, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["tests"], document["failed"]) == (18, 0)
    assert all(entry["passed"] for entry in document["files"][0]["tests"])


def test_a_folder_without_rule_files_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", str(tmp_path), *BY_REFERENCE]) == 2
    assert "no *.rules file" in capsys.readouterr().err


# -- compile


@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: Path(path).stem)
def test_compiled_rules_are_named(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    from rules_dsl import load_policy

    names = [rule.name for rule in load_policy(Path(path)).rules]
    assert main(["compile", path, "--emit", "plan"]) == 0
    planned = capsys.readouterr().out
    assert [name for name in names if f'"{name}"' not in planned] == []
    assert main(["compile", path, "--emit", "nft"]) == 0
    nft = capsys.readouterr().out
    assert [name for name in names if f'"{name}"' not in nft] == []


def test_a_compiled_program_names_the_rule_of_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", RULES, "--emit", "bpf"]) == 0
    assert "DNS ANY" in capsys.readouterr().out


@pytest.mark.kernel
@pytest.mark.parametrize("path", RULE_FILES, ids=lambda path: Path(path).stem)
def test_nft_reads_what_is_emitted(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", path, "--emit", "nft"]) == 0
    file = tmp_path / "x.nft"
    file.write_text(capsys.readouterr().out)
    result = subprocess.run(["unshare", "--net", "nft", "--check", "--file", file], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_compile_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", RULES, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tenant"] == "resolver"
    stages = document["classes"][0]["stages"]
    assert {stage["kind"] for stage in stages} <= {"rule", "map"}
    assert all(stage["expected_cost"]["native_ns"] >= 0 for stage in stages)


@pytest.mark.parametrize("text", ["eth0", "=5", "eth0.10=x", "eth0.10=4096"])
def test_a_vlan_argument_that_is_none(text: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(["compile", RULES, "--vlan", text])
    assert left.value.code == 2


def test_the_environment_is_not_changed_by_a_run() -> None:
    before = dict(os.environ)
    main(["match", "true", CAPTURE, *BY_REFERENCE])
    assert dict(os.environ) == before
