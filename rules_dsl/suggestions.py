"""Did you mean: the nearest known name, and what a well-known word stands for."""

from __future__ import annotations

from collections.abc import Iterable

SERVICE_PORTS = {
    "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "dns": 53, "domain": 53, "dhcp": 67, "tftp": 69, "http": 80, "pop3": 110, "ntp": 123,
    "imap": 143, "snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "smb": 445, "syslog": 514, "ldaps": 636, "mssql": 1433,
    "openvpn": 1194, "ssdp": 1900, "mysql": 3306, "rdp": 3389, "stun": 3478, "sip": 5060, "sips": 5061, "postgres": 5432,
    "memcached": 11211, "wireguard": 51820,
}  # fmt: skip
"""Port by the name of the service (IANA "Service Name and Transport Protocol Port Number Registry", and some that everyone says)."""

EITHER = {
    "ip.addr": ("ip.src", "ip.dst"), "ipv6.addr": ("ip.src", "ip.dst"), "ip.host": ("ip.src", "ip.dst"),
    "tcp.port": ("tcp.srcport", "tcp.dstport"), "udp.port": ("udp.srcport", "udp.dstport"), "sctp.port": ("sctp.srcport", "sctp.dstport"),
}  # fmt: skip
"""Wireshark's fields that stand for two of ours."""

_SHORT = 4
"""Letters of a word in which one slip changes much."""

OTHER_NAMES = {"bootp": "dhcp", "llmnr": "dns", "mdns": "dns", "ssl": "tls"}
"""Wireshark's names, past or present, of protocols that are ours by another name."""

NOT_DISSECTED = frozenset(
    {
        "amqp", "bgp", "coap", "dnp3", "dtls", "ftp", "gtp", "http2", "http3", "imap", "isakmp", "kerberos", "l2tp", "ldap", "mbtcp",
        "mgcp", "modbus", "mqtt", "mysql", "nbns", "nbss", "nfs", "pgsql", "pop", "pptp", "rdp", "redis", "rpc", "rtsp", "sdp", "smb",
        "smb2", "smtp", "socks", "syslog", "tds", "telnet", "vnc", "websocket", "wg", "x11", "xmpp",
    }
)  # fmt: skip
"""Protocols in TCP or UDP whose fields Wireshark has, and which no dissector of ours reads."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` was most probably meant to be, or None."""
    # Loaded where something is wrong already: a good text does not pay for it.
    from difflib import get_close_matches  # noqa: PLC0415

    by_lower = {name.lower(): name for name in known}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7 if len(word) > _SHORT else 0.6)
    if not found:
        # A swapped or missing part of a dotted name: compare the last part alone.
        tail = word.rpartition(".")[2]
        found = [name for name in by_lower if "." in name and name.rpartition(".")[2] == tail and name.partition(".")[0][:1] == word[:1]][
            :1
        ]
    return by_lower[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A help line, or None."""
    name = nearest(word[:80], known)
    return f"did you mean `{name}`?" if name else None
