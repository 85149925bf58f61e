"""`mantlet serve --demo`: what it prints works as it is printed, and so does what the README shows; nothing of it stays."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api.demo import GUARDED, INTERFACE
from bpf import bpffs
from firewall.namespace import Namespace
from firewall.pins import _living_namespaces, clear_dead

ROOT = Path(__file__).parents[2]
PAGE = "hello from behind the rules\n"
DNS_ANY = bytes.fromhex("123401000001000000000000") + b"\7example\3com\0" + b"\0\xff\0\1"
DNS_A = DNS_ANY[:-4] + b"\0\1\0\1"

pytestmark = pytest.mark.kernel


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


class Demo:
    """One that is running, on a machine of its own: a network namespace, so that its port and its interface are free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Namespace()
        self.output = folder / "output"
        environment = os.environ | {"TMPDIR": str(folder)}
        command = [sys.executable, "-m", "firewall", "serve", "--demo"]
        with self.output.open("wb") as output:
            self.process = self.machine.call(
                subprocess.Popen, command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        assert eventually(lambda: "Ctrl-C" in self.printed or self.process.poll() is not None, 90), self.printed
        assert self.process.poll() is None, self.printed
        self.pins = bpffs.place() / "mantlet" / str(self.guarded_inode())

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def guarded_inode(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        own = os.stat(f"/proc/{self.process.pid}/ns/net").st_ino
        (inode,) = {os.stat(f"/proc/{pid}/ns/net").st_ino for pid in children} - {own}
        return inode

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self.machine.call(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)  # type: ignore[return-value]

    def lines(self, first: str) -> list[str]:
        """The commands printed that begin so, with the lines that they go on in."""
        return re.findall(rf"^  ({first}(?:.*\\\n)*.*)$", self.printed, re.MULTILINE)

    def resolved(self, query: bytes) -> bool:
        """Whether anything answers."""
        with self.machine.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(1)
            asking.sendto(query, (GUARDED, 53))
            try:
                return asking.recv(512)[:2] == query[:2]
            except TimeoutError:
                return False

    def interfaces(self) -> list[str]:
        return [name for _, name in self.machine.call(socket.if_nameindex)]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        self.machine.close()


@pytest.fixture
def demo() -> Iterator[Demo]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)  # as /tmp is
        running = Demo(Path(folder))
        try:
            yield running
        finally:
            running.close()


def test_what_is_printed_and_what_the_readme_shows_works(demo: Demo) -> None:
    before, rule, blocked, passed = demo.lines("curl")
    assert (before, before.endswith("/admin")) == (blocked, True)
    assert demo.run("bash", "-c", before).stdout == PAGE
    answered = demo.run("bash", "-c", f"{rule} --fail")
    assert json.loads(answered.stdout)["success"], answered
    assert demo.run("bash", "-c", blocked).returncode == 28, "curl's time was not over"
    assert demo.run("bash", "-c", passed).stdout == PAGE

    # The README's example takes the place of that rule.
    (shown,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert demo.resolved(DNS_ANY)
    token = re.search(r"mantlet_\w+_[\w-]+", rule)
    assert token is not None
    ran = demo.run(sys.executable, "-c", f"TOKEN = {token[0]!r}\n{shown}")
    assert ran.returncode == 0, ran.stderr
    assert (demo.resolved(DNS_ANY), demo.resolved(DNS_A)) == (False, True)
    assert demo.run("bash", "-c", blocked).stdout == PAGE

    # And the Python that is printed does what curl did.
    block = re.search(r"^  from cloudflare.*?\n\n", demo.printed, re.MULTILINE | re.DOTALL)
    assert block is not None
    ran = demo.run(sys.executable, "-c", re.sub(r"^  ", "", block[0], flags=re.MULTILINE))
    assert ran.returncode == 0, ran.stderr
    assert demo.run("bash", "-c", blocked).returncode == 28
    assert demo.resolved(DNS_ANY)

    # Ctrl-C goes to the whole group of a terminal.
    assert demo.pins.exists()
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(30) == 0
    assert demo.interfaces() == ["lo"]
    assert [path.name for path in demo.folder.iterdir()] == ["output"]
    assert not demo.pins.exists()
    assert "Traceback" not in demo.printed


def test_of_a_demo_that_was_killed_nothing_acts_any_more(demo: Demo) -> None:
    demo.process.kill()
    demo.process.wait()
    assert eventually(lambda: INTERFACE not in demo.interfaces(), 30)
    assert eventually(lambda: demo.pins.name not in {str(inode) for inode in _living_namespaces()}, 30)
    clear_dead()  # as `mantlet doctor` does
    assert not demo.pins.exists()
