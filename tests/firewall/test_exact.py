"""The plan with all of its passes, with none and with each alone, and plain nft: for every packet the same rule, the meaning's."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ProcessPoolExecutor

import pytest
from exactness.judges import Tally, judge
from exactness.rule_sets import MIXED, PLAIN, Kind, drawn, of_classbench

from firewall.bench.classbench import rule_set

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("kind", [*PLAIN, *MIXED])
@pytest.mark.parametrize("count", [12, 90])
def test_every_pass_alone_all_and_none_decide_as_the_meaning_does(kind: Kind, count: int) -> None:
    rng = random.Random(f"{kind} {count}")
    judge(drawn(rng, kind, count), rng.getrandbits(32), 1000, default=rng.choice(("allow", "block", "reject")))


@pytest.mark.parametrize("name", ["acl1", "fw1", "ipc1"])
def test_so_they_do_with_rules_of_classbench(name: str) -> None:
    judge(of_classbench(rule_set(name, 200)), 5, 2000)


PACKETS_A_SET = 50_000
FOR_EACH_PASS = 10_000
"""Of them, so many are judged by each pass alone too."""
MOST_STEPS = 20_000_000
"""Rules times packets of a set, for plain nft."""


def one_set(seed: int) -> Tally:
    """A set drawn by the seed, judged by all."""
    rng = random.Random(seed)
    count = rng.choice((20, 60, 150, 400))
    match rng.randrange(10):
        case 0:
            rules = of_classbench(rule_set(rng.choice(("acl1", "fw1", "ipc1")), rng.choice((100, 1000))))
        case 1 | 2 | 3:
            rules = drawn(rng, rng.choice(MIXED), min(count, 150))
        case _:
            rules = drawn(rng, rng.choice(PLAIN), count)
    default = rng.choice(("allow", "block", "reject"))
    try:
        return judge(
            rules, seed, PACKETS_A_SET, default=default, sampled=200, most_linear=MOST_STEPS // len(rules), most_alone=FOR_EACH_PASS
        )
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


@pytest.mark.long
def test_ten_million_packets() -> None:
    """MANTLET_PACKETS: how many; MANTLET_SEED: where the random numbers begin; MANTLET_WORKERS: processes."""
    begin = int(os.environ.get("MANTLET_SEED") or random.SystemRandom().randrange(1 << 32))
    sets = -(-int(os.environ.get("MANTLET_PACKETS", "10000000")) // PACKETS_A_SET)
    print(f"\n{sets:,} rule sets from seed {begin}, {PACKETS_A_SET:,} packets each")
    tally, start = Tally(), time.monotonic()
    with ProcessPoolExecutor(int(os.environ.get("MANTLET_WORKERS", "2"))) as pool:
        for number, each in enumerate(pool.map(one_set, range(begin, begin + sets)), 1):
            tally.add(each)
            if number % 20 == 0:
                print(f"{number:,} rule sets, {time.monotonic() - start:,.0f} s", flush=True)
    print("\n".join(tally.lines()))
