"""The shell of the command line: usage, help, streams that end early, errors that nobody foresaw, colour."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from firewall.cli import failures, language, main
from firewall.cli.parser import build_parser

COMMANDS = ("check", "fmt", "fields", "explain", "compile", "match", "replay", "test", "plan", "apply", "rollback", "remove", "history",
            "status", "counters", "doctor")  # fmt: skip

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RULES, CAPTURE = str(EXAMPLES / "dns-resolver.rules"), str(EXAMPLES / "dns-resolver.pcap")


def mantlet(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "firewall", *arguments], capture_output=True, text=True, check=False, env={**os.environ, **more}
    )


def test_every_command_is_there() -> None:
    (commands,) = (action for action in build_parser()._actions if action.dest == "command")
    assert commands.choices is not None
    assert set(COMMANDS) <= set(commands.choices)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"mantlet {command}" in out.split("examples:")[1]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "rollback"])
def test_every_command_that_prints_has_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--format {" in capsys.readouterr().out


def test_usage_errors_exit_2() -> None:
    result = mantlet("nonsense")
    assert result.returncode == 2
    assert "invalid choice" in result.stderr
    assert mantlet().returncode == 2


def test_an_unforeseen_error_is_one_line_and_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(name: object) -> object:
        raise ZeroDivisionError("for the test")

    monkeypatch.setattr(language, "wants_json", broken)
    assert main(["fields"]) == 70
    err = capsys.readouterr().err
    assert err == "mantlet: ZeroDivisionError: for the test\nmantlet: this is a bug; `--debug` shows where\n"
    assert main(["fields", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_every_foreseen_error_is_an_exception_of_its_module() -> None:
    import importlib

    for module, name, _ in failures.KNOWN:
        assert issubclass(getattr(importlib.import_module(module), name), Exception)


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-m", "firewall", "fields"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert err == b""


@pytest.mark.parametrize("arguments", [["fields"], ["replay", RULES, CAPTURE, "--engine", "reference"]])
def test_a_full_disk_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run([sys.executable, "-m", "firewall", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (3, "mantlet: the output cannot be written: no space left on device\n")


def test_no_colour_where_there_is_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "x.rules"
    path.write_text("allow when nonsense == 1\n")
    assert "\x1b" not in mantlet("check", str(path)).stdout


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_on_a_terminal_unless_told_otherwise(environment: dict[str, str], coloured: bool) -> None:
    here, there = pty.openpty()
    base = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    subprocess.run(
        [sys.executable, "-m", "firewall", "fields", "tcp.flags.syn"],
        stdout=there,
        check=True,
        env={**base, "TERM": "xterm", **environment},
    )
    os.close(there)
    out = os.read(here, 65536).decode()
    os.close(here)
    assert ("\x1b[" in out) is coloured


def test_the_version() -> None:
    assert mantlet("--version").stdout.startswith("mantlet 0.")
