"""Replays for the API: a capture through a tenant's rules, in network namespaces that were made while that was still permitted."""

from __future__ import annotations

import os
import queue
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from api.enforcer.compile import Compiler, TextError
from api.enforcer.messages import Answer, Failure, Refusal, Replayed
from api.policy_text import PolicyText
from firewall.capture import CaptureError
from firewall.namespace import Namespace, NamespaceError
from firewall.replay import Options, replay
from firewall.replay.kernel_engine import EngineUnavailableError

MOST_FRAMES: Final = 500_000
PATIENCE: Final = 60.0
"""Seconds to wait for another replay."""
SHOWN_DIFFERENCES: Final = 20


class Replays:
    """As many replays through the kernel at a time as there are namespaces."""

    def __init__(self, namespaces: Collection[Namespace]) -> None:
        self._some = bool(namespaces)
        self._free: queue.SimpleQueue[Namespace] = queue.SimpleQueue()
        for each in namespaces:
            self._free.put(each)

    @contextmanager
    def _lease(self) -> Iterator[Namespace]:
        if not self._some:
            raise NamespaceError("the enforcer was started without CAP_SYS_ADMIN, and has no network namespace for replays")
        try:
            namespace = self._free.get(timeout=PATIENCE)
        except queue.Empty:
            raise NamespaceError("other replays are under way") from None
        try:
            yield namespace
        finally:
            namespace.clear()
            self._free.put(namespace)

    def replayed(self, compiler: Compiler, text: PolicyText, capture: bytes, engine: str) -> Answer:
        """Raises what compiling raises."""
        policy = compiler.policy(text)
        options = Options(compiler.node, namespace=self._lease)
        records: list[str] = []
        differences: list[str] = []
        file = os.memfd_create("capture")
        try:
            with open(file, "wb", closefd=False) as writer:
                writer.write(capture)
            path = Path(f"/proc/self/fd/{file}")
            match engine:
                case "kernel" | "reference" | "both":
                    found = replay(policy, path, engine, options)
                case _:
                    raise TextError(f"engine {engine!r}: kernel, reference or both")
            for _, record, difference in found:
                if len(records) == MOST_FRAMES:
                    return Refusal(f"the capture has more than {MOST_FRAMES:,} frames")
                records.append(record.as_json())
                if difference is not None and len(differences) < SHOWN_DIFFERENCES:
                    differences.append(str(difference))
        except CaptureError as error:
            return Refusal(str(CaptureError(Path("the capture"), error.what, error.offset, error.frame)))
        except EngineUnavailableError as error:
            return Failure(str(error))
        finally:
            os.close(file)
        return Replayed(tuple(records), tuple(differences))
