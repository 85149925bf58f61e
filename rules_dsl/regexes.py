"""The syntax of `matches` patterns: what an automaton can decide in linear time, in the spelling of Rust's regex crate, over bytes.

A pattern becomes a tree of six kinds of nodes; flags and greed are gone from it, as they do not change whether something matches or
are told by the nodes. Look-around, back-references, atomic and possessive forms are refused, because no finite automaton has them.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from rules_dsl.literals import LiteralError

NESTING: Final = 100
"""Groups within groups."""


# -- the tree ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OneOf:
    """One byte, of these; none at all where the set is empty."""

    bytes: frozenset[int]


class Edge(Enum):
    """A place between two bytes, or before the first, or behind the last."""

    START = "start of the value"
    END = "end of the value"
    LINE_START = "the value's start, or behind a newline"
    LINE_END = "the value's end, or before a newline"
    WORD = "between an ASCII word's byte and another, or an end of the value"
    NO_WORD = "not that"


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing, at such a place."""

    edge: Edge


@dataclass(frozen=True, slots=True)
class Concat:
    """The items, one behind the other; the empty text if there are none."""

    items: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Either:
    items: tuple[Regex, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    item: Regex
    low: int
    high: int | None
    """None: without end."""


Regex = OneOf | Look | Concat | Either | Repeat


# -- sets of bytes -----------------------------------------------------------------------------------------------------


def _set(text: str) -> frozenset[int]:
    return frozenset(text.encode())


_EVERY: Final = frozenset(range(256))
_NEWLINE: Final = _set("\n")
WORD_BYTES: Final = _set(string.ascii_letters + string.digits + "_")
"""What `\\w` stands for, and what `\\b` is the edge of."""

_CLASSES: Final[Mapping[str, frozenset[int]]] = MappingProxyType({"d": _set(string.digits), "w": WORD_BYTES, "s": _set(" \t\n\v\f\r")})

_NAMED: Final[Mapping[str, frozenset[int]]] = MappingProxyType(
    {
        "alnum": _set(string.ascii_letters + string.digits),
        "alpha": _set(string.ascii_letters),
        "ascii": frozenset(range(0x80)),
        "blank": _set(" \t"),
        "cntrl": frozenset((*range(0x20), 0x7F)),
        "digit": _set(string.digits),
        "graph": frozenset(range(0x21, 0x7F)),
        "lower": _set(string.ascii_lowercase),
        "print": frozenset(range(0x20, 0x7F)),
        "punct": _set(string.punctuation),
        "space": _set(" \t\n\v\f\r"),
        "upper": _set(string.ascii_uppercase),
        "word": WORD_BYTES,
        "xdigit": _set(string.hexdigits),
    }
)


def _both_cases(those: frozenset[int]) -> frozenset[int]:
    return those | {byte ^ 0x20 for byte in those & _NAMED["alpha"]}


# -- the parser --------------------------------------------------------------------------------------------------------

_NAMED_CLASS = re.compile(rf"\[:(\^?)({'|'.join(_NAMED)}):\]")
_COUNT = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}", re.ASCII)
_GROUP_NAME = re.compile(r"\?P?<[A-Za-z_][A-Za-z0-9_]*>")
_FLAGS = re.compile(r"\?(?:([imsxU]*)(?:-([imsxU]+))?:|(?=[^)])([imsxU]*)(?:-([imsxU]+))?\))")
_HEX_ESCAPE = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_CONTROLS = MappingProxyType(dict(zip("nrtfva", b"\n\r\t\f\v\a", strict=True)))
_EDGES = MappingProxyType({"b": Edge.WORD, "B": Edge.NO_WORD, "A": Edge.START, "z": Edge.END})
_BLANK = re.compile(r"(?:[ \t\n\v\f\r]|#[^\n]*)+")


@dataclass(frozen=True, slots=True)
class _Flags:
    """Those in force; U is taken and means nothing here."""

    i: bool = False
    m: bool = False
    s: bool = False
    x: bool = False

    def changed(self, on: str, off: str) -> _Flags:
        return replace(self, **dict.fromkeys(on.replace("U", ""), True), **dict.fromkeys(off.replace("U", ""), False))


class _Parser:
    """One pass over a pattern; the state is where we stand, the flags in force and the groups that are open."""

    def __init__(self, pattern: str, max_repeat: int | None) -> None:
        self.pattern = pattern
        self.max_repeat = max_repeat
        self.at = 0
        self.flags = _Flags()
        self.open_groups: list[int] = []

    def fail(self, message: str, start: int, end: int | None = None, help: str | None = None) -> LiteralError:
        return LiteralError("E0308", message, start, len(self.pattern) if end is None else end, help)

    def run(self) -> Regex:
        tree = self._alternatives()
        if self.at < len(self.pattern):
            raise self.fail("this `)` closes nothing", self.at, self.at + 1, r"write \) for a plain parenthesis")
        return tree

    def _alternatives(self) -> Regex:
        """Up to the end of the group or of the pattern."""
        branches: list[list[Regex]] = [[]]
        repeatable = False
        while not self._at_end():
            char = self.pattern[self.at]
            if char == ")":
                break
            if char == "|":
                self.at += 1
                branches.append([])
                repeatable = False
            elif char in "*+?{":
                low, high = self._repeat(repeatable)
                branches[-1].append(Repeat(branches[-1].pop(), low, high))
                repeatable = False
            else:
                item = self._item(char)
                if item is not None:
                    branches[-1].append(item)
                repeatable = not (item is None or isinstance(item, Look))
        found = [branch[0] if len(branch) == 1 else Concat(tuple(branch)) for branch in branches]
        return found[0] if len(found) == 1 else Either(tuple(found))

    def _at_end(self) -> bool:
        """Whether the pattern ends here; with the flag x, behind white space and comments."""
        if self.flags.x and (blank := _BLANK.match(self.pattern, self.at)):
            self.at = blank.end()
        return self.at >= len(self.pattern)

    def _item(self, char: str) -> Regex | None:
        """What can stand in a row; None for a change of flags."""
        if char == "(":
            return self._group()
        if char == "[":
            return OneOf(self._class())
        if char == "\\":
            return self._escaped()
        self.at += 1
        if char == ".":
            return OneOf(_EVERY if self.flags.s else _EVERY - _NEWLINE)
        if char == "^":
            return Look(Edge.LINE_START if self.flags.m else Edge.START)
        if char == "$":
            return Look(Edge.LINE_END if self.flags.m else Edge.END)
        encoded = char.encode()
        return self._one(encoded[0]) if len(encoded) == 1 else Concat(tuple(map(self._one, encoded)))

    def _one(self, byte: int) -> OneOf:
        only = frozenset((byte,))
        return OneOf(_both_cases(only) if self.flags.i else only)

    def _group(self) -> Regex | None:
        start = self.at
        rest = self.pattern[start + 1 : start + 4]
        if rest.startswith(("?=", "?!", "?<=", "?<!")):
            help = "an automaton reads each byte once: write what the text is, or a second test with `and`"
            raise self.fail("look-around is not supported", start, start + 3, help)
        if rest.startswith("?P="):
            raise self.fail("back-references are not supported", start, start + 4, "an automaton does not remember what a group matched")
        if rest.startswith(("?>", "?(", "?#", "?R", "?&")):
            raise self.fail(f"`({rest[:2]}` is not supported", start, start + 3)
        self.at += 1
        outer = self.flags
        if rest.startswith("?"):
            flags = _FLAGS.match(self.pattern, self.at)
            head = flags or _GROUP_NAME.match(self.pattern, self.at)
            if head is None:
                raise self.fail(
                    "what follows `(?` is no flag and no group name",
                    start,
                    start + 3,
                    "write (?:...) for a plain group, (?i) to ignore case",
                )
            self.at = head.end()
            if flags:
                self.flags = outer.changed(flags[1] or flags[3] or "", flags[2] or flags[4] or "")
            if head[0].endswith(")"):
                return None
        self.open_groups.append(start)
        if len(self.open_groups) > NESTING:
            raise self.fail(f"groups nest more than {NESTING} deep", start, start + 1)
        tree = self._alternatives()
        if self.at >= len(self.pattern):
            raise self.fail("this group is not closed", start, start + 1, r"write \( for a plain parenthesis")
        self.at += 1
        self.open_groups.pop()
        self.flags = outer
        # An edge in parentheses may be repeated.
        return Concat((tree,)) if isinstance(tree, Look) else tree

    def _repeat(self, repeatable: bool) -> tuple[int, int | None]:
        start = self.at
        counted = None
        if self.pattern[start] == "{":
            counted = _COUNT.match(self.pattern, start)
            if counted is None:
                raise self.fail("`{` starts a count such as {2}, {2,} or {2,5}", start, start + 1, r"write \{ for a plain brace")
        self.at = counted.end() if counted else start + 1
        if not repeatable:
            raise self.fail(f"there is nothing before `{self.pattern[start : self.at]}` to repeat", start, self.at)
        low, high = {"*": (0, None), "+": (1, None), "?": (0, 1), "{": (0, 0)}[self.pattern[start]]
        if counted:
            low = int(counted[1])
            high = int(counted[3]) if counted[3] else None if counted[2] else low
            if high is not None and high < low:
                raise self.fail(f"the count `{counted[0]}` runs backwards", start, self.at)
            if self.max_repeat is not None and max(low, high or 0) > self.max_repeat:
                raise LiteralError("E0405", f"a count in a pattern goes up to {self.max_repeat}", start, self.at)
        if self.pattern.startswith("+", self.at):
            raise self.fail("possessive repetition is not supported", start, self.at + 1)
        if self.pattern.startswith("?", self.at):
            self.at += 1
        return low, high

    def _escaped(self) -> OneOf | Look:
        found = self._escape(in_class=False)
        if isinstance(found, Edge):
            return Look(found)
        return self._one(found) if isinstance(found, int) else OneOf(found)

    def _escape(self, in_class: bool) -> int | frozenset[int] | Edge:
        """Steps over an escape: the byte or the bytes or the edge that it stands for."""
        start = self.at
        char = self.pattern[start + 1 : start + 2]
        self.at += 2
        if char == "":
            raise self.fail("the pattern ends in a lone backslash", start, None, r"write \\ for a plain backslash")
        if char.lower() in _CLASSES:
            those = _CLASSES[char.lower()]
            return _EVERY - those if char.isupper() else those
        if char in _EDGES and not in_class:
            return _EDGES[char]
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x":
            digits = _HEX_ESCAPE.match(self.pattern, start + 1)
            if digits is None:
                raise self.fail(r"`\x` is followed by two hexadecimal digits", start, self.at)
            self.at = digits.end()
            value = int(digits[1] or digits[2], 16)
            if value > 0xFF:
                raise self.fail(f"`{digits[0]}` is more than a byte, and a pattern is over bytes", start, self.at)
            return value
        if char.isdigit():
            help = r"an automaton does not remember what a group matched; a byte by its number is \xHH"
            raise self.fail("back-references are not supported", start, self.at, help)
        if char in "pP":
            raise self.fail("Unicode classes are not supported: a pattern is over bytes", start, self.at)
        if char in "kgK":
            raise self.fail("back-references are not supported", start, self.at)
        if char in "<>":
            raise self.fail(rf"`\{char}` is not supported", start, self.at, rf"write {char} for the character, \b for the edge of a word")
        if char.isalpha() or not char.isascii():
            raise self.fail(rf"`\{char}` is no escape", start, self.at)
        return ord(char)

    def _class(self) -> frozenset[int]:
        start = self.at
        self.at += 1
        negated = self.pattern.startswith("^", self.at)
        self.at += negated
        those: frozenset[int] = frozenset()
        first = True
        while True:
            if self._at_end():
                raise self.fail("this class is not closed", start, start + 1, r"write \[ for a plain bracket")
            if self.pattern[self.at] == "]" and not first:
                self.at += 1
                break
            first = False
            those |= self._range()
        return _EVERY - those if negated else those

    def _range(self) -> frozenset[int]:
        """An item of a class, or a range from one to another."""
        fold: Callable[[frozenset[int]], frozenset[int]] = _both_cases if self.flags.i else frozenset
        item = self.at
        low = self._class_item(fold)
        if self._at_end() or self.pattern[self.at] != "-" or self.pattern[self.at + 1 : self.at + 2] in ("]", ""):
            return fold(frozenset((low,))) if isinstance(low, int) else low
        dash = self.at
        if self.pattern.startswith("--", dash):
            raise self.fail("`--` in a class is not supported", dash, dash + 2, r"write \- for a plain hyphen")
        self.at += 1
        if self._at_end() or self.pattern[self.at] == "]":  # white space between the hyphen and the end
            self.at = dash
            return fold(frozenset((low,))) if isinstance(low, int) else low
        high = self._class_item(fold)
        if not (isinstance(low, int) and isinstance(high, int)):
            raise self.fail("a range in a class goes from one byte to another", item, self.at)
        if high < low:
            raise self.fail(f"the range `{self.pattern[item : self.at]}` runs backwards", item, self.at)
        return fold(frozenset(range(low, high + 1)))

    def _class_item(self, fold: Callable[[frozenset[int]], frozenset[int]]) -> int | frozenset[int]:
        char = self.pattern[self.at]
        if char == "\\":
            value = self._escape(in_class=True)
            assert not isinstance(value, Edge)
            return value
        if char == "[":
            named = _NAMED_CLASS.match(self.pattern, self.at)
            if named is None:
                raise self.fail("`[` within a class is written `\\[`", self.at, self.at + 1, "or name a class: [[:digit:]]")
            self.at = named.end()
            those = fold(_NAMED[named[2]])
            return _EVERY - those if named[1] else those
        if self.pattern.startswith(("&&", "--", "~~"), self.at):
            raise self.fail(f"`{self.pattern[self.at : self.at + 2]}` in a class is not supported", self.at, self.at + 2)
        if not char.isascii():
            help = f"a class holds bytes, and this is {len(char.encode())} of them: write (?:{char}|...)"
            raise self.fail(f"`{char}` cannot stand in a class", self.at, self.at + 1, help)
        self.at += 1
        return ord(char)


def parse_regex(pattern: str, max_repeat: int | None = None) -> Regex:
    """The pattern's tree; counts up to `max_repeat`. Raises LiteralError, with offsets within the pattern, where it is none that
    `matches` takes. Text beyond ASCII stands for its UTF-8 bytes, whose case is never ignored."""
    return _Parser(pattern, max_repeat).run()
