"""check, fmt, fields and explain: what they print, in text and JSON, and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from firewall.cli import main
from rules_dsl.rulefile import load_policy

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

GOOD = 'tenant t\nallow "web" when tcp.dstport == 80\n'
BAD = 'tenant t\nallow "web" when tcp.dstport == "http" and nosuch.field == 1\nblock "b" when ip.src == 192.0.2.1/24\n'


def written(folder: Path, text: str, name: str = "x.rules") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


# -- check


def test_check_says_that_a_file_is_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, GOOD)
    assert main(["check", path]) == 0
    assert capsys.readouterr().out == f"{path}: 1 rule, no findings\n"


def test_check_reports_every_error_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", written(tmp_path, BAD)]) == 1
    out = capsys.readouterr().out
    assert "x.rules:2:33" in out
    assert "nosuch.field" in out
    assert "192.0.2.0/24" in out
    assert "3 errors, 0 warnings in 1 file" in out


def test_check_as_json_is_one_versioned_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = written(tmp_path, GOOD, "good.rules"), written(tmp_path, BAD, "bad.rules")
    assert main(["check", "--format", "json", good, bad]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["version"], document["command"], document["errors"]) == (1, "check", 3)
    assert [(entry["file"], entry["rules"], len(entry["diagnostics"])) for entry in document["files"]] == [(good, 1, 0), (bad, None, 3)]


def test_check_of_a_file_that_is_not_there_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.rules")]) == 2
    assert capsys.readouterr().err == f"mantlet: {tmp_path}/none.rules: No such file or directory\n"


def test_check_of_a_folder_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"mantlet: {tmp_path} is a folder, not a file\n"


def test_check_tells_what_cannot_be_enforced_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, 'tenant t\nlimit "r" to 5/second when udp\n')
    assert main(["check", path]) == 1
    assert "E0901" in capsys.readouterr().out
    assert main(["check", "--language", path]) == 0


def test_bytes_that_are_not_utf8_are_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "latin.rules"
    path.write_bytes(b"tenant t\n# caf\xe9\n")
    assert main(["check", str(path)]) == 1
    assert "0xe9" in capsys.readouterr().out


# -- fmt

UNTIDY = 'tenant t\nallow "web" when tcp.dstport eq 80   &&   not   ip.frag\n'


def test_fmt_rewrites_the_file_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, UNTIDY)
    assert main(["fmt", path]) == 0
    assert capsys.readouterr().out == f"reformatted {path}\n"
    assert "tcp.dstport == 80 and not ip.frag" in Path(path).read_text()
    assert main(["fmt", path]) == 0
    assert capsys.readouterr().out == ""


def test_fmt_check_changes_nothing_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, UNTIDY)
    assert main(["fmt", "--check", path]) == 1
    assert capsys.readouterr().out == f"would reformat {path}\n"
    assert Path(path).read_text() == UNTIDY


def test_fmt_diff_shows_the_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, UNTIDY)
    assert main(["fmt", "--diff", path]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("-allow") for line in lines)
    assert any(line.startswith("+allow") for line in lines)
    assert Path(path).read_text() == UNTIDY


def test_fmt_leaves_a_broken_file_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "tenant t\nallow when when\n")
    assert main(["fmt", path]) == 2
    assert "error[E0" in capsys.readouterr().err
    assert Path(path).read_text() == "tenant t\nallow when when\n"


# -- fields


def test_fields_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    from rules_dsl.fields import FIELDS

    assert main(["fields"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(FIELDS)


def test_fields_of_a_name_says_where_its_bits_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "ip.ttl"]) == 0
    out = capsys.readouterr().out
    assert "IPv4 header, byte 8" in out
    assert "IPv6 header, byte 7" in out


def test_fields_finds_an_alias(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "ipv6.src"]) == 0
    assert capsys.readouterr().out.startswith("ip.src: ")


def test_fields_suggests_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "tcp.sport"]) == 2
    assert "tcp.srcport" in capsys.readouterr().err


def test_fields_of_a_protocol_says_what_counts_and_lists_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    from rules_dsl.fields import PROTOCOLS

    for name, protocol in PROTOCOLS.items():
        assert main(["fields", name]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{name}: ")
        assert protocol.title in out
        assert f"What counts: {protocol.valid}" in " ".join(out.split())
        listed = [line.split()[0] for line in out.partition("\nFIELD ")[2].splitlines()[1:]]
        assert listed == [field.name for field in protocol.fields[1:]]


def test_fields_of_a_field_says_how_many_values_it_has_and_whether_case_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "dns.qry.name"]) == 0
    out = capsys.readouterr().out
    assert "bytes, many, the first 16, case ignored" in out
    assert "What counts: The message is UDP's payload" in out
    assert main(["fields", "http.header"]) == 0
    assert 'http.header["name"], or http.header[*]' in capsys.readouterr().out


def test_fields_of_a_protocol_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "dns.qry.name", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(entry["name"], entry["carriers"]) for entry in document["protocols"]] == [("dns", ["udp", "tcp"])]
    names = {entry["name"]: entry for entry in document["fields"]}
    assert (names["dns.qry.name"]["multiple"], names["dns.qry.name"]["bound"], names["dns.qry.name"]["caseless"]) == (True, 16, True)


def test_fields_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "tcp.flags", "--format", "json"]) == 0
    fields = json.loads(capsys.readouterr().out)["fields"]
    assert fields[0]["name"] == "tcp.flags"
    assert fields[0]["at"] == [{"header": "tcp", "offset": 104, "width": 8, "scale": 1, "add": 0}]
    bits = ["cwr", "ecn", "urg", "ack", "push", "reset", "syn", "fin"]
    assert {field["name"] for field in fields[1:]} == {f"tcp.flags.{bit}" for bit in bits}


# -- explain


def test_explain_of_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "e0303"]) == 0
    assert capsys.readouterr().out.startswith("E0303: ")


def test_explain_of_an_unknown_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "E9999"]) == 2
    assert "no code E9999" in capsys.readouterr().err


def test_explain_of_neither(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "nothing.rules"]) == 2
    assert "neither a code" in capsys.readouterr().err


def test_explain_of_a_file_gives_reasons_and_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, 'tenant t\nblock "evil" when udp.dstport == 53 and udp.payload contains "evil"\n')
    assert main(["explain", path]) == 0
    out = capsys.readouterr().out
    assert 'block "evil" when' in out
    assert "native: udp dport" in out
    assert "payload: " in out
    assert "expected cost: " in out


def test_explain_of_payload_rules_says_what_hostile_bytes_may_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep.rules"
    path.write_text('tenant acme\nblock "a" when tls.sni contains "x"\nblock "b" when http.host == "y" and tcp.dstport == 80\n')
    assert main(["explain", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "payload: nftables does not read into tls" in shown
    assert "its part of one program for this and 1 other rule" in shown
    assert "One program evaluates the payload of 2 rules" in shown
    assert main(["explain", str(path), "--format", "json"]) == 0
    (program,) = json.loads(capsys.readouterr().out)["programs"]
    assert program["most_passes"] > 0
    assert program["worst_ns_per_payload_byte"] > 0


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rules")), ids=lambda path: path.stem)
def test_explain_says_of_every_rule_of_the_examples_what_and_why_and_the_cost(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(path)]) == 0
    _, *rules = re.split(r"^ {0,2}\d+  ", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(rules) == len(load_policy(path).rules)
    for rule in rules:
        assert re.search(r"expected cost: .*\d|never (reached|true)|disabled", rule), rule
