"""What each statement of a rule file means, and what is wrong with it: one method a kind of statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rules_dsl import literals
from rules_dsl.checker_values import items_of, string
from rules_dsl.checking import Context, Place, place_of
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.expression import Const, Ranges
from rules_dsl.files import read_bytes, read_text
from rules_dsl.geo import Geo
from rules_dsl.limits import Limits
from rules_dsl.listfile import parse_list
from rules_dsl.lists import ItemValue, ListValue, gathered, item_value, kind_of
from rules_dsl.literals import LiteralError
from rules_dsl.policy import LONGEST_INTERFACE_NAME, TENANT_NAME, Action, Expectation, Hook, Policy, Protect
from rules_dsl.ranges import merged
from rules_dsl.rule_checks import RuleChecks
from rules_dsl.suggestions import did_you_mean
from rules_dsl.syntax import (
    DefaultStatement,
    EarlyDropStatement,
    ExpectStatement,
    GeoStatement,
    HookStatement,
    ListName,
    ListStatement,
    Name,
    ProtectAll,
    ProtectInterface,
    ProtectMark,
    ProtectStatement,
    SetOf,
    TenantStatement,
    Text,
    Word,
)

VERDICTS = ("allow", "block", "reject", "log", "limit", "default")
DEFAULTS = (Action.ALLOW, Action.BLOCK, Action.REJECT)


@dataclass(slots=True)
class _Said:
    """Statements that stand once: what they said, and where."""

    value: str
    place: Span


class PolicyChecks:
    """Gathers one policy, statement by statement; the diagnostics go to `found`."""

    def __init__(
        self, source: Source, folder: Path, limits: Limits, geo: Geo | None, lists: Mapping[str, ListValue], found: list[Diagnostic]
    ) -> None:  # fmt: skip
        self.source = source
        self.folder = folder
        self.lists: dict[str, ListValue] = dict(lists)
        self.own_lists: dict[str, Span] = {}
        self.context = Context(source, self.lists, limits, geo, found=found)
        self.geo = Geo()
        self.geo_beside = geo
        self.once: dict[str, _Said] = {}
        self.v4: list[tuple[int, int]] = []
        self.v6: list[tuple[int, int]] = []
        self.interfaces: dict[str, None] = {}
        self.marks: dict[int, None] = {}
        self.all_traffic = False
        self.early_drop: tuple[str, ...] = ()
        self.rules = RuleChecks(self.context)
        self.expectations: list[Expectation] = []

    def policy(self) -> Policy:
        """The policy; of use where no error was found."""
        self._check_early_drop()
        if not any(diagnostic.is_error for diagnostic in self.context.found):
            self._warn_unused()
            self._warn_unreachable()
        protect = Protect() if self.all_traffic else Protect(merged(self.v4), merged(self.v6), tuple(self.interfaces), tuple(self.marks))
        return Policy(
            tenant=self.once["tenant"].value if "tenant" in self.once else self._tenant_of_file(),
            rules=tuple([known.rule for known in self.rules.known]),
            default=Action(self.once["default"].value) if "default" in self.once else Action.ALLOW,
            protect=protect,
            hook=Hook(self.once["hook"].value) if "hook" in self.once else Hook.PREROUTING,
            early_drop=self.early_drop,
            expectations=tuple(self.expectations),
            source=self.source.name,
            spans=self.rules.spans(),
        )

    def _tenant_of_file(self) -> str:
        """Without a `tenant` statement the file's name is the tenant's, where it can be."""
        stem = re.sub(r"[^A-Za-z0-9_-]", "-", Path(self.source.name).stem)[:32]
        return stem if TENANT_NAME.fullmatch(stem) else "default"

    # -- statements that stand once ------------------------------------------------------------------------------------

    def _say_once(self, base: int, kind: str, value: str, start: int, end: int) -> None:
        place = Span(self.source, base + start, base + end)
        before = self.once.get(kind)
        if before is not None:
            message = f"`{kind}` is said twice"
            self.context.found.append(
                Diagnostic("E0503", message, place, "said again", ((before.place, "said here first"),), "keep one of them")
            )
            return
        self.once[kind] = _Said(value, place)

    def tenant_statement(self, base: int, statement: TenantStatement) -> None:
        self.context.base = base
        name: str | None
        if isinstance(statement.name, Text):
            value = string(self.context, statement.name)
            name = None if value is None else value.decode(errors="replace")
        else:
            name = statement.name.text
        if name is None:
            return
        if not TENANT_NAME.fullmatch(name):
            help = "letters, digits, `_` and `-`, a letter first, at most 32: it names chains, sets and pins in the kernel"
            self.context.error("E0511", f"`{name}` cannot name a tenant", place_of(statement.name), help=help)
            return
        self._say_once(base, "tenant", name, statement.start, statement.end)

    def hook_statement(self, base: int, statement: HookStatement) -> None:
        self.context.base = base
        hooks = [hook.value for hook in Hook]
        if statement.name.text not in hooks:
            help = did_you_mean(statement.name.text, hooks) or "hooks: " + ", ".join(hooks)
            self.context.error("E0504", f"there is no hook `{statement.name.text}`", place_of(statement.name), "unknown hook", help=help)
            return
        self._say_once(base, "hook", statement.name.text, statement.start, statement.end)

    def default_statement(self, base: int, statement: DefaultStatement) -> None:
        self.context.base = base
        word = statement.action.text
        if word not in [action.value for action in DEFAULTS]:
            message = f"`{word}` is no default: it says nothing of what becomes of a packet"
            self.context.error("E0505", message, place_of(statement.action), help="a default is allow, block or reject")
            return
        self._say_once(base, "default", word, statement.start, statement.end)

    def geo_statement(self, base: int, statement: GeoStatement) -> None:
        """The files of all such statements, in their order, and behind them those given beside the rule file."""
        self.context.base = base
        for literal in statement.paths:
            path = self._path(literal)
            if path is None:
                self.geo = self.geo.joined(Geo(incomplete=True))
                continue
            shown, full = path
            try:
                self.geo = self.geo.joined(Geo.parse(read_bytes(full, shown, self.context.span(*place_of(literal))), shown))
            except DiagnosticError as error:
                self.context.found += error.diagnostics
                # One message about the file is enough: its fields are checked against the others.
                self.geo = self.geo.joined(Geo(incomplete=True))
        self.context.geo = self.geo if self.geo_beside is None else self.geo.joined(self.geo_beside)

    def _path(self, node: Text) -> tuple[str, Path] | None:
        """A path as written, and where it leads."""
        value = string(self.context, node)
        if value is None:
            return None
        written = value.decode(errors="replace")
        if not written or "\0" in written:
            self.context.error("E0601", "this is no file name", place_of(node))
            return None
        return written, self.folder / written

    # -- what is protected ---------------------------------------------------------------------------------------------

    def protect_statement(self, base: int, statement: ProtectStatement) -> None:
        self.context.base = base
        for target in statement.targets:
            match target:
                case Word():
                    self._protect_addresses(target)
                case ProtectInterface(name):
                    value = string(self.context, name)
                    if value is not None and self._is_interface(value, place_of(name)):
                        self.interfaces[value.decode()] = None
                case ProtectMark(mark):
                    self._protect_mark(mark)
                case ProtectAll():
                    self.all_traffic = True

    def _protect_addresses(self, node: Word) -> None:
        try:
            version, low, high = literals.address_range(node.text)
        except LiteralError as error:
            self.context.bad_literal(error, node.start)
            return
        (self.v4 if version == 4 else self.v6).append((low, high))

    def _is_interface(self, value: bytes, place: Place) -> bool:
        if (
            0 < len(value) <= LONGEST_INTERFACE_NAME
            and value.isascii()
            and not any(chr(byte).isspace() or byte in b'/:"\\' or byte < 32 for byte in value)
        ):
            return True
        help = f"1 to {LONGEST_INTERFACE_NAME} characters without spaces, slashes and colons"
        self.context.error("E0508", "this cannot be an interface's name", place, help=help)
        return False

    def _protect_mark(self, node: Word) -> None:
        try:
            mark = literals.number(node.text)
        except LiteralError as error:
            self.context.bad_literal(error, node.start)
            return
        if mark >= 1 << 32:
            self.context.error("E0305", "a packet's mark has 32 bits", place_of(node), "too large")
            return
        self.marks[mark] = None

    def early_drop_statement(self, base: int, statement: EarlyDropStatement) -> None:
        self.context.base = base
        names: dict[str, None] = {}
        for node in statement.interfaces:
            value = string(self.context, node) if isinstance(node, Text) else node.text.encode()
            if value is None or not self._is_interface(value, place_of(node)):
                return
            names[value.decode()] = None
        self._say_once(base, "early_drop", " ".join(names), statement.start, statement.end)
        self.early_drop = tuple(names)

    def _check_early_drop(self) -> None:
        said = self.once.get("early_drop")
        if said is None:
            return
        hook = self.once.get("hook")
        if hook is not None and hook.value != Hook.PREROUTING.value:
            message = f"a frame that is received need not come to the hook {hook.value}"
            help = "early drop goes with rules at prerouting: leave out `hook`, or `early_drop`"
            self.context.found.append(Diagnostic("E0515", message, said.place, "", ((hook.place, "the rules stand here"),), help))
        elif self.all_traffic or not (self.v4 or self.v6):
            message = "early drop tells by the destination address whose rules a frame comes to, and no addresses are protected"
            help = "protect addresses; `protect 0.0.0.0/0 ::/0` are all"
            self.context.found.append(Diagnostic("E0515", message, said.place, "", help=help))

    # -- lists ---------------------------------------------------------------------------------------------------------

    def list_statement(self, base: int, statement: ListStatement) -> None:
        self.context.base = base
        name = statement.name.text
        place = self.context.span(*place_of(statement.name))
        before = self.own_lists.get(name)
        if before is not None:
            related = ((before, "defined here first"),)
            self.context.found.append(
                Diagnostic("E0512", f"there are two lists `{name}`", place, "defined again", related, "rename one of them")
            )
            return
        self.own_lists[name] = place
        found = self._listed(statement.content) if isinstance(statement.content, SetOf) else self._list_from(statement.content)
        if found is None:
            # Something is wrong with it, and that is reported: rules that use it are checked against an empty one.
            found = ListValue.of_addresses([])
        self.lists[name] = found

    def _list_from(self, node: Text) -> ListValue | None:
        path = self._path(node)
        if path is None:
            return None
        shown, full = path
        try:
            text = read_text(full, shown, self.context.span(*place_of(node)))
        except DiagnosticError as error:
            self.context.found += error.diagnostics
            return None
        value, found = parse_list(text, shown, self.context.limits)
        self.context.found += found
        return value

    def _listed(self, node: SetOf) -> ListValue | None:
        items = items_of(self.context, node)
        if items is None:
            return None
        values: list[tuple[str, ItemValue]] = []
        first: tuple[str, ItemValue] | None = None
        wrong = False
        for item in items:
            if isinstance(item, Name | ListName):
                help = f'text is quoted: "{item.text}"' if isinstance(item, Name) else "a list holds values, not other lists"
                self.context.error("E0602", f"`{self.context.text(*place_of(item))}` is no item of a list", place_of(item), help=help)
                wrong = True
                continue
            try:
                value = item_value(item.text)
            except LiteralError as error:
                self.context.bad_literal(error, item.start)
                wrong = True
                continue
            first = first or (item.text, value)
            if kind_of(value) is not kind_of(first[1]):
                message = f"a list holds one kind of items: the first is one of {kind_of(first[1]).value}"
                self.context.error("E0604", message, place_of(item), f"one of {kind_of(value).value}")
                return None
            values.append((item.text, value))
        return None if wrong else gathered(values)

    # -- tests ---------------------------------------------------------------------------------------------------------

    def expect_statement(self, base: int, statement: ExpectStatement) -> None:
        self.context.base = base
        good = True
        verdict = statement.verdict.text
        if verdict not in VERDICTS:
            verdicts = did_you_mean(verdict, VERDICTS) or "verdicts: " + ", ".join(VERDICTS)
            if verdict == "count":
                verdicts = "a `count` rule says nothing of a packet; verdicts: " + ", ".join(VERDICTS)
            self.context.error("E0509", f"`{verdict}` is no verdict", place_of(statement.verdict), "unknown verdict", help=verdicts)
            good = False
        rule = None
        if statement.rule is not None:
            value = string(self.context, statement.rule)
            rule = None if value is None else value.decode(errors="replace")
            if rule is not None and rule not in self.rules.names:
                help = did_you_mean(rule, self.rules.names)
                self.context.error("E0510", f'there is no rule "{rule}"', place_of(statement.rule), "unknown rule", help=help)
            good = good and rule is not None and rule in self.rules.names
        when = None if statement.when is None else self.rules.predicate(statement.when)
        path = self._path(statement.capture)
        frames = None if statement.frames is None else self._frames(statement.frames)
        if (statement.when is not None and when is None) or path is None or (statement.frames is not None and frames is None) or not good:
            return
        span = self.context.span(statement.start, statement.end)
        self.expectations.append(Expectation(verdict, rule, when, path[0], frames, span))

    def _frames(self, node: Word) -> Ranges | None:
        try:
            low, high = literals.number_range(node.text)
        except LiteralError as error:
            self.context.bad_literal(error, node.start)
            return None
        if low == 0:
            self.context.error("E0513", "packets are numbered from 1", place_of(node))
            return None
        return ((low, high),)

    # -- warnings ------------------------------------------------------------------------------------------------------

    def _warn_unused(self) -> None:
        for name, place in self.own_lists.items():
            if name not in self.context.used_lists:
                self.context.found.append(Diagnostic("W0501", f"no rule uses the list `{name}`", place, "never used"))

    def _warn_unreachable(self) -> None:
        rules = [each.rule for each in self.rules.known]
        constant = [(at, rule) for at, rule in enumerate(rules) if isinstance(rule.predicate, Const)]
        ending = next((at for at, rule in constant if rule.predicate == Const(True) and rule.ends), len(rules))
        if ending + 1 >= len(rules):
            return
        spans = self.rules.spans()
        unreached = rules[ending + 1]
        related = ((spans[rules[ending].name], "every packet ends here"),)
        message = f'no packet reaches the rule "{unreached.name}"'
        self.context.found.append(
            Diagnostic("W0502", message, spans[unreached.name], "never evaluated", related, "move it up, or remove it")
        )
