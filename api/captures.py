"""Captures of a tenant's own packets, on the node that was asked: under way, and kept for a while to be fetched."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal

from api.documents import Tenant, kernel_name, new_id, now
from api.enforcer.client import Capturing, EnforcerClient, EnforcerUnavailable, Refused
from api.errors import ApiError, Code, Problem, bad_request, not_found, too_many_requests
from firewall.capture import Frame
from firewall.capture_write import write_pcap
from rules_dsl.protocols import IP_PROTOCOLS

LOG = logging.getLogger("mantlet.api")

KEPT: Final = 16
"""Captures of each tenant; the oldest that has ended goes when another begins."""
AT_A_TIME: Final = 4
"""Captures of each tenant that are under way."""
AT_ONCE: Final = 64
"""Captures of all tenants that are under way."""
PACKETS: Final = 1_000_000
SECONDS: Final = 3_600.0
BYTES: Final = 64 << 20
_RAW: Final = 101
"""LINKTYPE_RAW of the pcap registry: packets from the IP header on."""

Status = Literal["pending", "running", "success", "failed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for."""

    content: dict[str, Any]
    """As it was said, to be said again."""
    expression: str
    packet_limit: int
    time_limit: float
    byte_limit: int


@dataclass(slots=True)
class Kept:
    """A capture. The thread that makes it writes; others read."""

    id: str
    tenant: str
    wanted: Wanted
    submitted: str
    path: Path
    status: Status = "pending"
    packets: int = 0
    error: str | None = None
    stop_requested: str | None = None
    capturing: Capturing | None = None
    changed: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_under_way(self) -> bool:
        return self.status in ("pending", "running")

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": self.id,
            **self.wanted.content,
            "status": self.status,
            "submitted": self.submitted,
            "packets_captured": self.packets,
        }
        if self.error is not None:
            found["error_message"] = self.error
        if self.stop_requested is not None:
            found["stop_requested"] = self.stop_requested
        return found


class Captures:
    """All captures of a node. Every method may be called from any thread."""

    def __init__(self, enforcer: EnforcerClient) -> None:
        self._enforcer = enforcer
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="mantlet-captures-")

    def start(self, tenant: Tenant, wanted: Wanted) -> Kept:
        """A capture that has begun: packets from now on are in it. Raises ApiError, EnforcerUnavailable."""
        capture_id = new_id()
        capture = Kept(capture_id, tenant.id, wanted, now(), Path(self._folder.name) / capture_id)
        with self._lock:
            own = [each for each in self._kept.values() if each.tenant == tenant.id]
            under_way = [each for each in self._kept.values() if each.is_under_way]
            if sum(each.is_under_way for each in own) >= AT_A_TIME or len(under_way) >= AT_ONCE:
                raise too_many_requests(min(each.wanted.time_limit for each in under_way))
            if len(own) >= KEPT:
                self._forget(next(each for each in own if not each.is_under_way))
            self._kept[capture_id] = capture
        try:
            capture.capturing = self._enforcer.capture(
                kernel_name(tenant.id), tenant.protect, wanted.expression, wanted.packet_limit, wanted.time_limit, wanted.byte_limit
            )
        except Refused as error:
            self._drop(capture)
            raise ApiError(400, Problem(Code.BAD_REQUEST, f"the capture cannot be made: {error}")) from error
        except BaseException:
            self._drop(capture)
            raise
        capture.status = "running"
        threading.Thread(target=self._fill, args=(capture,), name=f"capture-{capture_id[:8]}", daemon=True).start()
        return capture

    def of(self, tenant: str) -> tuple[Kept, ...]:
        """A tenant's, the oldest first."""
        with self._lock:
            return tuple(each for each in self._kept.values() if each.tenant == tenant)

    def one(self, tenant: str, capture_id: str) -> Kept:
        """Raises ApiError (404)."""
        with self._lock:
            found = self._kept.get(capture_id)
        if found is None or found.tenant != tenant:
            raise not_found("packet capture")
        return found

    def stop(self, capture: Kept) -> None:
        """Ends it where it goes on; what came until now stays. Returns when it has ended, or after some seconds."""
        with capture.changed:
            if not capture.is_under_way or capture.capturing is None:
                return
            capture.stop_requested = now()
            capture.capturing.stop()

    def close(self) -> None:
        """Ends all, and deletes what is kept."""
        with self._lock:
            found = tuple(self._kept.values())
        for each in found:
            self.stop(each)
        self._folder.cleanup()

    def _fill(self, capture: Kept) -> None:
        """Writes packets as they come, until the capture ends."""
        assert capture.capturing is not None
        try:
            with capture.capturing as arriving:
                write_pcap(capture.path, _counted(capture, arriving), link_type=_RAW)
        except (EnforcerUnavailable, OSError) as error:
            LOG.warning("capture %s of %s: %s", capture.id, capture.tenant, error)
            capture.error = "the node could not go on with it"
            status: Status = "failed"
        else:
            status = "success"
        with capture.changed:
            capture.status = status

    def _drop(self, capture: Kept) -> None:
        with self._lock:
            self._forget(capture)

    def _forget(self, capture: Kept) -> None:
        self._kept.pop(capture.id, None)
        with suppress(FileNotFoundError):
            capture.path.unlink()


def _counted(capture: Kept, arriving: Capturing) -> Iterator[Frame]:
    for packet in arriving:
        capture.packets += 1
        yield Frame(capture.packets, packet.timestamp_ns, packet.data, _RAW, packet.original_length, packet.interface)


# -- what to capture ---------------------------------------------------------------------------------------------------


def expression_of(
    source_address: str | None, source_port: int | None, destination_address: str | None, destination_port: int | None, protocol: int | None
) -> str:
    """The expression that a `filter_v1` means; of an empty one, all packets. Raises ApiError."""
    parts = [] if protocol is None else [f"ip.proto == {protocol}"]
    for name, field_name, address in (("source", "ip.src", source_address), ("destination", "ip.dst", destination_address)):
        if address is not None:
            parts.append(f"{field_name} == {_address(address, f'/filter_v1/{name}_address')}")
    for end, port in (("srcport", source_port), ("dstport", destination_port)):
        if port is not None:
            carriers = [name for name in ("tcp", "udp", "sctp") if protocol in (None, IP_PROTOCOLS[name])]
            if not carriers:
                raise bad_request("packets of this protocol have no ports", pointer="/filter_v1/protocol")
            parts.append("(" + " or ".join(f"{name}.{end} == {port}" for name in carriers) + ")")
    return " and ".join(parts) or "ip"


def _address(text: str, pointer: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise bad_request(f"`{text}` is no IP address", pointer=pointer) from None
