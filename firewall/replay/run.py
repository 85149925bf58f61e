"""A replay: a capture's frames through one engine, or through both and compared."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, assert_never

from firewall.capture import CaptureError, Frame, read
from firewall.namespace import Namespace
from firewall.plan import Node, enforceable
from firewall.replay.arrival import Arrival, arrival_of
from firewall.replay.link import NotIp
from firewall.replay.record import Fate, Record
from firewall.replay.reference_engine import ReferenceEngine
from rules_dsl.diagnostics import DiagnosticError
from rules_dsl.expression import FieldValue, operand_of, root_of, tests_of
from rules_dsl.policy import Policy, Rule

EngineName = Literal["kernel", "reference", "both"]

BATCH = 4096
"""Frames judged at once."""


class Engine(Protocol):
    """What judges packets; `name` stands in its records."""

    @property
    def name(self) -> str: ...

    def judge(self, arrivals: Sequence[Arrival | NotIp]) -> list[Fate]:
        """The fate of each, in order."""

    def matched(self, arrivals: Sequence[Arrival | NotIp]) -> list[tuple[Rule, ...] | None]:
        """The rules that match each, in order; None where no rule saw it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a replay is told besides the policy and the capture."""

    node: Node = field(default_factory=Node)
    """The node in whose place packets are judged (`cf.colo.name`, `cf.colo.region`)."""
    mark: int = 0
    """The mark that every packet carries (`meta.mark`)."""
    namespace: Callable[[], AbstractContextManager[Namespace]] = Namespace
    """Gives the kernel engine its network namespace, empty."""


DEFAULTS = Options()


@dataclass(frozen=True, slots=True)
class Difference:
    """A frame on which the engines do not agree; a fault of ours."""

    frame: int
    kernel: Record
    reference: Record

    def __str__(self) -> str:
        return f"frame {self.frame}: the kernel says {_words(self.kernel)}, the reference {_words(self.reference)}"


def _words(record: Record) -> str:
    if record.verdict is None:
        return f"not judged ({record.reason})"
    return f"{record.verdict} ({record.outcome})" + (f' by "{record.rule}"' if record.rule is not None else "")


class Replayed(NamedTuple):
    frame: Frame
    record: Record
    """By the engine asked for; of both the kernel's, and `engine` is "both" where they agree."""
    difference: Difference | None = None


def replay(
    policy: Policy, source: Path | Sequence[Frame], engine: EngineName = "kernel", options: Options = DEFAULTS
) -> Iterator[Replayed]:
    """Judges every frame of a capture, in order, as an iterator that holds a few thousand frames at a time.

    A capture that is cut or damaged raises CaptureError after its last whole frame. Raises also, before the first frame, what the
    engine raises: EngineUnavailableError, DiagnosticError for rules that cannot be enforced yet."""
    with ExitStack() as opened:
        if isinstance(source, Path) and source.exists() and not source.is_file() and engine != "reference" and _tests_vlan(policy):
            source = opened.enter_context(_kept(source))  # it is read twice, which a pipe is not
        match engine:
            case "kernel":
                one = opened.enter_context(_kernel(policy, source, options))
                yield from _replayed(one, source)
            case "reference":
                one = opened.enter_context(_reference(policy, options))
                yield from _replayed(one, source)
            case "both":
                kernel = opened.enter_context(_kernel(policy, source, options))
                reference = opened.enter_context(_reference(policy, options))
                for frames, arrivals in _batches(source):
                    yield from map(_compared, frames, kernel.judge(arrivals), reference.judge(arrivals))
            case _:
                assert_never(engine)


def replay_rules(
    policy: Policy, source: Path | Sequence[Frame], engine: Literal["kernel", "reference"] = "kernel", options: Options = DEFAULTS
) -> Iterator[tuple[Frame, tuple[Rule, ...] | None]]:
    """Every frame of a capture, in order, with all rules that match it, up to the one that ends its evaluation; None where no rule
    saw it. Raises as `replay` does."""
    with _kernel(policy, source, options) if engine == "kernel" else _reference(policy, options) as one:
        for frames, arrivals in _batches(source):
            yield from zip(frames, one.matched(arrivals), strict=True)


@contextmanager
def uncollected() -> Iterator[None]:
    """Cyclic garbage is not looked for: a replay makes a handful of tuples a frame and no cycles, and the collector, which goes
    through them again and again, takes a sixth of its time. For whoever runs whole replays and little else."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _replayed(engine: Engine, source: Path | Sequence[Frame]) -> Iterator[Replayed]:
    name, new = engine.name, tuple.__new__  # twice as fast as the constructors, which shows at 100,000 frames a second
    for frames, arrivals in _batches(source):
        for frame, fate in zip(frames, engine.judge(arrivals), strict=True):
            yield new(Replayed, (frame, new(Record, (frame.number, fate, name)), None))


def _compared(frame: Frame, kernel: Fate, reference: Fate) -> Replayed:
    if kernel[:3] == reference[:3]:
        return Replayed(frame, Record(frame.number, kernel, "both"))
    record = Record(frame.number, kernel, "kernel")
    return Replayed(frame, record, Difference(frame.number, record, Record(frame.number, reference, "reference")))


def _frames_of(source: Path | Sequence[Frame]) -> Iterable[Frame]:
    return read(source) if isinstance(source, Path) else source


def _batches(source: Path | Sequence[Frame]) -> Iterator[tuple[list[Frame], list[Arrival | NotIp]]]:
    """The frames, BATCH at a time, with their arrivals. What a damaged capture holds comes before its CaptureError."""
    frames: list[Frame] = []
    coming = iter(_frames_of(source))
    while True:
        try:
            frames.extend(islice(coming, BATCH))
        except CaptureError:
            yield frames, [arrival_of(frame) for frame in frames]
            raise
        if not frames:
            return
        yield frames, [arrival_of(frame) for frame in frames]
        frames = []


def _kernel(policy: Policy, source: Path | Sequence[Frame], options: Options) -> AbstractContextManager[Engine]:
    from firewall.replay.kernel_engine import KernelEngine, compiled  # noqa: PLC0415 (needs what the reference does not)

    vlan_interfaces = _vlan_interfaces(source) if _tests_vlan(policy) else {}
    return KernelEngine(policy, compiled(policy, options.node, vlan_interfaces), options.mark, namespace=options.namespace)


def _reference(policy: Policy, options: Options) -> AbstractContextManager[Engine]:
    if diagnostics := enforceable(policy):
        raise DiagnosticError(tuple(diagnostics))
    return ReferenceEngine(policy, options.node, options.mark)


@contextmanager
def _kept(pipe: Path) -> Iterator[Path]:
    """A file with what comes out of `pipe`."""
    with tempfile.NamedTemporaryFile(prefix="mantlet-") as file:
        try:
            with pipe.open("rb") as stream:
                shutil.copyfileobj(stream, file)
        except OSError as error:
            raise CaptureError(pipe, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
        file.flush()
        try:
            yield Path(file.name)
        except CaptureError as error:
            raise CaptureError(pipe, error.what, error.offset, error.frame) from None


def _tests_vlan(policy: Policy) -> bool:
    roots = (root_of(operand_of(test)) for rule in policy.active_rules for test in tests_of(rule.predicate))
    return any(isinstance(root, FieldValue) and root.field.name == "vlan.id" for root in roots)


def _vlan_interfaces(source: Path | Sequence[Frame]) -> dict[str, int]:
    """The VLAN interfaces by which the frames will come: name -> outermost VLAN id. A damaged capture is read as far as it goes."""
    found: dict[str, int] = {}
    try:
        for frame in _frames_of(source):
            arrival = arrival_of(frame)
            if isinstance(arrival, Arrival) and arrival.interface.vlan is not None:
                found[arrival.interface.name] = arrival.interface.vlan
    except CaptureError:
        pass  # raised again by the pass that judges
    return found
