"""DHCP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _dhcp(test: str) -> str:
    return f"({under('udp:dhcp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("dhcp", under("udp:dhcp")),
    ("dhcp.op == 1", _dhcp("dhcp.type == 1")),
    ("dhcp.type == 2", _dhcp("dhcp.type == 2")),
    ("dhcp.hw.type == 1", _dhcp("dhcp.hw.type#1 == 1")),
    ("dhcp.hw.type > 1", _dhcp("dhcp.hw.type#1 > 1")),
    ("starts_with(dhcp.hw.mac_addr, 00:0c:29)", _dhcp("dhcp.hw.mac_addr#1[0:3] == 00:0c:29")),
    ("dhcp.hw.mac_addr == d8:30:62:56:00:1c", _dhcp("dhcp.hw.mac_addr#1 == d8:30:62:56:00:1c")),
    ("dhcp.hops > 0", _dhcp("dhcp.hops > 0")),
    ("dhcp.id == 1", _dhcp("dhcp.id == 1")),
    ("dhcp.id > 0x80000000", _dhcp("dhcp.id > 0x80000000")),
    ("dhcp.secs > 0", _dhcp("dhcp.secs > 0")),
    ("dhcp.ip.client in {192.168.0.0/16}", _dhcp("dhcp.ip.client == 192.168.0.0/16")),
    ("dhcp.ip.client == 0.0.0.0", _dhcp("dhcp.ip.client == 0.0.0.0")),
    ("dhcp.ip.your in {192.168.0.0/16}", _dhcp("dhcp.ip.your == 192.168.0.0/16")),
    ("dhcp.ip.server == 192.168.1.1", _dhcp("dhcp.ip.server == 192.168.1.1")),
    ("dhcp.ip.relay in {10.0.0.0/8}", _dhcp("dhcp.ip.relay == 10.0.0.0/8")),
    ("dhcp.option.dhcp == 1", _dhcp("dhcp.option.dhcp == 1")),
    ("dhcp.option.message_type in {2 5}", _dhcp("dhcp.option.dhcp in {2, 5}")),
    ("dhcp.option.dhcp > 8", _dhcp("dhcp.option.dhcp > 8")),
    ("dhcp.option.type == 61", _dhcp("dhcp.option.type == 61")),
    ("dhcp.option.type > 100", _dhcp("dhcp.option.type > 100")),
    ('dhcp.option.hostname contains "iMac"', _dhcp('dhcp.option.hostname contains "iMac"')),
    ('dhcp.option.hostname == "DJP95S0J"', _dhcp('dhcp.option.hostname == "DJP95S0J"')),
    ('dhcp.option.vendor_class_id == "MSFT 5.0"', _dhcp('dhcp.option.vendor_class_id == "MSFT 5.0"')),
    ('starts_with(dhcp.option.vendor_class_id, "Arista")', _dhcp('dhcp.option.vendor_class_id matches "^Arista"')),
    ("dhcp.option.requested_ip_address in {192.168.0.0/16}", _dhcp("dhcp.option.requested_ip_address == 192.168.0.0/16")),
    ("dhcp.option.requested_ip_address == 192.168.1.4", _dhcp("dhcp.option.requested_ip_address == 192.168.1.4")),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "BOOTP without DHCP's cookie", ("dhcp",), mantlet="not dhcp and (udp.srcport in {67 68 4011} or udp.dstport in {67 68 4011})"
    ),
)  # fmt: skip
