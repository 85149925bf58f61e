# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of SIP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

_ELSE = "absent where the message has none"

SIP: Final = Protocol(
    "sip",
    "Session Initiation Protocol (RFC 3261)",
    (Header.UDP, Header.TCP),
    "The payload begins with a request line, which is a method (a token), a URI with its scheme (`sip:`, `tel:`, `urn:` ...) and "
    "`SIP/2.0`, one space between each two, or with a status line, which is `SIP/2.0`, a space, three digits and a space (RFC 3261 sections "
    "7.1 and 7.2). The line is whole but for its end, at which the packet may end. Behind it are the mandatory headers To, From, CSeq, Call-ID and "
    "Via (section 8.1.1), by these names or their compact forms (section 7.3.3); where the packet ends before the empty "
    "line that ends the headers, those that are not there do not matter. Max-Forwards is not asked for: clients of RFC 2543 send none. "
    "A header's field is the value on the first line with its name, without the blanks around it; lines that continue a header (section 7.3.1) "
    "are left out, and a line whose end is not in the packet is absent.",
    (
        flag("sip", "A message of SIP.", wireshark="sip"),
        flag("sip.request", "The message is a request.", wireshark="sip.Method"),
        flag("sip.response", "The message is a response.", wireshark="sip.Status-Code"),
        text("sip.method", "The method of a request, as on the wire: methods are case-sensitive; absent in a response.", aliases=("sip.Method",), wireshark="sip.Method"),
        text("sip.uri", "The URI of a request's first line; absent in a response.", aliases=("sip.r-uri",), wireshark="sip.r-uri"),
        number("sip.code", 10, "The status code; absent in a request.", aliases=("sip.Status-Code",), wireshark="sip.Status-Code"),
        text("sip.from", f"From (compact `f`), with display name and parameters; {_ELSE}.", aliases=("sip.From",), wireshark="sip.From"),
        text("sip.from.user", "The user of From's sip or sips URI: what stands before `@`, with the password if there is one; absent where no `@` is.", wireshark="sip.from.user"),
        text("sip.to", f"To (compact `t`), with display name and parameters; {_ELSE}.", aliases=("sip.To",), wireshark="sip.To"),
        text("sip.to.user", "The user of To's sip or sips URI, as `sip.from.user`.", wireshark="sip.to.user"),
        text("sip.call_id", f"Call-ID (compact `i`); {_ELSE}.", aliases=("sip.Call-ID",), wireshark="sip.Call-ID"),
        text("sip.cseq", f"CSeq, number and method; {_ELSE}.", aliases=("sip.CSeq",), wireshark="sip.CSeq"),
        text("sip.via", f"The first Via (compact `v`), the hop before; {_ELSE}.", aliases=("sip.Via",), wireshark="sip.Via"),
        text("sip.contact", f"Contact (compact `m`); {_ELSE}.", aliases=("sip.Contact",), wireshark="sip.Contact"),
        text("sip.user_agent", f"User-Agent; {_ELSE}.", aliases=("sip.User-Agent",), wireshark="sip.User-Agent"),
        text("sip.server", f"Server; {_ELSE}.", aliases=("sip.Server",), wireshark="sip.Server"),
        text("sip.content_type", f"Content-Type (compact `c`); {_ELSE}.", aliases=("sip.Content-Type",), wireshark="sip.Content-Type"),
        number("sip.max_forwards", 32, "Max-Forwards; absent where the message has none, and where it is not one to ten digits below 2^32.", aliases=("sip.Max-Forwards",), wireshark="sip.Max-Forwards"),
        flag("sip.truncated", "The message goes on beyond the packet: the empty line behind its headers is not there, or fewer bytes follow that line than Content-Length (compact `l`) says."),
    ),
)  # fmt: skip
