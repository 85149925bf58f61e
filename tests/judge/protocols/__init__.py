"""Pairs of expressions that mean the same, and the differences, a file a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from judge.differences import Difference
from judge.protocols import (
    bittorrent,
    bt_dht,
    cldap,
    dhcp,
    dns,
    geneve,
    http,
    icmp_inner,
    inner,
    memcached,
    ntp,
    quic,
    radius,
    rtcp,
    rtp,
    sip,
    snmp,
    ssdp,
    ssh,
    stun,
    tftp,
    tls,
    vxlan,
)


class Judged(NamedTuple):
    pairs: tuple[tuple[str, str], ...]
    differences: tuple[Difference, ...]


JUDGED: Mapping[str, Judged] = {
    "bittorrent": Judged(bittorrent.PAIRS, bittorrent.DIFFERENCES),
    "bt_dht": Judged(bt_dht.PAIRS, bt_dht.DIFFERENCES),
    "cldap": Judged(cldap.PAIRS, cldap.DIFFERENCES),
    "dhcp": Judged(dhcp.PAIRS, dhcp.DIFFERENCES),
    "dns": Judged(dns.PAIRS, dns.DIFFERENCES),
    "geneve": Judged(geneve.PAIRS, geneve.DIFFERENCES),
    "http": Judged(http.PAIRS, http.DIFFERENCES),
    "icmp.inner": Judged(icmp_inner.PAIRS, icmp_inner.DIFFERENCES),
    "inner": Judged(inner.PAIRS, inner.DIFFERENCES),
    "memcached": Judged(memcached.PAIRS, memcached.DIFFERENCES),
    "ntp": Judged(ntp.PAIRS, ntp.DIFFERENCES),
    "quic": Judged(quic.PAIRS, quic.DIFFERENCES),
    "radius": Judged(radius.PAIRS, radius.DIFFERENCES),
    "rtcp": Judged(rtcp.PAIRS, rtcp.DIFFERENCES),
    "rtp": Judged(rtp.PAIRS, rtp.DIFFERENCES),
    "sip": Judged(sip.PAIRS, sip.DIFFERENCES),
    "snmp": Judged(snmp.PAIRS, snmp.DIFFERENCES),
    "ssdp": Judged(ssdp.PAIRS, ssdp.DIFFERENCES),
    "ssh": Judged(ssh.PAIRS, ssh.DIFFERENCES),
    "stun": Judged(stun.PAIRS, stun.DIFFERENCES),
    "tftp": Judged(tftp.PAIRS, tftp.DIFFERENCES),
    "tls": Judged(tls.PAIRS, tls.DIFFERENCES),
    "vxlan": Judged(vxlan.PAIRS, vxlan.DIFFERENCES),
}
"""By the protocol's name."""
