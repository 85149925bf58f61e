"""The syntax tree: what the text says, with the place of every part, before any name or type is looked at.

Offsets are characters from the start of the parsed text (an expression, or one statement of a rule file), half-open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rules_dsl.policy import Action, Mode


class Operator(Enum):
    """A comparison operator by its canonical spelling."""

    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="
    IN = "in"
    AND = "&"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains any"
    MATCHES = "matches"
    WILDCARD = "wildcard"
    STRICT_WILDCARD = "strict wildcard"


# -- leaves ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A number, address, CIDR, range or byte literal, as written. What it is depends on the field that it is compared with."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal as written, quotes, prefix and escapes included."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name where a value should stand."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ListName:
    """`$name`; `text` is without the dollar sign."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Truth:
    """`true` or `false`."""

    value: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SetOf:
    """`{ ... }`."""

    items: tuple[Item, ...]
    start: int
    end: int


Item = Word | Text | Name | ListName
Value = Word | Text | Name | ListName | Truth | SetOf


# -- expressions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Every:
    """The `*` of `[*]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FieldName:
    """A field, perhaps with something in brackets behind it."""

    name: str
    index: Every | Word | Text | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments)`; `name_end` is where the function's name ends."""

    function: str
    arguments: tuple[Node | Word | Text, ...]
    start: int
    end: int
    name_end: int


@dataclass(frozen=True, slots=True)
class Comparison:
    left: FieldName | Call
    operator: Operator
    right: Value
    operator_start: int
    operator_end: int

    @property
    def start(self) -> int:
        return self.left.start

    @property
    def end(self) -> int:
        return self.right.end


@dataclass(frozen=True, slots=True)
class Negation:
    item: Node
    start: int

    @property
    def end(self) -> int:
        return self.item.end


@dataclass(frozen=True, slots=True)
class Group:
    """Parentheses."""

    item: Node
    start: int
    end: int


class Logic(Enum):
    AND = "and"
    XOR = "xor"
    OR = "or"


@dataclass(frozen=True, slots=True)
class Chain:
    """Two or more items joined by the same word."""

    logic: Logic
    items: tuple[Node, ...]

    @property
    def start(self) -> int:
        return self.items[0].start

    @property
    def end(self) -> int:
        return self.items[-1].end


Node = FieldName | Call | Comparison | Truth | Negation | Group | Chain


# -- statements --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """`to COUNT/UNIT [per FIELD[/PREFIX]] [burst N]`."""

    count: Word
    unit: Name
    per: Name | None
    prefix: Word | None
    burst: Word | None


@dataclass(frozen=True, slots=True)
class RuleStatement:
    modes: tuple[tuple[Mode, int, int], ...]
    """`monitor` and `disabled` words with their places."""
    action: Action
    name: Text | None
    rate: Rate | None
    expression: Node
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TenantStatement:
    name: Name | Text
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ProtectInterface:
    name: Text


@dataclass(frozen=True, slots=True)
class ProtectMark:
    mark: Word


@dataclass(frozen=True, slots=True)
class ProtectAll:
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ProtectStatement:
    targets: tuple[Word | ProtectInterface | ProtectMark | ProtectAll, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class HookStatement:
    name: Name
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class EarlyDropStatement:
    interfaces: tuple[Name | Text, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ListStatement:
    name: Name
    content: SetOf | Text
    """A set, or the path of a file."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DefaultStatement:
    action: Name
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GeoStatement:
    paths: tuple[Text, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ExpectStatement:
    verdict: Name
    rule: Text | None
    when: Node | None
    capture: Text
    frames: Word | None
    start: int
    end: int


Statement = (
    RuleStatement
    | TenantStatement
    | ProtectStatement
    | HookStatement
    | EarlyDropStatement
    | ListStatement
    | DefaultStatement
    | GeoStatement
    | ExpectStatement
)
