"""Runs the jobs of a measurement, several at once; a finished one is not run again."""

import dataclasses
import json
import time
from collections.abc import Callable, Collection
from pathlib import Path

from actre.config import RunConfig, load_config, save_config
from actre.entropy.preconditions import Preconditions
from actre.runtime import outputs
from actre.runtime.locks import locked
from actre.runtime.processes import Running, failure, start, stop
from actre.study.preconditions.budget import BUDGET, Budget, Part, jobs, load_budget, result_file
from actre.study.preconditions.results import collect
from actre.types import ActreError

_POLL_S = 0.5


def measure(
    config: RunConfig,
    budget: Budget,
    out: Path,
    parts: Collection[Part],
    *,
    at_once: int,
    say: Callable[[str], None] = lambda text: None,
) -> Preconditions:
    """Do the unfinished jobs of these parts, `at_once` at a time; returns everything measured in `out` so far.

    say: receives a line when a job begins and ends. Interrupted, finished jobs keep their results, trainings their
    checkpoints, and the same call continues. Raises ActreError if the folder holds anything else or a measurement with
    other settings, and if a job fails (with the end of its log).
    """
    outputs.growing(out, lambda folder: (folder / BUDGET).exists(), what="a measurement of preconditions")
    with locked(out, "is working in"):
        _prepare(config, budget, out)
        wanted = jobs(budget, parts)
        waiting = [job for job in wanted if not result_file(out, job).exists()]
        for job in wanted:
            if job not in waiting:
                say(f"{job}: done before")
        _run_all(waiting, out, at_once, say)
        return collect(config, budget, out)


def _prepare(config: RunConfig, budget: Budget, out: Path) -> None:
    """Make the folder; an existing one must be a measurement with the same settings."""
    settings, path = out / "config.json", out / BUDGET
    if path.exists() and settings.exists():
        if load_config(settings) != config or load_budget(out) != budget:
            raise ActreError(
                f"{out} holds preconditions measured with other settings, which are not overwritten: choose another "
                f"--out, or remove it: rm -r {out}"
            )
        return
    text = json.dumps(dataclasses.asdict(budget)) + "\n"
    outputs.write_whole(path, text.encode())  # first: it says whose the folder is
    save_config(config, settings)
    (out / "logs").mkdir(exist_ok=True)


def _run_all(waiting: list[str], out: Path, at_once: int, say: Callable[[str], None]) -> None:
    running: list[Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                say(f"{waiting[0]}: begins")
                job = waiting.pop(0)
                running.append(Running(job, start("actre.study.preconditions.jobs", [job, str(out)], _log(out, job))))
            time.sleep(_POLL_S)
            for one in list(running):
                code = one.process.poll()
                if code is not None:
                    running.remove(one)
                    if code != 0:
                        raise failure(one.job, code, _log(out, one.job))
                    say(f"{one.job}: done")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("finished parts are kept; the same command continues") from None
    finally:
        stop(running)


def _log(out: Path, job: str) -> Path:
    return out / "logs" / f"{job}.log"
