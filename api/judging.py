"""Captures and packets judged by a tenant's rules, by the engines of replay, for answers of the API."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from api.changes import Documents
from api.compile import policy_text
from api.enforcer.client import EnforcerClient
from api.errors import ApiError, Code, Problem, bad_request, expression_problems
from api.policy_text import PolicyText, policy_of
from api.rulesets import find
from firewall.capture import CaptureError, Frame, read
from firewall.capture_write import PcapngWriter, write_pcap
from firewall.replay import Record
from firewall.replay import replay as replay_frames
from firewall.replay.record import Fate
from rules_dsl import DiagnosticError
from rules_dsl.geo import Geo

Engine = Literal["kernel", "reference", "both"]

REFERENCE_FRAMES: Final = 50_000
"""Frames that the reference judges at a time: it is plain Python, in the process that listens."""


def judged(enforcer: EnforcerClient, text: PolicyText, capture: Path, engine: Engine, geo: Geo | None) -> list[dict[str, Any]]:
    """A record for each frame, as `mantlet replay --format json` prints them. Raises ApiError, EnforcerUnavailable, Refused."""
    if engine == "reference":
        return [_record(record) for record in _by_reference(text, capture, geo)]
    return enforcer.replay(text, capture.read_bytes(), engine)


def _by_reference(text: PolicyText, capture: Path, geo: Geo | None) -> Iterator[Record]:
    try:
        for _, record, _ in replay_frames(policy_of(text, geo=geo), capture, "reference"):
            if record.frame > REFERENCE_FRAMES:
                raise bad_request(f"the reference engine takes {REFERENCE_FRAMES:,} frames at a time; take the kernel engine", pointer="")
            yield record
    except CaptureError as error:
        raise no_capture(error) from error
    except DiagnosticError as error:  # a rule that cannot be enforced
        raise ApiError(400, *expression_problems(error.diagnostics, "")) from error


def _record(record: Record) -> dict[str, Any]:
    found = {
        "frame": record.frame,
        "verdict": record.verdict,
        "outcome": record.outcome,
        "rule": record.rule,
        "engine": record.engine,
    }
    return found | ({"reason": record.reason} if record.verdict is None else {})


def no_capture(error: CaptureError) -> ApiError:
    """Without the name that the capture has on this machine."""
    what = str(CaptureError(Path("the capture"), error.what, error.offset, error.frame))
    return ApiError(400, Problem(Code.BAD_REQUEST, what, ""))


def shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as the API answers it: `rule` is an id of the tenant's own, `executed` one of a ruleset that it executes."""
    name = record["rule"]
    parts = [part for part in name.split(".") if part != "log"] if name else []
    return {
        "frame": record["frame"],
        "verdict": record["verdict"],
        "outcome": record["outcome"],
        "rule": parts[0] if parts else None,
        "executed": parts[1] if len(parts) > 1 else None,
        "reason": record.get("reason"),
        "engine": record["engine"],
    }


def commented(capture: Path, records: Sequence[Mapping[str, Any]]) -> bytes:
    """The capture as pcapng, its frames with what the records say as packet comments. Raises ApiError."""
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    try:
        for frame, record in zip(read(capture), records, strict=True):
            fate = Fate(record["verdict"], record["outcome"], record["rule"], record.get("reason"))
            writer.write(frame, Record(frame.number, fate, record["engine"]).comment)
    except CaptureError as error:
        raise no_capture(error) from error
    return stream.getvalue()


def alone(documents: Documents, ruleset_id: str) -> PolicyText:
    """The rules of one ruleset, as if it was its phase's entry point and no other was there. Raises ApiError (404)."""
    ruleset = find(documents, ruleset_id)
    others = {key: each for key, each in documents.rulesets.items() if each.kind != "root" and key != ruleset_id}
    return policy_text(replace(documents, rulesets={**others, ruleset_id: replace(ruleset, kind="root")}))


def write_packets(path: Path, packets: Sequence[bytes], link_type: int) -> None:
    """A capture of these packets."""
    frames = (Frame(number, 0, packet, link_type, len(packet), "") for number, packet in enumerate(packets, 1))
    write_pcap(path, frames, link_type=link_type)
