"""plan, apply, rollback, remove, history, status, counters and doctor, for real, each test in a network namespace of its own.

`unshare` gives the whole process another network, so that the host's rules are out of reach whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

RULES = """tenant t
protect 127.0.0.2/32
block "evil" when udp.dstport == 5000 and udp.payload contains "evil"
allow "udp"  when udp
"""

SEND = """
import socket, sys
subject = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); subject.bind(("127.0.0.2", 5000)); subject.settimeout(0.3)
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for text in sys.argv[1:]:
    sender.sendto(text.encode(), ("127.0.0.2", 5000))
    try: print(subject.recv(99).decode())
    except TimeoutError: print("-")
"""


class Host:
    """A network namespace held open by a sleeping process, with a state directory of its own."""

    def __init__(self, folder: Path) -> None:
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "300"])
        self.folder = folder
        self._environment = {**os.environ, "MANTLET_STATE_DIR": str(folder / "state")}
        own = os.stat("/proc/self/ns/net").st_ino
        while (inode := os.stat(f"/proc/{self._holder.pid}/ns/net").st_ino) == own:
            pass
        self.pins = Path("/sys/fs/bpf/mantlet") / str(inode)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *command],
            capture_output=True, text=True, check=False, env=self._environment,
        )  # fmt: skip

    def mantlet(self, *arguments: str, code: int = 0) -> str:
        """What it printed; its exit code must be `code`, and no traceback may show."""
        result = self.run(sys.executable, "-m", "firewall", *arguments)
        assert result.returncode == code, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout + result.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self.mantlet(*arguments, "--format", "json"))

    def rules(self, text: str) -> str:
        path = self.folder / "t.rules"
        path.write_text(text)
        return str(path)

    def received(self, *texts: str) -> list[str]:
        """What arrives of UDP datagrams to the protected address, `-` where nothing does."""
        return self.run(sys.executable, "-c", SEND, *texts).stdout.split()

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        shutil.rmtree(self.pins, ignore_errors=True)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def test_a_payload_rule_that_is_applied_drops_its_packets_and_no_others(host: Host) -> None:
    assert host.received("evil", "good") == ["evil", "good"]
    assert host.mantlet("apply", host.rules(RULES)) == "t: revision 1 is enforced (none was before)\n"
    assert host.received("evil", "good", "an evil one") == ["-", "good", "-"]
    counters = {entry["rule"]: entry["packets"] for entry in host.json("counters")["counters"]}
    assert counters == {"evil": 2, "udp": 1}
    host.mantlet("remove", "t")
    assert host.received("evil") == ["evil"]


def test_a_change_is_planned_applied_and_rolled_back(host: Host) -> None:
    path = host.rules(RULES)
    assert "not enforced; 2 rules would be" in host.mantlet("plan", path)
    host.mantlet("apply", path)
    assert "says the same" in host.mantlet("plan", "--check", path)
    host.rules(
        RULES.replace('contains "evil"', 'contains "bad"').replace("allow", "monitor block") + 'count "new" when tcp\ndefault block\n'
    )
    planned = host.json("plan", path)
    assert planned["enforced"] == 1
    assert (planned["added"], planned["removed"], planned["settings"]) == (["new"], [], ["default allow -> block"])
    assert planned["changed"] == [{"rule": "evil", "what": ["expression"]}, {"rule": "udp", "what": ["action", "mode"]}]
    host.mantlet("plan", "--check", path, code=1)
    host.mantlet("apply", path)
    assert host.received("evil", "bad") == ["-", "-"]  # by the default
    assert host.json("rollback", "t") == {"version": 1, "command": "rollback", "tenant": "t", "before": 2, "after": 1}
    assert host.received("evil", "bad") == ["-", "bad"]
    assert [revision["number"] for revision in host.json("history", "t")["revisions"]] == [2, 1]


def test_status_names_the_revision_and_what_it_protects(host: Host) -> None:
    assert host.mantlet("status") == "no rules are enforced\n"
    host.mantlet("apply", host.rules(RULES))
    (tenant,) = host.json("status")["tenants"]
    assert (tenant["tenant"], tenant["revision"], tenant["protects"], tenant["hooks"]) == ("t", 1, ["127.0.0.2"], ["prerouting"])
    assert [rule["name"] for rule in tenant["rules"]] == ["evil", "udp"]


def test_a_broken_rule_file_leaves_the_rules_in_force(host: Host) -> None:
    host.mantlet("apply", host.rules(RULES))
    assert "error[E0" in host.mantlet("apply", host.rules(RULES.replace("5000", '"x"')), code=2)
    assert host.received("evil") == ["-"]


def test_another_tenants_addresses_are_refused(host: Host) -> None:
    host.mantlet("apply", host.rules(RULES))
    out = host.mantlet("apply", host.rules(RULES.replace("tenant t", "tenant other")), code=3)
    assert out == "mantlet: other cannot protect 127.0.0.2: tenant t protects it already\n"


def test_tenants_that_are_not_there_are_bad_input(host: Host) -> None:
    assert "no rules of tenant nobody are enforced" in host.mantlet("remove", "nobody", code=2)
    assert "no revision of tenant nobody" in host.mantlet("rollback", "nobody", code=2)
    assert "no revision of tenant nobody" in host.mantlet("history", "nobody", code=2)
    assert "no rules of tenant nobody are enforced" in host.mantlet("counters", "nobody", code=2)


def test_without_privileges_it_says_so_in_one_line(host: Host) -> None:
    result = host.run("setpriv", "--bounding-set=-all", sys.executable, "-m", "firewall", "apply", host.rules(RULES))
    assert result.returncode == 3, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "run it as root" in result.stderr


def test_doctor_is_content_and_removes_what_was_left(host: Host) -> None:
    host.mantlet("apply", host.rules(RULES))
    host.run("nft", "add chain inet mantlet t.r99.stray")
    report = host.json("doctor")
    assert report["missing"] == 0
    assert any("t.r99.stray" in name for name in report["swept"])
    assert host.json("doctor")["swept"] == []
    assert host.received("evil") == ["-"]


def test_doctor_says_what_mends_a_missing_bpffs(host: Host) -> None:
    result = host.run("env", f"MANTLET_BPFFS={host.folder}", sys.executable, "-m", "firewall", "doctor")
    assert result.returncode == 3
    assert f"mount -t bpf bpf {host.folder}" in result.stdout


def test_apply_without_a_bpffs_is_refused_in_one_line(host: Host) -> None:
    result = host.run("env", f"MANTLET_BPFFS={host.folder}", sys.executable, "-m", "firewall", "apply", host.rules(RULES))
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert f"mount -t bpf bpf {host.folder}" in result.stderr
