"""The parser: from text to the syntax tree, by grammar.lark.

Rules of one file resemble each other: most differ in their constants only. So a text is first cut into lexemes and reduced to its
*shape*, in which one literal stands for all of its kind and `{0}` for every set. Lark parses each shape once; what it did (the
reductions, in their order) is kept and repeated with the lexemes of every further text of that shape, ten times as fast.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from rules_dsl.diagnostics import Source
from rules_dsl.lexemes import RESERVED, BadTextError, Gathered, Lexeme, MisplacedWordError, cut, gather
from rules_dsl.syntax import Node, SetOf, Statement
from rules_dsl.syntax_errors import bad_text, misplaced_word, too_deep, unexpected
from rules_dsl.tree_builder import TreeBuilder

if TYPE_CHECKING:
    from lark import Lark

Step = tuple[Callable[[list[Any]], Any], tuple[int, ...]]
"""A method of TreeBuilder and where its children stand: the parts come first, then None, then the results of the steps so far."""

_SHAPES_KEPT = 4_096
_LONGEST_KEPT = 256
"""Parts of a shape that is worth keeping."""

_BUILDER = TreeBuilder()


class _Recorder:
    """Stands in for the tree builder while Lark parses a shape, and notes which of its methods would be called on what."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.steps: list[Step] = []
        self.part_at: dict[int, int] = {}
        """Part by its offset in the shape's text."""
        self.parts: tuple[Lexeme | SetOf, ...] = ()
        self.none = 0

    def __getattr__(self, name: str) -> Callable[[list[Any]], Any]:
        method = getattr(_BUILDER, name)

        def record(children: list[Any]) -> int:
            self.steps.append((method, tuple([self._index(child) for child in children])))
            return self.none + len(self.steps)

        return record

    def set(self, children: list[Any]) -> int:
        """A set is a part already; one that is not holds a word that no set can."""
        for child in children[1:-1]:
            if child in RESERVED:
                word = self.parts[self.part_at[child.start_pos]]
                assert isinstance(word, Lexeme)
                raise MisplacedWordError(word)
        return self.part_at[children[0].start_pos]

    def _index(self, child: Any) -> int:
        if child is None:
            return self.none
        return child if type(child) is int else self.part_at[child.start_pos]


@cache
def _grammar() -> tuple[Lark, _Recorder]:
    # Loading Lark takes longer than all else: not before something is parsed.
    from lark import Lark  # noqa: PLC0415

    recorder = _Recorder()
    path = Path(__file__).with_name("grammar.lark")
    lark = Lark(
        path.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        start=["expression", "statement"],
        transformer=recorder,
        cache=_tables_file(path) or False,
    )
    return lark, recorder


def _tables_file(grammar: Path) -> str | None:
    """Where Lark may keep the tables that it makes of the grammar (100 ms of work): beside the modules' bytecode, which is written and
    trusted under the same conditions. Lark itself checks that they were made of this grammar by this version."""
    path = Path(cache_from_source(str(grammar.with_suffix(".py")))).with_suffix(".tables")
    if path.exists() or (not sys.dont_write_bytecode and os.access(path.parent, os.W_OK)):
        return str(path)
    return None


_shapes: dict[tuple[str, tuple[str, ...]], tuple[Step, ...]] = {}
"""A cache: (start symbol, shape) to the steps."""


def _steps(start: str, gathered: Gathered) -> tuple[Step, ...]:
    """What to do with the parts of this shape. Raises Lark's UnexpectedToken, with offsets in the shape's text, and MisplacedWordError."""
    key = (start, gathered.shape)
    known = _shapes.get(key)
    if known is not None:
        return known
    lark, recorder = _grammar()
    with recorder.lock:
        offset = 0
        recorder.part_at = {}
        for index, word in enumerate(gathered.shape):
            recorder.part_at[offset] = index
            offset += len(word) + 1
        recorder.parts = gathered.parts
        recorder.none = len(gathered.shape)
        recorder.steps = []
        lark.parse(" ".join(gathered.shape), start=start)
        steps = tuple(recorder.steps)
    if len(gathered.shape) <= _LONGEST_KEPT:
        if len(_shapes) >= _SHAPES_KEPT:
            _shapes.clear()
        _shapes[key] = steps
    return steps


def _parse(start: str, source: Source, base: int, end: int, nesting: int) -> tuple[Any, Gathered]:
    from lark.exceptions import UnexpectedInput  # noqa: PLC0415

    text = source.text[base:end]
    try:
        words = cut(text)
        problem = too_deep(text, words, nesting)
        if problem is None:
            gathered = gather(words)
            values: list[Any] = [*gathered.parts, None]
            try:
                for method, children in _steps(start, gathered):
                    values.append(method([values[child] for child in children]))
                return values[-1], gathered
            except UnexpectedInput as error:
                problem = unexpected(error, start, text, words, gathered)
    except BadTextError as error:
        problem = bad_text(text, error.start)
    except MisplacedWordError as error:
        problem = misplaced_word(text, error.word)
    raise problem.as_error(source, base)


def parse_expression_tree(source: Source, base: int, end: int, nesting: int) -> tuple[Node, Gathered]:
    """The tree of the expression that `source` holds from `base` to `end`, and its parts; offsets in both count from `base`.

    Raises DiagnosticError (E00xx, E0402)."""
    return _parse("expression", source, base, end, nesting)


def parse_statement_tree(source: Source, base: int, end: int, nesting: int) -> tuple[Statement, Gathered]:
    """The tree of the one statement that `source` holds from `base` to `end`, and its parts. Raises DiagnosticError (E00xx, E0402)."""
    return _parse("statement", source, base, end, nesting)
