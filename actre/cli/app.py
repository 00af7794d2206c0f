"""The command line: one subcommand a room. Knows only where each room's commands stand and how errors show.

A room offers `add_parser(subparsers)` in a module that imports nothing heavy: it adds its subcommand and
calls `set_defaults(run=function)`; `function(args) -> int | None` is the exit code (None: 0) and does its
heavy imports itself. Exit codes: 0 done, 1 a check failed, 2 an error the user can mend, 130 interrupted.
"""

import argparse
import difflib
import errno
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import actre
from actre.types import UNWRITABLE, ActreError

COMMANDS = {
    "doctor": "actre.cli.doctor",
    "quickstart": "actre.cli.quickstart",
    "games": "actre.cli.games",
    "webshop": "actre.cli.webshop",
    "models": "actre.cli.models",
    "pretrain-tiny": "actre.cli.pretrain_tiny",
    "probes": "actre.cli.probes",
    "diagnose": "actre.cli.diagnose",
    "calibrate": "actre.cli.calibrate",
    "warmstart": "actre.cli.warmstart",
    "train": "actre.cli.train",
    "evaluate": "actre.cli.evaluate",
    "study": "actre.cli.study",
    "report": "actre.cli.report",
    "export": "actre.cli.export",
    "notebooks": "actre.lessons.runner",
}
"""Command -> the module that offers it, in the order in which `actre --help` shows them."""

_BAD_CHOICE = re.compile(r"invalid choice: '?(?P<given>[^']*?)'? \(choose from (?P<choices>.*)\)$", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaint about a wrong word names the nearest right one, and about a number its option.

    Differs: a number out of range is an ActreError like a setting's, one sentence without the usage.
    """

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        try:
            return super()._get_value(action, arg_string)  # type: ignore[misc]
        except ActreError as error:
            raise ActreError(f"{'/'.join(action.option_strings) or action.dest} {error}") from error

    def error(self, message: str) -> NoReturn:
        bad = _BAD_CHOICE.search(message)
        if bad:
            choices = [choice.strip().strip("'") for choice in bad["choices"].split(",")]
            near = difflib.get_close_matches(bad["given"], choices, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(choices)}"
            message = f"no {bad['given']!r} here; {hint}"
        super().error(message)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with every room's subcommand, or with one. Loads no heavy library (by test)."""
    parser = _Parser(
        prog="actre",
        description="Does thinking before acting narrow what a language-model agent tries? "
        "Measure it, train it, look at it.",
        epilog="Start with `actre doctor`, then `actre quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"actre {actre.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in COMMANDS.values() if only is None else (COMMANDS[only],):
        importlib.import_module(module).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code. `argv` without the program's name, None: sys.argv.

    Raises SystemExit where argparse ends the program itself (--help, --version, wrong usage: 2).
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        # The command's own room alone: `actre doctor` answers even where another room cannot be loaded.
        parser = build_parser(argv[0] if argv and argv[0] in COMMANDS else None)
        args = parser.parse_args(argv)
        if args.command is None:
            parser.print_help()
            return 0
        code = args.run(args) or 0
        sys.stdout.flush()
        return code
    except ActreError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "actre":
            raise
        return _complain(f"{error.name} is not installed; what is missing, and what brings it: actre doctor")
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop}" if str(stop) else "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Without this Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename:
            return _complain(f"{error.filename}: {error.strerror}; choose another folder or file, or mend that one")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        return _complain(
            f"the disk is full{where}; what was finished before is untouched. "
            "Free some space (`df -h .` shows what is left) and run the command again"
        )


def _complain(message: str) -> int:
    print(f"actre: error: {message}", file=sys.stderr)
    return 2
