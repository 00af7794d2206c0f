"""`actre study FILE`: make a study's runs, show their progress, and compare the finished ones."""

import argparse
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actre.cli.terminal import came_out
from actre.config.checks import Positive, Processes, Seed, of
from actre.config.paths import place
from actre.runtime import outputs
from actre.runtime.budget import Budget
from actre.types import ActreError

SHIPPED = Path("data/results/study")
DEFAULT_OUT = Path("runs/study")
_UP = "\x1b[{}F\x1b[J"


def add_parser(subparsers: Any) -> None:
    """Add `study` to the command line."""
    study = subparsers.add_parser(
        "study",
        help="run all arms, estimators and seeds of a study file, then compare them",
        description="Makes a study's runs in parallel, each in its own process. Finished runs are not repeated, and an "
        "interrupted run continues from its checkpoint. Shipped studies: data/studies.",
    )
    study.add_argument("files", nargs="+", type=place, metavar="FILE", help="e.g. data/studies/tiny.toml")
    study.add_argument(
        "--out",
        type=place,
        default=DEFAULT_OUT,
        help="folder for the runs (default: %(default)s; they go into OUT/STUDY)",
    )
    study.add_argument("--results", type=place, help="folder of the finished runs' records (default: that of --out)")
    study.add_argument(
        "--jobs", type=of(Processes), help="parallel processes (default: one per GPU, else one per core)"
    )
    study.add_argument(
        "--budget",
        type=of(Positive),
        metavar="MINUTES",
        help="stop after this time; each running run keeps its last complete iteration, and the same command continues",
    )
    study.add_argument("--only", metavar="TEXT", help="only runs whose name contains TEXT, e.g. neutral/actre-grpo")
    study.add_argument("--seeds", type=_seeds, metavar="N,...", help="only runs with these seeds")
    study.add_argument("--plan", action="store_true", help="show which runs are finished, and run nothing")
    study.add_argument("--rerun", metavar="RUN", help="repeat one finished run and compare its numbers")
    study.add_argument("--write", type=place, metavar="PAGE.md", help="write the results page, and run nothing")
    study.set_defaults(run=_run)


def _seeds(text: str) -> tuple[int, ...]:
    """A list of seeds, such as 3,4,5. Raises ActreError for anything else."""
    return tuple(map(of(Seed), text.split(",")))


def _run(args: argparse.Namespace) -> int:
    from actre.study.file import load_study

    studies = [load_study(path) for path in args.files]
    results = args.results or args.out
    for name, folder in (("--out", args.out), ("--results", results)):
        if folder.exists() and not folder.is_dir():
            raise ActreError(f"{name} {folder} is a file, but a folder is needed")
    if args.write is not None:
        return _write(args, results)
    if args.rerun is not None:
        return _rerun(args, studies, results)
    failed, budget = 0, Budget(args.budget)
    for path, study in zip(args.files, studies, strict=True):
        failed += _one(args, path, study, results, budget)
    if budget.over:
        print(f"stopped {budget.why}; the same command continues from here")
    return 1 if failed else 0


def _write(args: argparse.Namespace, results: Path) -> int:
    from actre.study.pages.results import write

    if args.only is not None or args.seeds is not None:
        raise ActreError("--write makes the page of all finished runs: leave out --only and --seeds")
    if not args.write.parent.is_dir() or args.write.is_dir():
        raise ActreError(f"--write {args.write}: give a file in an existing folder")
    print(write(args.write, args.files, results))
    return 0


def _one(args: argparse.Namespace, path: Path, study: Any, results: Path, budget: Budget) -> int:
    from actre.study.record import finished
    from actre.study.runner import Workplace, make_runs, slots, table

    runs = _asked_for(args, path, study)
    done = finished(study, results)
    _mention_shipped(args, study, done)
    if args.plan:
        print(f"{study.name}: {study.about}\n{table(study, done, only=runs)}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):  # even where the shell ignores them, so that the runs end too
        signal.signal(number, signal.default_int_handler)
    out = args.out / study.name
    screen = _Screen()
    place = Workplace(path, out, results, _command_line(args), slots(args.jobs))
    outcome = None
    try:
        outcome = make_runs(study, runs, place, show=screen.show, say=screen.say, stop_now=budget)
    finally:  # also when interrupted, show what is finished
        done = finished(study, results)
        screen.end(table(study, done))
        for error in outcome.failed if outcome else ():
            print(f"actre: error: {error}", file=sys.stderr)
        if done:
            _conclude(path, study, done, out, results)
    return len(outcome.failed)


def _asked_for(args: argparse.Namespace, path: Path, study: Any) -> list[Any]:
    """The runs that --only and --seeds leave. Raises ActreError if there are none."""
    runs = [
        run
        for run in study.runs
        if (args.only is None or args.only in run.key) and (args.seeds is None or run.seed in args.seeds)
    ]
    if not runs:
        asked = [f"with {args.only!r} in its name"] if args.only is not None else []
        asked += [f"with seed {' or '.join(map(str, args.seeds))}"] if args.seeds is not None else []
        raise ActreError(f"{path} has no run {' and '.join(asked)}; `actre study {path} --plan` shows its runs")
    return runs


def _conclude(path: Path, study: Any, done: dict[str, Any], out: Path, results: Path) -> None:
    """Print what came out, the paths, and the next command."""
    from actre.study.pages.page import answers
    from actre.study.pages.results import write_html
    from actre.study.record import results_file

    page = write_html(study, done, out)
    came_out(answers(study, done))
    print(f"page: {page}")
    print(f"records: {results_file(results, study.name)}; runs: {out}")
    command = f"actre study {shlex.quote(str(path))}"
    if out.parent != DEFAULT_OUT:
        command += f" --out {shlex.quote(str(out.parent))}"
    if results != out.parent:
        command += f" --results {shlex.quote(str(results))}"
    left = len(study.runs) - len(done)
    if left:
        print(f"next: {command} (makes the {left} missing run{'s' if left > 1 else ''}; finished ones are kept)")
    else:
        print(f"next: open the page in a browser; the same in Markdown: {command} --write PAGE.md")


def _mention_shipped(args: argparse.Namespace, study: Any, done: dict[str, Any]) -> None:
    """Mention finished runs that are shipped but not counted."""
    from actre.study.record import finished, results_file

    if args.results is None and results_file(SHIPPED, study.name).is_file():
        shipped = finished(study, SHIPPED)
        if len(shipped) > len(done):
            print(f"{len(shipped)} finished runs of {study.name} are shipped: `--results {SHIPPED}` includes them")


def _command_line(args: argparse.Namespace) -> str:
    """The command for the records, without the options that only select runs or set their number."""
    parts = ["actre", "study", *(str(path) for path in args.files)]
    if args.results is not None:
        parts += ["--results", str(args.results)]
    return shlex.join(parts)


def _rerun(args: argparse.Namespace, studies: Sequence[Any], results: Path) -> int:
    from actre.config import differences
    from actre.study.record import finished, load_records, numbers
    from actre.study.runner import Workplace, began, make_alone

    for path, study in zip(args.files, studies, strict=True):
        done = finished(study, results)
        if args.rerun not in done:
            continue
        out = args.out / f"{study.name}-again"
        run = next(run for run in study.runs if run.key == args.rerun)
        folder = outputs.growing(out / args.rerun, partial(began, run), what="a repeated run")
        shutil.rmtree(folder, ignore_errors=True)
        record = make_alone(run, Workplace(path, out, results, _command_line(args), ({},)))
        changed = differences(numbers(done[args.rerun]), numbers(load_records(record)[0]))
        for line in changed:
            print(line[:300])
        print(f"{args.rerun}: {'other numbers' if changed else 'the same numbers'}")
        return 1 if changed else 0
    command = shlex.join(["actre", "study", *map(str, args.files), "--results", str(args.results or SHIPPED), "--plan"])
    raise ActreError(f"{results} holds no finished run {args.rerun!r}; `{command}` shows the finished ones")


class _Screen:
    """A live table on a terminal; elsewhere a line for each run that starts or ends."""

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
