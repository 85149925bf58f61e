"""Captures of an account's own packets: begun, listed, stopped, fetched."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from api.access.caller import Reader, Writer
from api.captures import BYTES, PACKETS, SECONDS, Captures, Wanted, expression_of
from api.envelope import Envelope, answer, documented
from api.errors import ApiError, bad_request, expression_problems
from api.node import Node
from api.routes.dependencies import TheNode
from rules_dsl import DiagnosticError, parse_expression

router = APIRouter(prefix="/accounts/{account_id}/pcaps", tags=["pcaps"], responses=documented())

Whole = Annotated[float, Field(multiple_of=1, allow_inf_nan=False)]
"""The SDK has numbers only, no whole ones."""
PCAP: Final = "application/vnd.tcpdump.pcap"


async def _captures(request: Request) -> Captures:
    return cast(Captures, request.app.state.captures)


TheCaptures = Annotated[Captures, Depends(_captures)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class FilterBody(Body):
    """What the packets have in common; what is left out does not matter."""

    source_address: str | None = Field(default=None, max_length=64)
    source_port: Annotated[Whole, Field(ge=0, le=65_535)] | None = None
    destination_address: str | None = Field(default=None, max_length=64)
    destination_port: Annotated[Whole, Field(ge=0, le=65_535)] | None = None
    protocol: Annotated[Whole, Field(ge=0, le=255, description="The number of an IP protocol")] | None = None


class PcapBody(Body):
    system: Literal["magic-transit"]
    type: Literal["simple", "full"] = Field(description="Both take whole packets, all of them")
    time_limit: Annotated[float, Field(gt=0, le=SECONDS, allow_inf_nan=False, description="Seconds")]
    packet_limit: Annotated[Whole, Field(ge=1, le=PACKETS)] | None = None
    byte_limit: Annotated[Whole, Field(ge=1, le=BYTES)] | None = None
    filter_v1: FilterBody | None = None
    expression: str | None = Field(default=None, max_length=4_096, description="Instead of `filter_v1`: an expression of the rule language")
    colo_name: str | None = Field(default=None, max_length=255, description="The node that captures: the one that answers")
    colo: str | None = Field(default=None, max_length=255, description="The same as `colo_name`")
    destination_conf: str | None = Field(default=None, max_length=1_000, description="Noted only: packets are kept here, to be downloaded")
    offset_time: datetime | None = Field(default=None, strict=False, description="Refused: packets that have passed are not kept")


class PcapAnswer(BaseModel):
    id: str
    system: Literal["magic-transit"]
    type: Literal["simple", "full"]
    status: Literal["pending", "running", "success", "failed"]
    submitted: datetime
    time_limit: float
    packet_limit: float
    byte_limit: float
    packets_captured: int
    filter_v1: dict[str, Any] | None = None
    expression: str | None = None
    colo_name: str
    destination_conf: str | None = None
    error_message: str | None = None
    stop_requested: datetime | None = None


@router.post("", response_model=Envelope[PcapAnswer])
def create_pcap(caller: Writer, body: PcapBody, node: TheNode, captures: TheCaptures) -> Response:
    """Captures packets to what the account protects, from now on, as they arrive and before any rule, until one of its limits."""
    wanted = _wanted(body, node)
    capture = captures.start(node.documents(caller.account).tenant, wanted)
    kept = {"code": 0, "message": "packets are kept on this node for download; nothing is sent to destination_conf"}
    return answer(capture.shown(), messages=[kept] if body.destination_conf is not None else ())


@router.get("", response_model=Envelope[list[PcapAnswer]])
def list_pcaps(caller: Reader, captures: TheCaptures) -> Response:
    """The account's captures on this node, the oldest first."""
    return answer([each.shown() for each in captures.of(caller.account)])


@router.get("/{pcap_id}", response_model=Envelope[PcapAnswer])
def get_pcap(caller: Reader, pcap_id: str, captures: TheCaptures) -> Response:
    return answer(captures.one(caller.account, pcap_id).shown())


@router.put("/{pcap_id}/stop", response_model=Envelope[PcapAnswer])
def stop_pcap(caller: Writer, pcap_id: str, captures: TheCaptures) -> Response:
    """Ends a capture; what it has so far stays."""
    capture = captures.one(caller.account, pcap_id)
    captures.stop(capture)
    return answer(capture.shown())


_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A pcap file", "content": {PCAP: {"schema": {"type": "string", "format": "binary"}}}}
}


@router.get("/{pcap_id}/download", response_class=FileResponse, responses=_FILE | documented())
def download_pcap(caller: Reader, pcap_id: str, captures: TheCaptures) -> Response:
    """The packets, once the capture has ended."""
    capture = captures.one(caller.account, pcap_id)
    if capture.is_under_way:
        raise bad_request("the capture goes on: wait for its end, or stop it")
    if not capture.path.exists():
        raise bad_request("the capture failed before its first packet")
    return FileResponse(capture.path, media_type=PCAP, filename=f"{pcap_id}.pcap")


def _wanted(body: PcapBody, node: Node) -> Wanted:
    """Raises ApiError."""
    colo = body.colo_name if body.colo_name is not None else body.colo
    if colo is not None and colo.lower() != node.name.lower():
        where = "/colo_name" if body.colo_name is not None else "/colo"
        raise bad_request(f"this is node {node.name}: ask the one that is to capture", pointer=where)
    if body.offset_time is not None:
        raise bad_request("packets that have passed are not kept", pointer="/offset_time")
    if body.expression is not None and body.filter_v1 is not None:
        raise bad_request("a capture has `filter_v1` or `expression`, not both", pointer="/expression")
    chosen = body.filter_v1 or FilterBody()
    ports = [None if port is None else int(port) for port in (chosen.source_port, chosen.destination_port, chosen.protocol)]
    expression = body.expression or expression_of(chosen.source_address, ports[0], chosen.destination_address, ports[1], ports[2])
    try:
        parse_expression(expression, geo=node.geo)
    except DiagnosticError as error:
        raise ApiError(400, *expression_problems(error.diagnostics, "/expression")) from error
    packets, size = int(body.packet_limit or PACKETS), int(body.byte_limit or BYTES)
    content: dict[str, Any] = {
        "system": body.system,
        "type": body.type,
        "time_limit": body.time_limit,
        "packet_limit": packets,
        "byte_limit": size,
        "colo_name": node.name,
    }
    if body.filter_v1 is not None:
        content["filter_v1"] = body.filter_v1.model_dump(exclude_none=True)
    if body.expression is not None:
        content["expression"] = body.expression
    if body.destination_conf is not None:
        content["destination_conf"] = body.destination_conf
    return Wanted(content, expression, packets, body.time_limit, size)
