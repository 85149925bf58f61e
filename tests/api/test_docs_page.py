"""The page /docs shows every call, and a browser loads nothing for it from elsewhere."""

from __future__ import annotations

import re

import httpx
import pytest
from api_server import served


def test_the_page_has_every_call_and_loads_nothing() -> None:
    with served() as server:
        answer = httpx.get(f"{server.root}/docs")
        document = httpx.get(f"{server.root}/openapi.json").json()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert not re.search(r"<(script|link|img|iframe)|https?://|url\(|@import", answer.text)
    shown = re.findall(r"<summary><code><b>(\w+)</b> (\S+)</code></summary>", answer.text)
    asked = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert len(shown) == len(set(shown)) == len(asked)
    assert set(shown) == asked


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_there_is_no_other_page(path: str) -> None:
    with served() as server:
        assert httpx.get(server.root + path).status_code == 404
