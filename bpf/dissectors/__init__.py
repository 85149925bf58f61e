"""The dissectors of the payload side: where the fields of each protocol are, found by routines of the program.

Semantics: rules_dsl/dissectors, with which this shares no code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from bpf.dissectors.dhcp import DHCP
from bpf.dissectors.geneve import GENEVE
from bpf.dissectors.icmp_inner import ICMP_INNER
from bpf.dissectors.inner import INNER
from bpf.dissectors.model import Place
from bpf.dissectors.ntp import NTP
from bpf.dissectors.radius import RADIUS
from bpf.dissectors.rtcp import RTCP
from bpf.dissectors.rtp import RTP
from bpf.dissectors.sip import SIP
from bpf.dissectors.snmp import SNMP
from bpf.dissectors.ssh import SSH
from bpf.dissectors.stun import STUN
from bpf.dissectors.tftp import TFTP
from bpf.dissectors.vxlan import VXLAN

PLACES: Final[Mapping[str, Place]] = MappingProxyType(
    {**DHCP, **GENEVE, **ICMP_INNER, **INNER, **NTP, **RADIUS, **RTCP, **RTP, **SIP, **SNMP, **SSH, **STUN, **TFTP, **VXLAN}
)
"""By the field's name, every field of every protocol of the catalogue."""
