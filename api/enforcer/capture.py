"""Captures for the API: a tenant's own packets, within bounds, in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing

from api.enforcer.compile import Compiler, check_place, check_tenant
from api.enforcer.messages import Capture, Captured, CapturedPacket, Packets
from firewall.dispatch import Claim, claims
from firewall.kernel import Kernel, OverlapError
from firewall.live_capture import Limits, LiveCapture, LiveCaptureError
from rules_dsl import ListValue, parse_expression
from rules_dsl.policy import Hook, Protect

MOST_PACKETS = 1_000_000
MOST_SECONDS = 86_400.0
MOST_BYTES = 1 << 30

_BATCH_BYTES = 1 << 20
_BATCH_SECONDS = 0.2


def captured(request: Capture, compiler: Compiler, stop: int) -> Iterator[Packets | Captured]:
    """The answers to a capture, which ends early where the file descriptor `stop` is readable. Raises, before the first, TextError,
    LiteralError, DiagnosticError, LiveCaptureError, OverlapError and what loading a program raises."""
    check_tenant(request.tenant)
    check_place(request.protect.interfaces, request.protect.marks)
    if min(request.packet_limit, request.byte_limit, request.snap_length) < 1 or not 0 < request.time_limit < math.inf:
        raise LiveCaptureError("the limits of a capture are greater than 0")
    lists = {name: ListValue.of_addresses(items) for name, items in request.lists.items()}
    expression = parse_expression(request.expression, name=request.tenant, lists=lists, limits=compiler.limits, geo=compiler.geo)
    prefixes = ListValue.of_addresses(request.protect.prefixes)
    protect = Protect(prefixes.v4, prefixes.v6, request.protect.interfaces, request.protect.marks)
    limits = Limits(min(request.packet_limit, MOST_PACKETS), min(request.time_limit, MOST_SECONDS), min(request.byte_limit, MOST_BYTES))
    others = _others(request.tenant, protect)
    with LiveCapture(expression, protect, others, node=compiler.node, snap_length=request.snap_length) as capture:
        yield Packets(())  # it has begun
        batch: list[CapturedPacket] = []
        size, first = 0, 0.0
        with closing(capture.arriving(limits, stop=stop, idle=_BATCH_SECONDS)) as arriving:
            for packet in arriving:
                if packet is not None:
                    first = first if batch else time.monotonic()
                    batch.append(CapturedPacket(*packet))
                    size += len(packet.data)
                if batch and (packet is None or size >= _BATCH_BYTES or time.monotonic() - first > _BATCH_SECONDS):
                    yield Packets(tuple(batch))
                    batch, size = [], 0
        if batch:
            yield Packets(tuple(batch))
        assert capture.end is not None
        yield Captured(capture.end.value, capture.dropped)


def _others(tenant: str, protect: Protect) -> tuple[Claim, ...]:
    """What other tenants claim. Raises OverlapError where `protect` is in part theirs."""
    with Kernel() as kernel:
        standing = kernel.enforced()
    found: list[Claim] = []
    for other, entry in standing.items():
        if other != tenant:
            found += entry.claims
            for claim in claims(Hook.PREROUTING, protect):
                for theirs in entry.claims:
                    if claim.overlaps(theirs):
                        raise OverlapError(tenant, other, claim, theirs)
    return tuple(found)
