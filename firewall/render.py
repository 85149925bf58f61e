"""A plan as a generation: nft text for all that nftables says, and the rules that carry eBPF programs.

Chains of a generation, all under its prefix: one chain for each class of packets holds the stages in order; `ruleN` is the end of rule
N (counter, log, verdict); `ruleN.CLASS...` are the steps of a rule that is more than one line of matches. Where one program evaluates
the payload rules, `CLASS.hit` has the stages behind for packets of which a payload rule holds; the class's chain goes on with the others,
or, where the gate before the program is several lines, `CLASS.evaluate` has the program and `CLASS.rest` the others. `PROGRAM...` ask
which rule it was.

A class's chain jumps to `pPHASE.CLASS` for each phase before the last. An `allow` in it returns, and comes back behind that jump: a goto
leaves nothing to return to. So the ways to such an end are gotos alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Protocol, TypeGuard, assert_never

from bpf import LoweringError, compile_program
from bpf.evaluate import Evaluator, Member, compile_evaluators
from bpf.image import MapSpec, ProgramImage
from bpf.prefix_set_lookup import Side, compile_prefix_set, set_spec
from bpf.tables import MOST_SIEVES
from firewall.address_set import address_set
from firewall.generation import TABLE, BpfMatch, BulkElements, Contents, Generation, counter_name, prefix_of
from firewall.match import Conjunction, Key, Match, Notation, PacketClass
from firewall.native import match_text, protocol_match, range_text
from firewall.plan.gather import gate, has_payload
from firewall.plan.model import MOST_GUARDED, ClassifierStage, MapStage, Plan, RuleStage, Stage, Term
from firewall.plan.transport_tree import Branch, Leaf, address_keys, transport_tree
from firewall.remembered import FullCountersError, Made, Remembered, begun
from rules_dsl import expression as ex
from rules_dsl.diagnostics import Diagnostic, DiagnosticError
from rules_dsl.expression import Expression, Ranges
from rules_dsl.policy import Action, Hook, Mode, Policy, Rule

if TYPE_CHECKING:
    from firewall.classifier import Classified

DEEPEST_SEARCH = 5
"""Chains of a search for the rule that ended an evaluation. With all that stand before and behind, nft allows 16 in a row
(NFT_JUMP_STACK_SIZE counts a goto as it does a jump)."""

MOST_INLINE_RANGES = 16
"""Address sets of more ranges than this are named, and shared by the rules that test them."""

MOST_TEXT_RANGES = 4096
"""Sets of more ranges than this are loaded by our own codec, which is faster than nft's text."""

MOST_NATIVE_RANGES = 256
"""Address sets of more are looked up by a program: 215 to 450 ns up to 100,000, where those of nftables take 450 to 1,800."""

FEW_PROGRAMS = 16
"""Programs of single rules that may have sieves: of more, how long they take to load counts for more."""

LONGEST_PROGRAM_NAME = 40
"""Characters of a rule's name in that of its pin. bpffs keeps names with a dot for itself."""

LONGEST_COMMENT = 127
"""Bytes (NFTNL_UDATA_COMMENT_MAXLEN of nft, less the NUL)."""


def render(
    plan: Plan, revision: int, *, observe: int | None = None, remembered: Remembered | None = None, base: int | None = None
) -> Generation:
    """The generation `revision` of the plan's tenant. With `observe` each rule that matches says so with an NFLOG message to that
    group, whose prefix is the rule's index in the policy, and the default's is `default`.

    Where generations are `remembered`, this one goes on with the maps and programs of the one that is enforced, if that is still among
    them; its contents have the number `base`.

    Raises DiagnosticError (E0904) where a test is too large for eBPF."""
    generation = _rendered(plan, revision, observe, remembered, base)
    if observe is not None or not plan.policy.early_drop:
        return generation
    from firewall.early_drop.programs import early_drop  # noqa: PLC0415 (numpy takes a tenth of a second)

    return replace(generation, early=early_drop(plan))


def _rendered(plan: Plan, revision: int, observe: int | None, remembered: Remembered | None, base: int | None) -> Generation:
    before = remembered.get(base) if remembered else None
    for former in (before, None) if before else (None,):
        made = begun(former, len(plan.policy.rules), grows=remembered is not None)
        try:
            generation = _Renderer(plan, revision, observe, made, former).generation()
        except FullCountersError:
            continue
        if remembered is None:
            return generation
        remembered.keep(made)
        return replace(generation, contents=Contents(made.number, former.number if former else None, tuple(made.patches)))
    raise AssertionError("there is room for the rules of a generation that goes on from no other")


class Found(Protocol):
    """What can be asked which rule it has found."""

    def digit(self, shift: int, width: int, value: int) -> ProgramImage: ...


@dataclass(frozen=True, slots=True)
class _Line:
    """A rule of a chain: nft's text of its matches and more, then a program, then where it goes."""

    native: str
    comment: str
    program: ProgramImage | None = None
    target: str | None = None
    goto: bool = True
    rule_name: str = ""

    @property
    def text(self) -> str:
        """Without the program."""
        verdict = "" if self.target is None else f"{'goto' if self.goto else 'jump'} {self.target}"
        comment = f'comment "{safe_comment(self.comment)}"' if self.comment else ""
        return " ".join(word for word in (self.native, verdict, comment) if word)


@dataclass(slots=True)
class _Renderer:
    plan: Plan
    revision: int
    observe: int | None
    made: Made
    before: Made | None
    """The generation that this one goes on from."""
    declarations: list[str] = field(default_factory=list)
    """Counters, sets and maps, which rules refer to."""
    chains: dict[str, list[_Line]] = field(default_factory=dict)
    """Rules by chain; all chains are declared before the first rule."""
    bulk: list[BulkElements] = field(default_factory=list)
    counters: dict[str, str] = field(default_factory=dict)
    sets: dict[tuple[str, Ranges, tuple[str, ...]], str] = field(default_factory=dict)
    maps: dict[object, str] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    """How many stages a rule has had in a class: each has its own chains."""
    programs: dict[Expression, ProgramImage] = field(default_factory=dict)
    evaluators: dict[int, tuple[Evaluator, ...]] = field(default_factory=dict)
    """By phase."""
    numbers: dict[int, int] = field(default_factory=dict)
    """By the index of an evaluated rule: its number among those of its phase."""
    address_sets: dict[tuple[bool, Ranges], MapSpec] = field(default_factory=dict)
    lookups: dict[tuple[str, Key], ProgramImage] = field(default_factory=dict)
    """By the address set and the address that is looked up in it."""
    classifiers: dict[tuple[int, frozenset[Action]], Classified] = field(default_factory=dict)
    """By the stage and what its program tells."""
    searches: dict[tuple[str, tuple[int, ...]], str] = field(default_factory=dict)
    """By evaluator and its members that a packet of a run may be ended by: the chain that finds out by which."""

    def __post_init__(self) -> None:
        policy = self.plan.policy
        for phase, evaluated in groupby(self.plan.evaluated, lambda each: policy.rules[each.index].phase):
            rules = [(each.index, policy.rules[each.index], each.predicate) for each in evaluated]
            self.numbers |= {index: number for number, (index, _, _) in enumerate(rules)}
            members = [Member(rule.name, predicate, rule.ends) for _, rule, predicate in rules]
            name = "payload" if phase == policy.last_phase else f"p{phase}_payload"
            try:
                self.evaluators[phase] = compile_evaluators(name, members, source=policy.source)
            except LoweringError as error:
                rule = next(rule for _, rule, predicate in rules if error.test in ex.tests_of(predicate))
                raise _too_large(policy, rule, error) from error

    @property
    def prefix(self) -> str:
        return prefix_of(self.plan.policy.tenant, self.revision)

    def generation(self) -> Generation:
        policy = self.plan.policy
        entry, entry6 = self.chain(PacketClass.IP4.value), self.chain(PacketClass.IP6.value)
        self.classes()
        self.unreached()
        rules: list[str] = []
        matches: list[BpfMatch] = []
        for name, lines in self.chains.items():
            is_native = any(line.native for line in lines)
            for place, line in enumerate(lines):
                if is_native:
                    rules.append(f"add rule inet {TABLE} {name} {line.text}")
                if not is_native or line.program is not None:
                    where = place if is_native else None
                    matches.append(BpfMatch(line.program, name, line.target, line.goto, line.rule_name, line.comment, where))
        declared = [*(f"add chain inet {TABLE} {name}" for name in self.chains), *self.declarations]
        return Generation(
            policy.tenant, self.revision, self.prefix, entry, policy.hook, policy.protect, "\n".join([*declared, *rules]) + "\n",
            tuple(matches), tuple(self.bulk), self.counters, entry6, self.counted(),
        )  # fmt: skip

    def counted(self) -> tuple[str, ...]:
        """The rules that programs count, in the places of their numbers."""
        if self.observe is not None or not self.classifiers:
            return ()
        return self.made.slots.names()

    def unreached(self) -> None:
        """Rules that no packet meets have counters too, of 0 or of what they counted before. Where programs count, they need no chains."""
        if self.observe is not None:
            return
        staged: set[int] = set()
        looked_at: set[int] = set()
        for each in self.plan.classes:
            for stage in each.stages:
                if isinstance(stage, RuleStage):
                    staged.add(stage.index)
                elif id(stage.members) not in looked_at:
                    looked_at.add(id(stage.members))
                    staged.update(index for index, _ in stage.members)
        for index, rule in enumerate(self.plan.policy.rules):
            if index not in staged and rule.mode is not Mode.DISABLED:
                if self.classifiers:
                    self.made.slots.of(rule.name)
                else:
                    self.end(index, rule)

    def chain(self, suffix: str) -> str:
        """The name of a chain of this generation, which it is certain to have."""
        name = f"{self.prefix}.{suffix}"
        self.chains.setdefault(name, [])
        return name

    def new_chain(self, suffix: str) -> str:
        assert f"{self.prefix}.{suffix}" not in self.chains, suffix
        return self.chain(suffix)

    def add(self, chain: str, *words: str, comment: str = "") -> None:
        self.chains[chain].append(_Line(" ".join(word for word in words if word), comment))

    # -- classes of packets

    def classes(self) -> None:
        for usual, packets, match, comment in self.turnings():
            self.add(self.chain(usual.value), match, f"goto {self.chain(packets.value)}", comment=comment)
        for packets in PacketClass:
            name = f"{self.prefix}.{packets.value}"
            if name not in self.chains:
                continue
            behind: tuple[Stage, ...] = ()
            for phase, members in groupby(self.plan.stages_of(packets), lambda stage: stage.phase):
                if phase == self.plan.policy.last_phase:
                    behind = tuple(members)
                else:
                    chain = self.new_chain(f"p{phase}.{packets.value}")
                    self.add(name, f"jump {chain}")
                    self.stages(chain, tuple(members), packets, [])
            self.stages(name, behind, packets, self.default())

    def turnings(self) -> Iterator[tuple[PacketClass, PacketClass, str, str]]:
        """From a chain of packets to that of a special class: the match, and why. A later fragment behind AH is odd, one that states
        another extension header behind it is a later fragment: hence the order."""
        stages = {each.packets: each.stages for each in self.plan.classes}
        with_later = {
            packets: stages[packets] != stages[later] and not (not stages[later] and all(map(_wants_content, stages[packets])))
            for packets, later in ((PacketClass.IP4, PacketClass.IP4_LATER), (PacketClass.IP6, PacketClass.IP6_LATER))
        }
        told = "later fragments have no transport header"
        if with_later[PacketClass.IP4]:
            yield PacketClass.IP4, PacketClass.IP4_LATER, "@nh,48,16 & 0x1fff != 0x0", told
        is_odd = stages[PacketClass.IP6] != stages[PacketClass.IP6_ODD]
        if is_odd:
            yield PacketClass.IP6, PacketClass.IP6_ODD, "meta l4proto 51", "nft ends its walk at AH: eBPF finds the transport header"
        if with_later[PacketClass.IP6]:
            yield PacketClass.IP6, PacketClass.IP6_LATER, "frag frag-off 1-8191", told
        if is_odd:
            first = "" if with_later[PacketClass.IP6] else "frag frag-off 0 "
            headers = f"{first}frag nexthdr {{ 0, 43, 44, 51, 60 }}"
            yield PacketClass.IP6, PacketClass.IP6_ODD, headers, "headers behind a fragment header: eBPF walks them"

    def stages(self, chain: str, stages: Sequence[Stage], packets: PacketClass, last: Sequence[_Line]) -> None:
        """The stages of a phase, and the lines behind them."""
        first = next((place for place, stage in enumerate(stages) if self.is_evaluated(stage)), len(stages))
        for stage in stages[:first]:
            self.stage(chain, stage, packets, closes=self.closes(stages, stage))
        if first < len(stages):
            self.evaluation(chain, stages[first:], packets, last)
        else:
            self.chains[chain] += last

    # -- rules that one program evaluates

    def is_evaluated(self, stage: Stage) -> TypeGuard[RuleStage]:
        return has_payload(stage) and stage.index in self.numbers

    def evaluation(self, chain: str, stages: Sequence[Stage], packets: PacketClass, last: Sequence[_Line]) -> None:
        """The stages from the first that is evaluated on, twice: for packets of which an evaluated rule holds, and for all others."""
        deep = [stage for stage in stages if self.is_evaluated(stage)]
        evaluators = self.evaluators[deep[0].phase]
        suffix = chain.removeprefix(self.prefix + ".")
        hit, rest = self.new_chain(f"{suffix}.hit"), chain
        found = gate(deep)
        native = self.texts_beside_program(found[0]) if len(found) == len(evaluators) == 1 else None
        if native is not None:
            self.ask(chain, evaluators[0].image, hit, native=native, comment=few(evaluators[0].names))
        else:
            rest = self.new_chain(f"{suffix}.rest")
            evaluate = self.evaluate(f"{suffix}.evaluate", evaluators, hit, rest)
            for conjunction in found:
                self.add(chain, self.texts(conjunction), f"goto {evaluate}", comment="what payload rules may concern")
            self.add(chain, f"goto {rest}")
        run: list[RuleStage] = []
        for stage in stages:
            if self.is_evaluated(stage):
                run.append(stage)
                plain = tuple(term for term in stage.terms if term.payload is None)
                if plain:
                    self.stage(rest, replace(stage, terms=plain), packets, closes=False)
                continue
            self.asked(hit, evaluators, run)
            run = []
            closes = self.closes(stages, stage)
            self.stage(rest, stage, packets, closes=closes)
            self.stage(hit, stage, packets, closes=closes)
        self.asked(hit, evaluators, run)
        self.chains[rest] += last
        self.chains[hit] += last

    def evaluate(self, name: str, evaluators: Sequence[Evaluator], hit: str, rest: str) -> str:
        """A chain that runs the evaluators: on to `hit` where one of them has found something, else to `rest`."""
        here = self.new_chain(name)
        for place, evaluator in enumerate(evaluators):
            following = hit
            if place < len(evaluators) - 1:
                following = self.new_chain(f"{name}{place + 1}")
                for other in evaluators[place + 1 :]:
                    self.ask(following, other.image, None, comment=few(other.names))
                self.ask(following, None, hit)
            self.ask(here, evaluator.image, following, comment=few(evaluator.names))
        self.ask(here, None, rest)
        return here

    def asked(self, chain: str, evaluators: Sequence[Evaluator], run: Sequence[RuleStage]) -> None:
        """A run of evaluated stages, for packets of which some evaluated rule holds."""
        firsts = [evaluator.first for evaluator in evaluators]
        for place, members in groupby(run, lambda stage: bisect_right(firsts, self.numbers[stage.index]) - 1):
            evaluator = evaluators[place]
            self.asked_of(chain, evaluator, {self.numbers[stage.index] - evaluator.first: stage for stage in members})

    def asked_of(self, chain: str, evaluator: Evaluator, numbered: Mapping[int, RuleStage]) -> None:
        for number, stage in numbered.items():
            if not stage.rule.ends:
                self.ask(chain, evaluator.held(number), self.end(stage.index, stage.rule), goto=False, comment=stage.rule.name)
        ending = {number: stage for number, stage in numbered.items() if stage.rule.ends}
        if ending:
            low, high = min(ending), max(ending) + 1
            kind = (evaluator.image.name, tuple(ending))
            if kind not in self.searches:
                name = f"{evaluator.image.name}.{len(self.searches)}"
                self.searches[kind] = self.search(name, evaluator, {number: (each.index, each.rule) for number, each in ending.items()})
            names = few([stage.rule.name for stage in ending.values()])
            self.ask(chain, evaluator.ended_among(low, high), self.searches[kind], comment=names)

    def search(self, name: str, program: Found, ending: Mapping[int, tuple[int, Rule]]) -> str:
        """A chain for packets that one of these rules ended: it finds out which, by the number that the program has of it."""
        bits = max(ending).bit_length()
        return self.search_digits(name, program, ending, bits, max(1, ceil(bits / DEEPEST_SEARCH)))

    def search_digits(self, name: str, program: Found, ending: Mapping[int, tuple[int, Rule]], bits: int, width: int) -> str:
        """Asks the rule's number by digits of `width` bits, from the highest on. The numbers differ in the lowest `bits` alone."""
        if len(ending) == 1:
            ((index, rule),) = ending.values()
            return self.end(index, rule)
        shift = max(bits - width, 0)
        ways: dict[int, dict[int, tuple[int, Rule]]] = {}
        for number, rule_at in ending.items():
            ways.setdefault(number >> shift & ((1 << width) - 1), {})[number] = rule_at
        if len(ways) == 1:
            return self.search_digits(name, program, ending, shift, width)
        here = self.new_chain(f"{name}.{min(ending)}.{bits}")
        *asked, (_, others) = ways.items()
        for digit, members in asked:
            target = self.search_digits(name, program, members, shift, width)
            self.ask(here, program.digit(shift, width, digit), target, comment=few([rule.name for _, rule in members.values()]))
        self.ask(here, None, self.search_digits(name, program, others, shift, width))
        return here

    def ask(
        self, chain: str, program: ProgramImage | None, target: str | None, *, native: str = "", goto: bool = True, comment: str = ""
    ) -> None:
        self.chains[chain].append(_Line(native, comment, program, target, goto, comment))

    def closes(self, stages: Sequence[Stage], stage: Stage) -> bool:
        """Whether nothing is behind the stage but the default."""
        return stage is stages[-1] and stage.phase == self.plan.policy.last_phase

    def stage(self, chain: str, stage: Stage, packets: PacketClass, *, closes: bool) -> None:
        match stage:
            case RuleStage():
                self.rule(chain, stage, packets)
            case MapStage():
                if stage.is_odd:
                    self.odd_map(chain, stage)
                else:
                    self.verdict_map(chain, stage)
            case ClassifierStage():
                self.classifier(chain, stage, closes=closes)
            case _:
                assert_never(stage)

    # -- one rule

    def rule(self, chain: str, stage: RuleStage, packets: PacketClass) -> None:
        end = self.end(stage.index, stage.rule)
        base = f"rule{stage.index}.{packets.value}"
        base += self.case(base)
        if self.plan.policy.goes_on(stage.rule):
            for term in stage.terms:
                self.straight(chain, stage, term, end)
        elif stage.rule.ends or len(stage.terms) == 1:
            for number, term in enumerate(stage.terms):
                self.term(chain, stage, term, end, f"{base}.{number}")
        else:
            self.once(chain, stage, base, end)

    def case(self, base: str) -> str:
        """What tells the chains of stages of one name apart."""
        cases = self.cases.get(base, 0)
        self.cases[base] = cases + 1
        return f".case{cases}" if cases else ""

    def term(self, chain: str, stage: RuleStage, term: Term, end: str, name: str) -> None:
        """Packets of the term go from `chain` to `end`; others come back to it."""
        if term.is_plain:
            self.go(chain, term.matches, end, goto=stage.rule.ends, comment=stage.rule.name)
        elif not self.inline(chain, stage, term, end):
            step = self.new_chain(name)
            self.go(chain, term.matches, step, goto=False, comment=stage.rule.name)
            for absent in term.absent:
                self.add(step, self.texts(absent), "return")
            if term.payload is None:
                self.add(step, f"goto {end}")
            else:
                self.match(step, term.payload, end, stage.rule)

    def straight(self, chain: str, stage: RuleStage, term: Term, end: str) -> None:
        """As `term`, without a jump."""
        if term.is_plain:
            self.go(chain, term.matches, end, comment=stage.rule.name)
        elif not self.inline(chain, stage, term, end):
            native = self.texts_beside_program(term.beside)
            assert native is not None, "names of interfaces can be named sets"
            assert term.judged is not None
            self.match(chain, term.judged, end, stage.rule, native=native)

    def inline(self, chain: str, stage: RuleStage, term: Term, end: str) -> bool:
        """The term as one rule, where that can be."""
        if term.payload is None or term.absent:
            return False
        native = self.texts_beside_program(term.matches)
        if native is not None:
            self.match(chain, term.payload, end, stage.rule, native=native, goto=stage.rule.ends)
        return native is not None

    def go(self, chain: str, matches: Conjunction, target: str, *, goto: bool = True, comment: str = "") -> None:
        """Packets of the matches go from `chain` to `target`. A program looks into a large set of addresses quicker than nftables does."""
        large = next((match for match in matches if _is_large(match)), None)
        native = None if large is None else self.texts_beside_program(tuple(match for match in matches if match is not large))
        if large is None or native is None:
            self.add(chain, self.texts(matches), f"{'goto' if goto else 'jump'} {target}", comment=comment)
        else:
            self.ask(chain, self.address_set(large), target, native=native, goto=goto, comment=comment)

    def address_set(self, match: Match) -> ProgramImage:
        assert match.key is not None
        is_v4 = match.notation is Notation.IPV4
        value = self.address_sets.get((is_v4, match.ranges))
        if value is None:
            name = f"addresses{len(self.address_sets)}"
            made = address_set(4 if is_v4 else 6, match.ranges, self.before.sets.get(name) if self.before else None)
            if self.made.grows:
                self.made.sets[name] = made
            value = self.address_sets[is_v4, match.ranges] = replace(set_spec(name, made.size), initial=made.value)
        key = (value.name, match.key)
        if key not in self.lookups:
            word = safe_name(match.list_name)[:LONGEST_PROGRAM_NAME] if match.list_name else "set"
            self.lookups[key] = compile_prefix_set(f"in_{word}_{len(self.lookups)}", value, _SIDES[match.key])
        return self.lookups[key]

    def once(self, chain: str, stage: RuleStage, base: str, end: str) -> None:
        """A rule that does not end and has several terms: a packet comes to its end at most once, since every step is a goto."""
        here = self.new_chain(base)
        self.add(chain, f"jump {here}", comment=stage.rule.name)
        simple = [term for term in stage.terms if term.is_plain]
        guarded = [term for term in stage.terms if not term.is_plain and term.payload is None]
        deep = [term for term in stage.terms if term.payload is not None]
        if len(guarded) > MOST_GUARDED:
            guarded, deep = [], guarded + deep
        for term in simple:
            self.go(here, term.matches, end)
        for number, term in enumerate(guarded):
            after = self.new_chain(f"{base}.after{number}")
            inside = self.new_chain(f"{base}.{number}")
            self.go(here, term.matches, inside)
            self.add(here, f"goto {after}")
            for absent in term.absent:
                self.add(inside, self.texts(absent), f"goto {after}")
            self.add(inside, f"goto {end}")
            here = after
        if deep:
            wholes = [term.whole for term in deep]
            step = self.new_chain(f"{base}.match")
            for term in deep:
                self.go(here, term.matches, step)
            self.match(step, ex.Or(tuple(whole for whole in wholes if whole is not None)), end, stage.rule)

    def match(self, chain: str, predicate: Expression, target: str, rule: Rule, *, native: str = "", goto: bool = True) -> None:
        """Packets for which `predicate` holds, and what is native, go from `chain` to `target`."""
        program = self.programs.get(predicate)
        if program is None:
            program = self.programs[predicate] = self.program(predicate, rule)
        self.ask(chain, program, target, native=native, goto=goto, comment=rule.name)

    def program(self, predicate: Expression, rule: Rule) -> ProgramImage:
        """Its lines bear the rule's name, and so does its pin, behind a number: no name of a rule makes it an evaluator's."""
        try:
            most_sieves = MOST_SIEVES if len(self.programs) < FEW_PROGRAMS else 0
            image = compile_program(rule.name, predicate, source=self.plan.policy.source, most_sieves=most_sieves)
        except LoweringError as error:
            raise _too_large(self.plan.policy, rule, error) from error
        return replace(image, name=f"{len(self.programs)}_{safe_name(rule.name)[:LONGEST_PROGRAM_NAME]}")

    def texts(self, matches: Conjunction) -> str:
        return " ".join(match_text(match, self.set_of(match)) for match in matches)

    def texts_beside_program(self, matches: Conjunction) -> str | None:
        """The matches for a rule that has a program too; None where one of them tests a set without a name."""
        names = [self.set_of(match, always=True) for match in matches]
        if any(name is None and max(len(match.ranges), len(match.names)) > 1 for match, name in zip(matches, names, strict=True)):
            return None
        return " ".join(match_text(match, name) for match, name in zip(matches, names, strict=True))

    def set_of(self, match: Match, *, always: bool = False) -> str | None:
        """The named set of a match; None where the values stand in the rule, as few do that need not `always` be named, and all that
        nft has no type for."""
        is_address = match.key in (Key.SOURCE, Key.DESTINATION)
        count = len(match.ranges) or len(match.names)
        if count <= (1 if always else MOST_INLINE_RANGES) or not (is_address or always):
            return None
        if is_address:
            kind = "ipv4_addr" if match.notation is Notation.IPV4 else "ipv6_addr"
        elif match.notation is Notation.INTERFACE:
            kind = "ifname"
        elif match.key in _KEY_TYPES:
            kind = _KEY_TYPES[match.key]
        else:
            return None
        found = self.sets.get((kind, match.ranges, match.names))
        if found is not None:
            return found
        word = safe_name(match.list_name) if match.list_name else f"set{len(self.sets)}"
        name = f"{self.prefix}.{word}.{_SET_WORDS[kind]}.{len(self.sets)}"
        self.sets[kind, match.ranges, match.names] = name
        if len(match.ranges) > MOST_TEXT_RANGES:
            self.bulk.append(BulkElements(name, 4 if match.notation is Notation.IPV4 else 16, match.ranges))
            elements = ""
        else:
            values = [f'"{each}"' for each in match.names] or [range_text(match.notation, low, high) for low, high in match.ranges]
            elements = f" elements = {{ {', '.join(values)} }};"
        flags = "flags interval;" if is_address or any(low != high for low, high in match.ranges) else f"size {count};"
        self.declarations.append(f"add set inet {TABLE} {name} {{ type {kind}; {flags}{elements} }}")
        return name

    # -- runs of rules

    def verdict_map(self, chain: str, stage: MapStage) -> None:
        version = {Notation.IPV4: "ip", Notation.IPV6: "ip6"}.get(stage.addresses, "")
        header = _PORT_HEADERS.get(stage.protocol, "th") if stage.protocol is not None else "th"
        left = " . ".join(_KEY_WORDS[key].format(version=version, header=header) for key in stage.keys)
        protocol = "" if stage.protocol is None else match_text(protocol_match(stage.protocol))
        self.add(
            chain,
            protocol,
            self.texts(stage.fixed),
            f"{left} vmap @{self.map_of(stage)}",
            comment=few([rule.name for _, rule in stage.members]),
        )

    def classifier(self, chain: str, stage: ClassifierStage, *, closes: bool) -> None:
        """The program counts, and says whether the rule that it found has another verdict than the one that follows anyway."""
        verdicts = {rule.action._value_: rule for _, rule in stage.members}  # (an enum's own hash is slow)
        by_action = {rule.action: rule for rule in verdicts.values()}
        actions = by_action.keys()
        names = few([rule.name for _, rule in stage.members])
        if self.observe is not None:
            found = self.classified(stage, actions)
            if found.search is None:
                found.search = self.search(found.image.name, found, {member[0]: member for member in stage.members})
            self.ask(chain, found.image, found.search, comment=names)
            return
        others = actions - {self.plan.policy.default} if closes else actions
        told = sorted(others or actions, key=lambda action: action.value)
        found = self.classified(stage, told)
        targets = [self.verdict(by_action[action]) for action in told]
        if len(told) > 1:
            if found.search is None:
                found.search = self.new_chain(found.image.name)
                for action, verdict in zip(told[:-1], targets, strict=False):
                    self.ask(found.search, found.says(action), verdict, comment=action.value)
                self.ask(found.search, None, targets[-1], comment=told[-1].value)
            targets = [found.search]
        self.ask(chain, found.image, targets[0], comment=names)

    def classified(self, stage: ClassifierStage, told: Collection[Action]) -> Classified:
        """The stage's program, which answers 1 for rules of these actions."""
        key = (id(stage), frozenset(told))
        if key not in self.classifiers:
            from firewall.classifier import classified  # noqa: PLC0415 (numpy takes a tenth of a second)

            self.classifiers[key] = classified(
                f"classify{len(self.classifiers)}", stage, told, self.made, self.before, is_counted=self.observe is None,
                has_record=self.plan.policy.hook is not Hook.OUTPUT,
            )  # fmt: skip
        return self.classifiers[key]

    def verdict(self, rule: Rule) -> str:
        """A chain with the rule's verdict, for packets that are counted already. Rules of one verdict share it."""
        word = "return" if self.plan.policy.goes_on(rule) else rule.action.value
        is_new = f"{self.prefix}.{word}" not in self.chains
        name = self.chain(word)
        if is_new and rule.action is Action.REJECT:
            self.reject(name)
        elif is_new:
            self.add(name, "return" if word == "return" else _VERDICTS[rule.action])
        return name

    def odd_map(self, chain: str, stage: MapStage) -> None:
        """A map of which eBPF must ask the protocol and the ports; its addresses are looked up behind that."""
        base = f"map{stage.members[0][0]}.{PacketClass.IP6_ODD.value}"
        base += self.case(base)
        step = self.new_chain(base)
        self.add(chain, self.texts(stage.fixed), f"jump {step}", comment=few([rule.name for _, rule in stage.members]))
        self.branch(step, transport_tree(stage), stage, dict(stage.members))

    def branch(self, chain: str, branch: Branch, stage: MapStage, rules: Mapping[int, Rule]) -> None:
        for number, (test, way) in enumerate(branch.ways):
            if isinstance(way, Leaf) and not address_keys(stage):
                index = way.elements[0].index
                self.match(chain, test, self.end(index, rules[index]), rules[index])
                continue
            _, rule = stage.members[0]
            target = self.new_chain(f"{chain.removeprefix(self.prefix + '.')}.{number}")
            self.match(chain, test, target, rule, goto=False)
            if isinstance(way, Branch):
                self.branch(target, way, stage, rules)
            else:
                members = tuple((each, rules[each]) for each in dict.fromkeys(element.index for element in way.elements))
                self.verdict_map(target, MapStage(members, (), address_keys(stage), None, way.elements, stage.addresses, stage.reasons))

    def map_of(self, stage: MapStage) -> str:
        """The name of the stage's map; stages of the same elements share one."""
        kind = (stage.keys, stage.elements, stage.addresses)
        name = self.maps.get(kind)
        if name is not None:
            return name
        name = self.maps[kind] = f"{self.prefix}.map{len(self.maps)}"
        ends = {index: self.end(index, rule) for index, rule in stage.members}
        notations = [stage.addresses if key in (Key.SOURCE, Key.DESTINATION) else Notation.NUMBER for key in stage.keys]
        elements = ", ".join(
            " . ".join(range_text(notation, low, high) for notation, (low, high) in zip(notations, element.box, strict=True))
            + f" : goto {ends[element.index]}"
            for element in stage.elements
        )
        address = "ipv4_addr" if stage.addresses is Notation.IPV4 else "ipv6_addr"
        types = " . ".join(_KEY_TYPES.get(key, address) for key in stage.keys)
        flags = " flags interval;" if stage.is_interval else ""
        self.declarations.append(f"add map inet {TABLE} {name} {{ type {types} : verdict;{flags} elements = {{ {elements} }}; }}")
        return name

    # -- ends

    def end(self, index: int, rule: Rule) -> str:
        """The chain that counts a match of the rule, logs it, and gives the verdict."""
        name = f"{self.prefix}.rule{index}"
        if name in self.chains:
            return name
        self.chain(f"rule{index}")
        counter = counter_name(self.plan.policy.tenant, rule.name)
        self.counters[counter] = rule.name
        self.declarations.append(f'add counter inet {TABLE} {counter} {{ comment "{safe_comment(rule.name)}"; }}')
        log = f'log prefix "{index}" group {self.observe}' if self.observe is not None else ""
        verdict = "return" if self.plan.policy.goes_on(rule) else _VERDICTS[rule.action] if rule.ends else ""
        self.add(name, f"counter name {counter}", log, verdict, comment=rule.name)
        if rule.ends and rule.action is Action.REJECT:
            self.reject(name)
        if self.observe is None and (rule.action is Action.LOG or rule.mode is Mode.MONITOR):
            words = (
                f"{self.plan.policy.tenant} {rule.mode.value + ' ' if rule.mode is Mode.MONITOR else ''}{rule.action.value} {rule.name}: "
            )
            self.add(name, f'limit rate 10/second burst 20 packets log prefix "{safe_comment(words).replace("$", "?")}"')
        return name

    def reject(self, chain: str) -> None:
        self.add(chain, "meta l4proto tcp reject with tcp reset")
        self.add(chain, "reject with icmpx port-unreachable")

    def default(self) -> list[_Line]:
        """The last lines of a chain: the default's verdict, or to the chain of its own that it has where it is more."""
        verdict = _VERDICTS[self.plan.policy.default]
        if self.observe is None and verdict:
            return [_Line(verdict, "default")]
        name = f"{self.prefix}.default"
        if name not in self.chains:
            self.chain("default")
            if self.observe is not None:
                self.add(name, f'log prefix "default" group {self.observe}', verdict, comment="default")
            if not verdict:
                self.reject(name)
        return [_Line(f"goto {name}", "")]


_VERDICTS = {Action.ALLOW: "accept", Action.BLOCK: "drop", Action.REJECT: ""}
"""The verdict at the end of a rule's first line; a reject is two more lines."""

_KEY_WORDS = {
    Key.SOURCE: "{version} saddr", Key.DESTINATION: "{version} daddr", Key.SOURCE_PORT: "{header} sport",
    Key.DESTINATION_PORT: "{header} dport", Key.PROTOCOL: "meta l4proto",
}  # fmt: skip
_KEY_TYPES = {Key.SOURCE_PORT: "inet_service", Key.DESTINATION_PORT: "inet_service", Key.PROTOCOL: "inet_proto"}
_PORT_HEADERS = {6: "tcp", 17: "udp", 132: "sctp"}

_SIDES = {Key.SOURCE: Side.SOURCE, Key.DESTINATION: Side.DESTINATION}
_SET_WORDS = {"ipv4_addr": "v4", "ipv6_addr": "v6", "inet_service": "ports", "inet_proto": "protocols", "ifname": "interfaces"}


def _is_large(match: Match) -> bool:
    """Whether a program is to look the address up."""
    return match.key in _SIDES and not match.negated and len(match.ranges) > MOST_NATIVE_RANGES


def _wants_content(stage: Stage) -> bool:
    """Whether every alternative of the stage loads a byte behind a TCP or UDP header: nft finds none in a later fragment
    (__nft_payload_inner_offset in net/netfilter/nft_payload.c). A byte of these headers themselves it does find there, a wrong one."""
    return isinstance(stage, RuleStage) and all(any(match.left.startswith("@ih") for match in term.matches) for term in stage.terms)


def _too_large(policy: Policy, rule: Rule, error: LoweringError) -> DiagnosticError:
    return DiagnosticError((Diagnostic("E0904", f"eBPF cannot hold this test: {error}", policy.span(rule)),))


def few(names: Sequence[str]) -> str:
    """The names of rules, in a few words."""
    return ", ".join(names) if len(names) < 4 else f"{names[0]} ... {names[-1]} ({len(names)} rules)"


def safe_comment(text: str) -> str:
    """`text` as nft takes it between quotes, and no longer than a comment may be."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text[:LONGEST_COMMENT]
    clean = "".join("'" if char == '"' else char if char.isprintable() and char != "\\" else "?" for char in text)
    return clean.encode()[:LONGEST_COMMENT].decode(errors="ignore")


def safe_name(text: str) -> str:
    """`text` in the letters of nft's names."""
    return "".join(char if (char.isascii() and char.isalnum()) or char in "_-" else "_" for char in text)
