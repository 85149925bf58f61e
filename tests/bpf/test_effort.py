"""The bound on how often a program reads the packet's bytes counts what a loop repeats."""

from __future__ import annotations

import pytest

from bpf import compile_program, lower
from bpf.effort import passes_of
from bpf.facts import TCP_PAYLOAD
from bpf.lower_facts import needs_of
from rules_dsl import parse_expression
from rules_dsl.expression import FieldValue, Test, operand_of, root_of


def test_what_is_not_kept_is_found_for_each_element(monkeypatch: pytest.MonkeyPatch) -> None:
    test = parse_expression('http.header["x"] contains "a"')
    assert isinstance(test, Test)
    root = root_of(operand_of(test))
    assert isinstance(root, FieldValue)
    bound = root.field.bound
    (message,) = (need for need in needs_of(test) if need != TCP_PAYLOAD and need.routine.name == "http")
    once = passes_of(message.routine)
    assert bound > 1
    assert once > 0
    kept = compile_program("kept", test).passes
    monkeypatch.setattr(lower, "RECORD_ON_STACK", 0)
    assert compile_program("not kept", test).passes >= kept + (bound - 1) * once
