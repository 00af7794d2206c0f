"""The quickstart: diagnose, train ActRe and think-first alone, compare, export, report.

Five jobs, each in a process of its own with one thread:

    diagnosis     the action entropy of the untrained policy in both orders
    before        the untrained policy on the fixed panels
    think_first   think-first alone: training, evaluation, the adapter's check
    actre         act-first, then think-first, with the same number of environment steps
    episodes      both orders' exact distributions in the episodes that the report shows

A finished job is not run again, and an arm's training resumes from its last checkpoint: the same command on the same
folder continues an interrupted quickstart.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from actre.config import RunConfig, StageConfig, load_config, save_config
from actre.runtime import outputs
from actre.runtime.locks import locked
from actre.runtime.processes import Running, failure, start, stop
from actre.study.onerun import (
    Evaluations,
    as_process,
    base_policy,
    diagnose_into,
    env_steps_so_far,
    evaluate_into,
    trained_policy,
)
from actre.types import ActreError

ARMS = ("think_first", "actre")
JOBS = ("diagnosis", "before", *ARMS, "episodes")
_EVALUATED: Evaluations = (
    ("unseen", "think_first"),
    ("seen", "think_first"),
    ("unseen", "act_first"),
)
"""The evaluations before and after training; the first is the primary endpoint."""
_POLL_S = 0.5
_PLAYED = ".played"
"""The file with the number of games played so far, in the folder of an arm."""


def arm_config(config: RunConfig, arm: str) -> RunConfig:
    """The settings of one arm: think_first replaces the stages by one; the budget of environment steps is the same.

    Raises ActreError for settings without a number of environment steps.
    """
    if config.env_steps is None:
        raise ActreError(
            f"preset {config.preset} sets no number of environment steps, which both arms must share: add --env-steps N"
        )
    if arm == "actre":
        return config
    return replace(config, stages=(StageConfig("think_first", config.iterations),))


def run_job(job: str, out: Path) -> None:
    """Do one job in a quickstart's folder `out`, in this process. Raises ActreError for an unknown job."""
    config = load_config(out / "config.json")
    if job == "diagnosis":
        diagnose_into(config, out)
    elif job == "before":
        _before(config, out)
    elif job in ARMS:
        _arm(arm_config(config, job), out / job, out)
    elif job == "episodes":
        from actre.study.scored import score

        score([out])
    else:
        raise ActreError(f"unknown job {job!r}; there are: {', '.join(JOBS)}")
    _finish(out, job)


def _before(config: RunConfig, out: Path) -> None:
    evaluate_into(base_policy(config), config, out / "before", "before", _EVALUATED)


def _arm(config: RunConfig, folder: Path, out: Path) -> None:
    policy = trained_policy(config, folder)
    shutil.copytree(out / "before", folder, dirs_exist_ok=True)
    evaluate_into(policy, config, folder, "after", _EVALUATED, progress=_counted(folder))


def _counted(folder: Path) -> Callable[[int], None]:
    """Writes the number of games played into the folder, for the bar of the process that waits."""
    played = 0

    def count(games: int) -> None:
        nonlocal played
        played += games
        (folder / _PLAYED).write_text(str(played))

    return count


# --- the jobs as processes ---


def quickstart(config: RunConfig, out: Path, *, at_once: int, say: Callable[[str], None] = lambda text: None) -> Path:
    """Do the unfinished jobs, `at_once` at a time, then write the report; returns the report's path.

    say: receives a line when a job begins and ends. Raises ActreError if the folder has a quickstart with other
    settings, or if a job fails (with the end of its log); finished jobs keep their results.
    """
    arm_config(config, ARMS[0])  # raises before anything is done
    outputs.growing(out, _is_quickstart, what="a quickstart")
    with locked(out, "is working in"):
        _prepare(config, out)
        waiting = [job for job in JOBS if not _is_done(out, job)]
        for job in JOBS:
            if job not in waiting:
                say(f"{job}: done before")
        try:
            _run_all(waiting, config, out, at_once, say)
        except ActreError:
            if outputs.visible(out) == {"config.json", "logs"} and not any(_is_done(out, job) for job in JOBS):
                (out / "config.json").unlink()  # nothing came of these settings; corrected ones may take the folder
            raise
        from actre.view import report

        return report.write(out)


def _prepare(config: RunConfig, out: Path) -> None:
    """Make the folder; an existing one must be a quickstart with the same settings."""
    path = out / "config.json"
    if path.exists():
        if load_config(path) != config:
            raise ActreError(
                f"{out} is a quickstart with other settings and is not overwritten: choose another --out, "
                f"or remove it: rm -r {out}"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, path)


def _is_quickstart(folder: Path) -> bool:
    """Whether a folder is a quickstart's, or has only settings or logs; the folder of a single run is not one."""
    names = outputs.visible(folder)
    if names == {"logs"}:
        return {path.suffix for path in (folder / "logs").iterdir()} <= {".log"}
    began = "logs" in names or names == {"config.json"}
    return began and outputs.holds_settings(folder) and not outputs.is_trained(folder)


def _run_all(waiting: list[str], config: RunConfig, out: Path, at_once: int, say: Callable[[str], None]) -> None:
    (out / "logs").mkdir(exist_ok=True)
    running: list[Running] = []
    total = config.env_steps or 0
    # disable=None: no bar if the output is not a terminal
    bars = {arm: tqdm(total=total, desc=arm, unit="step", disable=None if arm in waiting else True) for arm in ARMS}
    try:
        while waiting or running:
            while waiting and len(running) < at_once and _may_start(waiting[0], out):
                say(f"{waiting[0]}: begins")
                running.append(Running(waiting[0], _start(waiting.pop(0), out)))
            time.sleep(_POLL_S)
            for one in list(running):
                code = one.process.poll()
                if code is not None:
                    running.remove(one)
                    if code != 0:
                        raise failure(one.job, code, out / "logs" / f"{one.job}.log")
                    say(f"{one.job}: done")
            for arm, bar in bars.items():
                taken = min(total, env_steps_so_far(out / arm))
                if taken > bar.n:
                    bar.update(taken - bar.n)
                if played := _played(out / arm):
                    bar.set_postfix_str(f"then {played} games played")
    finally:
        for bar in bars.values():
            bar.close()
        stop(running)


def _played(folder: Path) -> int:
    """Games played so far in the evaluation after training."""
    path = folder / _PLAYED
    text = path.read_text() if path.exists() else ""
    return int(text) if text.isdigit() else 0


def _may_start(job: str, out: Path) -> bool:
    """Whether a job's inputs are there: an arm copies the results of "before"; "episodes" reads both arms."""
    needed = {"episodes": ARMS, **dict.fromkeys(ARMS, ("before",))}.get(job, ())
    return all(_is_done(out, one) for one in needed)


def _start(job: str, out: Path) -> subprocess.Popen[bytes]:
    return start("actre.study.quickstart", [job, str(out)], out / "logs" / f"{job}.log")


def _is_done(out: Path, job: str) -> bool:
    return (out / "logs" / f"{job}.done").exists()


def _finish(out: Path, job: str) -> None:
    """Mark a job as done, with the CPU seconds of its process."""
    (out / "logs" / f"{job}.done").write_text(f"{time.process_time():.0f}\n")


def _main() -> int:
    return as_process(lambda: run_job(sys.argv[1], Path(sys.argv[2])))


if __name__ == "__main__":
    sys.exit(_main())
