"""Random messages of every protocol of the catalogue: valid, nearly valid and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from generators.messages.bittorrent import bittorrent
from generators.messages.bt_dht import bt_dht
from generators.messages.cldap import cldap
from generators.messages.dhcp import dhcp
from generators.messages.dns import dns
from generators.messages.geneve import geneve
from generators.messages.http import http
from generators.messages.icmp_inner import icmp_inner
from generators.messages.inner import inner
from generators.messages.memcached import memcached
from generators.messages.ntp import ntp
from generators.messages.quic import quic
from generators.messages.radius import radius
from generators.messages.rtcp import rtcp
from generators.messages.rtp import rtp
from generators.messages.sip import sip
from generators.messages.snmp import snmp
from generators.messages.ssdp import ssdp
from generators.messages.ssh import ssh
from generators.messages.stun import stun
from generators.messages.tftp import tftp
from generators.messages.tls import tls
from generators.messages.vxlan import vxlan

MESSAGES: Mapping[str, Callable[[random.Random], bytes | tuple[int, bytes]]] = {
    "bittorrent": bittorrent,
    "bt_dht": bt_dht,
    "cldap": cldap,
    "dhcp": dhcp,
    "dns": dns,
    "geneve": geneve,
    "http": http,
    "icmp.inner": icmp_inner,
    "inner": inner,
    "memcached": memcached,
    "ntp": ntp,
    "quic": quic,
    "radius": radius,
    "rtcp": rtcp,
    "rtp": rtp,
    "sip": sip,
    "snmp": snmp,
    "ssdp": ssdp,
    "ssh": ssh,
    "stun": stun,
    "tftp": tftp,
    "tls": tls,
    "vxlan": vxlan,
}
"""By the protocol's name: a payload of UDP or TCP; or an IP protocol number and what follows the IP header."""
