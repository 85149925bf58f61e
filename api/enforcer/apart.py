"""Compiling in a process of its own, which is forked for it: without any capability, bounded in time and memory, and out of the way of
other requests."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import select
import signal
import time
from dataclasses import dataclass
from typing import Final

from api.enforcer.compile import AnsweredError, Compiler, told
from api.enforcer.messages import Failure, Refusal
from api.policy_text import Condition, PolicyText, RuleText
from api.privileges import keep_only
from firewall.generation import Generation
from rules_dsl.policy import Action

log = logging.getLogger(__name__)

SECONDS: Final = 60
"""Of processor time, and of time at all three times as many."""
MEMORY: Final = 4 << 30
"""Bytes of address space."""
_NO_MEMORY: Final = 9
_ANY: Final = PolicyText("any", (RuleText("any", Action.BLOCK, (Condition('udp.dstport == 53 and udp.payload contains "x"'),)),))


@dataclass(frozen=True, slots=True)
class Apart:
    """Compiles as `compiler` does."""

    compiler: Compiler
    seconds: int = SECONDS
    memory: int = MEMORY

    def warm(self) -> None:
        """Compiles a rule here, once: what is made at the first use (the parser, the catalogue) is then there in every child."""
        self.compiler.generation(_ANY, 1)

    def generation(self, text: PolicyText, number: int) -> Generation:
        """Raises AnsweredError."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            self._live(text, number, writer)
        os.close(writer)
        try:
            data = _read(reader, time.monotonic() + 3 * self.seconds)
            if data is None:
                os.kill(child, signal.SIGKILL)
        finally:
            os.close(reader)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code < 0 or code == _NO_MEMORY:
            bounds = f"more than {self.seconds} seconds or {self.memory >> 20:,} MiB to compile it"
            raise AnsweredError(Refusal(f"ruleset exceeds complexity constraints: {bounds}"))
        if not data:
            raise AnsweredError(Failure("compiling failed; the enforcer's log says why"))
        found = pickle.loads(data)
        if isinstance(found, Generation):
            return found
        raise AnsweredError(found)

    def _live(self, text: PolicyText, number: int, writer: int) -> None:
        """The child's life. Of the parent's files it keeps the pipe and where it logs."""
        try:
            os.dup2(writer, 3)
            os.closerange(4, 1 + max(map(int, os.listdir("/proc/self/fd"))))
            keep_only(())
            resource.setrlimit(resource.RLIMIT_CPU, (self.seconds, self.seconds))
            resource.setrlimit(resource.RLIMIT_AS, (self.memory, self.memory))
            found: Generation | Refusal | Failure
            try:
                found = self.compiler.generation(text, number)
            except MemoryError:
                os._exit(_NO_MEMORY)
            except Exception as error:
                answer = told(error, text)
                if answer is None:
                    log.exception("a text cannot be compiled")
                    answer = Failure(f"a fault of the enforcer: {type(error).__name__}: {error}")
                found = answer
            with open(3, "wb") as pipe:
                pipe.write(pickle.dumps(found, pickle.HIGHEST_PROTOCOL))
        except BaseException:
            log.exception("a text cannot be compiled")
        finally:
            os._exit(0)


def _read(pipe: int, deadline: float) -> bytes | None:
    """All that comes until the pipe is closed; None where that takes too long."""
    parts: list[bytes] = []
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        if poll.poll(int(left * 1000) + 1):
            part = os.read(pipe, 1 << 20)
            if not part:
                return b"".join(parts)
            parts.append(part)
    return None
