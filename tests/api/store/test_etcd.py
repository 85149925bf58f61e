"""The store in etcd when servers fail, and behind TLS and passwords."""

from __future__ import annotations

import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from etcd_cluster import Cluster, post

from api.store import ConflictError, Event, Put, Store, StoreError, open_store


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.make(tmp_path, 3) as cluster:
        cluster.leader()
        yield cluster


class Writers:
    """Threads that raise numbers by compare and swap, each its own and all one together, and a watch on both."""

    def __init__(self, address: str, count: int) -> None:
        self._address = address
        self._over = threading.Event()
        self.acknowledged: list[int] = []
        self.errors: list[BaseException] = []
        self.seen: list[tuple[Event, ...]] = []
        self._threads = [threading.Thread(target=self._guarded, args=(self._write, number)) for number in range(count)]
        with open_store(address) as store:
            self._start = store.revision()
        self._unwatched = threading.Event()
        self._watcher = threading.Thread(target=self._guarded, args=(self._watch,))

    def __enter__(self) -> Writers:
        for thread in (*self._threads, self._watcher):
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        deadline = time.monotonic() + 10
        while self.acknowledged and time.monotonic() < deadline and not (self.seen and self.seen[-1][0].revision >= max(self.acknowledged)):
            time.sleep(0.05)
        self._unwatched.set()
        self._watcher.join()

    def check(self) -> None:
        """No commit is lost, and none was done twice, though some were tried twice."""
        assert not self.errors, [str(error) for error in self.errors]
        with open_store(self._address) as store:
            entries = {entry.key: int(entry.value) for entry in store.list("c/").entries}
        assert entries.pop("c/all") == len(self.acknowledged) == sum(entries.values())
        assert [group[0].revision for group in self.seen] == sorted(self.acknowledged)
        assert all(len(group) == 2 for group in self.seen)

    def _guarded(self, work: Callable[..., None], *arguments: int) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            self.errors.append(error)

    def _write(self, number: int) -> None:
        with open_store(self._address) as store:
            while not self._over.is_set():
                changes = []
                for key in (f"c/{number}", "c/all"):
                    entry = store.get(key)
                    changes.append(Put(key, str(int(entry.value) + 1).encode() if entry else b"1", entry.revision if entry else 0))
                try:
                    self.acknowledged.append(store.commit(changes))
                except ConflictError:
                    continue

    def _watch(self) -> None:
        with open_store(self._address) as store:
            self.seen.extend(store.watch("c/", self._start, stop=self._unwatched))


def fail_and_return(cluster: Cluster, rounds: int, peace: float) -> Writers:
    """So much time passes after a server is back that a request that hung since then is repeated before the next one is killed."""
    with Writers(cluster.address("x", timeout=10), 4) as writers:
        for _ in range(rounds):
            time.sleep(0.5)
            server = cluster.leader()
            server.kill()
            time.sleep(1.5)
            server.start()
            time.sleep(peace)
    return writers


def test_commits_go_on_when_the_leader_is_killed_and_brought_back_and_none_is_lost_or_doubled(cluster: Cluster) -> None:
    fail_and_return(cluster, 1, 1.0).check()


@pytest.mark.long
def test_leaders_killed_many_times(cluster: Cluster) -> None:
    writers = fail_and_return(cluster, 20, 3.0)
    writers.check()
    print(f"{len(writers.acknowledged)} commits through 20 failures")


def test_a_server_that_hangs_is_left_for_the_next(cluster: Cluster) -> None:
    with open_store(cluster.address("x", timeout=4)) as store:
        store.commit([Put("a", b"1")])
        first = cluster.servers[0]
        first.pause()
        revision = store.commit([Put("a", b"2")])
        entry = store.get("a")
        first.resume()
    assert entry is not None
    assert (entry.value, entry.revision) == (b"2", revision)


def test_without_a_majority_nothing_is_acknowledged(cluster: Cluster) -> None:
    with open_store(cluster.address("x", timeout=2)) as store:
        store.commit([Put("a", b"1")])
        for server in cluster.servers[1:]:
            server.kill()
        with pytest.raises(StoreError, match=r"no server of etcd answered within 2 seconds .*; see that etcd runs with a majority"):
            store.commit([Put("a", b"2")])
        with pytest.raises(StoreError, match="see that etcd runs with a majority"):
            store.get("a")
        for server in cluster.servers[1:]:
            server.start()
        cluster.leader()
        with open_store(cluster.address("x")) as again:
            assert again.get("a") is not None


def test_a_commit_whose_answer_is_lost_is_done_once(etcd: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer of etcd is thrown away, as if the server had died after it committed."""
    from api.store.etcd import EtcdStore
    from api.store.gateway import BrokenError, Gateway

    genuine, lost = Gateway._once, []

    def once(gateway: Gateway, server: object, path: str, *arguments: object) -> object:
        answer = genuine(gateway, server, path, *arguments)  # type: ignore[arg-type]
        if path == "/kv/txn" and not lost:
            lost.append(path)
            raise BrokenError("the answer is lost")
        return answer

    with open_store(etcd.address("lost")) as store:
        assert isinstance(store, EtcdStore)
        first = store.commit([Put("a", b"1", 0)])
        monkeypatch.setattr(Gateway, "_once", once)
        second = store.commit([Put("a", b"2", first)])
        assert lost
        entry = store.get("a")
        assert entry is not None
        assert (entry.value, entry.revision) == (b"2", second)
        assert [group[0].value for group in islice(store.watch("a", 0), 2)] == [b"1", b"2"]


def test_marks_of_commits_do_not_pile_up(etcd: Cluster) -> None:
    with open_store(etcd.address("marks")) as store:
        for _ in range(50):
            store.commit([Put("a", b"1")])
    first, end = (b64encode(key).decode() for key in (b"marks/commits/", b"marks/commits0"))
    answer = post(etcd.servers[0].port, "/v3/kv/range", {"key": first, "range_end": end})
    assert answer["count"] == "1"


def test_a_lease_that_etcd_has_lost_is_taken_anew(etcd: Cluster) -> None:
    from api.store.etcd import EtcdStore

    with open_store(etcd.address("lease")) as store:
        assert isinstance(store, EtcdStore)
        start = store.commit([Put("a", b"1")])
        post(etcd.servers[0].port, "/v3/lease/revoke", {"ID": store._marks._id})
        revisions = [store.commit([Put("a", b"2")]), store.commit([Put("a", b"3")])]
        assert [group[0].revision for group in islice(store.watch("a", start), 2)] == revisions


def test_stores_with_other_prefixes_do_not_see_each_other(etcd: Cluster) -> None:
    with open_store(etcd.address("p")) as one, open_store(etcd.address("p/q")) as other, open_store(etcd.address("p2")) as third:
        one.commit([Put("a", b"1")])
        other.commit([Put("a", b"2")])
        assert third.list("").entries == ()
        assert [[entry.value for entry in store.list("").entries] for store in (one, other)] == [[b"1"], [b"2"]]


def test_a_server_that_is_not_there_is_an_error_that_says_so() -> None:
    began = time.monotonic()
    with pytest.raises(StoreError) as error:
        open_store("etcd://127.0.0.1:1,127.0.0.1:2/x?timeout=1")
    assert time.monotonic() - began < 3
    assert str(error.value) == (
        "no server of etcd answered within 1 seconds (http://127.0.0.1:1: Connection refused, http://127.0.0.1:2: Connection refused); "
        "see that etcd runs with a majority of its servers, and that the address of the store is theirs"
    )


def test_a_name_that_no_one_knows_is_an_error_that_says_so() -> None:
    with pytest.raises(StoreError, match=r"no server of etcd answered within 1 seconds .*nobody.invalid:2379: .*not known"):
        open_store("etcd://nobody.invalid?timeout=1")


def test_one_server_that_is_not_there_is_passed_over(etcd: Cluster) -> None:
    address = etcd.address("over").replace("etcd://", "etcd://127.0.0.1:1,")
    began = time.monotonic()
    with open_store(address) as store:
        store.commit([Put("a", b"1")])
    assert time.monotonic() - began < 2


def test_a_watch_of_a_server_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with Cluster.make(tmp_path, 1) as cluster, open_store(cluster.address("x", timeout=1)) as store:
        threading.Timer(0.5, cluster.servers[0].kill).start()
        with pytest.raises(StoreError, match=r"no server of etcd answered within 1 seconds .*Connection refused"):
            next(store.watch("a", store.revision()))


def test_a_server_that_speaks_tls_only_is_an_error(tls: Cluster) -> None:
    with pytest.raises(StoreError, match="no server of etcd answered"):
        open_store(f"etcd://127.0.0.1:{tls.servers[0].port}?timeout=1")


def certificate(directory: Path, name: str, *options: str) -> None:
    names = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *names, *options],
        cwd=directory,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that asks clients for a certificate."""
    directory = tmp_path_factory.mktemp("tls")
    certificate(directory, "server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "extendedKeyUsage=serverAuth,clientAuth")
    certificate(directory, "client", "-addext", "extendedKeyUsage=clientAuth")
    certificate(directory, "stranger", "-addext", "extendedKeyUsage=clientAuth")
    trusted = directory / "trusted.crt"
    trusted.write_bytes((directory / "client.crt").read_bytes() + (directory / "server.crt").read_bytes())
    files = ["--cert-file", str(directory / "server.crt"), "--key-file", str(directory / "server.key")]
    with Cluster.make(directory, 1, *files, "--client-cert-auth", "--trusted-ca-file", str(trusted), tls=True) as cluster:
        cluster.options = [f"&ca={directory}/server.crt", f"&cert={directory}/client.crt&key={directory}/client.key", str(directory)]
        yield cluster


def test_a_store_behind_tls(tls: Cluster) -> None:
    with open_store(tls.address("x", tls.options[0] + tls.options[1])) as store:
        start, stop = store.revision(), threading.Event()
        revision = store.commit([Put("a", b"1")])
        watch = store.watch("a", start, stop=stop)
        assert next(watch) == (Event("a", b"1", revision),)
        threading.Timer(0.2, stop.set).start()
        assert list(watch) == []


@pytest.mark.parametrize("client", ["", "stranger"])
def test_tls_without_the_right_certificate_is_an_error(tls: Cluster, client: str) -> None:
    files = f"&cert={tls.options[2]}/{client}.crt&key={tls.options[2]}/{client}.key" if client else ""
    with pytest.raises(
        StoreError, match=r"no server of etcd answered within 1 seconds .*(TLS: .*; look at ca, cert and key|reset by peer)"
    ):
        open_store(tls.address("x", tls.options[0] + files, timeout=1))


def test_a_server_whose_certificate_no_one_signed_is_an_error(tls: Cluster) -> None:
    with pytest.raises(StoreError, match=r"TLS: .*certificate verify failed.*; look at ca, cert and key"):
        open_store(tls.address("x", tls.options[1], timeout=1))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that asks for passwords: `mantlet` may read and write x/, and no other key. Tokens are good for two seconds."""
    with Cluster.make(tmp_path_factory.mktemp("guarded"), 1, "--auth-token-ttl", "2") as cluster:
        with open_store(cluster.address("x")):
            pass
        port = cluster.servers[0].port
        for user, role in (("root", "root"), ("mantlet", "store")):
            post(port, "/v3/auth/user/add", {"name": user, "password": f"{user}-secret"})
            post(port, "/v3/auth/role/add", {"name": role})
            post(port, "/v3/auth/user/grant", {"user": user, "role": role})
        permission = {"permType": "READWRITE", "key": b64encode(b"x/").decode(), "range_end": b64encode(b"x0").decode()}
        post(port, "/v3/auth/role/grant", {"name": "store", "perm": permission})
        post(port, "/v3/auth/enable", {})
        yield cluster


def guarded_store(cluster: Cluster, directory: Path, prefix: str = "x", password: str = "mantlet-secret") -> Store:
    (directory / "password").write_text(password + "\n")
    return open_store(cluster.address(prefix, f"&user=mantlet&password_file={directory}/password"))


def test_a_store_behind_a_password(guarded: Cluster, tmp_path: Path) -> None:
    with guarded_store(guarded, tmp_path) as store:
        start = store.revision()
        store.commit([Put("a", b"1")])
        store.announce("live/n1", b"", 60)
        time.sleep(4)  # until the token has expired
        store.commit([Put("a", b"2")])
        watch = store.watch("a", start)
        assert [next(watch)[0].value, next(watch)[0].value] == [b"1", b"2"]


def test_a_wrong_password_is_an_error_that_does_not_show_it(guarded: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"etcd refused the user mantlet: .*; look at user and password_file") as error:
        guarded_store(guarded, tmp_path, password="guessed")
    assert "guessed" not in str(error.value)


def test_a_prefix_that_the_user_may_not_read_is_an_error(guarded: Cluster, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"etcd refused: etcdserver: permission denied; see that the user .* may read and write y/"):
        guarded_store(guarded, tmp_path, prefix="y")


def test_no_password_where_one_is_asked_for_is_an_error(guarded: Cluster) -> None:
    with pytest.raises(StoreError, match=r"etcd refused: .*user name is empty; see that the user"):
        open_store(guarded.address("x"))
