"""The Python that docs/howto/tenants.md shows does what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from api_lab import ServedNode
from rule_lab import Wire

PAGE = Path(__file__).parents[2] / "docs/howto/tenants.md"


@pytest.mark.kernel
def test_the_python_that_is_shown_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    with Wire() as wire, ServedNode(wire) as node:
        node.tenant("acme")
        names: dict[str, Any] = {"TOKEN": node.token("acme"), "operator": node.client("-")}
        for block in blocks:
            shown = block.replace("http://127.0.0.1:8080", f"http://127.0.0.1:{node.port}")
            if "download" in shown:  # a capture that was stopped ends a moment later
                shown = shown.replace("cf.magic_transit.pcaps.download", "import time; time.sleep(1)\ncf.magic_transit.pcaps.download")
            exec(compile(shown, str(PAGE), "exec"), names)
        rules = names["cf"].rulesets.phases.get("magic_transit", account_id="acme").rules
        managed = names["cf"].rulesets.phases.get("magic_transit_managed", account_id="acme").rules
    assert [(rule.action, rule.description) for rule in rules] == [("log", ""), ("block", "DNS ANY")]
    assert [rule.action for rule in managed] == ["execute"]
    assert (tmp_path / "dns.pcap").stat().st_size >= 24
