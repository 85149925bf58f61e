# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of NTP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Header, Protocol
from rules_dsl.fields.rows import flag, number, text

NTP: Final = Protocol(
    "ntp",
    "Network Time Protocol (RFC 5905; control messages, RFC 9327; private mode 7 of ntpd)",
    (Header.UDP,),
    "UDP's payload has a version of 1 to 4 and a mode of 1 to 7. In modes 1 to 5 it has the 48 bytes of the header (RFC 5905 section 7.3), with "
    "a stratum of at most 16, a poll interval of 2^-8 to 2^24 s, a precision of 2^-64 to 2^32 s, a root delay between -256 s and 256 s, a "
    "root dispersion below 256 s; its length is a multiple of 4, and behind the header are at most 72 bytes, or an extension field (length a "
    "multiple of 4, at least 16) that ends in the payload. In mode 6 it has the 12 bytes of a control message (RFC 9327 section 2) with "
    "an opcode of 0 to 12 or 31, then as many bytes as the count says and at most 27 more; a request has neither error "
    "nor more bit, and its status and offset are 0; a response's offset is below 16,384. In mode 7 it has 8 bytes with implementation 2 or 3, the reserved bits 0, an error of 0 (in a response "
    "up to 7), and items that take at most 500 bytes together.",
    (
        flag("ntp", "A message of NTP.", wireshark="ntp"),
        number("ntp.version", 3, "The version, 1 to 4.", aliases=("ntp.flags.vn",), wireshark="ntp.flags.vn"),
        number("ntp.mode", 3, "The mode: 1 and 2 symmetric, 3 client, 4 server, 5 broadcast, 6 control, 7 private.", aliases=("ntp.flags.mode",), wireshark="ntp.flags.mode"),
        number("ntp.leap", 2, "The leap indicator of modes 1 to 6: 3 is an unsynchronised clock; absent in mode 7.", aliases=("ntp.flags.li",), wireshark="ntp.flags.li"),
        number("ntp.stratum", 8, "The stratum of modes 1 to 5, 0 in a kiss-o'-death and from most clients; absent in others.", wireshark="ntp.stratum"),
        number("ntp.poll", 8, "The poll interval of modes 1 to 5, in log2 seconds, as an unsigned byte; absent in others.", aliases=("ntp.ppoll",), wireshark="ntp.ppoll"),
        text("ntp.refid", "The reference identifier of modes 1 to 5, 4 bytes: `GPS\\x00`, the upstream's address, or the code of a kiss-o'-death such as `RATE`; absent in others.", wireshark="ntp.refid"),
        flag("ntp.response", "A response of mode 6 or 7: what a reflector sends."),
        number("ntp.ctrl.opcode", 5, "The opcode of mode 6: 1 read status, 2 read variables, 10 read the list of recent clients; absent in others.", aliases=("ntp.ctrl.flags2.opcode",), wireshark="ntp.ctrl.flags2.opcode"),
        number("ntp.request_code", 8, "The request code of mode 7: 20 and 42 are MON_GETLIST and MON_GETLIST_1; absent in others.", aliases=("ntp.priv.reqcode",), wireshark="ntp.priv.reqcode"),
        flag("ntp.monlist", "A request of mode 7 with code 20 or 42, for the list of monitored hosts, which answers with up to 556 times its size (CVE-2013-5211)."),
    ),
)  # fmt: skip
