"""The syntax of `matches` patterns: what an automaton can decide in linear time, in the spelling of Rust's regex crate.

Only checked here. Groups are plain groups; look-around, back-references, atomic and possessive forms are refused, because no
finite automaton has them.
"""

from __future__ import annotations

import re

from rules_dsl.literals import LiteralError

_NAMED_CLASS = re.compile(r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]")
_REPEAT = re.compile(r"\{(\d{1,9})(?:(,)(\d{1,9})?)?\}", re.ASCII)
_GROUP_NAME = re.compile(r"\?P?<[A-Za-z_][A-Za-z0-9_]*>")
_FLAGS = re.compile(r"\?[imsxU]*(?:-[imsxU]+)?[:)]")
_HEX_ESCAPE = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\})")
_CLASSES = "dDwWsS"
_ANCHORS = "bBAz"
_CONTROLS = "nrtfva"

NESTING = 100
"""Groups within groups."""


class _Scan:
    """One pass over a pattern; the state is where we stand and which groups are open."""

    def __init__(self, pattern: str, max_repeat: int) -> None:
        self.pattern = pattern
        self.max_repeat = max_repeat
        self.at = 0
        self.open_groups: list[int] = []

    def fail(self, message: str, start: int, end: int | None = None, help: str | None = None) -> LiteralError:
        return LiteralError("E0308", message, start, len(self.pattern) if end is None else end, help)

    def run(self) -> None:
        repeatable = False
        while self.at < len(self.pattern):
            char = self.pattern[self.at]
            if char == "(":
                repeatable = self._group()
            elif char == ")":
                if not self.open_groups:
                    raise self.fail("this `)` closes nothing", self.at, self.at + 1, r"write \) for a plain parenthesis")
                self.open_groups.pop()
                self.at += 1
                repeatable = True
            elif char == "[":
                self._class()
                repeatable = True
            elif char == "\\":
                repeatable = self._escape(in_class=False) is not None
            elif char in "*+?{":
                self._repeat(repeatable)
                repeatable = False
            else:
                self.at += 1
                repeatable = char not in "|^"
        if self.open_groups:
            raise self.fail("this group is not closed", self.open_groups[-1], self.open_groups[-1] + 1, r"write \( for a plain parenthesis")

    def _group(self) -> bool:
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
        if rest.startswith("?"):
            head = _FLAGS.match(self.pattern, self.at) or _GROUP_NAME.match(self.pattern, self.at)
            if head is None:
                raise self.fail(
                    "what follows `(?` is no flag and no group name",
                    start,
                    start + 3,
                    "write (?:...) for a plain group, (?i) to ignore case",
                )
            self.at = head.end()
            if head[0].endswith(")"):
                return False
        self.open_groups.append(start)
        if len(self.open_groups) > NESTING:
            raise self.fail(f"groups nest more than {NESTING} deep", start, start + 1)
        return False

    def _repeat(self, repeatable: bool) -> None:
        start = self.at
        counted = None
        if self.pattern[start] == "{":
            counted = _REPEAT.match(self.pattern, start)
            if counted is None:
                raise self.fail("`{` starts a count such as {2}, {2,} or {2,5}", start, start + 1, r"write \{ for a plain brace")
        self.at = counted.end() if counted else start + 1
        if not repeatable:
            raise self.fail(f"there is nothing before `{self.pattern[start : self.at]}` to repeat", start, self.at)
        if counted:
            low, high = int(counted[1]), int(counted[3] or counted[1])
            if high < low:
                raise self.fail(f"the count `{counted[0]}` runs backwards", start, self.at)
            if high > self.max_repeat:
                raise LiteralError("E0405", f"a count in a pattern goes up to {self.max_repeat}", start, self.at)
        if self.pattern.startswith("+", self.at):
            raise self.fail("possessive repetition is not supported", start, self.at + 1)
        if self.pattern.startswith("?", self.at):
            self.at += 1

    def _escape(self, in_class: bool) -> int | None:
        """Steps over an escape. The byte it stands for, -1 for a class of bytes, None for an anchor."""
        start = self.at
        char = self.pattern[start + 1 : start + 2]
        self.at += 2
        if char == "":
            raise self.fail("the pattern ends in a lone backslash", start, None, r"write \\ for a plain backslash")
        if char in _CLASSES:
            return -1
        if char in _ANCHORS and not in_class:
            return None
        if char in _CONTROLS:
            return ord("\n\r\t\f\v\a"[_CONTROLS.index(char)])
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
        if char.isalpha() or not char.isascii():
            raise self.fail(rf"`\{char}` is no escape", start, self.at)
        return ord(char)

    def _class(self) -> None:
        start = self.at
        self.at += 1
        if self.pattern.startswith("^", self.at):
            self.at += 1
        first = True
        while True:
            if self.at >= len(self.pattern):
                raise self.fail("this class is not closed", start, start + 1, r"write \[ for a plain bracket")
            if self.pattern[self.at] == "]" and not first:
                self.at += 1
                return
            first = False
            item = self.at
            low = self._class_item()
            if self.pattern.startswith("-", self.at) and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self._class_item()
                if low < 0 or high < 0:
                    raise self.fail("a range in a class goes from one byte to another", item, self.at)
                if high < low:
                    raise self.fail(f"the range `{self.pattern[item : self.at]}` runs backwards", item, self.at)

    def _class_item(self) -> int:
        if self.at >= len(self.pattern):
            return -1
        char = self.pattern[self.at]
        if char == "\\":
            value = self._escape(in_class=True)
            return -1 if value is None else value
        if char == "[":
            named = _NAMED_CLASS.match(self.pattern, self.at)
            if named is None:
                raise self.fail("`[` within a class is written `\\[`", self.at, self.at + 1, "or name a class: [[:digit:]]")
            self.at = named.end()
            return -1
        if self.pattern.startswith(("&&", "--", "~~"), self.at):
            raise self.fail(f"`{self.pattern[self.at : self.at + 2]}` in a class is not supported", self.at, self.at + 2)
        self.at += 1
        return ord(char) if char.isascii() else -1


def check_regex(pattern: str, max_repeat: int) -> None:
    """Raises LiteralError, with offsets within the pattern, where `pattern` is none that `matches` takes."""
    _Scan(pattern, max_repeat).run()
