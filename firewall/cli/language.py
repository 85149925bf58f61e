"""Commands of the language alone, which need no kernel: check, fmt, fields, explain."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from firewall.cli.commands import Commands, add_format, add_geo, wants_json
from firewall.cli.console import BadInput, Exit, count, paint, say, say_json, show_diagnostics, table

if TYPE_CHECKING:
    from rules_dsl.fields import Field, Protocol

STANDARD_INPUT = Path("-")

TEXT_WIDTH = 100
"""Columns of running text."""


def register(commands: Commands) -> None:
    check = commands.add(
        "check",
        _check,
        "parse and check rule files; all diagnostics at once",
        "Parses and checks rule files and prints every error and warning found, with its place. Exits 1 where there is an error.\n"
        "A rule that is right but cannot be enforced by this version is an error too; --language asks only whether it is right.\n"
        "A rule that no packet reaches, since rules above it end the evaluation of all of its packets, is a warning with an example.",
        "mantlet check acme.rules",
        "mantlet check --format json *.rules   # for an editor or a pipeline",
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a rule file")
    check.add_argument("--strict", action="store_true", help="exit 1 for warnings too")
    check.add_argument("--language", action="store_true", help="do not ask whether the rules can be enforced")
    add_geo(check)
    add_format(check)

    fmt = commands.add(
        "fmt",
        _fmt,
        "write rule files in canonical form",
        "Rewrites rule files in canonical form: operators in words, aliases by their own names, comments kept. `-` reads standard input\n"
        "and writes standard output.",
        "mantlet fmt acme.rules",
        "mantlet fmt --check *.rules   # changes nothing, exits 1 where a file would change",
        "mantlet fmt --diff acme.rules",
    )
    fmt.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a rule file, or - for standard input")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit 1 where a file would change")
    fmt.add_argument("--diff", action="store_true", help="change nothing; show what would change; exit 1 where a file would")
    add_format(fmt)

    fields = commands.add(
        "fields",
        _fields,
        "the field catalogue",
        "Lists the fields that an expression can test, or says all about one, by its name, an alias, or the start of a name. Of a field\n"
        "of a protocol it also says which messages count as one.",
        "mantlet fields",
        "mantlet fields tcp.flags",
        "mantlet fields dns          # the protocol, and all its fields",
        "mantlet fields tls.sni",
        "mantlet fields ip.",
    )
    fields.add_argument("name", nargs="?", metavar="NAME", help="a field, or the start of its name")
    add_format(fields)

    explain = commands.add(
        "explain",
        _explain,
        "what an error means, or what the plan chose for each rule and why",
        "Given a code: what that error or warning means, with an example. Given a rule file: how each rule will be judged (natively or\n"
        "by eBPF), why, and the cost that the plan expects.",
        "mantlet explain E0103",
        "mantlet explain acme.rules",
    )
    explain.add_argument("subject", metavar="CODE|FILE", help="a code such as E0103, or a rule file")
    add_geo(explain)
    add_format(explain)


# -- check -------------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import geo_table, require_file
    from firewall.cli.shadowed import not_told_words, shadow_diagnostic, shadow_json, shadowed_rules
    from rules_dsl import check_policy, to_json

    geo = geo_table(options.geo)
    for path in options.files:
        require_file(path)
    errors = warnings = 0
    documents: list[dict[str, object]] = []
    for path in options.files:
        policy, found = check_policy(path, geo=geo)
        diagnostics = list(found)
        if policy is not None and not options.language:
            from firewall.cli.compiling import enforcement_findings

            diagnostics += enforcement_findings(policy)
        told = shadowed_rules(policy, found) if policy is not None else None
        shadows, not_told = (told.found, told.not_told) if told is not None else ((), ())
        diagnostics += [shadow_diagnostic(policy, shadow) for shadow in shadows if policy is not None]
        bad = sum(diagnostic.is_error for diagnostic in diagnostics)
        errors += bad
        warnings += len(diagnostics) - bad
        rules = len(policy.rules) if policy is not None else None
        if wants_json(options):
            documents.append(
                {
                    "file": str(path),
                    "rules": rules,
                    "diagnostics": [to_json(diagnostic) for diagnostic in diagnostics],
                    "shadowed": [shadow_json(shadow) for shadow in shadows],
                    "not_known_whether_shadowed": [rule.name for rule in not_told],
                }
            )
        else:
            show_diagnostics(diagnostics, as_json=False, stream=sys.stdout)
            if not diagnostics and policy is not None:
                say(f"{path}: {count(len(policy.rules), 'rule')}, no findings")
            if not_told:
                say(f"note: {path}: {not_told_words(not_told)}")
    if wants_json(options):
        say_json("check", {"errors": errors, "warnings": warnings, "files": documents})
    elif errors or warnings:
        say(f"{count(errors, 'error')}, {count(warnings, 'warning')} in {count(len(options.files), 'file')}")
    return Exit.FINDINGS if errors or (warnings and options.strict) else Exit.WELL


# -- fmt ---------------------------------------------------------------------------------------------------------------


def _fmt(options: argparse.Namespace) -> Exit:
    from firewall.cli.policies import read_text
    from rules_dsl import format_policy
    from rules_dsl.diagnostics import Diagnostic, DiagnosticError

    keep = options.check or options.diff
    changed: list[Path] = []
    broken: list[Diagnostic] = []
    for path in options.files:
        from_input = path == STANDARD_INPUT
        text = sys.stdin.read() if from_input else read_text(path)
        try:
            formatted = format_policy(text, name="<stdin>" if from_input else str(path))
        except DiagnosticError as error:
            broken += error.diagnostics
            continue
        if from_input and not keep:
            sys.stdout.write(formatted)
            continue
        if formatted == text:
            continue
        changed.append(path)
        if options.diff and not wants_json(options):
            _show_diff(str(path), text, formatted)
        elif not keep:
            path.write_text(formatted, encoding="utf-8")
        if not options.diff and not wants_json(options):
            say(f"{'would reformat' if keep else 'reformatted'} {path}")
    if broken:
        show_diagnostics(broken, as_json=wants_json(options))
        return Exit.BAD_INPUT
    if wants_json(options):
        say_json("fmt", {"changed": [str(path) for path in changed], "written": not keep})
    return Exit.FINDINGS if changed and keep else Exit.WELL


def _show_diff(name: str, before: str, after: str) -> None:
    colours = {"+": "green", "-": "red", "@": "blue"}
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), name, f"{name} (formatted)", lineterm=""):
        say(paint(line, colours[line[0]]) if line[:1] in colours else line)


# -- fields ------------------------------------------------------------------------------------------------------------


def _fields(options: argparse.Namespace) -> Exit:
    from rules_dsl.fields import BY_NAME, FIELDS, PROTOCOL_OF

    name = options.name
    one = BY_NAME.get(name) if name else None
    under = [field for field in FIELDS.values() if name is None or (field.name.startswith(name.rstrip(".") + ".") and field is not one)]
    if one is None and not under:
        near = difflib.get_close_matches(name, BY_NAME, n=3, cutoff=0.5)
        raise BadInput(
            f"no field is called `{name}`", *([f"near it: {', '.join(near)}"] if near else []), "`mantlet fields` lists them all"
        )
    if wants_json(options):
        shown = ([one] if one else []) + under
        protocols = {protocol.name: protocol for field in shown if (protocol := PROTOCOL_OF.get(field.name)) is not None}
        documents = {"fields": [_field_json(field) for field in shown], "protocols": list(map(_protocol_json, protocols.values()))}
        say_json("fields", documents)
        return Exit.WELL
    if one:
        _say_field(one)
        if one.name in PROTOCOL_OF:
            say()
            _say_protocol(PROTOCOL_OF[one.name])
        if under:
            say()
    if under:
        rows = [(field.name, field.type.value + (", many" if field.multiple else ""), field.summary) for field in under]
        say(table(("FIELD", "TYPE", "MEANING"), rows))
    return Exit.WELL


def _field_json(field: Field) -> dict[str, object]:
    return {
        "name": field.name,
        "aliases": list(field.aliases),
        "type": field.type.name.lower(),
        "group": field.group,
        "summary": field.summary,
        "maximum": field.maximum if field.maximum else None,
        "multiple": field.multiple,
        "bound": field.bound if field.multiple and field.group == "protocol" else None,
        "keyed": field.keyed,
        "caseless": field.caseless,
        "names": dict(field.names) if field.names else None,
        "wireshark": field.wireshark,
        "at": [
            {"header": bits.header.value, "offset": bits.offset, "width": bits.width, "scale": bits.scale, "add": bits.add}
            for bits in field.at
        ],
    }


def _protocol_json(protocol: Protocol) -> dict[str, object]:
    carriers = [header.value for header in protocol.carriers]
    return {"name": protocol.name, "title": protocol.title, "carriers": carriers, "valid": protocol.valid}


def _say_protocol(protocol: Protocol) -> None:
    from firewall.cli.reference import carriers_of

    say(f"{paint(protocol.title, 'bold')}, in {carriers_of(protocol)}")
    for line in textwrap.wrap(f"What counts: {protocol.valid}", TEXT_WIDTH, initial_indent="  ", subsequent_indent="  "):
        say(line)


def _say_field(field: Field) -> None:
    from firewall.cli.reference import kind_of, operators_of, places_of

    say(f"{paint(field.name, 'bold')}: {field.summary}")
    say(f"  type       {', '.join(kind_of(field))}")
    if field.keyed:
        say(f'  written    {field.name}["name"], or {field.name}[*] for every one')
    if field.aliases:
        say(f"  also       {', '.join(field.aliases)}")
    for place in places_of(field):
        say(f"  where      {place}")
    if field.wireshark:
        say(f"  Wireshark  {field.wireshark}")
    say(f"  operators  {operators_of(field)}")
    if field.names:
        names = [f"{name} {number}" for name, number in field.names.items()]
        say(f"  names      {', '.join(names)}")


# -- explain -----------------------------------------------------------------------------------------------------------


def _explain(options: argparse.Namespace) -> Exit:
    subject = options.subject
    if re.fullmatch(r"[EWew]\d{4}", subject):
        return _explain_code(subject.upper(), as_json=wants_json(options))
    if not Path(subject).exists():
        raise BadInput(f"`{subject}` is neither a code (E0103) nor a rule file that is there")
    from firewall.cli.compiling import explain_policy

    return explain_policy(options, Path(subject))


def _explain_code(code: str, *, as_json: bool) -> Exit:
    from rules_dsl import CODES

    entry = CODES.get(code)
    if entry is None:
        near = difflib.get_close_matches(code, CODES, n=3, cutoff=0.7)
        raise BadInput(f"there is no code {code}", *([f"near it: {', '.join(near)}"] if near else []))
    from firewall.cli.reference import code_json, code_text

    if as_json:
        say_json("explain", {"code": code_json(entry)})
    else:
        say(code_text(entry))
    return Exit.WELL
