"""MMDB files for the tests, written by a library that shares no code with the reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter, SearchTreeNode
from netaddr import IPSet

ALIASES = ("2002::/16", "2001::/32", "::ffff:0:0/96", "64:ff9b::/96")
"""Where the makers of such files lead to the IPv4 networks once more."""


class _Writer(MMDBWriter):
    def _build_meta(self) -> dict[str, Any]:
        return {**super()._build_meta(), "build_epoch": 1_700_000_000}  # the same bytes each time


def write_mmdb(path: Path, networks: Mapping[str, object], *, ip_version: int = 6, aliased: bool = False, kind: str = "Test") -> Path:
    """Writes the records of networks; a later network may be a part of an earlier one."""
    writer = _Writer(ip_version, kind, ipv4_compatible=ip_version == 6)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    if aliased:
        ipv4 = writer.tree
        for _ in range(96):
            ipv4 = ipv4[0]
        for alias in ALIASES:
            _lead(writer.tree, alias, ipv4)
    writer.to_db_file(str(path))
    return path


def _lead(tree: SearchTreeNode, network: str, target: SearchTreeNode) -> None:
    """Makes a network's node another one that the tree has already."""
    (cidr,) = IPSet([network]).iter_cidrs()
    bits = f"{cidr.value:0128b}"[: cidr.prefixlen]
    node = tree
    for bit in bits[:-1]:
        node = node.get_or_create(int(bit))
    node[int(bits[-1])] = target
