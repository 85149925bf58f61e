# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of SSDP."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Field, Header, Protocol
from rules_dsl.fields.rows import flag, number, text


def _line(name: str, title: str, meaning: str, *, aliases: tuple[str, ...] = (), wireshark: str | None = None) -> Field:
    return text(
        f"ssdp.{name}",
        f"The first header line `{title}`: {meaning}; absent without one, and where its end is not in the packet.",
        aliases=aliases,
        wireshark=wireshark,
    )


SSDP: Final = Protocol(
    "ssdp",
    "Simple Service Discovery Protocol (UPnP Device Architecture 2.0 section 1)",
    (Header.UDP,),
    "UDP's payload begins with a line, which is whole: a request line, that is `M-SEARCH` or `NOTIFY`, a space, a target, a space, `HTTP/1.` and a "
    "digit; or a status line, that is `HTTP/1.`, a digit, a space, three digits, and then a blank, a tab or the line's end. A line ends with a newline, "
    "with or without a carriage return before it.",
    (
        flag("ssdp", "A message of SSDP: a search, an announcement or the answer to a search.", wireshark="ssdp"),
        flag("ssdp.response", "The message is the answer to a search: it begins with a status line.", wireshark="http.response"),
        text("ssdp.method", "A request's method, `M-SEARCH` or `NOTIFY`; absent in a response.", wireshark="http.request.method"),
        number("ssdp.code", 10, "A response's status code, three digits; absent in a request.", wireshark="http.response.code"),
        _line("st", "ST", "what is searched for, such as `ssdp:all`", aliases=("ssdp.search_target",)),
        _line("man", "MAN", "`\"ssdp:discover\"` in a search, with the quotation marks"),
        _line("mx", "MX", "the longest time to wait before an answer, in seconds, as text"),
        _line("nt", "NT", "what is announced"),
        _line("nts", "NTS", "the kind of announcement, such as `ssdp:alive` and `ssdp:byebye`"),
        _line("usn", "USN", "the unique name of a service"),
        _line("host", "HOST", "the address that a request goes to", wireshark="http.host"),
        _line("location", "LOCATION", "where the device is described", wireshark="http.location"),
        _line("server", "SERVER", "the system and product that answers", wireshark="http.server"),
        _line("user_agent", "USER-AGENT", "the system and product that asks", wireshark="http.user_agent"),
    ),
)  # fmt: skip
