"""The command line `mantlet`: from arguments to an exit code, never a traceback.

Each group of commands is a file of this package; the libraries behind a command are imported when it runs.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from firewall.cli.console import Exit, warn
from firewall.cli.failures import Failure, failure_of
from firewall.cli.parser import build_parser

__all__ = ["Exit", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 findings or failed tests, 2 bad input or usage, 3 the kernel or the
    environment refused, 70 a bug of ours (sysexits' EX_SOFTWARE). `--help` and usage errors leave by SystemExit, as argparse does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        options = build_parser().parse_args(given)
        code = options.run(options)
        sys.stdout.flush()
        return int(code)
    except BrokenPipeError:
        # The reader went away (`mantlet fields | head`): what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except KeyboardInterrupt:
        return 128 + 2
    except Exception as error:
        if debug:
            traceback.print_exc()
        failure = failure_of(error)
        if failure is None:
            warn(f"mantlet: {type(error).__name__}: {error}")
            warn("mantlet: this is a bug; `--debug` shows where")
            return Exit.BUG
        return _report(failure, given)


def _report(failure: Failure, given: Sequence[str]) -> Exit:
    if failure.diagnostics:
        from firewall.cli.console import show_diagnostics

        as_json = any(word == "--format=json" or pair == ("--format", "json") for word, pair in zip(given, _pairs(given), strict=True))
        show_diagnostics(failure.diagnostics, as_json=as_json)
    else:
        warn(f"mantlet: {failure.message}")
        for line in failure.help:
            warn(f"  {line}")
    return failure.exit


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(words, [*words[1:], ""], strict=True))
