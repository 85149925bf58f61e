"""The stores that every test of the store's behaviour is run on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd_cluster import Cluster

from api.store import Store, open_store

Opener = Callable[[], Store]


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One server, for all tests that need no more; each has its own prefix."""
    with Cluster.make(tmp_path_factory.mktemp("etcd"), 1) as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "etcd"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is that no other test uses."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/store.db"
    return request.getfixturevalue("etcd").address(uuid.uuid4().hex)


@pytest.fixture
def opened(address: str) -> Iterator[Opener]:
    """Opens the store once more, as another process would."""
    stores: list[Store] = []

    def open_one() -> Store:
        stores.append(open_store(address))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Opener) -> Store:
    return opened()
