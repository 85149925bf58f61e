"""List files: one item a line, as it would stand in a set; blank lines and `#` comments are skipped.

Read without the grammar, so that a million networks take seconds.
"""

from __future__ import annotations

from rules_dsl.diagnostics import Diagnostic, Source, Span
from rules_dsl.files import stray_return
from rules_dsl.lexemes import LEXEME
from rules_dsl.limits import Limits
from rules_dsl.lists import ItemValue, ListValue, PackedAddresses, gathered, item_value, kind_of
from rules_dsl.literals import LiteralError

_MAX_ERRORS = 20
"""Reported of one file."""


def parse_list(text: str, name: str, limits: Limits) -> tuple[ListValue | None, tuple[Diagnostic, ...]]:
    """The list that a file's text holds, or None and what is wrong with it (E0602 and the literals' own codes)."""
    source = Source(name, text)
    refused = stray_return(source)
    if refused is not None:
        return None, (refused,)
    addresses = PackedAddresses()
    others: list[tuple[str, ItemValue]] = []
    found: list[Diagnostic] = []
    lines = text.split("\n")
    room = limits.list_items
    for number, line in enumerate(lines):
        item = _item_text(line)
        if not item:
            continue
        room -= 1
        if not addresses.add_plain(item):
            try:
                spelling, value = _item(item)
                if isinstance(value, tuple) and len(value) == 3:
                    addresses.add(*value)
                else:
                    others.append((spelling, value))
            except LiteralError as error:
                room += 1
                start = _place(lines, number, item)
                found.append(Diagnostic(error.code, error.message, Span(source, start + error.start, start + error.end), help=error.help))
                if len(found) >= _MAX_ERRORS:
                    break
        if room < 0:
            start = _place(lines, number, item)
            message = f"a list holds at most {limits.list_items:,} items"
            return None, (Diagnostic("E0403", message, Span(source, start, start + len(item)), "one too many"),)
    if not found and others and (addresses or len({kind_of(value) for _, value in others}) > 1):
        found.append(_mixed(source, lines))
    if found:
        return None, tuple(found)
    return gathered(others) if others else addresses.gathered(), ()


def _item_text(line: str) -> str:
    """The item on a line, empty where there is none."""
    item = line.strip()
    if "#" in item and not item.startswith(('"', "r")):
        item = item.partition("#")[0].rstrip()
    return item


def _place(lines: list[str], number: int, item: str) -> int:
    """Where an item of a line begins in the text."""
    return sum(map(len, lines[:number])) + number + lines[number].index(item)


def _item(item: str) -> tuple[str, ItemValue]:
    if item[0] in '"r':
        match = LEXEME.match(item)
        if match is not None and match.lastgroup in ("STRING", "RAW_STRING"):
            rest = item[match.end() :].strip()
            if not rest or rest.startswith("#"):
                return match[0], item_value(match[0])
        if item[0] == '"':
            raise LiteralError("E0002", "this string is not closed", 0, len(item), "one item a line, a string in double quotes")
    if (item[0].isalpha() and ":" not in item) or item.startswith(('r"', "r#")):
        help = f'one item a line: an address, a network, a range, a number, or a string in quotes: "{item}"'
        raise LiteralError("E0602", f"`{item[:60]}` is no item of a list", 0, len(item), help)
    try:
        return item, item_value(item)
    except LiteralError as error:
        if len(item.split()) > 1 and ".." not in item:
            raise LiteralError("E0602", "a list file holds one item a line", 0, len(item)) from None
        raise error from None


def _mixed(source: Source, lines: list[str]) -> Diagnostic:
    """Of lines without errors, whose items are of more than one kind."""
    items = [_item(item) for item in map(_item_text, lines) if item]
    kind = kind_of(items[0][1])
    spelling, value = next((s, v) for s, v in items if kind_of(v) is not kind)
    message = f"a list holds one kind of items: the first is one of {kind.value}, and `{spelling}` one of {kind_of(value).value}"
    start = source.text.find(spelling)
    return Diagnostic("E0604", message, Span(source, start, start + len(spelling)))
