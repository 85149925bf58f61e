"""The field catalogue: every name that a rule can test, with its type, its meaning and where its bytes are.

The checker, the reference evaluator, both lowerings and the field reference in docs/ read this table. A field whose value is
plain bits of one header says so in `at`; any other is computed by each back end under the field's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rules_dsl.fields.bittorrent import BITTORRENT
from rules_dsl.fields.bt_dht import BT_DHT
from rules_dsl.fields.cldap import CLDAP
from rules_dsl.fields.dhcp import DHCP
from rules_dsl.fields.dns import DNS
from rules_dsl.fields.geneve import GENEVE
from rules_dsl.fields.headers import HEADER_FIELDS
from rules_dsl.fields.http import HTTP
from rules_dsl.fields.icmp_inner import ICMP_INNER
from rules_dsl.fields.inner import INNER
from rules_dsl.fields.memcached import MEMCACHED
from rules_dsl.fields.model import HEADER_BYTES, PROTOCOL_NUMBER, Bits, Field, Header, Protocol, Type
from rules_dsl.fields.ntp import NTP
from rules_dsl.fields.quic import QUIC
from rules_dsl.fields.radius import RADIUS
from rules_dsl.fields.rtcp import RTCP
from rules_dsl.fields.rtp import RTP
from rules_dsl.fields.sip import SIP
from rules_dsl.fields.snmp import SNMP
from rules_dsl.fields.ssdp import SSDP
from rules_dsl.fields.ssh import SSH
from rules_dsl.fields.stun import STUN
from rules_dsl.fields.tftp import TFTP
from rules_dsl.fields.tls import TLS
from rules_dsl.fields.vxlan import VXLAN

__all__ = [
    "BY_NAME", "FIELDS", "HEADER_BYTES", "PROTOCOLS", "PROTOCOL_NUMBER", "PROTOCOL_OF", "Bits", "Field", "Header", "Protocol", "Type",
]  # fmt: skip

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            BITTORRENT,
            BT_DHT,
            CLDAP,
            DHCP,
            DNS,
            GENEVE,
            HTTP,
            ICMP_INNER,
            INNER,
            MEMCACHED,
            NTP,
            QUIC,
            RADIUS,
            RTCP,
            RTP,
            SIP,
            SNMP,
            SSDP,
            SSH,
            STUN,
            TFTP,
            TLS,
            VXLAN,
        )
    }
)
"""Every protocol above the transport headers, by its name, in the order of the reference."""

PROTOCOL_OF: Mapping[str, Protocol] = MappingProxyType(
    {field.name: protocol for protocol in PROTOCOLS.values() for field in protocol.fields}
)
"""The protocol of each of their fields, by the field's name."""

_ALL = (*HEADER_FIELDS, *(field for protocol in PROTOCOLS.values() for field in protocol.fields))

FIELDS: Mapping[str, Field] = MappingProxyType({field.name: field for field in _ALL})
"""Every field by its own name, in the order of the reference."""

BY_NAME: Mapping[str, Field] = MappingProxyType({name: field for field in _ALL for name in (field.name, *field.aliases)})
"""Every field by its name and by each of its aliases."""
