"""Captures and single packets, judged by an account's rules; nothing is changed by it."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from api import judging
from api.access.caller import Reader
from api.compile import policy_text
from api.enforcer.client import EnforcerClient, Refused
from api.envelope import Envelope, answer, documented
from api.errors import ApiError, Code, Problem, bad_request
from api.judging import Engine
from api.node import Node
from api.policy_text import PolicyText
from api.routes.dependencies import TheEnforcer, TheNode

router = APIRouter(tags=["replay"], responses=documented())

PCAPNG: Final = "application/x-pcapng"
_RAW, _ETHERNET = 101, 1
"""LINKTYPE_RAW and LINKTYPE_ETHERNET of the pcap registry."""
EngineName = Annotated[Engine, Query(description="What judges: the kernel, the reference, or both, whose difference would be a fault")]


class VerdictAnswer(BaseModel):
    frame: int
    """From 1."""
    verdict: Literal["allow", "block", "reject", "log", "limit", "default"] | None
    """What the rules said; null where no rule saw the frame."""
    outcome: str
    """What became of the packet."""
    rule: str | None
    """The id of the rule that decided; null where none did."""
    executed: str | None
    """The id of the rule of a managed ruleset that decided, where `rule` executed it."""
    reason: str | None
    """Why no rule saw the frame."""
    engine: Engine


_CAPTURE: Final = {"schema": {"type": "string", "format": "binary"}}
_FORM: Final = {"schema": {"type": "object", "properties": {"capture": {"type": "string", "format": "binary"}}, "required": ["capture"]}}
_TAKEN: Final = {
    "requestBody": {
        "required": True,
        "description": "A pcap or pcapng file, gzipped or not",
        "content": {"application/octet-stream": _CAPTURE, "application/vnd.tcpdump.pcap": _CAPTURE, "multipart/form-data": _FORM},
    }
}
_GIVEN: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A verdict for each frame, or the capture with a comment in each", "content": {PCAPNG: _CAPTURE}}
}


@router.post(
    "/accounts/{account_id}/replay", response_model=Envelope[list[VerdictAnswer]], responses=_GIVEN | documented(406), openapi_extra=_TAKEN
)
async def replay(
    request: Request,
    caller: Reader,
    node: TheNode,
    enforcer: TheEnforcer,
    engine: EngineName = "kernel",
    format: Annotated[Literal["json", "pcapng"] | None, Query(description="Goes before `Accept`")] = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """What the account's rules say of every frame of a capture."""
    wanted = format or _format_of(accept)
    text = await run_in_threadpool(lambda: policy_text(node.documents(caller.account)))
    async with _received(request) as capture:
        records = await run_in_threadpool(_judged, node, enforcer, text, capture, engine)
        if wanted == "pcapng":
            content = await run_in_threadpool(judging.commented, capture, records)
            return Response(content, media_type=PCAPNG, headers={"Content-Disposition": 'attachment; filename="judged.pcapng"'})
    return await run_in_threadpool(lambda: answer([judging.shown(record) for record in records]))


def _format_of(accept: str) -> Literal["json", "pcapng"]:
    """What `Accept` (RFC 9110, 12.5.1) asks for. Raises ApiError."""
    for part in accept.split(","):
        match part.partition(";")[0].strip().lower():
            case "application/json" | "*/*" | "application/*" | "":
                return "json"
            case "application/x-pcapng" | "application/vnd.tcpdump.pcap":
                return "pcapng"
    raise ApiError(406, Problem(Code.BAD_REQUEST, f"the answer is application/json or {PCAPNG}", parameter="Accept"))


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[Path]:
    """The body, or the file of a form, as a file. Raises ApiError."""
    with tempfile.NamedTemporaryFile(prefix="mantlet-") as file:
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            try:
                async with request.form(max_files=1, max_fields=10) as form:
                    sent = next((each for each in form.values() if isinstance(each, UploadFile)), None)
                    if sent is None:
                        raise bad_request("the form has no file", pointer="")
                    while part := await sent.read(1 << 20):
                        file.write(part)
            except MultiPartException as error:
                raise bad_request(f"the form cannot be read: {error.message}", pointer="") from error
        else:
            async for part in request.stream():
                file.write(part)
        file.flush()
        yield Path(file.name)


def _judged(node: Node, enforcer: EnforcerClient, text: PolicyText, capture: Path, engine: Engine) -> list[dict[str, Any]]:
    try:
        return judging.judged(enforcer, text, capture, engine, node.geo)
    except Refused as error:
        raise bad_request(str(error)) from error


class PacketBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    data: str = Field(min_length=2, max_length=200_000, description="Hexadecimal (with or without colons or blanks between), or base64")
    encoding: Literal["hex", "base64"] | None = Field(default=None, description="Said, it is not guessed; hexadecimal goes first")
    link: Literal["ip", "ethernet"] = Field(default="ip", description="What the packet begins with")
    expected: Literal["allow", "block", "log", "default"] | None = Field(default=None, description="The verdict that should come out")


class RulesetTestBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    packets: list[PacketBody] = Field(min_length=1, max_length=1_000)


class TestedPacketAnswer(VerdictAnswer):
    expected: str | None
    passed: bool | None
    """Whether the verdict is the one expected; null where none was."""


class RulesetTestAnswer(BaseModel):
    passed: bool
    """Whether all packets had the verdicts expected of them."""
    packets: list[TestedPacketAnswer]


@router.post("/accounts/{account_id}/rulesets/{ruleset_id}/test", response_model=Envelope[RulesetTestAnswer])
def judge_packets(
    caller: Reader, ruleset_id: str, body: RulesetTestBody, node: TheNode, enforcer: TheEnforcer, engine: EngineName = "reference"
) -> Response:
    """What one ruleset alone, whether it is an entry point or not, says of packets to what the account protects."""
    text = judging.alone(node.documents(caller.account), ruleset_id)
    packets = [_bytes_of(packet, f"/packets/{place}/data") for place, packet in enumerate(body.packets)]
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="mantlet-") as folder:
        for link, link_type in (("ip", _RAW), ("ethernet", _ETHERNET)):
            places = [place for place, packet in enumerate(body.packets) if packet.link == link]
            if not places:
                continue
            capture = Path(folder) / f"{link}.pcap"
            judging.write_packets(capture, [packets[place] for place in places], link_type)
            found |= dict(zip(places, _judged(node, enforcer, text, capture, engine), strict=True))
    answers = []
    for place, packet in enumerate(body.packets):
        record = judging.shown(found[place]) | {"frame": place + 1, "expected": packet.expected}
        answers.append(record | {"passed": None if packet.expected is None else record["verdict"] == packet.expected})
    return answer({"passed": all(each["passed"] is not False for each in answers), "packets": answers})


def _bytes_of(packet: PacketBody, pointer: str) -> bytes:
    """Raises ApiError."""
    if packet.encoding != "base64":
        try:
            return bytes.fromhex(packet.data.replace(":", ""))
        except ValueError:
            if packet.encoding == "hex":
                raise bad_request("the packet is not hexadecimal", pointer=pointer) from None
    try:
        return base64.b64decode(packet.data, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("the packet is neither hexadecimal nor base64", pointer=pointer) from None
