"""The operator's commands: what they print, how they exit, and that a node heeds them at once."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from api_server import served

from api.cli.tenants import QUOTAS
from api.documents import Quotas
from api.settings import usual_file, usual_store
from firewall.cli import main
from firewall.state import state_directory


class Commands:
    """`mantlet` with one store."""

    def __init__(self, store: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._store = store
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed, on both outputs."""
        code = main([*words, "--store", self._store])
        printed = self._capsys.readouterr()
        return code, printed.out + printed.err

    def json(self, *words: str) -> dict[str, Any]:
        code = main([*words, "--store", self._store, "--format", "json"])
        assert code == 0
        found = json.loads(self._capsys.readouterr().out)
        assert isinstance(found, dict)
        assert (found["version"], found["command"]) == (1, " ".join(words[: 1 if words[0] == "audit" else 2]))
        return found


@pytest.fixture
def mantlet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(str(tmp_path / "api.db"), capsys)


def test_a_tenant_is_made_shown_changed_and_deleted(mantlet: Commands) -> None:
    assert mantlet("tenant", "list") == (0, "no tenants\n")
    words = ("--protect", "203.0.113.0/24", "--protect", "2001:db8::/32", "--interface", "eth1", "--mark", "0x7", "--quota", "rules=5")
    assert mantlet("tenant", "create", "acme", *words) == (0, "acme protects 203.0.113.0/24, 2001:db8::/32, interface eth1, mark 0x7\n")
    made = mantlet.json("tenant", "show", "acme")
    assert made["tenant"]["quotas"]["rules"] == 5
    assert made["used"] == {"rulesets": 0, "rules": 0, "lists": 0, "list_items": 0}
    changed = mantlet.json("tenant", "set", "acme", "--quota", "lists=7", "--hook", "forward")["tenant"]
    assert (changed["quotas"]["rules"], changed["quotas"]["lists"], changed["hook"]) == (5, 7, "forward")
    assert changed["protect"] == made["tenant"]["protect"]
    assert mantlet("tenant", "set", "acme", "--early-drop", "eth0")[0] == 2  # its rules stand at forward
    early = ("--hook", "prerouting", "--early-drop", "eth0", "--early-drop", "eth1")
    assert mantlet.json("tenant", "set", "acme", *early)["tenant"]["early_drop"] == ["eth0", "eth1"]
    assert "early drop at eth0, eth1" in mantlet("tenant", "show", "acme")[1]
    assert mantlet("tenant", "set", "acme", "--early-drop", "")[0] == 0
    assert [each["id"] for each in mantlet.json("tenant", "list")["tenants"]] == ["acme"]
    assert mantlet("tenant", "delete", "acme")[0] == 1  # not without --yes
    assert mantlet("tenant", "delete", "acme", "--yes")[0] == 0
    assert mantlet("tenant", "show", "acme")[0] == 2
    actions = [record["action"] for record in mantlet.json("audit", "--operator")["records"]]
    assert actions == ["tenants.create", *["tenants.edit"] * 3, "tenants.delete"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("b", "--protect", "203.0.113.128/25"), "tenant acme protects it already"),
        (("b", "--protect", "203.0.113.0/33"), "/33"),
        (("b",), "a tenant protects something"),
        (("b", "--interface", "eth0", "--early-drop", "eth0"), "protects none"),
        (("b", "--protect", "192.0.2.0/24", "--early-drop", "a name that is too long"), "no name of an interface"),
        (("-b", "--protect", "192.0.2.0/24"), ""),
        (("b" * 33, "--protect", "192.0.2.0/24"), "is no id of a tenant"),
        (("acme", "--protect", "192.0.2.0/24"), "there is a tenant `acme` already"),
    ],
)
def test_a_tenant_that_cannot_be_is_refused(mantlet: Commands, words: tuple[str, ...], said: str) -> None:
    mantlet("tenant", "create", "acme", "--protect", "203.0.113.0/24")
    try:
        code, printed = mantlet("tenant", "create", *words)
    except SystemExit as usage:  # it looks like an option
        code, printed = int(str(usage.code)), ""
    assert code == 2
    assert said in printed


def test_tokens_are_listed_without_their_secrets(mantlet: Commands) -> None:
    mantlet("tenant", "create", "acme", "--protect", "203.0.113.0/24")
    made = mantlet.json("token", "create", "--tenant", "acme", "--scope", "write", "--name", "terraform", "--expires", "90d")
    mantlet("token", "create", "--operator")
    _, printed = mantlet("token", "list")
    assert made["token"].split("_")[1] in printed
    assert made["token"].rpartition("_")[2] not in printed
    (listed,) = mantlet.json("token", "list", "--tenant", "acme")["tokens"]
    assert (listed["name"], listed["scope"], listed["revoked"]) == ("terraform", "write", None)
    assert mantlet("token", "create", "--tenant", "nobody")[0] == 2
    assert mantlet("token", "revoke", "0" * 16)[0] == 2
    assert mantlet("tenant", "delete", "acme", "--yes")[0] == 0
    assert mantlet.json("token", "list", "--tenant", "acme")["tokens"] == []


def test_a_node_heeds_the_commands_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served() as server:
        store = next(Path(server.store._path).parent.glob("store.db"))  # type: ignore[attr-defined]
        mantlet = Commands(str(store), capsys)
        mantlet("tenant", "create", "acme", "--protect", "203.0.113.0/24")
        made = mantlet.json("token", "create", "--tenant", "acme")
        with server.http(made["token"]) as http:
            assert http.get("/accounts/acme/rulesets").status_code == 200
            mantlet("token", "revoke", made["id"])
            assert http.get("/accounts/acme/rulesets").status_code == 401


def test_a_store_that_is_not_there_is_the_environments_fault(mantlet: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tenant", "list", "--store", "/proc/none/api.db"]) == 3
    assert main(["token", "list", "--store", "nothing://there"]) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_every_quota_can_be_set() -> None:
    assert list(QUOTAS) == [field.name for field in fields(Quotas)]


@pytest.mark.parametrize("given", [("--store", "/nowhere/store.db"), ("--enforcer", "/nowhere/socket")])
def test_a_demo_takes_no_store_and_no_enforcer(given: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--demo", *given]) == 2
    assert "leave out --store and --enforcer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "store"),
    [
        ({}, "/var/lib/mantlet/api/store.db"),
        ({"MANTLET_STATE_DIR": "/elsewhere"}, "/elsewhere/api/store.db"),
        ({"MANTLET_STATE_DIR": "/elsewhere", "MANTLET_STORE": "etcd://192.0.2.1/x"}, "etcd://192.0.2.1/x"),
    ],
)
def test_where_the_usual_store_is(environment: dict[str, str], store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MANTLET_STATE_DIR", "MANTLET_STORE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert usual_store() == store
    assert usual_file() == state_directory() / "api" / "store.db"
