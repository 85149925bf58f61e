"""Kills writers of an SQLite store at random points, and looks at what they leave: `killed_writers.py FILE ROUNDS`.

A process of its own, so that writers can be forked from one that has no threads. A writer raises a number in three keys by one
commit, tells its parent each number that was acknowledged, and goes on until it is killed."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from itertools import islice
from pathlib import Path

from api.store import Check, Delete, Put, Store
from api.store.sqlite import SqliteStore

_HISTORY = 20
"""Small, so that writers are killed while they compact too."""


def main() -> None:
    path, rounds = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(4)
    acknowledged = commits = in_midst = 0
    for turn in range(rounds):
        if turn % 15 == 0:  # a new file, whose making is killed too
            acknowledged = 0
        file = path.with_suffix(f".{turn // 15}")
        acknowledged = max(before := acknowledged, one_writer(file, chance.uniform(0.0, 0.04), chance.uniform(0.0, 0.002)))
        with SqliteStore(file, history=_HISTORY) as store:
            stored = look(store)
        assert acknowledged <= stored <= acknowledged + 1, f"{acknowledged} acknowledged, {stored} stored"
        in_midst += stored > acknowledged
        commits += stored - before
        acknowledged = stored
    print(f"{rounds} writers killed, {commits} commits, {in_midst} killed between a commit and its acknowledgement")


def one_writer(path: Path, seconds: float, jitter: float) -> int:
    """The last number that a writer acknowledged before it was killed, 0 if none."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        write(path, writable)
    os.close(writable)
    time.sleep(jitter)
    told = b""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([readable], [], [], left)[0]:
            told += os.read(readable, 65536)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the writer ended by itself"
    while more := os.read(readable, 65536):
        told += more
    os.close(readable)
    return max((int(line) for line in told.split(b"\n")[:-1]), default=0)


def write(path: Path, told: int) -> None:
    """Never returns."""
    store = SqliteStore(path, history=_HISTORY)
    entry = store.get("a")
    number, revision = (0, 0) if entry is None else (int(entry.value), entry.revision)
    while True:
        number += 1
        value = str(number).encode()
        revision = store.commit(
            [
                Put("a", value, revision),
                Put("b", value + bytes(5000)),
                Put(f"log/{number:08}", value),
                Delete(f"log/{number - 50:08}"),
                Check("z", 0),
            ]
        )
        os.write(told, value + b"\n")


def look(store: Store) -> int:
    """The number that is stored, when all that was written with it is there too, and the history is whole."""
    first, second = store.get("a"), store.get("b")
    if first is None or second is None:
        assert first is second is None
        return 0
    number = int(first.value)
    assert second.value == first.value + bytes(5000)
    assert first.revision == second.revision == store.revision() == number + 1
    assert [int(entry.value) for entry in store.list("log/").entries] == list(range(max(1, number - 49), number + 1))
    kept = min(_HISTORY, number)
    seen = list(islice(store.watch("", first.revision - kept), kept))
    assert [group[0].revision for group in seen] == list(range(first.revision - kept + 1, first.revision + 1))
    assert all(len(group) == (4 if group[0].revision > 51 else 3) for group in seen)
    return number


if __name__ == "__main__":
    main()
