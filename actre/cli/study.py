"""`actre study FILE`: make a study's runs, show how far they are, compare what is finished.

Knows how to ask and how to show; the room does the work.
"""

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actre.config.checks import Processes, Seed, of
from actre.config.paths import place
from actre.runtime import outputs
from actre.types import ActreError

SHIPPED = Path("data/results/study")
_UP = "\x1b[{}F\x1b[J"


def add_parser(subparsers: Any) -> None:
    """Add `study` to the command line."""
    study = subparsers.add_parser(
        "study",
        help="arms x estimators x seeds from one file: run what is not finished, then compare",
        description="Makes a study's runs side by side, each in a process of its own; what is finished is not run "
        "again, and an interrupted run goes on from its checkpoint. Shipped studies: data/studies.",
    )
    study.add_argument("files", nargs="+", type=place, metavar="FILE", help="e.g. data/studies/tiny.toml")
    study.add_argument("--out", type=place, default=Path("runs/study"), help="run folders (default: %(default)s/NAME)")
    study.add_argument("--results", type=place, help="folder of the finished runs' lines (default: that of --out)")
    study.add_argument("--jobs", type=of(Processes), help="processes at once (default: one a GPU, else one a core)")
    study.add_argument("--only", metavar="TEXT", help="only runs with this in their name, e.g. neutral/actre-grpo")
    study.add_argument("--seeds", type=_seeds, metavar="N,...", help="only runs with these seeds")
    study.add_argument("--plan", action="store_true", help="show what is finished and what is not, and run nothing")
    study.add_argument("--again", metavar="RUN", help="make one finished run again and compare its numbers")
    study.add_argument("--write", type=place, metavar="PAGE.md", help="write the page of results, and run nothing")
    study.set_defaults(run=_run)


def _seeds(text: str) -> tuple[int, ...]:
    """Seeds as they are listed, 3,4,5. Raises ActreError for what is no seed."""
    return tuple(map(of(Seed), text.split(",")))


def _run(args: argparse.Namespace) -> int:
    from actre.study.file import load_study

    studies = [load_study(path) for path in args.files]
    results = args.results or args.out
    for name, folder in (("--out", args.out), ("--results", results)):
        if folder.exists() and not folder.is_dir():
            raise ActreError(f"{name} {folder} is a file, and a folder is needed")
    if args.write is not None:
        return _write(args, results)
    if args.again is not None:
        return _again(args, studies, results)
    failed = 0
    for path, study in zip(args.files, studies, strict=True):
        failed += _one(args, path, study, results)
    return 1 if failed else 0


def _write(args: argparse.Namespace, results: Path) -> int:
    from actre.study.results import write

    if args.only is not None or args.seeds is not None:
        raise ActreError("--write makes the page of all that is finished: leave out --only and --seeds")
    if not args.write.parent.is_dir() or args.write.is_dir():
        raise ActreError(f"--write {args.write}: no page can stand there; give a file in a folder that exists")
    print(write(args.write, args.files, results))
    return 0


def _one(args: argparse.Namespace, path: Path, study: Any, results: Path) -> int:
    from actre.study.record import finished
    from actre.study.results import write_html
    from actre.study.runner import Workplace, make_runs, slots, table

    runs = [
        run
        for run in study.runs
        if (args.only is None or args.only in run.key) and (args.seeds is None or run.seed in args.seeds)
    ]
    if not runs:
        asked = [f"with {args.only!r} in its name"] if args.only is not None else []
        asked += [f"with seed {' or '.join(map(str, args.seeds))}"] if args.seeds is not None else []
        raise ActreError(f"{path} has no run {' and '.join(asked)}; `actre study {path} --plan` shows its runs")
    done = finished(study, results)
    _tell_of_shipped(args, study, done)
    if args.plan:
        print(f"{study.name}: {study.about}\n{table(study, done, only=runs)}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):  # whatever the shell made of them: end the runs too
        signal.signal(number, signal.default_int_handler)
    out = args.out / study.name
    screen = _Screen()
    place = Workplace(path, out, results, _command_line(args), slots(args.jobs))
    outcome = None
    try:
        outcome = make_runs(study, runs, place, show=screen.show, say=screen.say)
    finally:  # stopped, too, what is finished is to be seen
        done = finished(study, results)
        screen.end(table(study, done))
        for error in outcome.failed if outcome else ():
            print(f"actre: error: {error}", file=sys.stderr)
        if done:
            print(f"page: {write_html(study, done, out)}")
    return len(outcome.failed)


def _tell_of_shipped(args: argparse.Namespace, study: Any, done: dict[str, Any]) -> None:
    """Say where finished runs lie that the command does not look at."""
    from actre.study.record import finished, results_file

    if args.results is None and results_file(SHIPPED, study.name).is_file():
        shipped = finished(study, SHIPPED)
        if len(shipped) > len(done):
            print(f"{len(shipped)} runs of {study.name} are shipped as finished: `--results {SHIPPED}` counts them in")


def _command_line(args: argparse.Namespace) -> str:
    """The command as it is written down; what only says which runs, and how many at once, is left out."""
    parts = ["actre", "study", *(str(path) for path in args.files)]
    if args.results is not None:
        parts += ["--results", str(args.results)]
    return shlex.join(parts)


def _again(args: argparse.Namespace, studies: Sequence[Any], results: Path) -> int:
    from actre.config import differences
    from actre.study.record import finished, load_records, numbers
    from actre.study.runner import Workplace, began, make_alone

    for path, study in zip(args.files, studies, strict=True):
        done = finished(study, results)
        if args.again not in done:
            continue
        out = args.out / f"{study.name}-again"
        run = next(run for run in study.runs if run.key == args.again)
        folder = outputs.growing(out / args.again, partial(began, run), what="a run that was made again")
        shutil.rmtree(folder, ignore_errors=True)
        record = make_alone(run, Workplace(path, out, results, _command_line(args), ({},)))
        changed = differences(numbers(done[args.again]), numbers(load_records(record)[0]))
        for line in changed:
            print(line[:300])
        print(f"{args.again}: {'other numbers' if changed else 'the same numbers'}")
        return 1 if changed else 0
    command = shlex.join(["actre", "study", *map(str, args.files), "--results", str(args.results or SHIPPED), "--plan"])
    raise ActreError(f"{results} holds no finished run {args.again!r}; `{command}` shows what is finished")


class _Screen:
    """The live table on a terminal, drawn over itself; elsewhere only what begins and ends, a line each."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._last = ""

    def say(self, text: str) -> None:
        self._clear()
        print(text, flush=True)

    def show(self, table: str) -> None:
        if self._live and table != self._last:
            self._clear()
            print(table, flush=True)
            self._last = table

    def end(self, table: str) -> None:
        self._clear()
        print(table, flush=True)

    def _clear(self) -> None:
        if self._last:
            print(_UP.format(self._last.count("\n") + 1), end="")
            self._last = ""
