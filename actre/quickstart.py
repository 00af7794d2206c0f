"""The main job in one command: diagnose, train ActRe and think-first alone, compare, export, report.

Knows the order of the work and the folder it leaves; each part is done by its own room. Four jobs, each a process of
its own with one thread, two at a time on two cores:

    diagnosis     the action entropy of the untrained policy in both orders
    before        the untrained policy on the fixed panels
    think_first   think-first alone: training, evaluation, the adapter's check
    actre         act-first, then think-first, at equal environment steps; likewise

A job that has finished is not done again: the same command on the same folder continues where it was stopped.
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
from typing import Any, NamedTuple

from tqdm.auto import tqdm

from actre.config import ENV_NAMES, RunConfig, StageConfig, derive_seed, load_config, preset, save_config
from actre.policies import Policy
from actre.types import ActreError, Order, write_trajectories

DEFAULT_OUT = "runs/quickstart"
ARMS = ("think_first", "actre")
JOBS = ("diagnosis", "before", *ARMS)
_EVALUATED: tuple[tuple[str, Order], ...] = (
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
        raise ActreError("the quickstart compares at equal environment steps: set RunConfig.env_steps")
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
    else:
        raise ActreError(f"no job {job!r}; there are: {', '.join(JOBS)}")
    _finish(out, job)


def _diagnose(config: RunConfig, out: Path) -> None:
    from actre.diagnose import diagnose, save_diagnosis
    from actre.probes import probes_for

    diagnosis = diagnose(
        _base_policy(config),
        probes_for(config),
        config,
        thoughts=config.probe.diagnosis_thoughts,
        seed=derive_seed(config.seed, "diagnosis"),
        out=out / "diagnosis.jsonl",
    )
    save_diagnosis(out / "diagnosis.json", diagnosis)


def _base_policy(config: RunConfig) -> Any:
    from actre.policies.hf import HFPolicy
    from actre.policies.models import load

    return HFPolicy(*load(config.model))


def _before(config: RunConfig, out: Path) -> None:
    _evaluate(_base_policy(config), config, out / "before", "before")


def _evaluate(policy: Policy, config: RunConfig, folder: Path, when: str) -> None:
    from actre.evaluate import play, save_evaluation
    from actre.rollout import make_envs

    envs = make_envs(config.env, config.evaluation.batch)
    trajectories = []
    for panel, order in _EVALUATED:
        played = play(policy, envs, panel, order=order, config=config, seed=derive_seed(config.seed, when))
        save_evaluation(folder / "evaluation.jsonl", played.results, when)  # type: ignore[arg-type]
        trajectories += [replace(t, meta={**t.meta, "panel": panel, "when": when}) for t in played.trajectories]
    write_trajectories(folder / "trajectories" / f"eval_{when}.jsonl.gz", trajectories)


def _arm(config: RunConfig, folder: Path, out: Path) -> None:
    from actre import adapters
    from actre.diagnose import training_measure
    from actre.policies.hf import HFPolicy
    from actre.policies.models import add_lora, load
    from actre.trainer import train

    set_aside(folder)
    base, tokenizer = load(config.model)
    model = add_lora(base, config.model, derive_seed(config.seed, "adapter"))
    result = train(config, folder, model=model, tokenizer=tokenizer, measure=training_measure(config), progress=False)
    policy = HFPolicy(model, tokenizer)
    shutil.copytree(out / "before", folder, dirs_exist_ok=True)
    _evaluate(policy, config, folder, "after")
    check = adapters.check(result.adapter, model, tokenizer)
    (folder / "adapter_check.json").write_text(json.dumps(check._asdict(), indent=1) + "\n")
    if not check.passed:
        raise ActreError(f"the exported adapter {result.adapter} is not the trained policy: {check}")


def set_aside(folder: Path) -> None:
    """Keep what an interrupted try left, as <folder>.interrupted; only the latest one is kept."""
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.interrupted")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)


# --- the jobs as processes ---


class _Running(NamedTuple):
    job: str
    process: subprocess.Popen[bytes]


def quickstart(config: RunConfig, out: Path, *, at_once: int, say: Any = lambda text: None) -> Path:
    """Do all jobs that are not done yet, then write the report; returns the report's path.

    say: told in a line what begins and what has ended. Raises ActreError where the folder holds a run with other
    settings, or a job fails (with the end of its log); what the finished jobs left stays.
    """
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
    if path.exists():
        if load_config(path) != config:
            raise ActreError(
                f"{out} holds a quickstart with other settings, and nothing is overwritten: choose another --out, "
                f"or remove it: rm -r {out}"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise ActreError(f"{out} is not empty and holds no quickstart; choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, path)


def _run_all(waiting: list[str], config: RunConfig, out: Path, at_once: int, say: Any) -> None:
    (out / "logs").mkdir(exist_ok=True)
    running: list[_Running] = []
    total = config.env_steps or 0
    # disable=None: no bar where the output is no terminal
    bars = {arm: tqdm(total=total, desc=arm, unit="step", disable=None if arm in waiting else True) for arm in ARMS}
    try:
        while waiting or running:
            while waiting and len(running) < at_once and _may_start(waiting[0], out):
                say(f"{waiting[0]}: begins")
                running.append(_Running(waiting[0], _start(waiting.pop(0), out)))
            time.sleep(_POLL_S)
            for one in list(running):
                code = one.process.poll()
                if code is not None:
                    running.remove(one)
                    _check_ended(one, code, out)
                    say(f"{one.job}: done")
            for arm, bar in bars.items():
                taken = min(total, _env_steps(out / arm))
                if taken > bar.n:
                    bar.update(taken - bar.n)
    finally:
        for bar in bars.values():
            bar.close()
        for one in running:
            one.process.send_signal(signal.SIGINT)
        for one in running:
            one.process.wait()


def _may_start(job: str, out: Path) -> bool:
    """An arm's folder takes the evaluation before training from the job "before"."""
    return job not in ARMS or _is_done(out, "before")


def _start(job: str, out: Path) -> subprocess.Popen[bytes]:
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with (out / "logs" / f"{job}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "actre.quickstart", job, str(out)],
            env={**os.environ, **one_thread},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone; we pass it on
        )


def _check_ended(one: _Running, code: int, out: Path) -> None:
    if code == 0:
        return
    log = out / "logs" / f"{one.job}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
    raise ActreError(
        f"{one.job} ended with code {code}; the end of {log}:\n{tail}\n"
        "what is done stays; the same command continues after the cause is mended"
    )


def _env_steps(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    if not path.exists():
        return 0
    lines = path.read_text().splitlines()
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help=f"default: {DEFAULT_OUT}, or {DEFAULT_OUT}-webshop")
    parser.add_argument("--env-steps", type=int, help="environment steps of each arm (default: the preset's)")
    parser.add_argument("--iterations", type=int, help="at most this many iterations an arm")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes at once")
    parser.set_defaults(run=_command)


def _command(args: argparse.Namespace) -> int:
    if args.jobs < 1:
        raise ActreError(f"--jobs {args.jobs}: at least 1 process is needed")
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
