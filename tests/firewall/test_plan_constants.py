"""Tests on constants, decided at compile time, against the reference."""

from __future__ import annotations

import pytest

from firewall.plan.constants import on_constant
from rules_dsl import parse_expression
from rules_dsl.expression import Const
from rules_dsl.packet import Packet, Place
from rules_dsl.reference import holds

PACKET = bytes.fromhex("45000014") + bytes(16)
NAMES = ("", "a", "ams1", "AMS1", "ams10", "bams1", "amsams1")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "test",
    [
        'cf.colo.name == "ams1"', 'cf.colo.name < "ams1"', 'cf.colo.name <= "ams1"', 'cf.colo.name > "ams1"', 'cf.colo.name >= "ams1"',
        'cf.colo.name in {"ams1" "a"}', 'cf.colo.name contains "ms"', 'starts_with(cf.colo.name, "ams")', 'ends_with(cf.colo.name, "s1")',
        'cf.colo.name wildcard "A*S*1"', 'cf.colo.name strict wildcard "a*s*1"', 'cf.colo.name wildcard "ams1"',
        'cf.colo.name wildcard "ams*ms1"', 'lower(cf.colo.name) == "ams1"', 'upper(cf.colo.name) == "AMS1"',
        'substring(cf.colo.name, 1, 3) == "ms"', 'substring(cf.colo.name, 3) == "1"', "len(cf.colo.name) in {0 4..5}",
        "len(substring(cf.colo.name, 2)) & 2",
    ],
)  # fmt: skip
def test_a_test_on_the_node_is_what_the_reference_says(test: str, name: str) -> None:
    expression = parse_expression(test)
    assert on_constant(expression, name.encode()) == Const(holds(expression, Packet(PACKET, Place(None, colo_name=name))))  # type: ignore[arg-type]
