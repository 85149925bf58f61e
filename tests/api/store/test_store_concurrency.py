"""Many writers and watchers on one store: nothing is lost, nothing is seen twice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from api.store import CompactedError, ConflictError, Event, Put, Store

Opener = Callable[[], Store]


def increment(store: Store, key: str) -> int:
    """Adds one to a number, by compare and swap; the revision at which that was done."""
    while True:
        entry = store.get(key)
        value, revision = (0, 0) if entry is None else (int(entry.value), entry.revision)
        try:
            return store.commit([Put(key, str(value + 1).encode(), revision)])
        except ConflictError:
            continue


def run(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def increments(stores: list[Store], threads: int, each: int, keys: int) -> list[int]:
    """The revisions of all increments, done at the same time."""
    done: list[int] = []

    def count(number: int) -> None:
        for turn in range(each):
            done.append(increment(stores[number % len(stores)], f"c/{(number + turn) % keys}"))

    run([threading.Thread(target=count, args=(number,)) for number in range(threads)])
    return done


def total(store: Store) -> int:
    return sum(int(entry.value) for entry in store.list("c/").entries)


def test_fifty_threads_that_compare_and_swap_lose_nothing(opened: Opener) -> None:
    stores = [opened(), opened()]
    revisions = increments(stores, threads=50, each=3, keys=10)
    assert total(stores[0]) == len(revisions) == 150
    assert len(set(revisions)) == 150


def test_two_writers_that_want_the_same_new_key_do_not_both_get_it(opened: Opener) -> None:
    stores = [opened(), opened()]
    winners: list[tuple[int, int]] = []

    def take(number: int) -> None:
        for name in range(20):
            try:
                stores[number % 2].commit([Put(f"lock/{name}", str(number).encode(), 0)])
                winners.append((name, number))
            except ConflictError:
                pass

    run([threading.Thread(target=take, args=(number,)) for number in range(8)])
    assert sorted(name for name, _ in winners) == list(range(20))
    assert {(int(entry.key[5:]), int(entry.value)) for entry in stores[0].list("lock/").entries} == set(winners)


def watched(store: Store, after: int, until: threading.Event, seen: list[tuple[Event, ...]]) -> threading.Thread:
    def watch() -> None:
        seen.extend(store.watch("c/", after, stop=until))

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_watches_see_every_revision_once_and_in_order(opened: Opener) -> None:
    stores = [opened(), opened()]
    start, until = stores[0].revision(), threading.Event()
    seen: list[list[tuple[Event, ...]]] = [[] for _ in range(4)]
    watchers = [watched(stores[number % 2], start, until, seen[number]) for number in range(4)]
    revisions = increments(stores, threads=8, each=15, keys=4)
    late: list[tuple[Event, ...]] = []
    for group in stores[1].watch("c/", start):
        late.append(group)
        if group[0].revision == max(revisions):
            break
    threading.Timer(1.0, until.set).start()
    for watcher in watchers:
        watcher.join()
    for groups in (late, *seen):
        assert [group[0].revision for group in groups] == sorted(revisions)
        assert all(len(group) == 1 for group in groups)


def test_a_watch_that_is_too_slow_for_the_history_lists_and_goes_on(store: Store) -> None:
    """The way that `CompactedError` says; the copy that it keeps ends equal to the store."""
    over = threading.Event()

    def write() -> None:
        for number in range(120):
            increment(store, f"c/{number % 5}")
            if number % 10 == 9:
                store.compact(store.revision() + 1)
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    copy: dict[str, bytes] = {}
    while True:
        finished = over.is_set()
        listing = store.list("c/")
        copy = {entry.key: entry.value for entry in listing.entries}
        if finished:
            break
        try:
            for events in store.watch("c/", listing.revision, stop=over):
                for event in events:
                    assert event.value is not None
                    copy[event.key] = event.value
                over.wait(0.01)
        except CompactedError:
            continue
    writer.join()
    assert copy == {entry.key: entry.value for entry in store.list("c/").entries}
    assert total(store) == 120


@pytest.mark.long
def test_many_threads_for_long(opened: Opener) -> None:
    stores = [opened() for _ in range(4)]
    start, until = stores[0].revision(), threading.Event()
    seen: list[tuple[Event, ...]] = []
    watcher = watched(stores[3], start, until, seen)
    revisions = increments(stores, threads=50, each=100, keys=25)
    threading.Timer(3.0, until.set).start()
    watcher.join()
    assert total(stores[0]) == 5000
    assert [group[0].revision for group in seen] == sorted(revisions)
