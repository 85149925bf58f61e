"""The SQLite store's file: killed writers, several processes, damage, versions, rights."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import pytest

from api.store import CompactedError, Event, Put, StoreError, open_store
from api.store.schema import MIGRATIONS
from api.store.sqlite import SqliteStore

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def killed(path: Path, rounds: int) -> str:
    result = subprocess.run(
        [sys.executable, str(HERE / "killed_writers.py"), str(path), str(rounds)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_killed_writers_acknowledged_is_there_and_nothing_is_half_there(path: Path) -> None:
    assert killed(path, 120).startswith("120 writers killed")


@pytest.mark.long
def test_many_killed_writers(path: Path) -> None:
    print(killed(path, 3000))


_PROCESS = """
import sys
from api.store import ConflictError, Put, open_store
with open_store(sys.argv[1]) as store:
    done = 0
    while done < int(sys.argv[2]):
        entry = store.get("c")
        try:
            store.commit([Put("c", str(int(entry.value) + 1).encode() if entry else b"1", entry.revision if entry else 0)])
        except ConflictError:
            continue
        done += 1
"""


def processes(path: Path, count: int, each: int) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", _PROCESS, str(path), str(each)]
    return [subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}) for _ in range(count)]


def test_processes_that_make_the_file_at_the_same_time_and_write_to_it_lose_nothing(path: Path) -> None:
    writers = processes(path, 4, 100)
    assert [writer.wait() for writer in writers] == [0] * 4
    entry = open_store(str(path)).get("c")
    assert entry is not None
    assert int(entry.value) == 400


def test_a_watch_sees_what_other_processes_commit(path: Path) -> None:
    with SqliteStore(path) as store:
        writers = processes(path, 2, 100)
        seen = [group[0] for group in islice(store.watch("c", 1), 200)]
        assert [event.value for event in seen] == [str(number).encode() for number in range(1, 201)]
        assert [event.revision for event in seen] == list(range(2, 202))
        assert [writer.wait() for writer in writers] == [0, 0]


def test_commits_of_the_same_store_are_seen_at_once(path: Path) -> None:
    with SqliteStore(path) as store:
        committed = 0.0

        def commit() -> None:
            nonlocal committed
            store.commit([Put("a", b"1")])
            committed = time.monotonic()

        delays = []
        for _ in range(10):
            timer = threading.Timer(0.03, commit)
            timer.start()
            next(store.watch("a", store.revision()))
            timer.join()
            delays.append(time.monotonic() - committed)
        assert sorted(delays)[5] < 0.02


def test_as_much_history_is_kept_as_the_address_says(path: Path) -> None:
    with open_store(f"sqlite://{path}?history=10") as store:
        for number in range(1, 101):
            revision = store.commit([Put("a", str(number).encode())])
            if number >= 10:
                first = next(store.watch("a", revision - 10))
                assert first == (Event("a", str(number - 9).encode(), revision - 9),)
        with pytest.raises(CompactedError):
            next(store.watch("a", revision - 20))


def test_a_new_file_and_its_directory_are_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state" / "store.db"
    with SqliteStore(path) as store:
        store.commit([Put("a", b"secret")])
        modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
        assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["store.db"]


def test_a_file_that_others_may_read_is_taken_from_them(path: Path) -> None:
    SqliteStore(path).close()
    path.chmod(0o644)
    SqliteStore(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_commits_are_durable(path: Path) -> None:
    """FULL is 2: the log is written through before a commit is acknowledged (https://sqlite.org/pragma.html#pragma_synchronous)."""
    store = SqliteStore(path)
    with store._connection() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_migrations_that_are_released_have_not_changed() -> None:
    """Change this only by adding a line."""
    assert [hash_of(statements) for statements in MIGRATIONS] == ["43310112c841"]


def hash_of(statements: tuple[str, ...]) -> str:
    from hashlib import sha256

    return sha256(" ".join(" ".join(statements).split()).encode()).hexdigest()[:12]


def use(path: Path) -> None:
    with SqliteStore(path) as store:
        store.list("")
        store.commit([Put("1", b"")])


def altered(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_older_file_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqliteStore(path) as store:
        revision = store.commit([Put("a", b"1")])
    monkeypatch.setattr(
        "api.store.sqlite.MIGRATIONS", (*MIGRATIONS, ("ALTER TABLE entries ADD COLUMN note TEXT",), ("CREATE TABLE t (x)",))
    )
    with SqliteStore(path) as store:
        assert store.commit([Put("b", b"", 0)]) == revision + 1
        assert [entry.key for entry in store.list("").entries] == ["a", "b"]
    monkeypatch.undo()
    with pytest.raises(StoreError, match="has version 3"):
        SqliteStore(path)


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SqliteStore(path).close()
    monkeypatch.setattr("api.store.sqlite.MIGRATIONS", (*MIGRATIONS, ("DROP TABLE changes", "nonsense")))
    with pytest.raises(StoreError, match='near "nonsense"'):
        SqliteStore(path)
    monkeypatch.undo()
    use(path)


def test_pages_of_a_long_listing_are_found_by_the_index(path: Path) -> None:
    """The last page costs no more than the first, and the keys behind the prefix cost nothing."""
    with SqliteStore(path) as store:
        for first in range(0, 2000, 100):
            store.commit([Put(f"{'ab'[number % 2]}/{number:06}", b"") for number in range(first, first + 100)])

        def steps(prefix: str, after: str) -> int:
            """Steps of SQLite's virtual machine, in fives."""
            taken: list[None] = []
            with store._connection() as connection:
                connection.set_progress_handler(lambda: taken.append(None), 5)
            assert 9 <= len(store.list(prefix, after=after, limit=10).entries) <= 10
            with store._connection() as connection:
                connection.set_progress_handler(None, 5)
            return len(taken)

        first_page = steps("a/", "")
        assert 10 < first_page < 100
        assert steps("a/", "a/001979") <= first_page + 5
        assert steps("b/", "b/001979") <= first_page + 5


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    SqliteStore(path).close()
    altered(path, "PRAGMA user_version = 99")
    with pytest.raises(
        StoreError, match="has version 99, and this program knows versions up to 1: a newer Mantlet wrote it; start that one"
    ):
        SqliteStore(path)


def test_the_file_of_another_program_is_refused_and_left(path: Path) -> None:
    altered(path, "CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="is the database of another program; give the store a file of its own"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(StoreError, match=r"file is not a database; the file is damaged: move it away .* and restore a copy"):
        SqliteStore(path)
    assert path.read_bytes() == b"no database at all " * 100


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_damaged_file_is_an_error_that_says_so(path: Path, page: int) -> None:
    with SqliteStore(path) as store:
        for number in range(50):
            store.commit([Put(f"{number}", bytes(1000))])
    damaged = bytearray(path.read_bytes())
    damaged[page * 4096 : page * 4096 + 400] = b"\xa5" * 400
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="the file is damaged"):
        use(path)


def test_a_file_that_is_cut_short_is_an_error_that_says_so(path: Path) -> None:
    with SqliteStore(path) as store:
        for number in range(50):
            store.commit([Put(f"{number}", bytes(1000))])
    os.truncate(path, 4096 * 5)
    with pytest.raises(StoreError, match="the file is damaged"):
        use(path)


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.touch()
    with SqliteStore(path) as store:
        assert store.commit([Put("a", b"1")]) == 2


@pytest.mark.parametrize("name", ["store.db/below", "."])
def test_a_path_where_no_file_can_be_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "store.db").touch()
    with pytest.raises(StoreError, match=r"give a path of a file that this user may write|let this user write the file and its directory"):
        open_store(str(tmp_path / name))


def test_a_full_file_system_is_an_error_that_changes_nothing(path: Path) -> None:
    store = SqliteStore(path)
    store.commit([Put("a", b"1")])
    with store._connection() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="database or disk is full; make room on its file system"):
        store.commit([Put("a", b"2"), Put("b", bytes(100_000))])
    entry = store.get("a")
    assert entry is not None
    assert entry.value == b"1"
    store.close()


def test_another_process_that_writes_for_too_long_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.store.sqlite.BUSY_SECONDS", 0.2)
    store = SqliteStore(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="database is locked; another process has been writing"):
        store.commit([Put("a", b"1")])
    other.execute("ROLLBACK")
    store.commit([Put("a", b"1")])
    other.close()
    store.close()
