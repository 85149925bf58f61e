"""The API of a node as a process of its own, for tests that kill it: NODE STORE ENFORCER PORT."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import uvicorn

from api.app import create_app
from api.enforcer.client import EnforcerClient
from api.node import Node
from api.store import open_store


def main(name: str, store_address: str, enforcer: str, port: int) -> None:
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("mantlet.node").setLevel(logging.INFO)
    with open_store(store_address) as store, EnforcerClient(Path(enforcer)) as client, Node(store, client, name) as node:
        uvicorn.run(create_app(node), host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
