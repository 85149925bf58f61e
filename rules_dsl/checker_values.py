"""The right side of a comparison: from literals, sets and lists to numbers, ranges, addresses and bytes of the left side's type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rules_dsl import literals
from rules_dsl.checking import TYPE_WORDS, Context, Left, place_of
from rules_dsl.expression import Ranges
from rules_dsl.fields import Field, Type
from rules_dsl.lists import ListKind, ListValue
from rules_dsl.literals import LiteralError
from rules_dsl.ranges import merged
from rules_dsl.suggestions import SERVICE_PORTS, did_you_mean
from rules_dsl.syntax import Item, ListName, Name, SetOf, Text, Truth, Value, Word

STATE_WORDS: Mapping[str, frozenset[str]] = {
    "ct.state": frozenset({"new", "established", "related", "invalid", "untracked"}),
    "ct.direction": frozenset({"original", "reply"}),
}
"""The only values of some text fields."""


def _kind(node: Value) -> str:
    match node:
        case Word(text):
            if "." in text or ":" in text.split("..")[0] or "/" in text:
                return (
                    "a range"
                    if ".." in text and "." not in text.replace("..", "")
                    else "an address"
                    if "." in text
                    else "an address or bytes"
                )
            return "a number"
        case Text():
            return "a string"
        case Name():
            return "a name"
        case ListName():
            return "a list"
        case Truth():
            return "a Boolean"
        case SetOf():
            return "a set"


def wrong_type(context: Context, left: Left, node: Value, help: str | None = None) -> None:
    """Reports a value that is not of the left side's type."""
    name, value = context.text(*left.place), context.text(*place_of(node))
    wanted = TYPE_WORDS[left.type]
    if isinstance(node, ListName):
        help = f"a list stands by itself: in {value}"
    message = f"`{name}` is {wanted}, and {value} is {_kind(node)}"
    expected = "a string" if left.type is Type.BYTES else "true or false" if left.type is Type.BOOL else wanted
    context.error("E0103", message, place_of(node), f"expected {expected}", help=help, related=((left.place, ""),))


# -- numbers -----------------------------------------------------------------------------------------------------------


def number_range(context: Context, left: Left, node: Value | Item) -> tuple[int, int] | None:
    """Inclusive (low, high) of a number, a range or a name that stands for a number."""
    if isinstance(node, Word):
        if ":" in node.text or "/" in node.text or node.text.replace("..", "").count(".") > 1:
            wrong_type(context, left, node)
            return None
        try:
            low, high = literals.number_range(node.text)
        except LiteralError as error:
            context.bad_literal(error, node.start)
            return None
        if high > left.maximum:
            name = context.text(*left.place)
            largest = f"the largest value of `{name}` is {left.maximum}"
            context.error("E0305", f"`{name}` never reaches {high}", place_of(node), "too large", help=largest, related=((left.place, ""),))
            return None
        return low, high
    if isinstance(node, Text):
        value = _named_number(context, left, node)
        return None if value is None else (value, value)
    names = left.field.names if left.field else None
    help = None
    if isinstance(node, Name):
        word = node.text.lower()
        port = _port(context, left, word)
        help = f'write "{word}"' if names and word in names else f"write {port}" if port is not None else _field_help(node)
    wrong_type(context, left, node, help)
    return None


def _port(context: Context, left: Left, word: str) -> int | None:
    """The port of a service that is named where a port is compared."""
    return SERVICE_PORTS.get(word) if context.text(*left.place).endswith("port") else None


def _field_help(node: Name) -> str:
    return "a field is compared with a value, not with another field" if "." in node.text else f'text is quoted: "{node.text}"'


def string(context: Context, node: Text) -> bytes | None:
    """The bytes of a string literal."""
    try:
        return literals.string_value(node.text)
    except LiteralError as error:
        context.bad_literal(error, node.start)
        return None


def _named_number(context: Context, left: Left, node: Text) -> int | None:
    value = string(context, node)
    if value is None:
        return None
    word = value.decode(errors="replace")
    names = left.field.names if left.field else None
    if names is not None:
        number = names.get(word)
        if number is None:
            name = context.text(*left.place)
            known = did_you_mean(word, names) or f"`mantlet fields {name}` lists the names; a number is written without quotes"
            context.error("E0203", f'`{name}` knows no "{word}"', place_of(node), "unknown name", help=known, related=((left.place, ""),))
        return number
    port = _port(context, left, word.lower())
    help = f"write {port}" if port is not None else f"write {word} without quotes" if word.isascii() and word.isdigit() else None
    wrong_type(context, left, node, help)
    return None


# -- addresses ---------------------------------------------------------------------------------------------------------


def address_range(context: Context, left: Left, node: Value | Item) -> tuple[int, int, int] | None:
    """(version, low, high) of an address, a CIDR or a range."""
    if not isinstance(node, Word):
        help = None
        if isinstance(node, Text):
            inner = node.text[1:-1]
            try:
                literals.address_range(inner)
                help = f"write {inner} without quotes"
            except LiteralError:
                pass
        wrong_type(context, left, node, help)
        return None
    text = node.text
    is_address = ":" in text or "/" in text or "." in text
    if not is_address or (".." in text and "." not in text.replace("..", "") and ":" not in text):
        wrong_type(context, left, node)
        return None
    try:
        return literals.address_range(node.text)
    except LiteralError as error:
        context.bad_literal(error, node.start)
        return None


# -- bytes -------------------------------------------------------------------------------------------------------------


def byte_string(context: Context, left: Left, node: Value | Item) -> bytes | None:
    """The bytes of a string or of a literal such as 01:2e:f3."""
    if isinstance(node, Text):
        value = string(context, node)
        if value is not None and left.field is not None and left.field.name in STATE_WORDS:
            return _state_word(context, left.field, node, value)
        return value.lower() if value is not None and left.caseless else value
    if isinstance(node, Word) and ":" in node.text and ".." not in node.text and "/" not in node.text:
        try:
            return literals.bytes_value(node.text)
        except LiteralError as error:
            context.bad_literal(error, node.start)
            return None
    help = None
    if isinstance(node, Word):
        help = f'write "{node.text}"'
        if literals.ONE_BYTE.fullmatch(node.text):
            help = rf'write "\x{node.text[-2:]}" for the byte, "{node.text}" for the text'
    elif isinstance(node, Name):
        help = _field_help(node)
    elif isinstance(node, SetOf):
        help = "a set stands behind `in` or `contains any`"
    wrong_type(context, left, node, help)
    return None


def _state_word(context: Context, field: Field, node: Text, value: bytes) -> bytes | None:
    known = STATE_WORDS[field.name]
    word = value.decode(errors="replace")
    if word in known:
        return value
    help = did_you_mean(word, known) or "known: " + ", ".join(sorted(known))
    context.error("E0203", f'`{field.name}` is never "{word}"', place_of(node), "unknown name", help=help)
    return None


# -- sets and lists ----------------------------------------------------------------------------------------------------


def items_of(context: Context, node: SetOf) -> Sequence[Item] | None:
    """The items of a set that is neither empty nor too large."""
    if not node.items:
        context.error(
            "E0310", "an empty set: nothing is in it", place_of(node), help="name at least one item; a test that never holds is `false`"
        )
        return None
    if len(node.items) > context.limits.list_items:
        context.error(
            "E0403", f"a set holds at most {context.limits.list_items:,} items, and this one has {len(node.items):,}", place_of(node)
        )
        return None
    return node.items


def number_ranges(context: Context, left: Left, node: SetOf) -> Ranges | None:
    """The union of a set of numbers and ranges."""
    items = items_of(context, node)
    if items is None:
        return None
    found = [number_range(context, left, item) for item in items]
    good = [pair for pair in found if pair is not None]
    return merged(good) if len(good) == len(found) else None


def address_ranges(context: Context, left: Left, node: SetOf) -> tuple[Ranges, Ranges] | None:
    """The union of a set of addresses, by family."""
    items = items_of(context, node)
    if items is None:
        return None
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    wrong = False
    for item in items:
        found = address_range(context, left, item)
        if found is None:
            wrong = True
        else:
            (v4 if found[0] == 4 else v6).append(found[1:])
    return None if wrong else (merged(v4), merged(v6))


def strings(context: Context, left: Left, node: SetOf) -> tuple[bytes, ...] | None:
    """The strings of a set, unique, in source order."""
    items = items_of(context, node)
    if items is None:
        return None
    found = [byte_string(context, left, item) for item in items]
    good = [value for value in found if value is not None]
    return tuple(dict.fromkeys(good)) if len(good) == len(found) else None


_KIND_OF_TYPE = {Type.INT: ListKind.NUMBERS, Type.ADDRESS: ListKind.ADDRESSES, Type.BYTES: ListKind.STRINGS}


def named_list(context: Context, left: Left, node: ListName) -> ListValue | None:
    """The list that `$name` names, where it is of the left side's kind."""
    found = context.lists.get(node.text)
    if found is None:
        help = did_you_mean(node.text, context.lists) or 'a list is defined with: list NAME = { ... }, or list NAME = file "PATH"'
        if help.startswith("did you"):
            help = help.replace("`", "`$", 1)
        context.error("E0603", f"there is no list `${node.text}`", place_of(node), "unknown list", help=help)
        return None
    context.used_lists.add(node.text)
    wanted = _KIND_OF_TYPE[left.type]
    empty = not (found.v4 or found.v6 or found.numbers or found.strings)
    if found.kind is wanted or empty:
        return found
    names = left.field.names if left.field else None
    if names is not None and found.kind is ListKind.STRINGS:
        numbers = [names.get(item.decode(errors="replace")) for item in found.strings]
        known = [number for number in numbers if number is not None]
        if len(known) == len(numbers):
            return ListValue.of_numbers(known)
    name = context.text(*left.place)
    message = f"`{name}` is {TYPE_WORDS[left.type]}, and `${node.text}` is a list of {found.kind.value}"
    context.error("E0107", message, place_of(node), f"expected a list of {wanted.value}", related=((left.place, ""),))
    return None
