"""What is wrong with a text that the grammar does not take, in words and with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules_dsl.checker_functions import TESTS
from rules_dsl.diagnostics import Diagnostic, DiagnosticError, Source, Span
from rules_dsl.lexemes import RESERVED, Gathered, Lexeme
from rules_dsl.statements import KEYWORDS
from rules_dsl.syntax import SetOf

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """Offsets count from the start of the parsed text."""

    code: str
    message: str
    start: int
    end: int
    label: str = ""
    help: str | None = None
    related: tuple[tuple[int, int, str], ...] = ()

    def as_error(self, source: Source, base: int) -> DiagnosticError:
        related = tuple((Span(source, base + start, base + end), label) for start, end, label in self.related)
        span = Span(source, base + self.start, base + self.end)
        return DiagnosticError((Diagnostic(self.code, self.message, span, self.label, related, self.help),))


# -- before the grammar ------------------------------------------------------------------------------------------------


def bad_text(text: str, start: int) -> SyntaxProblem:
    """What stands at `start` starts no lexeme."""
    char = text[start]
    line_end = text.find("\n", start)
    line_end = len(text) if line_end < 0 else line_end
    line_end = start + len(text[start:line_end].rstrip())
    if char == "r":
        closing = '"' + "#" * (text.index('"', start) - start - 1)
        return SyntaxProblem(
            "E0002", "this string is not closed", start, line_end, f"no `{closing}` on this line", "strings end on the line they start on"
        )
    if char == '"':
        return SyntaxProblem(
            "E0002", "this string is not closed", start, line_end, "no closing quote on this line", _quote_help(text[start:line_end])
        )
    shown = char if char.isprintable() else f"\\u{ord(char):04x}" if ord(char) > 0xFF else f"\\x{ord(char):02x}"
    help = {
        "'": 'strings are written with double quotes: "text"',
        "`": 'strings are written with double quotes: "text"',
        "\u201c": 'strings are written with straight quotes: "text"',
        "\u201d": 'strings are written with straight quotes: "text"',
        "|": "write `or` (or `||`)",
        "^": "write `xor` (or `^^`)",
        "\u00a0": "this is a no-break space: write a plain one",
        "$": "a list is named with a letter or a digit behind the dollar sign: $offices",
        ";": "a statement ends with its line: there is no semicolon",
        "-": "there is no arithmetic",
        "+": "there is no arithmetic",
    }.get(char)
    return SyntaxProblem("E0003", f"`{shown}` has no meaning here", start, start + 1, help=help)


def _quote_help(line: str) -> str:
    if line.endswith('\\"'):
        return r"\" is a quote within the string; a backslash at its end is written \\"
    return r"strings end on the line they start on; \n is a line break"


def misplaced_word(text: str, word: Lexeme) -> SyntaxProblem:
    """A reserved word where a name or a value should stand."""
    help = (
        "after `and`, `or`, `xor` and `not` comes a test"
        if word in ("and", "or", "xor", "not")
        else f"`{word}` is a word of the language, never a name"
    )
    return SyntaxProblem("E0001", f"`{word}` cannot stand here", word.start, word.end, "expected a name or a value", help)


def too_deep(text: str, words: list[Lexeme], limit: int) -> SyntaxProblem | None:
    """Whether parentheses, function calls and `not` nest deeper than `limit`; the place is where the first level too many begins."""
    if text.count("(") + text.count("not") + text.count("!") <= limit:
        return None
    depth = waiting = 0
    levels: list[int] = []
    for word in words:
        if word in ("not", "!"):
            waiting += 1
        elif word == "(":
            levels.append(waiting + 1)
            depth += waiting + 1
            waiting = 0
        elif word == ")":
            depth -= levels.pop() if levels else 0
        else:
            waiting = 0
        if depth + waiting > limit:
            message = f"the expression nests more than {limit} levels deep"
            return SyntaxProblem("E0402", message, word.start, word.end, f"level {limit + 1}", "split the rule, or put values into a set")
    return None


# -- by the grammar ----------------------------------------------------------------------------------------------------

_OPERATORS = frozenset({"EQ", "IN", "CONTAINS"})
_TEST = frozenset({"NAME", "NOT", "LPAR"})
_VALUE = frozenset({"WORD", "STRING", "LBRACE"})
_ITEM = frozenset({"WORD", "STRING", "RBRACE"})
_CLAUSES = {
    "_WHEN": "`when`", "_TO": "`to`", "_PER": "`per`", "_BURST": "`burst`", "_FROM": "`from`", "_FILE": "`file`", "_ASSIGN": "`=`",
    "_SLASH": "`/`", "LIMIT": "`limit`", "BLOCK": "`block`", "ALLOW": "`allow`", "REJECT": "`reject`", "LOG": "`log`", "COUNT": "`count`",
    "DEFAULT": "`default`", "_INTERFACE": "`interface`", "_MARK": "`mark`", "ALL": "`all`", "_PACKET": "`packet`", "STAR": "`*`",
    "RSQB": "`]`", "RPAR": "`)`", "_COMMA": "`,`", "RBRACE": "`}`", "NAME": "a name",
    "WORD": "a number or an address", "STRING": "a string", "LBRACE": "a set", "WILDCARD": "`wildcard`", "IN": "`in`",
}  # fmt: skip


def _expected(accepts: frozenset[str]) -> str:
    if accepts >= _OPERATORS:
        return "expected an operator such as `==`" + (", or the end" if "$END" in accepts else "")
    if accepts >= _TEST:
        return "expected a test"
    if accepts >= _ITEM:
        return "expected an item or `}`"
    if accepts >= _VALUE:
        return "expected a value"
    if accepts >= {"CONTAINS"}:
        return "expected an operator"
    if "_AND" in accepts:
        closers = [word for key, word in (("RPAR", "`)`"), ("_FROM", "`from`")) if key in accepts]
        return "expected " + ", ".join(["`and`", "`or`", *closers]) + (" or the end" if "$END" in accepts else "")
    words = [word for key, word in _CLAUSES.items() if key in accepts]
    if not words:
        return "expected the end"
    return "expected " + (words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1])


def unexpected(error: UnexpectedInput, start: str, text: str, words: list[Lexeme], gathered: Gathered) -> SyntaxProblem:
    """What Lark stumbled over: `error` has its offset in the shape's text, of which each part is one of `gathered.parts`."""
    at = getattr(error, "pos_in_stream", None)
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        index = len(gathered.parts)
    else:
        offset = index = 0
        while index < len(gathered.parts) and (at is None or offset + len(gathered.shape[index]) <= at):
            offset += len(gathered.shape[index]) + 1
            index += 1
    accepts = frozenset(getattr(error, "accepts", None) or getattr(error, "allowed", None) or ())
    before = gathered.parts[index - 1] if index else None
    if isinstance(before, Lexeme) and before.type == "NAME" and before in RESERVED and "LPAR" in accepts and "EQ" in accepts:
        return misplaced_word(text, before)
    opened = _unclosed(words)
    if index >= len(gathered.parts):
        return _ends(start, text, words, accepts, opened)
    part = gathered.parts[index]
    if part == "{":
        return _bad_set(words, next(i for i, word in enumerate(words) if word is part))
    if part in (")", "]", "}") and not any(sign == {")": "(", "]": "[", "}": "{"}[str(part)] for sign, _ in _open_before(words, part)):
        return SyntaxProblem("E0004", f"this `{part}` closes nothing", part.start, part.end, "nothing is open here")
    shown = " ".join(text[part.start : part.end].split())
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    return SyntaxProblem("E0001", f"`{shown}` is unexpected", part.start, part.end, _expected(accepts), _hint(part, before, accepts))


_FOREIGN = {("==", "="): "write == to compare", ("!=", "="): "write != to compare", ("<", ">"): "write != for what is not equal"}
"""Operators of other languages, which are cut in two here."""


def _hint(part: Lexeme | SetOf, before: Lexeme | SetOf | None, accepts: frozenset[str]) -> str | None:
    if isinstance(part, SetOf):
        return "use `in` before a set" if "IN" in accepts else None
    if part == "=" and "EQ" in accepts:
        return "write == to compare"
    if isinstance(before, Lexeme) and (before, part) in _FOREIGN and part.start == before.end:
        return _FOREIGN[str(before), str(part)]
    if part in ("(", "[") and accepts >= _VALUE:
        return "a set stands in braces: in { a b c }"
    if part.type == "WORD" and part[0] == "-" and isinstance(before, Lexeme) and before.type == "WORD":
        return f"a range is written {before}..{part[1:]}"
    if part.lower() in RESERVED and part not in RESERVED:
        return f"words of the language are lower case: {part.lower()}"
    if part in ("&", "bitwise_and", "==", "!=") and "_AND" in accepts:
        return "one comparison at a time: `field & mask` is a test by itself, and tests are joined with `and`, `or`"
    if part.type in ("WORD", "STRING") and isinstance(before, Lexeme) and before.type in ("WORD", "STRING") and "_AND" in accepts:
        return f"several values make a set: in {{{before} {part}}}"
    if part.type in ("WORD", "STRING", "RAW_STRING", "LIST") and accepts >= _TEST:
        return "the field stands on the left: field == value"
    if isinstance(before, Lexeme) and before in TESTS and "LPAR" in accepts:
        return f"a function is called: {TESTS[str(before)]}"
    if "$END" in accepts and part in KEYWORDS:
        return "a statement begins on a line of its own"
    if part.type == "NAME" and "_WHEN" in accepts:
        return "the condition stands behind `when`"
    if part.type == "NAME" and part in ("is", "equals", "like", "has") and "EQ" in accepts:
        return "operators: == != < <= > >= in & contains matches wildcard"
    return None


def _open_before(words: list[Lexeme], until: Lexeme | SetOf | None) -> list[tuple[str, Lexeme]]:
    """The brackets that are open before `until`, outermost first."""
    result: list[tuple[str, Lexeme]] = []
    for word in words:
        if word is until:
            break
        if word in ("(", "[", "{") and word.type == "sign":
            result.append((str(word), word))
        elif word in (")", "]", "}") and result:
            result.pop()
    return result


def _unclosed(words: list[Lexeme]) -> Lexeme | None:
    found = _open_before(words, None)
    return found[-1][1] if found else None


def _ends(start: str, text: str, words: list[Lexeme], accepts: frozenset[str], opened: Lexeme | None) -> SyntaxProblem:
    if not words:
        what = "the expression" if start == "expression" else "the statement"
        return SyntaxProblem("E0006", f"{what} is empty", 0, 0, "expected a test", "`true` matches everything")
    last = words[-1]
    end = last.start + len(last)
    if opened is not None:
        closing = {"(": ")", "[": "]", "{": "}"}[str(opened)]
        message = f"this `{opened}` is not closed"
        return SyntaxProblem("E0004", message, end, end, f"expected `{closing}`", related=((opened.start, opened.end, "opened here"),))
    what = "the expression" if start == "expression" else "the statement"
    return SyntaxProblem("E0005", f"{what} ends too early", end, end, _expected(accepts), None)


def _bad_set(words: list[Lexeme], opening: int) -> SyntaxProblem:
    """A set that is none, from its opening brace on."""
    brace = words[opening]
    for at in range(opening + 1, len(words)):
        word = words[at]
        if word == "," or (word.type != "sign" and word not in RESERVED):
            if word == "," and words[at - 1] in (",", "{"):
                return SyntaxProblem("E0001", "this comma has no item before it", word.start, word.end, "expected an item")
            continue
        if word == "}":
            break
        help = "several sets make one: { a b c }" if word == "{" else None
        related = ((brace.start, brace.end, "the set opens here"),)
        if word in RESERVED or word in (")", "=="):
            return SyntaxProblem(
                "E0004", "this `{` is not closed", word.start, word.end, "expected `}`", related=((brace.start, brace.end, "opened here"),)
            )
        return SyntaxProblem("E0001", f"`{word}` is no item of a set", word.start, word.end, "expected an item or `}`", help, related)
    last = words[-1]
    if not any(word == "}" for word in words[opening:]):
        end = last.start + len(last)
        return SyntaxProblem(
            "E0004", "this `{` is not closed", end, end, "expected `}`", related=((brace.start, brace.end, "opened here"),)
        )
    return SyntaxProblem("E0001", "a set cannot stand here", brace.start, brace.end, help="use `in` before a set")
