"""Makes a study's runs, several at once, each in a process of its own; an interrupted study can be continued.

A run is finished once its record is in the results file. A run that fails does not stop the others.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from actre.runtime import outputs
from actre.runtime.locks import locked
from actre.runtime.processes import Running, failure, start, stop
from actre.study.job import RECORD
from actre.study.onerun import env_steps_so_far
from actre.study.plan import PRIMARY, Run, Study
from actre.study.record import Record, finished, load_records, results_file, results_of, save_record
from actre.types import ActreError

_POLL_S = 0.5


class Progress(NamedTuple):
    """The environment steps a run has taken, and their total if there is a limit."""

    env_steps: int
    of: int | None


class Outcome(NamedTuple):
    """The runs that a call finished, and the errors of those that failed."""

    made: tuple[str, ...]
    failed: tuple[ActreError, ...]


@dataclass(frozen=True)
class Workplace:
    """Where a study is made: its file, the folder of the runs, the folder of results, the command to record.

    slots: the environment variables of each concurrent process; with GPUs, one GPU per slot.
    """

    file: Path
    out: Path
    results: Path
    command: str
    slots: tuple[Mapping[str, str], ...]

    def folder(self, run: Run) -> Path:
        return self.out / run.key


def make_runs(
    study: Study,
    runs: Sequence[Run],
    place: Workplace,
    *,
    show: Callable[[str], None] = lambda table: None,
    say: Callable[[str], None] = lambda text: None,
    stop_now: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Make the unfinished ones of `runs`, in order; each record is saved as soon as its run ends.

    show: receives the live table when it changes; say: a line when a run begins and ends; stop_now: asked all the time
    whether to stop. Then, or at Ctrl-C, the running ones save their state, and the same call continues them. Raises
    ActreError if another process makes the study in the same folder.
    """
    done = finished(study, place.results)
    waiting = [run for run in runs if run.key not in done]
    running: dict[int, tuple[Run, Running]] = {}
    made: list[str] = []
    failed: list[ActreError] = []
    shown: object = None
    _must_be_free(study, waiting, place)
    with locked(place.out, "is working in"):
        try:
            while (waiting or running) and not stop_now():
                for slot in range(len(place.slots)):
                    if slot not in running and waiting:
                        running[slot] = _begin(waiting.pop(0), place, slot, say)
                time.sleep(_POLL_S)
                for slot, (run, job) in list(running.items()):
                    code = job.process.poll()
                    if code is None:
                        continue
                    del running[slot]
                    error = _end(run, code, study, place)
                    if error is None:
                        made.append(run.key)
                        done = finished(study, place.results)
                    else:
                        failed.append(error)
                    say(f"{run.key}: {'done' if error is None else 'failed'}")
                there = {run.key: _progress(run, place) for run, _ in running.values()}
                if (now := (set(done), there)) != shown:
                    shown = now
                    show(table(study, done, there))
        finally:
            stop(job for _, job in running.values())
    return Outcome(tuple(made), tuple(failed))


def _must_be_free(study: Study, runs: Sequence[Run], place: Workplace) -> None:
    """Raises ActreError if the folder of the study or of a run has unrelated files."""
    parts = {part.name for part in study.parts}

    def begun(folder: Path) -> bool:
        names = outputs.visible(folder)
        return "study.html" in names or names <= parts | {"running.pid"}  # an earlier version's lock

    outputs.growing(place.out, begun, what=f"the study {study.name}")
    for run in runs:
        outputs.growing(place.folder(run), partial(began, run), what=f"the run {run.key}")


def began(run: Run, folder: Path) -> bool:
    """Whether a folder's files are those of such a run; resuming checks the settings."""
    names = outputs.visible(folder)
    if run.trained and "config.json" in names:
        return outputs.holds_settings(folder)
    return names <= {RECORD, f"{RECORD}.part", "evaluation.jsonl", "trajectories"}


def make_alone(run: Run, place: Workplace) -> Path:
    """Make one run in the first slot and wait for it; returns its record's file. No results file is changed.

    Raises ActreError if the run fails; Ctrl-C stops it.
    """
    _, job = _begin(run, place, 0, lambda text: None)
    try:
        code = job.process.wait()
    except KeyboardInterrupt:
        stop([job])
        raise
    path = place.folder(run) / RECORD
    if code != 0 or not path.exists():
        raise failure(run.key, code, _log(place, run))
    return path


def table(
    study: Study,
    done: Mapping[str, Record],
    running: Mapping[str, Progress] | None = None,
    only: Sequence[Run] | None = None,
) -> str:
    """The live table: a row per condition, a column per seed. A finished run shows its success on the primary endpoint,
    a running one its share of environment steps, a waiting one a dot. only: the runs to show; None: all.
    """
    lines = []
    asked = {run.key for run in (study.runs if only is None else only)}
    for part in study.parts:
        runs = [run for run in part.runs if run.key in asked]
        if not runs:
            continue
        seeds, conditions = sorted({run.seed for run in runs}), list(dict.fromkeys(run.condition for run in runs))
        width = max(len(name) for name in (*conditions, part.name))
        lines.append(f"{part.name:<{width}}" + "".join(f"{f'seed {seed}':>10}" for seed in seeds))
        by_place = {(run.condition, run.seed): run for run in runs}
        for condition in conditions:
            cells = [_cell(by_place.get((condition, seed)), done, running or {}) for seed in seeds]
            lines.append(f"{condition:<{width}}" + "".join(f"{cell:>10}" for cell in cells))
    return "\n".join([*lines, f"{sum(key in done for key in asked)} of {len(asked)} runs finished"])


def _cell(run: Run | None, done: Mapping[str, Record], running: Mapping[str, Progress]) -> str:
    if run is None:
        return ""
    if run.key in done:
        results = results_of(done[run.key], *PRIMARY)
        return f"{100 * sum(r.won for r in results) / len(results):.1f} %" if results else "done"
    if run.key in running:
        steps, whole = running[run.key]
        return f"({100 * steps // whole} %)" if whole else f"({steps:,})"
    return "."


def slots(jobs: int | None) -> tuple[dict[str, str], ...]:
    """The environment variables of `jobs` concurrent processes; by default one per GPU, else one per core.

    Raises ActreError for fewer than one.
    """
    gpus = _gpus()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = jobs if jobs is not None else len(gpus) or cores
    if number < 1:
        raise ActreError(f"--jobs {number}: at least 1 process is needed")
    return tuple({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(number))


def _gpus() -> list[str]:
    """The visible GPUs, by number; found without loading torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [one for one in chosen.split(",") if one.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, _ in enumerate(line for line in listed.splitlines() if line.startswith("GPU "))]


def _begin(run: Run, place: Workplace, slot: int, say: Callable[[str], None]) -> tuple[Run, Running]:
    say(f"{run.key}: begins")
    folder = place.folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [str(place.file), run.key, str(folder), place.command]
    return run, Running(run.key, _start(arguments, _log(place, run), dict(place.slots[slot])))


def _start(arguments: Sequence[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    return start("actre.study.job", arguments, log, env)


def _end(run: Run, code: int, study: Study, place: Workplace) -> ActreError | None:
    """Save the run's record; returns the error if it failed."""
    path = place.folder(run) / RECORD
    if code != 0 or not path.exists():
        return failure(run.key, code, _log(place, run))
    save_record(results_file(place.results, study.name), load_records(path)[0])
    return None


def _log(place: Workplace, run: Run) -> Path:
    return place.folder(run).with_name(f"{place.folder(run).name}.log")


def _progress(run: Run, place: Workplace) -> Progress:
    return Progress(env_steps_so_far(place.folder(run)), run.config.env_steps)
