"""The benchmark of the API runs, and tells what it measured."""

from __future__ import annotations

import json

import pytest

from firewall.cli import main

pytestmark = pytest.mark.kernel


def test_it_measures_writes_reads_and_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--tenants", "3", "--rules", "4", "--large", "20", "--rounds", "2", "--seconds", "1"]
    assert main(["bench-api", *sizes, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["tenants"], each["rules"]) for each in found["writes"]] == [(1, 20), (3, 4)]
    assert all(each["ratio"] > 0 for each in found["writes"])
    assert all(each["per_second"] > 0 for each in found["reads"])
    assert found["start"]["tenants"] == 3
    assert found["packets"]["first"] > 0
