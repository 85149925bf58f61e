"""The reference dissectors: what a message of each protocol says, read from the packet's bytes in plain Python.

Written for clearness; the lowerings (`bpf/dissectors`) share none of it. A dissector gives the values of the protocol's fields by
name, without those that are absent, or None where the packet has no valid message of the protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from rules_dsl.dissectors.bittorrent import dissect_bittorrent
from rules_dsl.dissectors.bt_dht import dissect_bt_dht
from rules_dsl.dissectors.cldap import dissect_cldap
from rules_dsl.dissectors.dhcp import dissect_dhcp
from rules_dsl.dissectors.dns import dissect_dns
from rules_dsl.dissectors.geneve import dissect_geneve
from rules_dsl.dissectors.http import dissect_http
from rules_dsl.dissectors.icmp_inner import dissect_icmp_inner
from rules_dsl.dissectors.inner import dissect_inner
from rules_dsl.dissectors.memcached import dissect_memcached
from rules_dsl.dissectors.ntp import dissect_ntp
from rules_dsl.dissectors.quic import dissect_quic
from rules_dsl.dissectors.radius import dissect_radius
from rules_dsl.dissectors.rtcp import dissect_rtcp
from rules_dsl.dissectors.rtp import dissect_rtp
from rules_dsl.dissectors.sip import dissect_sip
from rules_dsl.dissectors.snmp import dissect_snmp
from rules_dsl.dissectors.ssdp import dissect_ssdp
from rules_dsl.dissectors.ssh import dissect_ssh
from rules_dsl.dissectors.stun import dissect_stun
from rules_dsl.dissectors.tftp import dissect_tftp
from rules_dsl.dissectors.tls import dissect_tls
from rules_dsl.dissectors.vxlan import dissect_vxlan
from rules_dsl.value import Value

if TYPE_CHECKING:
    from rules_dsl.packet import Packet

DISSECTORS: Mapping[str, Callable[[Packet], Mapping[str, Value] | None]] = MappingProxyType(
    {
        "bittorrent": dissect_bittorrent,
        "bt_dht": dissect_bt_dht,
        "cldap": dissect_cldap,
        "dhcp": dissect_dhcp,
        "geneve": dissect_geneve,
        "http": dissect_http,
        "icmp.inner": dissect_icmp_inner,
        "inner": dissect_inner,
        "dns": dissect_dns,
        "memcached": dissect_memcached,
        "ntp": dissect_ntp,
        "quic": dissect_quic,
        "radius": dissect_radius,
        "rtcp": dissect_rtcp,
        "rtp": dissect_rtp,
        "sip": dissect_sip,
        "snmp": dissect_snmp,
        "ssdp": dissect_ssdp,
        "ssh": dissect_ssh,
        "stun": dissect_stun,
        "tftp": dissect_tftp,
        "tls": dissect_tls,
        "vxlan": dissect_vxlan,
    }
)
"""By the protocol's name."""
