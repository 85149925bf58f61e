"""What the rules of a rule file mean, and what is wrong with them: by what is remembered of the same text, by the template of texts
like it, or statement by statement."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from rules_dsl import literals
from rules_dsl.canonical import canonical_expression
from rules_dsl.checker import check_expression
from rules_dsl.checker_values import string
from rules_dsl.checking import Context, place_of
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Span
from rules_dsl.division import Run
from rules_dsl.expression import Expression
from rules_dsl.expressions import too_long
from rules_dsl.fields import BY_NAME, Type
from rules_dsl.lexemes import STRING, Gathered
from rules_dsl.literals import BITS, LiteralError
from rules_dsl.parser import parse_statement_tree
from rules_dsl.policy import Limit, Mode, Rule
from rules_dsl.rule_memory import KnownRule, memory
from rules_dsl.rule_spans import RuleSpans
from rules_dsl.rule_template import cut, template
from rules_dsl.statements import NO_CODE, Piece
from rules_dsl.suggestions import did_you_mean
from rules_dsl.syntax import Node, Rate, RuleStatement, Word

NAME_BYTES = 120
"""Of a rule's name in UTF-8: it becomes a comment in the kernel, which holds 128 (libnftnl udata.h, NFTNL_UDATA_COMMENT_MAXLEN)."""

UNITS = ("second", "minute", "hour")

_HEAD: Final = re.compile(rf"(?:[a-z]+[ \t]+)+(?P<name>{STRING})")
_SPACE: Final = " \t\r\n\f"


def is_name(text: str, size: int) -> bool:
    """Whether a rule may be called so; `size` bytes in UTF-8."""
    return bool(text.strip()) and size <= NAME_BYTES and text.isprintable() and not ('"' in text or "\\" in text or "\ufffd" in text)


class RuleChecks:
    """Gathers the rules of one policy; the diagnostics go to the context."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.count = 0
        """Of the statements so far, those with errors too."""
        self.known: list[KnownRule] = []
        self.bases: list[int] = []
        """Where the texts begin that they are remembered by."""
        self.names: dict[str, int | Span] = {}
        """Which of the known rules has a name; of one that is none of these, where it has it."""
        self._memory = memory(context.limits)

    def spans(self) -> RuleSpans:
        return RuleSpans(self.context.source, self.names, self.known, self.bases)

    # -- rules that are known ------------------------------------------------------------------------------------------

    def run(self, run: Run) -> None:
        """Many at once, where nothing is to be said of them."""
        names = [known.rule.name for known in run.rules]
        is_plain = (
            self.count + len(names) <= self.context.limits.rules
            and True not in [known.is_numbered for known in run.rules]
            and self.names.keys().isdisjoint(names)
            and len(set(names)) == len(names)
        )
        if is_plain:
            self.names.update(zip(names, range(len(self.known), len(self.known) + len(names)), strict=True))
            self.known += run.rules
            self.bases += run.bases
            self.count += len(names)
            self.context.used_lists.update(*[known.lists for known in run.rules])
            return
        for known, base in zip(run.rules, run.bases, strict=True):
            if not self._add(known, base):
                self._read(base + known.start, base + known.end)

    def piece(self, piece: Piece) -> None:
        """A statement that begins as rules do."""
        text, base = self._own_text(piece)
        known = self._memory.rules.get(text)
        if known is not None:
            if not self._add(known, base):
                self._read(piece.start, piece.end)
            return
        indent = piece.start - base
        key, spelled = cut(text[indent:])
        known = self._alike(key, spelled, len(text), indent)
        if known is not None and self._add(known, base):
            self._memory.keep(text, known)
            return
        before = len(self.context.found), len(self.known)
        self.context.asked_geo = False
        read = self._read(piece.start, piece.end)
        if read is None or (len(self.context.found), len(self.known) - 1) != before or self.context.asked_geo:
            return
        statement, gathered = read
        known = self.known[-1]
        known = self.known[-1] = replace(known, start=indent + known.start, end=indent + known.end)
        self.bases[-1] = base
        self._memory.keep(text, known)
        self._memory.make_room()
        found = None
        if key in self._memory.templates:
            found = template(text[indent:], statement, gathered, self.context, self._memory.tests)
        self._memory.templates[key] = found

    def _own_text(self, piece: Piece) -> tuple[str, int]:
        """The line of a statement that stands alone on it, or else the statement itself; and where that begins."""
        text = self.context.source.text
        line_end = text.find("\n", piece.start, piece.end)
        line_end = piece.end if line_end < 0 else line_end
        behind = text[line_end : piece.end].strip(_SPACE)
        if behind and not NO_CODE.fullmatch(behind):
            return text[piece.start : piece.end].rstrip(_SPACE), piece.start
        begin = text.rfind("\n", 0, piece.start) + 1
        return text[begin:line_end], begin

    def _alike(self, key: tuple[str, ...], spelled: list[str], size: int, indent: int) -> KnownRule | None:
        """By a template; None where there is none, or something may be wrong."""
        found = self._memory.templates.get(key)
        if found is None or size > self.context.limits.expression_characters:
            return None
        if found.name is None:
            name = f"#{self.count + 1}"
        else:
            literal = spelled[found.name]
            name = literal[1:-1]
            if literal[0] != '"' or not is_name(name, len(name.encode())):
                return None
        learned = self.context.learned
        rule = found.rule(name, spelled, self.context)
        if self.context.learned > learned:
            self._memory.values += self.context.learned - learned
            self._memory.make_room()
        return None if rule is None else KnownRule(rule, indent + found.start, size - found.behind, found.lists, found.name is None)

    def _add(self, known: KnownRule, base: int) -> bool:
        """False where that is an error: the statement is to be read, and then says which."""
        if self.count >= self.context.limits.rules:
            return False
        name = f"#{self.count + 1}" if known.is_numbered else known.rule.name
        if name in self.names:
            return False
        if name != known.rule.name:
            known = replace(known, rule=replace(known.rule, name=name))
        self.count += 1
        self.names[name] = len(self.known)
        self.known.append(known)
        self.bases.append(base)
        if known.lists:
            self.context.used_lists |= known.lists
        return True

    # -- statements ----------------------------------------------------------------------------------------------------

    def _read(self, start: int, end: int) -> tuple[RuleStatement, Gathered] | None:
        """Parses and checks a statement; None where it does not parse."""
        try:
            statement, gathered = parse_statement_tree(self.context.source, start, end, self.context.limits.nesting)
        except DiagnosticError as error:
            self.context.found += error.diagnostics
            self._name_unparsed(start, end)
            return None
        assert isinstance(statement, RuleStatement)
        used, self.context.used_lists = self.context.used_lists, set()
        self._statement(start, statement, gathered)
        self.context.used_lists |= used
        return statement, gathered

    def _name_unparsed(self, start: int, end: int) -> None:
        """What a statement would have been called had it parsed is taken to be there: one message about it is enough."""
        self.count += 1
        found = _HEAD.match(self.context.source.text, start, end)
        if found is not None:
            self.names.setdefault(found["name"][1:-1], Span(self.context.source, found.start("name"), found.end("name")))

    def _statement(self, base: int, statement: RuleStatement, gathered: Gathered) -> None:
        self.context.base = base
        self.count += 1
        if self.count > self.context.limits.rules:
            if self.count == self.context.limits.rules + 1:
                message = f"a rule file holds at most {self.context.limits.rules:,} rules"
                self.context.error("E0404", message, (statement.start, statement.end), "one too many")
            return
        mode = self._mode(statement)
        name = self._rule_name(statement)
        limit = None if statement.rate is None else self._limit(statement.rate)
        predicate = self.predicate(statement.expression)
        if predicate is None or name is None or (statement.rate is not None and limit is None):
            return
        start = statement.expression.start
        first = next(index for index, part in enumerate(gathered.parts) if part.start == start)
        rule = Rule(name, statement.action, mode, predicate, canonical_expression(gathered, first), limit)
        lists = frozenset(self.context.used_lists)
        self.names[name] = len(self.known)
        self.known.append(KnownRule(rule, statement.start, statement.end, lists, statement.name is None))
        self.bases.append(base)

    def predicate(self, node: Node) -> Expression | None:
        context = self.context
        refused = too_long(context.source, context.base + node.start, context.base + node.end, context.limits)
        if refused is not None:
            context.found.append(refused)
            return None
        return check_expression(context, node)

    def _mode(self, statement: RuleStatement) -> Mode:
        if not statement.modes:
            return Mode.ENABLED
        mode = statement.modes[0][0]
        for again, start, end in statement.modes[1:]:
            related = ((statement.modes[0][1:], ""),)
            message = f"`{again.value}` after `{mode.value}`: a rule has one mode"
            self.context.error(
                "E0507", message, (start, end), help="a disabled rule is not evaluated at all; one in monitor mode is", related=related
            )
        return mode

    def _rule_name(self, statement: RuleStatement) -> str | None:
        if statement.name is None:
            name, place = f"#{self.count}", self.context.span(statement.start, statement.start + len(statement.action.value))
        else:
            value = string(self.context, statement.name)
            if value is None:
                return None
            place = self.context.span(*place_of(statement.name))
            name = value.decode(errors="replace")
            if not is_name(name, len(value)):
                help = f"1 to {NAME_BYTES} bytes of UTF-8, without quotes, backslashes and control characters"
                self.context.error("E0514", "this cannot be a rule's name", place_of(statement.name), help=help)
                return None
        before = self.names.get(name)
        if before is not None:
            related = ((self._named_at(before), "named here first"),)
            help = "counters, logs and replays tell rules apart by their names: rename one of them"
            self.context.found.append(Diagnostic("E0502", f'there are two rules "{name}"', place, "named again", related, help))
            return None
        self.names[name] = place
        return name

    def _named_at(self, rule: int | Span) -> Span:
        """Where a rule has its name, or begins where it has none."""
        if isinstance(rule, Span):
            return rule
        known, base = self.known[rule], self.bases[rule]
        context = Context(self.context.source, {}, self.context.limits, None, base + known.start)
        statement = parse_statement_tree(context.source, context.base, base + known.end, context.limits.nesting)[0]
        assert isinstance(statement, RuleStatement)
        if statement.name is None:
            return context.span(statement.start, statement.start + len(statement.action.value))
        return context.span(*place_of(statement.name))

    def _positive(self, node: Word, what: str) -> int | None:
        try:
            value = literals.number(node.text)
        except LiteralError as error:
            self.context.bad_literal(error, node.start)
            return None
        if 0 < value < 1 << 32:
            return value
        self.context.error("E0506", f"{what} is a number from 1 to 4294967295", place_of(node))
        return None

    def _limit(self, rate: Rate) -> Limit | None:
        count = self._positive(rate.count, "a rate")
        burst = None if rate.burst is None else self._positive(rate.burst, "a burst")
        good = count is not None and (rate.burst is None or burst is not None)
        if rate.unit.text not in UNITS:
            units = did_you_mean(rate.unit.text, UNITS) or "units: " + ", ".join(UNITS)
            self.context.error("E0506", f"there is no unit `{rate.unit.text}`", place_of(rate.unit), "unknown unit", help=units)
            good = False
        per, prefix = None, None
        if rate.per is not None:
            field = BY_NAME.get(rate.per.text)
            if field is None:
                help = did_you_mean(rate.per.text, BY_NAME)
                self.context.error("E0201", f"there is no field `{rate.per.text}`", place_of(rate.per), "unknown field", help=help)
                return None
            if field.type not in (Type.ADDRESS, Type.INT) or field.multiple or field.name.endswith("asnum"):
                message = f"a rate is not kept per `{field.name}`"
                self.context.error(
                    "E0506", message, place_of(rate.per), help="per an address or a number: per ip.src, per ip.src/24, per tcp.dstport"
                )
                return None
            per = field.name
            if rate.prefix is not None:
                prefix = self._prefix(rate.prefix, field.type)
                good = good and prefix is not None
        return Limit(count, rate.unit.text, per, prefix, burst) if good and count is not None else None

    def _prefix(self, node: Word, of: Type) -> int | None:
        if of is not Type.ADDRESS:
            self.context.error("E0506", "a prefix length goes with an address", place_of(node), help="per ip.src/24")
            return None
        value = self._positive(node, "a prefix length")
        if value is not None and value > BITS[6]:
            self.context.error("E0506", f"a prefix length is at most {BITS[6]}", place_of(node))
            return None
        return value
