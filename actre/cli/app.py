"""The command line: finds the module of a command, runs it, and reports errors.

A command's module imports nothing heavy and offers `add_parser(subparsers)`, which adds the command and calls
`set_defaults(run=function)`. `function(args) -> int | None` does its heavy imports itself and returns the exit code
(None: 0). Exit codes: 0 done, 1 a check failed, 2 an error that the user can fix, 130 interrupted.
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
from actre.cli.old_flags import in_todays_names
from actre.runtime import extras
from actre.types import UNWRITABLE, ActreError

COMMANDS = {
    "doctor": "actre.cli.doctor",
    "gpu-check": "actre.cli.gpu_check",
    "quickstart": "actre.cli.quickstart",
    "games": "actre.cli.games",
    "webshop": "actre.cli.webshop",
    "models": "actre.cli.models",
    "pretrain-tiny": "actre.cli.pretrain_tiny",
    "probes": "actre.cli.probes",
    "diagnose": "actre.cli.diagnose",
    "preconditions": "actre.cli.preconditions",
    "calibrate": "actre.cli.calibrate",
    "warmstart": "actre.cli.warmstart",
    "train": "actre.cli.train",
    "evaluate": "actre.cli.evaluate",
    "rescore": "actre.cli.rescore",
    "study": "actre.cli.study",
    "report": "actre.cli.report",
    "export": "actre.cli.export",
    "notebooks": "actre.lessons.runner",
}
"""Command -> its module, in the order of `actre --help`. One row adds a command."""

NEEDS_TRAIN = {"gpu-check", "quickstart", "pretrain-tiny", "diagnose", "warmstart", "train", "study", "export"}
"""Commands that are refused where `actre[train]` is not installed; the others need it in parts only."""

_BAD_CHOICE = re.compile(r"invalid choice: '?(?P<given>[^']*?)'? \(choose from (?P<choices>.*)\)$", re.DOTALL)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser that suggests the nearest choice for a wrong one.

    Differs: a number out of range is an ActreError, as for a setting, and is reported without the usage text.
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
            hint = f"did you mean {near[0]!r}?" if near else f"the choices are: {', '.join(choices)}"
            message = f"unknown {bad['given']!r}; {hint}"
        super().error(message)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with every command, or with one. Loads no heavy library."""
    parser = _Parser(
        prog="actre",
        description="Does thinking before acting narrow what a language-model agent tries? "
        "Measure it, train against it, and inspect the results.",
        epilog="Start with `actre doctor`, then `actre quickstart`.",
    )
    parser.add_argument("--version", action="version", version=f"actre {actre.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in COMMANDS.values() if only is None else (COMMANDS[only],):
        importlib.import_module(module).add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code. argv: without the program's name; None: sys.argv.

    Raises SystemExit where argparse ends the program itself (--help, --version, wrong usage: 2).
    """
    argv = in_todays_names(sys.argv[1:] if argv is None else argv)
    try:
        # Only the command's own module is loaded: `actre doctor` works even if another one cannot be imported.
        parser = build_parser(argv[0] if argv and argv[0] in COMMANDS else None)
        args = parser.parse_args(argv)
        if args.command is None:
            parser.print_help()
            return 0
        if args.command in NEEDS_TRAIN:
            extras.need_train(f"actre {args.command}")
        code = args.run(args) or 0
        sys.stdout.flush()
        return code
    except ActreError as error:
        return _complain(str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "actre":
            raise
        if (name := error.name.partition(".")[0]) in extras.TRAIN:
            return _complain(extras.missing(name, f"actre {argv[0]}"))
        return _complain(f"{error.name} is not installed; `actre doctor` shows what is missing and how to install it")
    except KeyboardInterrupt as stop:
        print(f"interrupted: {stop}" if str(stop) else "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe. Without this Python reports an error when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in UNWRITABLE and error.filename:
            return _complain(f"{error.filename}: {error.strerror}; choose another folder or file, or fix that one")
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        return _complain(
            f"the disk is full{where}; everything written before is intact. "
            "Free some space (`df -h .` shows how much is left) and run the command again"
        )


def _complain(message: str) -> int:
    print(f"actre: error: {message}", file=sys.stderr)
    return 2
