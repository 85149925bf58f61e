"""The dissectors of the payload side: where the fields of each protocol are, found by routines of the program.

Semantics: rules_dsl/dissectors, with which this shares no code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.bittorrent import BITTORRENT
from bpf.dissectors.bt_dht import BT_DHT
from bpf.dissectors.cldap import CLDAP
from bpf.dissectors.dhcp import DHCP
from bpf.dissectors.dns import DNS
from bpf.dissectors.geneve import GENEVE
from bpf.dissectors.http import HTTP
from bpf.dissectors.icmp_inner import ICMP_INNER
from bpf.dissectors.inner import INNER
from bpf.dissectors.memcached import MEMCACHED
from bpf.dissectors.model import Place
from bpf.dissectors.ntp import NTP
from bpf.dissectors.quic import QUIC
from bpf.dissectors.radius import RADIUS
from bpf.dissectors.rtcp import RTCP
from bpf.dissectors.rtp import RTP
from bpf.dissectors.sip import SIP
from bpf.dissectors.snmp import SNMP
from bpf.dissectors.ssdp import SSDP
from bpf.dissectors.ssh import SSH
from bpf.dissectors.stun import STUN
from bpf.dissectors.tftp import TFTP
from bpf.dissectors.tls import TLS
from bpf.dissectors.vxlan import VXLAN

PLACES: Final[Mapping[str, Place]] = MappingProxyType(
    {
        **BITTORRENT,
        **BT_DHT,
        **CLDAP,
        **DHCP,
        **DNS,
        **GENEVE,
        **HTTP,
        **ICMP_INNER,
        **INNER,
        **MEMCACHED,
        **NTP,
        **QUIC,
        **RADIUS,
        **RTCP,
        **RTP,
        **SIP,
        **SNMP,
        **SSDP,
        **SSH,
        **STUN,
        **TFTP,
        **TLS,
        **VXLAN,
    }
)
"""By the field's name, every field of every protocol of the catalogue."""
