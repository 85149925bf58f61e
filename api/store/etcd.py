"""The store in a cluster of etcd: for several machines, and as long as a majority of etcd's servers run.

An entry's key is `PREFIX/entries/KEY`. Each commit also writes a mark of its own, `PREFIX/commits/NAME`: where a server dies before it
has answered, the commit is tried again elsewhere, on the condition that its mark is not there. So it is done once, however often it
is tried.
"""

from __future__ import annotations

import threading
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, Self

from api.store.address import EtcdAddress
from api.store.gateway import Answer, BrokenError, Gateway, Patience, RefusedError
from api.store.model import (
    Change,
    Check,
    CompactedError,
    ConflictError,
    Delete,
    Entry,
    Event,
    Listing,
    Put,
    StoreError,
    TooLargeError,
    check_changes,
    first_key,
    prefix_end,
)

_NOT_FOUND, _OUT_OF_RANGE = 5, 11
"""Status codes of gRPC: no such lease; a revision that is compacted, or yet to come."""
_MARK_SECONDS = 120
"""How long a mark stays. A commit is tried for less than half of it: the timeout of an address bounds that."""


class EtcdStore:
    """A store in etcd. See `api.store.model.Store`.

    Revisions are the whole cluster's: what others write there raises them too, and `compact` is for all."""

    def __init__(self, address: EtcdAddress) -> None:
        self._gateway = Gateway(address)
        self._address = address
        self._entries = f"{address.prefix}/entries/"
        self._commits = f"{address.prefix}/commits/"
        self._marks = _Lease(self._call, max(_MARK_SECONDS, round(4 * address.timeout_seconds)))
        self._spent: list[str] = []
        """Marks that no one will ask for; the commits that follow take them away."""
        try:
            self.revision()
        except BaseException:
            self.close()
            raise

    def get(self, key: str) -> Entry | None:
        found = self._call("/kv/range", {"key": self._key(key)}).fields.get("kvs", ())
        return self._entry(found[0]) if found else None

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> Listing:
        if limit == 0:  # which has no limit, to etcd
            return Listing((), self.revision())
        request = {"key": self._key(first_key(prefix, after)), "range_end": self._end(prefix), "limit": str(limit or 0)}
        fields = self._call("/kv/range", request).fields
        return Listing(tuple(self._entry(found) for found in fields.get("kvs", ())), _revision(fields))

    def commit(self, changes: Sequence[Change]) -> int:
        check_changes(changes)
        conditions = [(change.key, change.expected) for change in changes if change.expected is not None]
        compare = [
            {"key": self._key(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(expected)} for key, expected in conditions
        ]
        seen = [{"request_range": {"key": self._key(key), "keys_only": True}} for key, _ in conditions]
        writes = [self._write(change) for change in changes if not isinstance(change, Check)]
        if not writes:
            fields = self._call("/kv/txn", {"compare": compare, "failure": seen}).fields
            if not fields.get("succeeded"):
                raise _conflict(conditions, fields["responses"])
            return _revision(fields)

        name = self._commits + uuid.uuid4().hex
        mark = _base64(name)
        spent = self._take_spent()
        answer = self._marks.use(
            lambda lease: self._call(
                "/kv/txn",
                {
                    "compare": [{"key": mark, "target": "VERSION", "result": "EQUAL", "version": "0"}, *compare],
                    "success": [
                        *writes,
                        *({"request_delete_range": {"key": _base64(old)}} for old in spent),
                        {"request_put": {"key": mark, "lease": lease}},
                    ],
                    "failure": [{"request_range": {"key": mark, "keys_only": True}}, *seen],
                },
            )
        )
        fields = answer.fields
        if fields.get("succeeded"):
            # One that was tried again keeps its mark: the first try may still be on its way, and must find it.
            if answer.attempts == 1:
                self._spent.append(name)
            return _revision(fields)
        self._spent.extend(spent)
        marked, *found = fields["responses"]
        if done := marked["response_range"].get("kvs"):
            return int(done[0]["mod_revision"])
        raise _conflict(conditions, found)

    def announce(self, key: str, value: bytes, ttl_seconds: int) -> None:
        check_changes([Put(key, value)])
        found = self._call("/kv/range", {"key": self._key(key)}).fields.get("kvs", ())
        if found and _bytes(found[0]) == value and "lease" in found[0]:
            answer = self._call("/lease/keepalive", {"ID": found[0]["lease"]}).fields
            if int(answer.get("result", {}).get("TTL", 0)) >= ttl_seconds:
                return
        lease = self._call("/lease/grant", {"TTL": str(ttl_seconds)}).fields["ID"]
        self._call("/kv/put", {"key": self._key(key), "value": b64encode(value).decode(), "lease": lease})

    def watch(self, prefix: str, after: int, *, stop: threading.Event | None = None) -> Iterator[tuple[Event, ...]]:
        if after > (revision := self.revision()):
            raise CompactedError(revision)
        patience: Patience | None = None
        while not (self._gateway.closed.is_set() or (stop is not None and stop.is_set())):
            # From `after` itself: so etcd tells that it is compacted, and when it is, a deletion at it need not be there (before 3.4.35).
            request = {"key": self._key(prefix), "range_end": self._end(prefix), "start_revision": str(max(after, 1))}
            began = time.monotonic()
            try:
                for message in self._gateway.stream("/watch", {"create_request": request}, stop):
                    for revision, events in self._events(message):
                        if revision > after:
                            after, patience = revision, None
                            yield events
            except BrokenError as error:
                if patience is None or time.monotonic() - began > self._address.timeout_seconds:
                    patience = Patience(self._address)
                patience.wait("watch", str(error))
            except RefusedError as error:
                raise self._refused(error) from error

    def revision(self) -> int:
        return _revision(self._call("/kv/range", {"key": self._key(""), "count_only": True}).fields)

    def compact(self, before: int) -> None:
        revision = min(before - 1, self.revision())
        if revision < 1:
            return
        try:
            self._gateway.call("/kv/compaction", {"revision": str(revision)})
        except RefusedError as error:
            if error.code != _OUT_OF_RANGE:  # it is compacted already, and further
                raise self._refused(error) from error

    def close(self) -> None:
        self._gateway.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, path: str, body: Mapping[str, Any]) -> Answer:
        try:
            return self._gateway.call(path, body)
        except RefusedError as error:
            raise self._refused(error) from error

    def _refused(self, error: RefusedError) -> StoreError:
        if error.code == _NOT_FOUND:
            return _NoLeaseError(f"etcd refused: {error}; try again")
        if "too large" in error.words or "too many operations" in error.words:
            return TooLargeError(f"{error}: divide the commit, or raise etcd's --max-request-bytes and --max-txn-ops")
        return StoreError(f"etcd refused: {error}; see that the user of the address may read and write {self._address.prefix}/")

    def _write(self, change: Put | Delete) -> dict[str, Any]:
        if isinstance(change, Delete):
            return {"request_delete_range": {"key": self._key(change.key)}}
        return {"request_put": {"key": self._key(change.key), "value": b64encode(change.value).decode()}}

    def _take_spent(self) -> tuple[str, ...]:
        try:
            return (self._spent.pop(),)
        except IndexError:
            return ()

    def _events(self, message: Mapping[str, Any]) -> Iterator[tuple[int, tuple[Event, ...]]]:
        if compacted := int(message.get("compact_revision", 0)):
            raise CompactedError(compacted)
        if message.get("canceled"):
            raise BrokenError(str(message.get("cancel_reason", "the server ended the watch")))
        for revision, group in groupby(message.get("events", ()), lambda event: int(event["kv"]["mod_revision"])):
            yield revision, tuple(self._event(event, revision) for event in group)

    def _event(self, event: Mapping[str, Any], revision: int) -> Event:
        found = event["kv"]
        return Event(self._name(found), None if event.get("type") == "DELETE" else _bytes(found), revision)

    def _entry(self, found: Mapping[str, Any]) -> Entry:
        return Entry(self._name(found), _bytes(found), int(found["mod_revision"]), int(found["create_revision"]))

    def _name(self, found: Mapping[str, Any]) -> str:
        return b64decode(found["key"]).decode().removeprefix(self._entries)

    def _key(self, key: str) -> str:
        return _base64(self._entries + key)

    def _end(self, prefix: str) -> str:
        end = prefix_end(self._entries + prefix)
        assert end is not None  # as the prefix of all entries ends with a slash
        return _base64(end)


class _NoLeaseError(StoreError):
    """A lease was gone before what it was for."""


class _Lease:
    """A lease of etcd on keys that no one needs for longer than `seconds`; a new one every `seconds / 2`."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], Answer], seconds: int) -> None:
        self._call = call
        self._seconds = seconds
        self._lock = threading.Lock()
        self._id = ""
        self._until = 0.0

    def use(self, request: Callable[[str], Answer]) -> Answer:
        """Makes a request with the lease, and with another one if etcd does not know it."""
        try:
            return request(self._current())
        except _NoLeaseError:
            with self._lock:
                self._until = 0.0
            return request(self._current())

    def _current(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._id = str(self._call("/lease/grant", {"TTL": str(self._seconds)}).fields["ID"])
                self._until = time.monotonic() + self._seconds / 2
            return self._id


def _conflict(conditions: Sequence[tuple[str, int]], responses: Sequence[Mapping[str, Any]]) -> ConflictError:
    """The first condition that did not hold, by what was there then."""
    for (key, expected), response in zip(conditions, responses, strict=True):
        found = response["response_range"].get("kvs")
        revision = int(found[0]["mod_revision"]) if found else 0
        if revision != expected:
            return ConflictError(key, expected, revision)
    raise AssertionError("etcd refused a transaction whose conditions hold")


def _revision(fields: Mapping[str, Any]) -> int:
    return int(fields["header"]["revision"])


def _bytes(found: Mapping[str, Any]) -> bytes:
    return b64decode(found.get("value", ""))


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
