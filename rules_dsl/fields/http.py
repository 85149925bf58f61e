# ruff: noqa: E501 (a row a field)
"""The catalogue's fields of HTTP/1."""

from __future__ import annotations

from typing import Final

from rules_dsl.fields.model import Field, Header, Protocol
from rules_dsl.fields.rows import flag, number, text


def _line(name: str, title: str, *, wireshark: bool = True) -> Field:
    full = f"http.{name}"
    summary = f"The value of the first header line `{title}`; absent without one, and where its end is not in the packet."
    return text(full, summary, wireshark=full if wireshark else None)


HTTP: Final = Protocol(
    "http",
    "Hypertext Transfer Protocol, version 1 (RFC 9112)",
    (Header.TCP,),
    "TCP's payload begins, behind any number of empty lines, with a request line or a status line. A request line is a method (a token "
    "of 1 to 32 bytes), a space, a target of at least one byte, a space, `HTTP/1.` and a digit, and perhaps blanks or tabs before its end; the target may have "
    "spaces in it. A request line that goes on beyond the packet counts where it begins with one of the methods of RFC 9110, PATCH or one "
    "of WebDAV's (RFC 4918, 3253, 3744, 5323, 4791, 5842), a space, and `/`, `*`, `http://` or `https://` (behind CONNECT: a letter, a digit or `[`), and "
    "has no control characters. A status line is `HTTP/1.`, a digit, a space, three digits, and then a blank, a tab, a carriage return, a newline or the packet's end. A line ends "
    "with a newline, with or without a carriage return before it. What follows in later packets, such as a long body, is no message.",
    (
        flag("http", "A message of HTTP/1, request or response, begins in this packet."),
        flag("http.request", "The message is a request.", wireshark="http.request"),
        flag("http.response", "The message is a response.", wireshark="http.response"),
        text("http.method", "A request's method, as on the wire; absent in a response.", aliases=("http.request.method",), wireshark="http.request.method"),
        text("http.uri", "A request's target, between the method and the version, with any spaces in it; absent in a response, and where the request line's end is not in the packet.", aliases=("http.request.uri",), wireshark="http.request.uri"),
        text("http.version", "The message's version: `HTTP/1.1`; absent in a request whose line's end is not in the packet."),
        text("http.request.version", "A request's version; absent in a response.", wireshark="http.request.version"),
        text("http.response.version", "A response's version; absent in a request.", wireshark="http.response.version"),
        number("http.code", 10, "A response's status code, three digits; absent in a request.", aliases=("http.response.code",), wireshark="http.response.code"),
        text("http.response.phrase", "What follows the status code and a blank, to the line's end; perhaps empty; absent in a request, and where the line's end is not in the packet.", wireshark="http.response.phrase"),
        _line("host", "Host"),
        _line("user_agent", "User-Agent"),
        _line("referer", "Referer"),
        _line("cookie", "Cookie"),
        _line("content_type", "Content-Type"),
        number("http.content_length", 32, "The first header line `Content-Length` as a number: what has more than 32 bits counts as 4294967295; absent without the line, where its end is not in the packet, and where its value is not digits only.", wireshark="http.content_length"),
        _line("server", "Server"),
        _line("location", "Location"),
        _line("authorization", "Authorization"),
        text("http.x_forwarded_for", "The values of the header lines `X-Forwarded-For` (many values); absent without one.", multiple=True, wireshark="http.x_forwarded_for"),
        text("http.header", "The value of each header line of that name, compared without case: `http.header[\"x-api-key\"]`; `http.header[*]` is every header line's (many values, the first 32). A value has no blanks and tabs at its ends; a line whose end is not in the packet is absent.", multiple=True, bound=32, keyed=True),
        flag("http.truncated", "The header block goes on beyond the packet: the empty line that ends it is not there."),
    ),
)  # fmt: skip
