"""The plan with all of its passes, with none and with each alone, and plain nft: for every packet the same rule, the meaning's."""

from __future__ import annotations

import random

import pytest
from exactness.judges import judge
from exactness.rule_sets import MIXED, PLAIN, Kind, drawn, of_classbench

from firewall.bench.classbench import rule_set

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", [*PLAIN, *MIXED])
@pytest.mark.parametrize("count", [5, 40, 120])
def test_every_pass_alone_all_and_none_decide_as_the_meaning_does(kind: Kind, count: int) -> None:
    rng = random.Random(f"{kind} {count}")
    judge(drawn(rng, kind, count), rng.getrandbits(32), 2000, default=rng.choice(("allow", "block", "reject")))


@pytest.mark.parametrize("name", ["acl1", "fw1", "ipc1"])
def test_so_they_do_with_rules_of_classbench(name: str) -> None:
    judge(of_classbench(rule_set(name, 200)), 5, 4000)
