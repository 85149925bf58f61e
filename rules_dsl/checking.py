"""What the parts of the checker share: the text being checked, what may be named in it, and the errors found so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rules_dsl.diagnostics import Diagnostic, Source, Span
from rules_dsl.expression import BytesOperand, Expression, FieldValue, IntOperand, Operand
from rules_dsl.fields import Field, Type
from rules_dsl.geo import Geo
from rules_dsl.limits import Limits
from rules_dsl.lists import ListValue
from rules_dsl.literals import LiteralError
from rules_dsl.syntax import Comparison, Item, Operator, Value

MAX_LENGTH = (1 << 17) - 1
"""Bytes; the largest length of a value (as `payload.len`)."""

Place = tuple[int, int]
"""Start and end, within the text that was parsed."""


@dataclass(slots=True)
class Context:
    """The environment of one check. `base` is where the parsed text begins in `source`."""

    source: Source
    lists: Mapping[str, ListValue]
    limits: Limits
    geo: Geo | None
    base: int = 0
    found: list[Diagnostic] = field(default_factory=list)
    used_lists: set[str] = field(default_factory=set)
    tests: dict[tuple[str, Operator, str], Expression] = field(default_factory=dict)
    """Comparisons of a field with one literal that were checked already: rules repeat themselves, and equal nodes are shared."""
    unspelled: dict[object, Expression] = field(default_factory=dict)
    """Of tests of a template that hold no literal: what they are with these lists."""
    learned: int = 0
    """Tests that templates have kept in this check."""
    asked_geo: bool = False
    """A test of the geo files was met."""

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, self.base + start, self.base + end)

    def text(self, start: int, end: int) -> str:
        """The source text of a place, shortened for a message."""
        text = " ".join(self.source.text[self.base + start : self.base + end].split())
        return text if len(text) <= 60 else text[:57] + "..."

    def error(
        self,
        code: str,
        message: str,
        place: Place,
        label: str = "",
        *,
        help: str | None = None,
        related: tuple[tuple[Place, str], ...] = (),
    ) -> None:
        further = tuple((self.span(*where), text) for where, text in related)
        self.found.append(Diagnostic(code, message, self.span(*place), label, further, help))

    def bad_literal(self, error: LiteralError, start: int) -> None:
        """Reports a literal whose spelling starts at `start`."""
        self.error(error.code, error.message, (start + error.start, start + error.end), help=error.help)


TYPE_WORDS = {Type.BOOL: "a Boolean", Type.INT: "a number", Type.ADDRESS: "an address", Type.BYTES: "text"}
"""How a message speaks of a value of the type."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a comparison looks at: the left side, typed."""

    operand: Operand
    type: Type
    maximum: int
    """Of an INT."""
    field: Field | None
    """Set where the operand is a field itself."""
    multiple: bool
    start: int
    end: int
    caseless: bool = False
    """Text whose letters are all in lower case; what it is compared with is taken so too."""

    @property
    def place(self) -> Place:
        return self.start, self.end

    @property
    def field_value(self) -> FieldValue:
        assert isinstance(self.operand, FieldValue)
        return self.operand

    @property
    def int_operand(self) -> IntOperand:
        assert isinstance(self.operand, IntOperand)
        return self.operand

    @property
    def bytes_operand(self) -> BytesOperand:
        assert isinstance(self.operand, BytesOperand)
        return self.operand


def place_of(node: Value | Item | Comparison) -> Place:
    return node.start, node.end
