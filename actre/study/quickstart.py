"""The main job in one command: diagnose, train ActRe and think-first alone, compare, export, report.

Knows the order of the work and the folder it leaves; each part is done by its own room. Five jobs, each a process of
its own with one thread, two at a time on two cores:

    diagnosis     the action entropy of the untrained policy in both orders
    before        the untrained policy on the fixed panels
    think_first   think-first alone: training, evaluation, the adapter's check
    actre         act-first, then think-first, at equal environment steps; likewise
    episodes      both orders' exact distributions in the episodes that the report shows

A job that has finished is not done again, and an arm's training goes on from its last checkpoint: the same command on
the same folder continues where it was stopped.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from actre.config import ENV_NAMES, RunConfig, StageConfig, derive_seed, load_config, save_config
from actre.config.checks import Count, Large, Processes, Seed, of
from actre.config.paths import place
from actre.config.presets import preset
from actre.runtime import outputs
from actre.runtime.processes import Running, failure, start, stop
from actre.study.onerun import Evaluations, base_policy, evaluate_into, trained_policy
from actre.types import ActreError

DEFAULT_OUT = "runs/quickstart"
ARMS = ("think_first", "actre")
JOBS = ("diagnosis", "before", *ARMS, "episodes")
_EVALUATED: Evaluations = (
    ("unseen", "think_first"),
    ("seen", "think_first"),
    ("unseen", "act_first"),
)
"""What is played before and after; the first is the primary endpoint."""
_POLL_S = 0.5


def arm_config(config: RunConfig, arm: str) -> RunConfig:
    """The settings of one arm: the same budget of environment steps, other stages.

    ActRe's first stage takes the share of iterations that the config's act-first stage has.
    """
    if config.env_steps is None:
        raise ActreError(
            f"preset {config.preset} sets no number of environment steps, at which the arms are compared: "
            "add --env-steps N"
        )
    if arm == "actre":
        return config
    return replace(config, stages=(StageConfig("think_first", config.iterations),))


def run_job(job: str, out: Path) -> None:
    """Do one job of the quickstart in `out`, whose config.json is there. Called in a process of its own."""
    config = load_config(out / "config.json")
    if job == "diagnosis":
        _diagnose(config, out)
    elif job == "before":
        _before(config, out)
    elif job in ARMS:
        _arm(arm_config(config, job), out / job, out)
    elif job == "episodes":
        from actre.view.scored import score

        score([out])
    else:
        raise ActreError(f"no job {job!r}; there are: {', '.join(JOBS)}")
    _finish(out, job)


def _diagnose(config: RunConfig, out: Path) -> None:
    from actre.entropy.diagnose import diagnose, save_diagnosis
    from actre.entropy.probes import probes_for

    diagnosis = diagnose(
        base_policy(config),
        probes_for(config),
        config,
        thoughts=config.probe.diagnosis_thoughts,
        seed=derive_seed(config.seed, "diagnosis"),
        out=out / "diagnosis.jsonl",
    )
    save_diagnosis(out / "diagnosis.json", diagnosis)


def _before(config: RunConfig, out: Path) -> None:
    evaluate_into(base_policy(config), config, out / "before", "before", _EVALUATED)


def _arm(config: RunConfig, folder: Path, out: Path) -> None:
    policy = trained_policy(config, folder)
    shutil.copytree(out / "before", folder, dirs_exist_ok=True)
    evaluate_into(policy, config, folder, "after", _EVALUATED)


# --- the jobs as processes ---


def quickstart(config: RunConfig, out: Path, *, at_once: int, say: Any = lambda text: None) -> Path:
    """Do all jobs that are not done yet, then write the report; returns the report's path.

    say: told in a line what begins and what has ended. Raises ActreError where the folder holds a run with other
    settings, or a job fails (with the end of its log); what the finished jobs left stays.
    """
    arm_config(config, ARMS[0])  # says at once what is missing
    _prepare(config, out)
    waiting = [job for job in JOBS if not _is_done(out, job)]
    for job in JOBS:
        if job not in waiting:
            say(f"{job}: done before")
    _run_all(waiting, config, out, at_once, say)
    from actre.view import report

    return report.write(out)


def _prepare(config: RunConfig, out: Path) -> None:
    """Make the folder, or make sure that it holds a quickstart with the same settings."""
    path = out / "config.json"
    outputs.growing(out, _is_quickstart, what="a quickstart")
    if path.exists():
        if load_config(path) != config:
            raise ActreError(
                f"{out} holds a quickstart with other settings, and nothing is overwritten: choose another --out, "
                f"or remove it: rm -r {out}"
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, path)


def _is_quickstart(folder: Path) -> bool:
    """Whether a folder is a quickstart's, or has its settings and nothing else yet; that of one run is none."""
    names = outputs.visible(folder)
    began = "logs" in names or names == {"config.json"}
    return began and outputs.holds_settings(folder) and not outputs.is_trained(folder)


def _run_all(waiting: list[str], config: RunConfig, out: Path, at_once: int, say: Any) -> None:
    (out / "logs").mkdir(exist_ok=True)
    running: list[Running] = []
    total = config.env_steps or 0
    # disable=None: no bar where the output is no terminal
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
    finally:
        for bar in bars.values():
            bar.close()
        stop(running)


def _may_start(job: str, out: Path) -> bool:
    """An arm's folder takes the evaluation before training from the job "before"; the episodes are both arms'."""
    needed = {"episodes": ARMS, **dict.fromkeys(ARMS, ("before",))}.get(job, ())
    return all(_is_done(out, one) for one in needed)


def _start(job: str, out: Path) -> subprocess.Popen[bytes]:
    return start("actre.study.quickstart", [job, str(out)], out / "logs" / f"{job}.log")


def env_steps_so_far(folder: Path) -> int:
    """Environment steps that a run in this folder has taken; 0 where none has begun."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return 0
    *lines, _ = path.read_text().split("\n")  # behind the last line's end stands nothing, or what an interruption left
    return json.loads(lines[-1])["env_steps"] if lines else 0


def _is_done(out: Path, job: str) -> bool:
    return (out / "logs" / f"{job}.done").exists()


def _finish(out: Path, job: str) -> None:
    """Mark a job as done; the mark says how many seconds of CPU its process took."""
    (out / "logs" / f"{job}.done").write_text(f"{time.process_time():.0f}\n")


# --- the command ---


def add_parser(subparsers: Any) -> None:
    """`actre quickstart`."""
    parser = subparsers.add_parser("quickstart", help="the main job: diagnose, train both ways, compare, report")
    parser.add_argument("--preset", default="tiny", help="settings by name (default: tiny)")
    parser.add_argument("--env", default="alfworld", choices=ENV_NAMES, help="what is played (default: alfworld)")
    parser.add_argument("--seed", type=of(Seed), default=0)
    parser.add_argument("--out", type=place, help=f"default: {DEFAULT_OUT}, or {DEFAULT_OUT}-webshop")
    parser.add_argument("--env-steps", type=of(Large), help="environment steps of each arm (default: the preset's)")
    parser.add_argument("--iterations", type=of(Count), help="at most this many iterations an arm")
    parser.add_argument("--jobs", type=of(Processes), default=min(2, os.cpu_count() or 1), help="processes at once")
    parser.set_defaults(run=_command)


def _command(args: argparse.Namespace) -> int:
    config = replace(preset(args.preset, args.env), seed=args.seed)
    out = args.out or Path(DEFAULT_OUT if args.env == "alfworld" else f"{DEFAULT_OUT}-{args.env}")
    if args.env_steps is not None:
        config = replace(config, env_steps=args.env_steps)
    if args.iterations is not None:
        config = replace(config, stages=shortened(config.stages, args.iterations))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the jobs too, as Ctrl-C does
    report = quickstart(config, out, at_once=args.jobs, say=lambda text: tqdm.write(text, file=sys.stdout))
    print(f"report: {report}")
    for arm in ARMS:
        print(f"adapter: {out / arm / 'adapter'}")
    return 0


def shortened(stages: Sequence[StageConfig], iterations: int) -> tuple[StageConfig, ...]:
    """The same stages in the same proportion, in so many iterations."""
    whole = sum(stage.iterations for stage in stages)
    if iterations < len(stages):
        raise ActreError(f"--iterations {iterations}: {len(stages)} stages need at least one each")
    first = [max(1, round(stage.iterations * iterations / whole)) for stage in stages[:-1]]
    lengths = [*first, iterations - sum(first)]
    return tuple(replace(stage, iterations=n) for stage, n in zip(stages, lengths, strict=True))


def _main() -> int:
    # a program started in a shell's background ignores Ctrl-C, and so would we; the quickstart stops us by that signal
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_job(sys.argv[1], Path(sys.argv[2]))
    except ActreError as error:
        print(f"actre: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(_main())
