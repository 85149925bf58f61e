"""Two hosts on a wire, each a network namespace, for rules that meet real traffic; and small generations written by hand."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from bpf.assembler import Assembler
from bpf.image import ProgramImage
from bpf.isa import Alu, Condition, Helper, Register
from firewall.generation import TABLE, BpfMatch, BulkElements, Generation, counter_name, prefix_of
from firewall.kernel import Kernel
from firewall.namespace import Namespace
from rules_dsl.policy import Hook, Protect

T = TypeVar("T")
P = ParamSpec("P")

SENDER, RECEIVER = "10.9.0.1", "10.9.0.2"
SENDER6, RECEIVER6 = "fd00:9::1", "fd00:9::2"
SENDER_MAC, RECEIVER_MAC = "02:00:00:00:09:01", "02:00:00:00:09:02"
PAYLOAD4, PAYLOAD6 = 28, 48
"""Where a UDP payload starts behind an IPv4 header without options, and behind an IPv6 header."""
PORT = 4000
END = b"\xffend of the test's packets"
EVERYTHING = Protect()


def constant(name: str, value: int) -> ProgramImage:
    """The program `return value`."""
    program = Assembler(name)
    program.line(f"return {value}")
    program.mov(Register.R0, value)
    program.exit()
    return program.assemble()


def byte_is(name: str, offset: int, value: int) -> ProgramImage:
    """Whether the packet's byte at `offset` is `value`."""
    program = Assembler(name)
    program.line(f"packet[{offset}] == {value:#x}")
    program.mov(Register.R2, offset)
    program.mov(Register.R3, Register.R10)
    program.alu(Alu.ADD, Register.R3, -8)
    program.mov(Register.R4, 1)
    program.call(Helper.SKB_LOAD_BYTES)
    program.branch(Condition.NE, Register.R0, 0, "no")
    program.load(1, Register.R0, Register.R10, -8)
    program.branch(Condition.NE, Register.R0, value, "no")
    program.mov(Register.R0, 1)
    program.exit()
    program.label("no")
    program.mov(Register.R0, 0)
    program.exit()
    return program.assemble()


def refused_by_verifier(name: str) -> ProgramImage:
    """A program that reads a register that was never written."""
    program = Assembler(name)
    program.line("the bad rule")
    program.mov(Register.R0, Register.R5)
    program.exit()
    return program.assemble()


@dataclass(frozen=True, slots=True)
class HandRule:
    """`verdict` where `program` (or else the native `match`) says yes. Verdicts: drop, accept, or empty to go on."""

    name: str
    match: str = ""
    program: ProgramImage | None = None
    verdict: str = "drop"


def generation(
    tenant: str,
    revision: int,
    rules: Sequence[HandRule],
    *,
    protect: Protect = EVERYTHING,
    hook: Hook = Hook.PREROUTING,
    bulk: Sequence[tuple[int, int]] = (),
) -> Generation:
    """A generation as the renderer makes them: rule N ends in a chain that counts. `bulk`: an IPv4 set, named `PREFIX.bulk`."""
    prefix = prefix_of(tenant, revision)
    counters = {counter_name(tenant, rule.name): rule.name for rule in rules}
    lines = [f"add table inet {TABLE}", f"add chain inet {TABLE} {prefix}.entry"]
    lines += [f'add counter inet {TABLE} {counter} {{ comment "{name}"; }}' for counter, name in counters.items()]
    elements: tuple[BulkElements, ...] = ()
    if bulk:
        lines.append(f"add set inet {TABLE} {prefix}.bulk {{ type ipv4_addr; flags interval; }}")
        elements = (BulkElements(f"{prefix}.bulk", 4, tuple(bulk)),)
    matches = []
    for at, rule in enumerate(rules):
        end = f"{prefix}.rule{at}"
        lines.append(f"add chain inet {TABLE} {end}")
        lines.append(f"add rule inet {TABLE} {end} counter name {counter_name(tenant, rule.name)} {rule.verdict}")
        if rule.program is None:
            lines.append(f"add rule inet {TABLE} {prefix}.entry {rule.match} jump {end}")
        else:
            lines.append(f"add chain inet {TABLE} {end}.match")
            lines.append(f"add rule inet {TABLE} {prefix}.entry {rule.match} jump {end}.match")
            matches.append(BpfMatch(rule.program, f"{end}.match", end, True, rule.name, rule.name))
    lines.append(f"add rule inet {TABLE} {prefix}.entry accept")
    return Generation(
        tenant, revision, prefix, f"{prefix}.entry", hook, protect, "\n".join(lines) + "\n", tuple(matches), elements, counters
    )


def addresses(*texts: str) -> tuple[tuple[int, int], ...]:
    """IPv4 ranges of one address each."""
    return tuple((number, number) for number in (int.from_bytes(socket.inet_aton(text), "big") for text in texts))


class Wire:
    """A sender and a receiver, each with the interface `wire0`, IPv4 and IPv6; rules stand at the receiver. A context manager."""

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self.sender = opened.enter_context(Namespace())
            self.receiver = opened.enter_context(Namespace())
            link = "ip link add wire0 address {} type veth peer name wire0 address {} netns {}"
            self._run(self.sender, link.format(SENDER_MAC, RECEIVER_MAC, self.receiver.path))
            ends = ((self.sender, SENDER, SENDER6), (self.receiver, RECEIVER, RECEIVER6))
            for host, v4, v6 in ends:
                self._run(host, f"ip address add {v4}/24 dev wire0")
                self._run(host, f"ip address add {v6}/64 dev wire0 nodad")
                self._run(host, "ip link set wire0 up")
            for address in (RECEIVER, RECEIVER6):  # no wait for neighbour discovery
                self._run(self.sender, f"ip neighbour replace {address} dev wire0 lladdr {RECEIVER_MAC}")
            self._opened = opened.pop_all()
        self.kernel = self.receiver.call(Kernel)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.at(lambda kernel: kernel.__exit__(None, None, None))
        self._opened.close()

    @staticmethod
    def _run(host: Namespace, command: str) -> None:
        host.call(subprocess.run, command.split(), check=True, capture_output=True)

    def at(self, function: Callable[Concatenate[Kernel, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's result with the receiver's kernel, run in the receiver."""
        return self.receiver.call(function, self.kernel, *args, **kwargs)

    def install(self, rules: Generation) -> None:
        self.at(Kernel.install, rules)

    def counts(self) -> dict[str, int]:
        """Packets by rule name."""
        return {counter.comment: counter.packets for counter in self.at(Kernel.counters)}

    def arrived(self, *payloads: bytes, version: int = 4) -> list[bytes]:
        """Sends UDP packets and returns those that arrive."""
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        host = RECEIVER if version == 4 else RECEIVER6
        target = self.receiver.call(socket.socket, family, socket.SOCK_DGRAM)
        source = self.sender.call(socket.socket, family, socket.SOCK_DGRAM)
        with target, source:
            target.bind((host, PORT))
            for payload in (*payloads, END):
                source.sendto(payload, (host, PORT))
            found: list[bytes] = []
            target.settimeout(0.3)  # veth delivers in a softirq: soon, but not within sendto
            try:
                while len(found) < len(payloads) and (payload := target.recv(65536)) != END:
                    found.append(payload)
            except TimeoutError:  # END was dropped as well
                pass
            return found

    def listing(self, command: str) -> str:
        """What a command prints in the receiver."""
        return self.receiver.call(subprocess.run, command.split(), check=True, capture_output=True, text=True).stdout
