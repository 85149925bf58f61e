"""HTTP/1: pairs of expressions, and differences from Wireshark."""

from __future__ import annotations

from judge.differences import Difference
from judge.expressions import tcp

PAIRS: tuple[tuple[str, str], ...] = (
    ("http", tcp("http")),
    ("http.request", tcp("http.request")),
    ("http.response", tcp("http.response")),
    ('http.method == "GET"', tcp('http.request.method == "GET"')),
    ('http.request.method in {"POST" "OPTIONS" "CONNECT"}', tcp('http.request.method in {"POST", "OPTIONS", "CONNECT"}')),
    ("len(http.method) > 4", tcp("len(http.request.method) > 4")),
    ('http.uri == "/"', tcp('http.request.uri == "/"')),
    ('http.uri contains "?"', tcp('http.request.uri contains "?"')),
    ('starts_with(http.request.uri, "http://")', tcp('http.request.uri matches "^http://"')),
    ('http.uri matches "[.](?:php|asp)"', tcp('http.request.uri matches "(?-i)[.](?:php|asp)"')),
    ("len(http.uri) > 100", tcp("len(http.request.uri) > 100")),
    ('http.version == "HTTP/1.0"', tcp('(http.request.version == "HTTP/1.0" or http.response.version == "HTTP/1.0")')),
    ('http.request.version == "HTTP/1.1"', tcp('http.request.version == "HTTP/1.1"')),
    ('http.response.version == "HTTP/1.1"', tcp('http.response.version == "HTTP/1.1"')),
    ("http.code == 200", tcp("http.response.code == 200")),
    ("http.response.code >= 400", tcp("http.response.code >= 400")),
    ("http.code in {300..399}", tcp("(http.response.code >= 300 and http.response.code <= 399)")),
    ('http.response.phrase == "OK"', tcp('http.response.phrase == "OK"')),
    ('http.host contains "google"', tcp('http.host contains "google"')),
    ('http.host matches "^[0-9.:]+$"', tcp('http.host matches "^[0-9.:]+$"')),
    ('ends_with(http.host, ".com")', tcp('http.host matches "(?-i)[.]com$"')),
    ('http.user_agent contains "Mozilla"', tcp('http.user_agent contains "Mozilla"')),
    ('http.user_agent matches "^(?:curl|Wget)/"', tcp('http.user_agent matches "(?-i)^(?:curl|Wget)/"')),
    ('http.referer contains "http"', tcp('http.referer contains "http"')),
    ("len(http.cookie) > 100", tcp("len(http.cookie) > 100")),
    ('starts_with(http.content_type, "text/html")', tcp('http.content_type matches "(?-i)^text/html"')),
    ('http.content_type == "application/json"', tcp('http.content_type == "application/json"')),
    ("http.content_length > 1000", tcp("http.content_length > 1000")),
    ("http.content_length == 0", tcp("http.content_length == 0")),
    ('http.server contains "nginx"', tcp('http.server contains "nginx"')),
    ('http.location contains "http"', tcp('http.location contains "http"')),
    ('http.authorization contains "Basic"', tcp('http.authorization contains "Basic"')),
    ('http.x_forwarded_for contains "."', tcp('http.x_forwarded_for contains "."')),
    ('http.header["accept-encoding"] contains "gzip"', tcp('http.accept_encoding contains "gzip"')),
    ('http.header["Connection"] wildcard "keep-alive"', tcp('lower(http.connection) == "keep-alive"')),
    ('http.header["set-cookie"] contains "path"', tcp('http.set_cookie contains "path"')),
    ('http.header["cache-control"] contains "no-cache"', tcp('http.cache_control contains "no-cache"')),
    ('http.header["host"] contains "."', tcp('http.host contains "."')),
    (
        'any(http.header[*] contains "gzip")',
        tcp('(http.request.line matches "(?-i):.*gzip" or http.response.line matches "(?-i):.*gzip")'),
    ),
    (
        "http.truncated",
        tcp("((http.request or http.response) and not (tcp.payload contains 0d:0a:0d:0a or tcp.payload contains 0a:0a))"),
    ),
)  # fmt: skip

DIFFERENCES: tuple[Difference, ...] = (
    Difference("What follows an HTTP message's first packet", ("http",), wireshark="http and not http.request and not http.response"),
    Difference(
        "Segments that Wireshark does not look into", ("http",), wireshark="tcp.analysis.out_of_order or tcp.analysis.retransmission",
    ),
    Difference(
        "HTTP messages behind the first", ("http",),
        wireshark="count(http.request) > 1 or count(http.response) > 1 or (http.request and http.response)",
    ),
    Difference(
        "HTTP that is not quite right", ("http",),
        wireshark='(http.request and not http.request.version matches "(?-i)^HTTP/1[.][0-9]$") or '
        '(http.response and not http.response.version matches "(?-i)^HTTP/1[.][0-9]$")',
    ),
)  # fmt: skip
