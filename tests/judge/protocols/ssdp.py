"""SSDP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under


def _ssdp(test: str) -> str:
    return f"({under('udp:ssdp')} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("ssdp", under("udp:ssdp")),
    ("ssdp.response", _ssdp("http.response")),
    ('ssdp.method == "M-SEARCH"', _ssdp('http.request.method == "M-SEARCH"')),
    ('ssdp.method == "NOTIFY"', _ssdp('http.request.method == "NOTIFY"')),
    ("ssdp.code == 200", _ssdp("http.response.code == 200")),
    ('ssdp.st contains "upnp"', _ssdp('http.request.line matches "(?-i)^(?i:st): *.*upnp"')),
    ('ssdp.man == "\\"ssdp:discover\\""', _ssdp('http.request.line matches "(?-i)^(?i:man): *\\"ssdp:discover\\" *\\\\s"')),
    ('ssdp.mx == "1"', _ssdp('http.request.line matches "(?i)^mx: *1\\\\s"')),
    ('ssdp.nts == "ssdp:alive"', _ssdp('http.unknown_header matches "(?-i)^(?i:nts): *ssdp:alive(?:\\\\\\\\r|\\\\s)"')),
    ('ssdp.nt contains "upnp"', _ssdp('http.unknown_header matches "(?-i)^(?i:nt): *.*upnp"')),
    ('ssdp.usn contains "uuid:"', _ssdp('http.unknown_header matches "(?-i)^(?i:usn): *.*uuid:"')),
    ('ssdp.host contains "239.255.255.250"', _ssdp('http.host contains "239.255.255.250"')),
    ('ssdp.location contains "http://"', _ssdp('http.location contains "http://"')),
    ('ssdp.server contains "UPnP"', _ssdp('http.server contains "UPnP"')),
    ('ssdp.user_agent contains "Chrome"', _ssdp('http.user_agent contains "Chrome"')),
)

DIFFERENCES: tuple[Difference, ...] = (
    Difference("SSDP on other ports", ("ssdp",), mantlet="ssdp and not udp.srcport == 1900 and not udp.dstport == 1900"),
)
