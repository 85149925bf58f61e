"""What every store does, asked of each."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from api.store import (
    MAX_BYTES,
    MAX_CHANGES,
    Check,
    CompactedError,
    ConflictError,
    Delete,
    Event,
    Put,
    Store,
    StoreError,
    TooLargeError,
)


def keys(store: Store, prefix: str = "", **how: object) -> list[str]:
    return [entry.key for entry in store.list(prefix, **how).entries]  # type: ignore[arg-type]


def soon(holds: Callable[[], bool], seconds: float = 8.0) -> bool:
    """Whether something comes to hold."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


def take(watch: Iterator[tuple[Event, ...]], count: int) -> list[tuple[Event, ...]]:
    return list(islice(watch, count))


# Entries


def test_a_new_store_has_nothing(store: Store) -> None:
    assert store.get("a") is None
    assert store.list("").entries == ()


def test_what_is_put_can_be_read(store: Store) -> None:
    revision = store.commit([Put("a", b"\x00\xff")])
    entry = store.get("a")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision, entry.created) == ("a", b"\x00\xff", revision, revision)
    assert store.revision() == revision


def test_an_entry_keeps_the_revision_at_which_it_came_to_be(store: Store) -> None:
    created = store.commit([Put("a", b"1")])
    written = store.commit([Put("a", b"2")])
    assert written > created
    entry = store.get("a")
    assert entry is not None
    assert (entry.value, entry.revision, entry.created) == (b"2", written, created)


def test_an_entry_that_is_deleted_and_put_again_is_a_new_one(store: Store) -> None:
    store.commit([Put("a", b"1")])
    store.commit([Delete("a")])
    assert store.get("a") is None
    again = store.commit([Put("a", b"")])
    entry = store.get("a")
    assert entry is not None
    assert (entry.value, entry.created) == (b"", again)


def test_what_is_stored_is_there_when_opened_again(opened: Callable[[], Store]) -> None:
    with opened() as first:
        revision = first.commit([Put("a", b"1")])
    second = opened()
    assert second.get("a") is not None
    assert second.list("").revision >= revision


@pytest.mark.parametrize("key", ["a/b/c", "ä", "\U0010ffff", "%00 ?#", "a" * 1000, "\x00"])
def test_keys_of_any_characters(store: Store, key: str) -> None:
    store.commit([Put(key, b"1", 0)])
    assert keys(store, key) == [key]
    store.commit([Delete(key)])
    assert store.get(key) is None


# Listings


def test_a_listing_is_in_the_order_of_code_points(store: Store) -> None:
    names = ["a", "a/", "a/1", "a0", "b", "z", "ä", "\ud7ff", "\ue000", "\uffff", "\U00010000"]
    store.commit([Put(name, b"") for name in reversed(names)])
    assert keys(store) == names


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("", ["a", "a/1", "a/2", "a0", "b"]), ("a", ["a", "a/1", "a/2", "a0"]), ("a/", ["a/1", "a/2"]), ("a/1", ["a/1"]), ("c", [])],
)
def test_a_listing_has_the_keys_with_its_prefix(store: Store, prefix: str, expected: list[str]) -> None:
    store.commit([Put(name, b"") for name in ("a", "a/1", "a/2", "a0", "b")])
    assert keys(store, prefix) == expected


@pytest.mark.parametrize("prefix", ["\ud7ff", "\U0010ffff", "a\U0010ffff"])
def test_a_prefix_may_end_with_the_last_character_there_is(store: Store, prefix: str) -> None:
    store.commit([Put(name, b"") for name in (prefix, prefix + "1", "b", "\ue000")])
    assert keys(store, prefix) == [prefix, prefix + "1"]


def test_pages_follow_each_other(store: Store) -> None:
    names = [f"p/{number:02}" for number in range(25)]
    store.commit([Put(name, b"") for name in [*names, "o", "q"]])
    seen: list[str] = []
    while page := keys(store, "p/", after=seen[-1] if seen else "", limit=10):
        assert len(page) <= 10
        seen += page
    assert seen == names


@pytest.mark.parametrize(("after", "expected"), [("a", ["b/1", "b/2"]), ("b/1", ["b/2"]), ("b/11", ["b/2"]), ("b/2", []), ("c", [])])
def test_a_listing_goes_on_after_any_key(store: Store, after: str, expected: list[str]) -> None:
    store.commit([Put(name, b"") for name in ("a", "b/1", "b/2", "c")])
    assert keys(store, "b/", after=after) == expected
    assert keys(store, "b/", after=after, limit=0) == []


def test_a_listing_is_of_one_moment(store: Store) -> None:
    """A writer moves one token from key to key; no listing has two of them, or none."""
    store.commit([Put("t/0", b"")])
    over = threading.Event()

    def move() -> None:
        place = 0
        while not over.is_set():
            store.commit([Delete(f"t/{place}"), Put(f"t/{(place + 1) % 7}", b"")])
            place = (place + 1) % 7

    mover = threading.Thread(target=move)
    mover.start()
    try:
        listings = [store.list("t/")]
        while len({listing.revision for listing in listings}) < 20:
            listings.append(store.list("t/"))
    finally:
        over.set()
        mover.join()
    assert {len(listing.entries) for listing in listings} == {1}
    assert all(listing.entries[0].revision <= listing.revision for listing in listings)


# Commits


def test_a_commit_has_one_revision(store: Store) -> None:
    revision = store.commit([Put("a", b""), Put("b", b"")])
    assert {entry.revision for entry in store.list("").entries} == {revision}


@pytest.mark.parametrize("change", [Put("a", b"2", 0), Put("b", b"2", 7), Delete("b", 7), Check("b", 7), Check("a", 0)])
def test_a_condition_that_does_not_hold_names_its_key(store: Store, change: Put | Delete | Check) -> None:
    revision = store.commit([Put("a", b"1")])
    with pytest.raises(ConflictError, match="was expected to") as conflict:
        store.commit([Put("c", b""), Check("a", revision), change])
    assert (conflict.value.key, conflict.value.expected) == (change.key, change.expected)
    assert conflict.value.found == (revision if change.key == "a" else 0)


def test_a_commit_in_conflict_changes_nothing(store: Store) -> None:
    store.commit([Put("a", b"1")])
    before = store.list("").entries
    with pytest.raises(ConflictError):
        store.commit([Put("a", b"2"), Put("b", b""), Delete("a/"), Check("c", 1)])
    assert store.list("").entries == before


def test_a_condition_that_holds_is_no_obstacle(store: Store) -> None:
    revision = store.commit([Put("a", b"1", 0), Put("b", b"", 0)])
    revision = store.commit([Put("a", b"2", revision), Delete("b", revision), Check("c", 0)])
    assert keys(store) == ["a"]
    assert store.commit([Delete("a", revision)]) > revision


def test_conditions_are_looked_at_before_anything_is_changed(store: Store) -> None:
    revision = store.commit([Put("a", b"1")])
    store.commit([Put("a", b"2"), Check("a", revision), Put("b", b""), Check("b", 0)])
    assert keys(store) == ["a", "b"]


def test_a_commit_of_checks_alone_changes_no_revision(store: Store) -> None:
    revision = store.commit([Put("a", b"1")])
    assert store.commit([Check("a", revision), Check("b", 0)]) == revision
    with pytest.raises(ConflictError):
        store.commit([Check("b", 1)])


def test_what_is_not_there_can_be_deleted(store: Store) -> None:
    store.commit([Delete("a")])
    assert store.get("a") is None


def test_a_commit_may_be_as_large_as_is_said(store: Store) -> None:
    size = MAX_BYTES // MAX_CHANGES - 10
    store.commit([Put(f"k/{number:08}", bytes([number]) * size, 0) for number in range(MAX_CHANGES)])
    assert [entry.value for entry in store.list("k/").entries] == [bytes([number]) * size for number in range(MAX_CHANGES)]
    store.commit([Delete(f"k/{number:08}") for number in range(MAX_CHANGES)])
    assert keys(store) == []


def test_a_commit_that_is_too_large_is_refused(store: Store) -> None:
    with pytest.raises(TooLargeError, match="has 101 changes, and may have 100: divide it"):
        store.commit([Put(f"{number}", b"") for number in range(MAX_CHANGES + 1)])
    with pytest.raises(TooLargeError, match="1,048,577 bytes, and may have 1,048,576"):
        store.commit([Put("a", bytes(MAX_BYTES))])
    assert keys(store) == []


# Watches


def test_a_watch_sees_every_commit_in_order(store: Store) -> None:
    start = store.revision()
    first = store.commit([Put("w/a", b"1"), Put("w/b", b"2")])
    second = store.commit([Delete("w/a"), Put("w/b", b"3")])
    seen = take(store.watch("w/", start), 2)
    assert [set(group) for group in seen] == [
        {Event("w/a", b"1", first), Event("w/b", b"2", first)},
        {Event("w/a", None, second), Event("w/b", b"3", second)},
    ]


def test_a_watch_sees_its_prefix_only(store: Store) -> None:
    start = store.revision()
    store.commit([Put("v", b""), Put("w0", b"")])
    both = store.commit([Put("v", b"2"), Put("w/a", b"")])
    assert take(store.watch("w/", start), 1) == [(Event("w/a", b"", both),)]


def test_a_watch_begins_after_its_revision(store: Store) -> None:
    store.commit([Put("w", b"1")])
    second = store.commit([Put("w", b"2")])
    third = store.commit([Put("w", b"3")])
    assert take(store.watch("w", second), 1) == [(Event("w", b"3", third),)]


def test_a_watch_waits_for_commits_of_others(opened: Callable[[], Store]) -> None:
    watching, writing = opened(), opened()
    watch = watching.watch("w", watching.revision())
    for number in range(5):
        threading.Timer(0.1, writing.commit, ([Put("w", str(number).encode())],)).start()
        ((event,),) = take(watch, 1)
        assert event.value == str(number).encode()


def test_a_watch_ends_when_it_is_stopped(store: Store) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    assert list(store.watch("w", store.revision(), stop=stop)) == []
    assert time.monotonic() - began < 0.3 + 0.5
    assert list(store.watch("w", store.revision(), stop=stop)) == []


def test_a_watch_ends_when_its_store_is_closed(opened: Callable[[], Store]) -> None:
    store = opened()
    threading.Timer(0.3, store.close).start()
    assert list(store.watch("w", store.revision())) == []


def test_a_listing_and_a_watch_from_there_miss_nothing(store: Store) -> None:
    """However they fall between the commits of a writer."""

    def write() -> None:
        for number in range(200):
            store.commit([Put(f"w/{number:03}", b"")])

    writer = threading.Thread(target=write)
    writer.start()
    listing = store.list("w/")
    seen = [entry.key for entry in listing.entries]
    for group in store.watch("w/", listing.revision):
        seen += [event.key for event in group]
        if seen[-1] == "w/199":
            break
    writer.join()
    assert seen == [f"w/{number:03}" for number in range(200)]


# Compaction


def test_a_watch_from_before_the_history_is_refused(store: Store) -> None:
    start = store.revision()
    store.commit([Put("w", b"1")])
    last = store.commit([Put("w", b"2")])
    store.compact(last + 1)
    with pytest.raises(CompactedError) as compacted:
        next(store.watch("w", start))
    assert compacted.value.revision == last
    entry = store.get("w")
    assert entry is not None
    assert entry.value == b"2"


def test_a_watch_from_where_the_history_begins_is_not(store: Store) -> None:
    store.commit([Put("w", b"1")])
    revisions = [store.commit([Put("w", b"2")]), store.commit([Delete("w")]), store.commit([Put("w", b"3")])]
    store.compact(revisions[1])
    seen = take(store.watch("w", revisions[1] - 1), 2)
    assert seen == [(Event("w", None, revisions[1]),), (Event("w", b"3", revisions[2]),)]
    with pytest.raises(CompactedError):
        next(store.watch("w", revisions[1] - 2))


def test_a_watch_that_is_up_to_date_survives_a_compaction(store: Store) -> None:
    seen: queue.Queue[Event] = queue.Queue()
    stop = threading.Event()

    def watch() -> None:
        for group in store.watch("w", store.revision(), stop=stop):
            seen.put(group[0])

    watcher = threading.Thread(target=watch)
    watcher.start()
    time.sleep(0.3)
    for value in (b"1", b"2"):
        for number in range(10):
            store.commit([Put("other", str(number).encode())])
        time.sleep(0.2)
        store.compact(store.revision() + 1)
        time.sleep(0.2)
        store.commit([Put("w", value)])
        assert seen.get(timeout=5).value == value
    stop.set()
    watcher.join()


def test_history_is_compacted_once(store: Store) -> None:
    last = store.commit([Put("w", b"1")])
    for before in (last, last, 1, 0, last + 1000):
        store.compact(before)
    assert store.get("w") is not None
    assert store.commit([Put("w", b"2")]) > last


def test_a_watch_from_the_future_is_refused(store: Store) -> None:
    """Whoever saw that revision saw it in a store that was since replaced by an older copy."""
    revision = store.commit([Put("w", b"1")])
    with pytest.raises(CompactedError) as compacted:
        next(store.watch("w", revision + 100))
    assert compacted.value.revision == revision


# Announcements


def test_what_is_announced_disappears(store: Store) -> None:
    start = store.revision()
    store.announce("live/n1", b"x", 1)
    assert keys(store, "live/") == ["live/n1"]
    created, gone = take(store.watch("live/", start), 2)
    assert (created[0].value, gone[0].key, gone[0].value) == (b"x", "live/n1", None)
    assert keys(store, "live/") == []
    assert store.get("live/n1") is None
    store.commit([Put("live/n1", b"y", 0)])


def test_what_is_announced_again_stays_and_writes_nothing(store: Store) -> None:
    store.announce("live/n1", b"x", 2)
    entry = store.get("live/n1")
    for _ in range(6):
        time.sleep(0.4)
        store.announce("live/n1", b"x", 2)
    assert store.get("live/n1") == entry


def test_what_is_announced_with_another_value_is_written(store: Store) -> None:
    store.announce("live/n1", b"x", 60)
    first = store.get("live/n1")
    store.announce("live/n1", b"y", 60)
    second = store.get("live/n1")
    assert first is not None
    assert second is not None
    assert (second.value, second.created) == (b"y", first.created)
    assert second.revision > first.revision


def test_what_is_committed_over_an_announcement_stays(store: Store) -> None:
    store.announce("live/n1", b"x", 1)
    store.commit([Put("live/n1", b"x")])
    assert not soon(lambda: store.get("live/n1") is None, 2)


def test_what_was_announced_and_deleted_can_be_announced(store: Store) -> None:
    store.announce("live/n1", b"x", 60)
    store.commit([Delete("live/n1")])
    store.announce("live/n1", b"x", 1)
    assert keys(store) == ["live/n1"]
    assert soon(lambda: keys(store) == [])


# The end


def test_a_store_that_is_closed_says_so(store: Store) -> None:
    store.close()
    store.close()
    for ask in (lambda: store.get("a"), lambda: store.list(""), store.revision, lambda: store.commit([Put("a", b"")])):
        with pytest.raises(StoreError, match="the store is closed; open it again"):
            ask()
