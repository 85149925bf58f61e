"""Compiling in processes of its own: without any capability, bounded in time and memory, and out of the way of other requests.

A process compiles one text after the other, and remembers the expressions that it has checked and the trees that it has built. One that
passes a bound is ended by the kernel, and another takes its place. They are forked by a server that has no threads (multiprocessing's)."""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import resource
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from queue import LifoQueue
from types import TracebackType
from typing import Final, Self

from api.enforcer.compile import AnsweredError, Compiler, Earlier, told
from api.enforcer.messages import Check, Failure, Refusal, decode_request, encode
from api.policy_text import Condition, PolicyText, RuleText
from api.privileges import ONE_THREAD, keep_only
from firewall.generation import Generation
from rules_dsl.policy import Action

log = logging.getLogger(__name__)

PROCESSES: Final = 2
SECONDS: Final = 60
"""Of processor time, and of time at all three times as many."""
MEMORY: Final = 4 << 30
"""Bytes of address space."""
TEXTS: Final = 1_000
"""That one process compiles, before another takes its place: what it remembers is bounded so."""
TENANTS: Final = 64
"""Of which a process remembers expressions."""
_ANY: Final = PolicyText("any", (RuleText("any", Action.BLOCK, (Condition('udp.dstport == 53 and udp.payload contains "x"'),)),))


class Apart:
    """Compiles as `compiler` does, for any number of threads. A context manager."""

    def __init__(self, compiler: Compiler, seconds: int = SECONDS, memory: int = MEMORY, processes: int = PROCESSES) -> None:
        self._compiler = compiler
        self._seconds = seconds
        self._memory = memory
        self._free: LifoQueue[ProcessPoolExecutor | None] = LifoQueue()  # the one that was used last remembers most
        self._count = processes
        for _ in range(processes):
            self._free.put(None)  # made when it is first asked, with no more privileges than the enforcer has then

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for _ in range(self._count):
            if process := self._free.get():
                process.shutdown()

    def _process(self) -> ProcessPoolExecutor:
        forked = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(1, forked, _begin, (self._compiler, self._memory), max_tasks_per_child=TEXTS)

    def warm(self) -> None:
        """Has a rule compiled in each process: what is made at the first use (the parser, the catalogue) is there then."""
        processes = [self._free.get() or self._process() for _ in range(self._count)]
        for made in [process.submit(_compiled, encode(Check(_ANY)), 1, None, self._seconds) for process in processes]:
            made.result()
        for process in processes:
            self._free.put(process)

    def generation(self, text: PolicyText, number: int, base: int | None = None) -> Generation:
        """`base`: as for the compiler, whose process remembers what it compiled. Raises AnsweredError."""
        process = self._free.get() or self._process()
        try:
            found = process.submit(_compiled, encode(Check(text)), number, base, self._seconds).result()
        except BrokenProcessPool:
            process.shutdown(wait=False)
            process = self._process()
            bounds = f"more than {self._seconds} seconds or {self._memory >> 20:,} MiB to compile it"
            found = Refusal(f"ruleset exceeds complexity constraints: {bounds}")
        finally:
            self._free.put(process)
        if isinstance(found, Generation):
            return found
        raise AnsweredError(found)


# -- in the process ----------------------------------------------------------------------------------------------------


_compiler = Compiler()


def _begin(compiler: Compiler, memory: int) -> None:
    """It ends with the enforcer, in whatever way that ends, and not by the terminal's signal."""
    global _compiler  # noqa: PLW0603 (the process is for this alone)
    _compiler = compiler
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_only(())
    threading.Thread(target=_end_with_enforcer, daemon=True).start()
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    importlib.import_module("firewall.classifier")  # what many rules need, and what is made at the first message, take a tenth of a second
    decode_request(encode(Check(_ANY)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _end_with_enforcer() -> None:
    enforcer = multiprocessing.parent_process()
    assert enforcer is not None
    enforcer.join()
    os._exit(0)


def _compiled(asked: bytes, number: int, base: int | None, seconds: int) -> Generation | Refusal | Failure:
    """Of the message `Check`: it is written and read in a third of the time that pickling takes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_REAL, 3 * seconds)
    text = None
    gc.disable()
    try:
        request = decode_request(asked)
        assert isinstance(request, Check)
        text = request.policy
        return _compiler.generation(text, number, base, _earlier(text.tenant))
    except MemoryError:
        os._exit(1)
    except Exception as error:
        answer = told(error, text)
        if answer is None:
            log.exception("a text cannot be compiled")
            answer = Failure(f"a fault of the enforcer: {type(error).__name__}: {error}")
        return answer
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)


@lru_cache(TENANTS)
def _earlier(_tenant: str) -> Earlier:
    return Earlier()
