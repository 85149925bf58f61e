"""Operands: fields and the functions that turn one value into another (`len`, `lower`, `upper`, `substring`, `bit_slice`)."""

from __future__ import annotations

from rules_dsl import literals
from rules_dsl.checker_values import string
from rules_dsl.checking import MAX_LENGTH, TYPE_WORDS, Context, Left
from rules_dsl.expression import BitSlice, FieldValue, Folded, Length, Substring
from rules_dsl.fields import BY_NAME, FIELDS, Header, Type
from rules_dsl.literals import LiteralError
from rules_dsl.suggestions import EITHER, NOT_DISSECTED, OTHER_NAMES, did_you_mean
from rules_dsl.syntax import Call, Every, FieldName, Node, Text, Word

TESTS = {
    "starts_with": 'starts_with(FIELD, "text")',
    "ends_with": 'ends_with(FIELD, "text")',
    "any": "any(FIELD == value)",
    "all": "all(FIELD == value)",
}
"""Functions that are true or false, and how they are written."""

VALUES = {
    "bit_slice": "bit_slice(PROTOCOL, START, END)",
    "len": "len(FIELD)",
    "lower": "lower(FIELD)",
    "upper": "upper(FIELD)",
    "substring": "substring(FIELD, START, END)",
}
"""Functions that give a value, and how they are written."""

SLICED = {header.value: header for header in (Header.IP, *(h for h in Header if h.value in FIELDS and h is not Header.IP))}
"""Protocols that `bit_slice` takes."""

FIELD_VALUES = {name: FieldValue(field) for name, field in FIELDS.items()}
"""One node a field, shared by all expressions."""

MAX_SLICE_START = 2_040
MAX_SLICE_WIDTH = 32
MAX_INDEX = 65_535


def operand(context: Context, node: FieldName | Call) -> Left | None:
    """The typed left side, or None after an error."""
    if isinstance(node, FieldName):
        return _field(context, node)
    match node.function:
        case "len" | "lower" | "upper" | "substring":
            return _of_bytes(context, node)
        case "bit_slice":
            return _bit_slice(context, node)
        case _:
            if node.function in TESTS:
                message = f"`{node.function}(...)` is true or false by itself"
                context.error(
                    "E0101",
                    message,
                    (node.start, node.end),
                    "not a value",
                    help="use it without a comparison, with `not` before it to negate",
                )
            else:
                unknown_function(context, node)
            return None


def unknown_function(context: Context, node: Call) -> None:
    known = TESTS | VALUES
    help = did_you_mean(node.function, known) or "known functions: " + ", ".join(sorted(known))
    if node.function in BY_NAME:
        help = f"`{node.function}` is a field: write it without parentheses"
    context.error("E0202", f"there is no function `{node.function}`", (node.start, node.name_end), "unknown function", help=help)


def _field(context: Context, node: FieldName) -> Left | None:
    field = BY_NAME.get(node.name)
    place = (node.start, node.end)
    if field is None:
        name_place = (node.start, node.start + len(node.name))
        help = did_you_mean(node.name, BY_NAME)
        protocol = node.name.partition(".")[0]
        if protocol in OTHER_NAMES:
            help = f"`{protocol}` is `{OTHER_NAMES[protocol]}` here: `mantlet fields {OTHER_NAMES[protocol]}` lists its fields"
        elif protocol in NOT_DISSECTED:
            help = f"{protocol} has no fields here: look into udp.payload or tcp.payload (starts_with, contains, matches)"
        elif help is None and protocol in BY_NAME:
            help = f"`mantlet fields {protocol}` lists the fields of {protocol}"
        if node.name in EITHER:
            one, other = EITHER[node.name]
            help = f"test the two fields by themselves: {one}, {other}"
        if node.name in TESTS or node.name in VALUES:
            help = f"a function is called: {(TESTS | VALUES)[node.name]}"
        context.error("E0201", f"there is no field `{node.name}`", name_place, "unknown field", help=help)
        return None
    key = None
    match node.index:
        case None:
            if field.keyed:
                context.error(
                    "E0204", f"`{node.name}` needs a key", place, help=f'write {node.name}["name"], or {node.name}[*] for every one'
                )
                return None
        case Every():
            if not field.multiple:
                context.error("E0204", f"`{node.name}` has one value: it takes no `[*]`", place, help=f"write {node.name}")
                return None
        case Text() as text:
            if not field.keyed:
                context.error("E0204", f"`{node.name}` takes no key", place, help=f"write {node.name}")
                return None
            key = string(context, text)
            if key is None:
                return None
        case Word():
            help = f"write {node.name}"
            if field.type is Type.BYTES:
                help = f"write substring({node.name}, START, END) for a part of it"
            elif node.name in SLICED:
                help = f"write bit_slice({node.name}, START, END) for some bits of it"
            context.error("E0204", f"`{node.name}` is not indexed by number", place, help=help)
            return None
    value = FIELD_VALUES[field.name] if key is None else FieldValue(field, key)
    return Left(value, field.type, field.maximum, field, field.multiple, *place, field.caseless)


def wrong_arguments(context: Context, node: Call, message: str) -> None:
    """Reports a call whose arguments do not fit, and shows how it is written."""
    shape = (TESTS | VALUES)[node.function]
    context.error("E0104", message, (node.start, node.end), help=f"write {shape}")


def bytes_argument(context: Context, node: Call) -> Left | None:
    """The first argument, which is a bytes value."""
    argument: Node | Word | Text | None = node.arguments[0] if node.arguments else None
    if not isinstance(argument, FieldName | Call):
        wrong_arguments(context, node, f"`{node.function}` looks at a field")
        return None
    left = operand(context, argument)
    if left is None:
        return None
    if left.type is not Type.BYTES:
        name = context.text(*left.place)
        message = f"`{node.function}` looks at text, and `{name}` is {TYPE_WORDS[left.type]}"
        context.error("E0104", message, left.place, "expected text", help=f"write {(TESTS | VALUES)[node.function]}")
        return None
    if left.field is not None and left.field.name.endswith(".country"):
        context.error("E0104", f"`{left.field.name}` is not looked into: it is compared as a whole", left.place, help="use ==, != or in")
        return None
    return left


def _of_bytes(context: Context, node: Call) -> Left | None:
    left = bytes_argument(context, node)
    if left is None:
        return None
    of = left.bytes_operand
    if node.function == "substring":
        bounds = _substring_bounds(context, node)
        if bounds is None:
            return None
        return Left(Substring(of, *bounds), Type.BYTES, 0, None, left.multiple, node.start, node.end, left.caseless)
    if len(node.arguments) != 1:
        wrong_arguments(context, node, f"`{node.function}` takes one argument, and there are {len(node.arguments)}")
        return None
    if node.function == "len":
        return Left(Length(of), Type.INT, MAX_LENGTH, None, left.multiple, node.start, node.end)
    upper = node.function == "upper"
    return Left(Folded(of, upper), Type.BYTES, 0, None, left.multiple, node.start, node.end, left.caseless and not upper)


def _integer(context: Context, argument: Node | Word | Text) -> int | None:
    """An argument that is a number, perhaps negative."""
    if not isinstance(argument, Word):
        context.error(
            "E0104", f"`{context.text(argument.start, argument.end)}` is no number", (argument.start, argument.end), "expected a number"
        )
        return None
    negative = argument.text.startswith("-")
    try:
        value = literals.number(argument.text[1:] if negative else argument.text)
    except LiteralError as error:
        context.bad_literal(error, argument.start + negative)
        return None
    return -value if negative else value


def _substring_bounds(context: Context, node: Call) -> tuple[int, int | None] | None:
    if len(node.arguments) not in (2, 3):
        wrong_arguments(
            context, node, f"`substring` takes a field, a start and perhaps an end, and there are {len(node.arguments)} arguments"
        )
        return None
    numbers = [_integer(context, argument) for argument in node.arguments[1:]]
    bounds = [value for value in numbers if value is not None]
    if len(bounds) != len(numbers):
        return None
    for value, argument in zip(bounds, node.arguments[1:], strict=True):
        if abs(value) > MAX_INDEX:
            message = f"an index lies between -{MAX_INDEX} and {MAX_INDEX}"
            context.error("E0309", message, (argument.start, argument.end))
            return None
    start, end = bounds[0], bounds[1] if len(bounds) == 2 else None
    if end is not None and (start < 0) == (end < 0) and end <= start:
        message = f"the substring from {start} to {end} is always empty"
        context.error(
            "E0309",
            message,
            (node.arguments[1].start, node.arguments[2].end),
            help="the end is not part of it: substring(FIELD, 0, 4) is four bytes",
        )
        return None
    return start, end


def _bit_slice(context: Context, node: Call) -> Left | None:
    if len(node.arguments) != 3:
        wrong_arguments(context, node, f"`bit_slice` takes a protocol, a start and an end, and there are {len(node.arguments)} arguments")
        return None
    header = _sliced_header(context, node.arguments[0])
    start, end = _integer(context, node.arguments[1]), _integer(context, node.arguments[2])
    if header is None or start is None or end is None:
        return None
    place = (node.arguments[1].start, node.arguments[2].end)
    if not 0 <= start <= MAX_SLICE_START:
        context.error("E0309", f"a bit slice starts between 0 and {MAX_SLICE_START}, and this one at {start}", place)
        return None
    if not start < end <= start + MAX_SLICE_WIDTH:
        message = f"a bit slice is 1 to {MAX_SLICE_WIDTH} bits wide, and this one is {end - start}"
        context.error(
            "E0309", message, place, help=f"the end is not part of it: bit_slice({header.value}, {start}, {start + 8}) is eight bits"
        )
        return None
    return Left(BitSlice(header, start, end), Type.INT, (1 << (end - start)) - 1, None, False, node.start, node.end)


def _sliced_header(context: Context, argument: Node | Word | Text) -> Header | None:
    word = ""
    if isinstance(argument, Text):
        value = string(context, argument)
        if value is None:
            return None
        word = value.decode(errors="replace")
    elif isinstance(argument, FieldName) and argument.index is None:
        word = argument.name
    header = SLICED.get(word)
    if header is None:
        help = (
            "the header of both IP versions is `ip`"
            if word in ("ipv4", "ipv6")
            else did_you_mean(word, SLICED) or "protocols: " + ", ".join(SLICED)
        )
        shown = context.text(argument.start, argument.end)
        context.error("E0205", f"`bit_slice` knows no protocol {shown}", (argument.start, argument.end), "unknown protocol", help=help)
    return header
