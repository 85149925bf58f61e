"""The generated pages of docs/reference: fields, errors and the command line, made from the catalogue, the codes and the
argument parser. `python -m firewall.cli.reference FOLDER` writes them; a test holds that they are fresh."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rules_dsl.fields import FIELDS, PROTOCOLS, Bits, Field, Header, Protocol, Type
from rules_dsl.protocols import IP_PROTOCOLS

if TYPE_CHECKING:
    from rules_dsl.codes import Code

    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

HEADER_NAMES = {
    Header.IP: "IP header",
    Header.IPV4: "IPv4 header",
    Header.IPV6: "IPv6 header",
    Header.FRAGMENT: "IPv6 fragment header",
    Header.TCP: "TCP header",
    Header.UDP: "UDP header",
    Header.ICMP: "ICMP header",
    Header.ICMPV6: "ICMPv6 header",
    Header.SCTP: "SCTP header",
    Header.GRE: "GRE header",
    Header.ESP: "ESP header",
}

CARRIERS = {
    Header.TCP: "TCP",
    Header.UDP: "UDP",
    Header.ICMP: "ICMP",
    Header.ICMPV6: "ICMPv6",
    Header.GRE: "GRE",
    Header.IPIP: "IP (protocol 4)",
    Header.IPV6_IN_IP: "IP (protocol 41)",
}
"""What messages of protocols stand in."""

OPERATORS = {
    Type.BOOL: "alone, or == !=",
    Type.INT: "== != < <= > >= in &",
    Type.ADDRESS: "== != in",
    Type.BYTES: "== != < <= > >= in contains, contains any, wildcard, strict wildcard, matches",
}

GROUPS = {
    "address": "Addresses",
    "ip": "IP",
    "l4": "Transport",
    "place": "Place",
}
"""The catalogue's groups of header fields, and their headings."""


# -- fields ------------------------------------------------------------------------------------------------------------


def operators_of(field: Field) -> str:
    return OPERATORS[field.type]


def kind_of(field: Field) -> Iterator[str]:
    """What a field's values are, beside their meaning."""
    yield field.type.value
    if field.type is Type.INT:
        yield f"0 to {field.maximum}"
    if field.keyed:
        yield "with a key"
    if field.multiple:
        # What has no protocol is bounded by the packet alone.
        yield f"many, the first {field.bound}" if field.group == "protocol" else "many"
    if field.caseless:
        yield "case ignored"


def carriers_of(protocol: Protocol) -> str:
    return ", ".join(CARRIERS[header] for header in protocol.carriers)


def places_of(field: Field) -> Iterator[str]:
    """Where the field's bits are, a line a place."""
    for bits in field.at:
        yield _place(bits)


def _place(bits: Bits) -> str:
    if bits.scale == 0:
        return f"{HEADER_NAMES[bits.header]}: always {bits.add}"
    if bits.offset % 8 == 0 and bits.width % 8 == 0:
        first, last = bits.offset // 8, (bits.offset + bits.width) // 8 - 1
        where = f"byte {first}" if first == last else f"bytes {first} to {last}"
    elif bits.width == 1:
        where = f"bit {bits.offset}"
    else:
        where = f"bits {bits.offset} to {bits.offset + bits.width - 1}"
    scaled = f", times {bits.scale}" if bits.scale > 1 else ""
    added = f", plus {bits.add}" if bits.add else ""
    return f"{HEADER_NAMES[bits.header]}, {where}{scaled}{added}"


def fields_page() -> str:
    lines = [
        "# Fields",
        "",
        "Every field that an expression can test. This page is made from the field catalogue (`rules_dsl/fields/`);",
        "`mantlet fields NAME` says the same on a terminal.",
        "",
        "A field that a packet does not carry is absent, and every comparison on it is false. *Wireshark* names the display filter field",
        "that means the same, where one does; where it differs from the field's own name it is accepted as an alias.",
        "",
        f"- Headers: {' · '.join(_link(heading) for heading in GROUPS.values())}",
        f"- Protocols: {' · '.join(_link(name) for name in PROTOCOLS)}",
        "- [Operators by type](#operators-by-type), [names of IP protocols](#names-of-ip-protocols)",
        "",
        "In the headers bytes and bits are counted from 0 from the header's first.",
        "",
    ]
    for group, heading in GROUPS.items():
        lines += [f"## {heading}", "", "| field | type | meaning | where | Wireshark |", "| --- | --- | --- | --- | --- |"]
        for field in FIELDS.values():
            if field.group == group:
                lines.append(_row(*_start_of_row(field), "<br>".join(places_of(field)), _wireshark(field)))
        lines.append("")
    lines += [
        "## Protocols",
        "",
        "A protocol is told by the bytes of its messages, whatever the port. Where no message that counts begins in the packet, all its",
        "fields are absent. [The language](language.md#fields-of-protocols) says what many values, keys and truncated messages mean.",
        "",
        "| protocol | in | |",
        "| --- | --- | --- |",
        *(
            _row(f"[`{protocol.name}`](#{_anchor(protocol.name)})", carriers_of(protocol), protocol.title)
            for protocol in PROTOCOLS.values()
        ),
        "",
    ]
    for protocol in PROTOCOLS.values():
        lines += _section(protocol)
    lines += ["## Operators by type", "", "| type | operators |", "| --- | --- |"]
    lines += [_row(kind.value, f"`{operators}`") for kind, operators in OPERATORS.items()]
    with_names = [f"`{field.name}`" for field in FIELDS.values() if field.names is IP_PROTOCOLS]
    named = f"{', '.join(with_names[:-1])} and {with_names[-1]} compare with numbers and with these names."
    lines += ["", "## Names of IP protocols", "", named, "", "| name | number |", "| --- | --- |"]
    lines += [*(f"| `{name}` | {number} |" for name, number in IP_PROTOCOLS.items()), ""]
    return "\n".join(lines)


def _section(protocol: Protocol) -> Iterator[str]:
    yield from (f"### {protocol.name}", "", f"{protocol.title}. In {carriers_of(protocol)}.", "")
    yield from (f"**What counts.** {protocol.valid}", "")
    yield from ("| field | type | meaning | Wireshark |", "| --- | --- | --- | --- |")
    yield from (_row(*_start_of_row(field), _wireshark(field)) for field in protocol.fields)
    yield ""
    for fields, names in _named(protocol.fields):
        listed = ", ".join(f"`{name}` {number}" for name, number in names.items())
        yield from (
            f"Names that {' and '.join(f'`{field.name}`' for field in fields)} compare{'s' * (len(fields) == 1)} with: {listed}.",
            "",
        )


def _named(fields: Iterable[Field]) -> Iterator[tuple[list[Field], Mapping[str, int]]]:
    """Fields that compare with the same names, other than those of IP protocols, and the names."""
    found: dict[int, list[Field]] = {}
    for field in fields:
        if field.names is not None and field.names is not IP_PROTOCOLS:
            found.setdefault(id(field.names), []).append(field)
    for members in found.values():
        yield members, members[0].names or {}


def _start_of_row(field: Field) -> tuple[str, str, str]:
    return "<br>".join(f"`{name}`" for name in (field.name, *field.aliases)), "<br>".join(kind_of(field)), field.summary


def _wireshark(field: Field) -> str:
    return f"`{field.wireshark}`" if field.wireshark else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _link(heading: str) -> str:
    return f"[{heading}](#{_anchor(heading)})"


def _anchor(heading: str) -> str:
    """As GitHub makes them, of the headings that are here."""
    return heading.lower().replace(".", "").replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# -- the command line --------------------------------------------------------------------------------------------------


def cli_page() -> str:
    from firewall.cli.parser import build_parser

    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    lines = [
        "# The command line",
        "",
        "This page is made from the argument parser; `mantlet COMMAND --help` says the same on a terminal.",
        "`python -m firewall` is the same command.",
        "",
        "| exit code | meaning |",
        "| --- | --- |",
        "| 0 | well |",
        "| 1 | findings, failed tests, differences |",
        "| 2 | bad input or usage |",
        "| 3 | the kernel or the environment refused |",
        "",
        "`--format json` prints one document, an object whose `version` is 1 and whose `command` is the command's name, or, for `match`",
        "and `replay`, one object a line. Diagnostics of a rule file that a command cannot use are such a document too.",
        "Colour is used on a terminal only, and not where `NO_COLOR` is set.",
        "",
        "| command | does |",
        "| --- | --- |",
        *(f"| [`{choice.dest}`](#{choice.dest}) | {_cell(choice.help or '')} |" for choice in commands._choices_actions),
        "",
    ]
    for name, command in walk(commands):
        lines += [f"## {name}", "", "```", usage_of(name, command), "```", "", command.description or "", ""]
        if _group_of(command):
            if command.epilog:
                lines += ["```", *(line.strip() for line in command.epilog.splitlines()[1:]), "```", ""]
            continue
        lines += ["| argument | meaning |", "| --- | --- |"]
        for action in command._actions:
            if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
                lines.append(f"| `{_cell(_spelling(action))}` | {_cell((action.help or '') % _filled(action))} |")
        lines.append("")
        if command.epilog:
            lines += ["```", *(line.strip() for line in command.epilog.splitlines()[1:]), "```", ""]
    return "\n".join(lines)


def walk(commands: Commands, above: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command with its whole name; after one that has commands of its own, those."""
    for name, command in commands.choices.items():
        yield above + name, command
        for group in _group_of(command):
            yield from walk(group, f"{above}{name} ")


def _group_of(command: argparse.ArgumentParser) -> list[Commands]:
    return [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]


def usage_of(name: str, command: argparse.ArgumentParser) -> str:
    """One line: the command with its arguments. (argparse's own usage differs from one Python to the next.)"""
    words = ["mantlet", name]
    shown = [action for action in command._actions if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)]
    for action in sorted(shown, key=lambda action: bool(action.option_strings)):
        spelling = _spelling(action)
        words.append(spelling if action.required else f"[{spelling}]")
    return " ".join(words)


def _spelling(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else None
    if isinstance(action, argparse._SubParsersAction):
        return f"{choices} ..."
    value = action.metavar if isinstance(action.metavar, str) else choices or action.dest.upper()
    if not action.option_strings:
        return f"{value}..." if action.nargs in ("+", "*") else value
    names = ", ".join(action.option_strings)
    return names if action.nargs == 0 else f"{names} {value}"


def _filled(action: argparse.Action) -> dict[str, object]:
    return {"default": action.default, "dest": action.dest}


# -- errors ------------------------------------------------------------------------------------------------------------


CODE_GROUPS = {
    "E00": "Syntax",
    "E01": "Types",
    "E02": "Names and fields",
    "E03": "Literals",
    "E04": "Limits",
    "E05": "Rule files",
    "E06": "Lists and files",
    "E09": "Enforcement",
    "W": "Warnings",
}
"""The start of a code, and what such codes are about."""


def code_json(code: Code) -> dict[str, object]:
    return {"code": code.code, "title": code.title, "explanation": code.explanation, "wrong": code.wrong, "right": code.right}


def code_text(code: Code) -> str:
    """A code with its meaning and its example, for a terminal."""
    lines = [f"{code.code}: {code.title}", "", code.explanation]
    for label, example in (("wrong", code.wrong), ("right", code.right)):
        if example:
            lines += ["", f"{label}:", *(f"  {line}" for line in example.splitlines())]
    return "\n".join(lines)


def errors_page() -> str:
    from rules_dsl import CODES

    lines = [
        "# Errors and warnings",
        "",
        "Every code that a diagnostic can carry: E is an error, W a warning. This page is made from the codes in the source;",
        "`mantlet explain CODE` says the same on a terminal.",
        "",
    ]
    for start, heading in CODE_GROUPS.items():
        members = [code for name, code in CODES.items() if name.startswith(start)]
        if not members:
            continue
        lines += [f"## {heading}", ""]
        for code in members:
            lines += [f"### {code.code}: {code.title}", "", code.explanation, ""]
            for label, example in (("Wrong", code.wrong), ("Right", code.right)):
                if example:
                    lines += [f"{label}:", "", "```", *example.splitlines(), "```", ""]
    return "\n".join(lines)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


PAGES = {"fields.md": fields_page, "errors.md": errors_page, "cli.md": cli_page}
"""File name and what makes it."""

if __name__ == "__main__":
    main(Path(sys.argv[1]))
