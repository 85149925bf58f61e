"""Generations that go on from the one before: trees changed in their maps, programs loaded once, counters that go on where they are."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from kernel_lab import _SURROUNDINGS, GROUP, KernelLab, ipv4, udp
from test_classify import ARRIVING, ENDING, PASSED, counted, drawn, mixed, packet_of, policy
from test_kill import fork
from test_merge import number

from bpf.maps import open_map
from bpf.program import open_pinned
from firewall import nft
from firewall.generation import Generation
from firewall.kernel import Kernel
from firewall.loaded import StaleError
from firewall.plan import Environment, plan
from firewall.remembered import FullCountersError, Remembered, Slots
from firewall.render import render
from rules_dsl.expression import And, Expression
from rules_dsl.packet import Packet, Place
from rules_dsl.policy import Action, Mode, Policy, Protect, Rule
from rules_dsl.reference import matched


def made(rules: Policy, revision: int, remembered: Remembered, base: int | None) -> Generation:
    return render(plan(rules, Environment()), revision, remembered=remembered, base=base)


def changed(rng: random.Random, rules: Sequence[Rule], fresh: Sequence[Expression], serial: int) -> list[Rule]:
    """Some of them changed, moved or gone, and others added."""
    found = list(rules)
    for which, predicate in enumerate(fresh):
        place = rng.randrange(len(found))
        match rng.choice(("change", "add", "remove", "move", "action")):
            case "change":
                found[place] = replace(found[place], predicate=predicate)
            case "add":
                found.insert(place, Rule(f"new {serial} {which}", rng.choice(ENDING), Mode.ENABLED, predicate, ""))
            case "remove":
                del found[place]
            case "move":
                found.insert(rng.randrange(len(found)), found.pop(place))
            case "action":
                found[place] = replace(found[place], action=rng.choice(ENDING))
    return found


@pytest.mark.kernel
def test_a_changed_tree_is_the_references_and_counts_go_on() -> None:
    rng = random.Random(5)
    with KernelLab() as lab:
        remembered, patched = Remembered(), 0
        rules = policy(drawn(rng, 150), ENDING, protect=ARRIVING)
        lab.install(made(rules, 1, remembered, None))
        lab._namespace.call(nft.run, f'add rule inet lab after log prefix "{PASSED}" group {GROUP}')
        kernel = lab._namespace.call(Kernel)
        expected: Counter[str] = Counter()
        for revision in range(2, 40):
            generation = made(rules, revision, remembered, lab._namespace.call(kernel.contents, "acme"))
            assert generation.contents is not None
            patched += len(generation.contents.patches)
            lab._namespace.call(kernel.install, generation)
            for _ in range(40):
                data = packet_of(rng)
                met = matched(rules, Packet(data, Place("mantlet0")))
                for rule in met:
                    expected[rule.name] += 1
                    expected[f"{rule.name}, bytes"] += len(data)
                assert (lab.send(data) == [PASSED]) is (not met or met[-1].action is Action.ALLOW), data.hex()
            assert +counted(lab) == expected
            rules = replace(rules, rules=tuple(changed(rng, rules.rules, drawn(rng, rng.choice((1, 1, 2, 5))), revision)))
            names = {rule.name for rule in rules.rules}
            expected = Counter({name: count for name, count in expected.items() if name.removesuffix(", bytes") in names})
        assert patched > 40
        lab._namespace.call(kernel.close)


@pytest.mark.kernel
def test_what_is_the_same_is_loaded_once() -> None:
    remembered = Remembered()
    found: list[tuple[set[int], int]] = []
    with KernelLab() as lab:

        def install(rules: Policy, revision: int) -> None:
            generation = made(rules, revision, remembered, kernel.contents("acme"))
            kernel.install(generation)
            folder = kernel._pins.folder("acme", revision)
            with open_map(folder / "counts") as counts:
                programs = []
                for name in generation.programs:
                    with open_pinned(folder / name) as program:
                        programs.append(program.id)
                found.append((set(programs), counts.id))

        kernel = lab._namespace.call(Kernel)
        tests = mixed(60)
        for revision in range(1, 7):
            tests[30] = And((tests[0], mixed(90)[60 + revision]))
            lab._namespace.call(install, policy(tests, ENDING, protect=ARRIVING), revision)
        assert len({counts for _, counts in found}) == 1
        # Two generations in turn look up at two cells, each with a program of its own.
        programs = [each for each, _ in found]
        assert programs[0] == programs[2] == programs[4]
        assert programs[1] == programs[3] == programs[5]
        lab._namespace.call(kernel.close)


@pytest.mark.kernel
def test_a_generation_that_goes_on_from_one_that_is_not_enforced_is_refused() -> None:
    remembered = Remembered()
    rules = policy(mixed(60), protect=ARRIVING)
    with KernelLab() as lab:

        def act() -> None:
            with Kernel() as kernel:
                kernel.install(made(rules, 1, remembered, None))
                first = kernel.contents("acme")
                kernel.install(made(rules, 2, remembered, first))
                with pytest.raises(StaleError, match="revision 3 of acme goes on from one that is not enforced"):
                    kernel.install(made(rules, 3, remembered, first))
                assert kernel.enforced()["acme"].revision == 2
                kernel.install(made(rules, 4, remembered, kernel.contents("acme")))
            with Kernel() as kernel:
                assert kernel.contents("acme") is None  # another process has it loaded
                kernel.install(made(rules, 5, remembered, None))

        lab._namespace.call(act)


def test_a_rules_number_is_its_own() -> None:
    first = Slots(3)
    assert [first.of(name) for name in ("a", "b", "a", "c")] == [0, 1, 0, 2]
    second = Slots(4, first.taken, first.end)
    second.keep(["c", "d"])
    assert (second.of("c"), second.of("d"), second.names()) == (2, 3, ("", "", "c", "d"))
    with pytest.raises(FullCountersError):
        second.of("e")


# -- killed


def numbered(revision: int) -> Policy:
    """Blocks the port that is the revision, and no other of the first few."""
    others = [each for place, each in enumerate(mixed(120)) if place > 30 and place % 3 != 2]  # no protocols
    return policy([*others, number("udp.dstport", revision)], protect=ARRIVING)


@pytest.mark.kernel
def test_killed_at_any_step_the_old_tree_or_the_new_one_stands() -> None:
    with KernelLab() as lab:
        lab.install(made(numbered(1), 1, Remembered(), None))
        lab._namespace.call(nft.run, f'{_SURROUNDINGS}add rule inet lab after log prefix "{PASSED}" group {GROUP}')

        def change() -> None:
            with Kernel() as kernel:
                remembered = Remembered()
                for revision in range(2, 5):
                    generation = made(numbered(revision), revision, remembered, kernel.contents("acme"))
                    assert generation.contents is not None
                    assert bool(generation.contents.patches) is (revision > 2)
                    kernel.install(generation)

        def begin() -> None:
            with Kernel() as kernel:
                kernel.remove("acme")
                kernel.install(made(numbered(1), 1, Remembered(), None))

        seen, last = set(), 0
        while lab._namespace.call(fork, change, last) is None:
            dropped = [port for port in range(1, 5) if lab.send(ipv4(udp(9, port), 17)) != [PASSED]]
            assert len(dropped) == 1, f"killed before step {last}"
            seen.add(dropped[0])
            lab._namespace.call(begin)
            last += 1
        assert seen == {1, 2, 3, 4}


@pytest.mark.kernel
def test_what_is_kept_for_the_next_change_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firewall.kernel.MOST_DESCRIPTORS", 12)
    remembered = {name: Remembered() for name in ("a", "b", "c")}

    def of(tenant: str, revision: int, kernel: Kernel) -> Generation:
        address = Protect(((0x0A000000 + ord(tenant), 0x0A000000 + ord(tenant)),))
        rules = policy(mixed(60 + revision), protect=address)
        return made(replace(rules, tenant=tenant), revision, remembered[tenant], kernel.contents(tenant))

    def act() -> None:
        before = len(os.listdir("/proc/self/fd"))
        with Kernel() as kernel:
            for revision in range(1, 6):
                together = [of(tenant, revision, kernel) for tenant in remembered]
                assert not kernel.prepare_all(together)
                assert not kernel.flip_all({each.tenant: (each, "") for each in together})
                kernel.sweep()
            assert 0 < sum(kernel.contents(tenant) is not None for tenant in remembered) < 3
            assert len(os.listdir("/proc/self/fd")) - before < 16
            kernel.remove("c")
            assert kernel.contents("c") is None
        assert len(os.listdir("/proc/self/fd")) == before

    with KernelLab() as lab:
        lab._namespace.call(act)
