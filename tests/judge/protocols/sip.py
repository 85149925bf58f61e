"""SIP: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import under

_SIP = f"({under('udp:sip')} or {under('tcp:sip')})"


def _sip(test: str) -> str:
    return f"({_SIP} and {test})"


PAIRS: tuple[tuple[str, str], ...] = (
    ("sip", _SIP),
    ("sip.request", _sip("sip.Method")),
    ("sip.response", _sip("sip.Status-Code")),
    ('sip.method == "REGISTER"', _sip('sip.Method == "REGISTER"')),
    ('sip.Method in {"INVITE" "ACK" "CANCEL"}', _sip('sip.Method in {"INVITE", "ACK", "CANCEL"}')),
    ('sip.r-uri contains "cybercity"', _sip('sip.r-uri contains "cybercity"')),
    ('sip.uri matches "^sip:[0-9]+@"', _sip('sip.r-uri matches "^sip:[0-9]+@"')),
    ("sip.code == 401", _sip("sip.Status-Code == 401")),
    ("sip.Status-Code in {400..499}", _sip("sip.Status-Code >= 400 and sip.Status-Code <= 499")),
    ('sip.from contains "voi18063"', _sip('sip.From contains "voi18063"')),
    ('sip.from.user == "voi18062"', _sip('sip.from.user == "voi18062"')),
    ('sip.to contains "97239287044"', _sip('sip.To contains "97239287044"')),
    ('sip.to.user == "voi18063"', _sip('sip.to.user == "voi18063"')),
    ('sip.call_id contains "@192.168.1.2"', _sip('sip.Call-ID contains "@192.168.1.2"')),
    ('sip.CSeq == "1 INVITE"', _sip('sip.CSeq == "1 INVITE"')),
    ('sip.via contains "192.168.1.2"', _sip('sip.Via contains "192.168.1.2"')),
    ('sip.contact contains "sip:"', _sip('sip.Contact contains "sip:"')),
    ('sip.user_agent contains "Nero"', _sip('sip.User-Agent contains "Nero"')),
    ('sip.server contains "Cirpack"', _sip('sip.Server contains "Cirpack"')),
    ('sip.content_type == "application/sdp"', _sip('sip.Content-Type == "application/sdp"')),
    ("sip.max_forwards == 70", _sip("sip.Max-Forwards == 70")),
)

_CONTINUED = r'sip.msg_hdr contains "\r\n " or sip.msg_hdr contains "\r\n\t"'

DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "SIP without its mandatory headers",
        ("sip",),
        wireshark="sip and not (sip.To and sip.From and sip.CSeq and sip.Call-ID and sip.Via)",
    ),
    Difference("SIP by its port", ("sip",), wireshark="sip.continuation"),
    Difference(
        "Headers of SIP that go on or come twice", ("sip.",), wireshark=f"{_CONTINUED} or count(sip.Via) > 1 or count(sip.Contact) > 1"
    ),
    Difference("A SIP message that is cut", ("sip.",), mantlet="sip.truncated"),
)
