"""A training run's folder while it grows: config.json, metrics.jsonl, entropy.jsonl, trajectories/."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from actre.config import RunConfig, differences, load_config, save_config
from actre.config.model_names import settle
from actre.config.overrides import unlike
from actre.runtime import outputs
from actre.runtime.locks import LOCK, locked
from actre.training.returns import FORMAT_FLAGS, episode_return
from actre.training.stages import Plan
from actre.types import FLAGS, ActreError, Trajectory, drop_torn_line, read_jsonl, write_jsonl, write_trajectories

MEASURED = {
    *("config.json", "timing.jsonl", "pilot.jsonl", "report.html", "plots"),
    *("diagnosis.json", "diagnosis.jsonl", "diagnosis_instructed.json", "diagnosis_instructed.jsonl"),
    *("evaluation.jsonl", "evaluated.json", "baselines.jsonl", "pass_at.jsonl", "trajectories"),
}
"""What evaluations and diagnoses leave in a folder."""


class RunLog:
    """Writes a run's records. A written line stays, unless the run is resumed from an earlier iteration.

    resume: continue the run in the folder; `rewind` truncates its records to the iteration it resumes from. Raises
    ActreError if the folder holds no run with these settings, or, without resume, if it already holds a training run:
    nothing saved is overwritten. writes: False in all but one of several processes that train together.
    """

    def __init__(self, out: Path, config: RunConfig, *, resume: bool = False, writes: bool = True) -> None:
        self.out = out
        self._writes = writes
        self.metrics_path = out / "metrics.jsonl"
        self.entropy_path = out / "entropy.jsonl"
        self.matches_path = out / "temperature.jsonl"
        self.adapter = out / "adapter"
        self.checkpoints = out / "checkpoints"
        if resume:
            self._must_hold(config)
            return
        if not writes:
            return
        self._must_be_free(config)
        out.mkdir(parents=True, exist_ok=True)
        with self.held():  # another process may have started there without recording anything yet
            self._must_be_free(config)
            save_config(config, out / "config.json")

    def _must_be_free(self, config: RunConfig) -> None:
        for found in (self.metrics_path, self.entropy_path, self.adapter, self.checkpoints):
            if found.exists():
                raise ActreError(
                    f"{self.out} already holds a training run ({found.name} is there) and nothing is overwritten: "
                    f"resume it (--resume {self.out}), choose another --out, or remove it yourself: rm -r {self.out}"
                )
        outputs.growing(self.out, lambda folder: _may_begin(folder, config), what="what a run may start in")

    def _must_hold(self, config: RunConfig) -> None:
        # a run started with a relative model path is resumed with the absolute one
        then, now = (asdict(settle(settings)) for settings in (load_config(self.out / "config.json"), config))
        changed = differences(then, now)
        if changed:
            raise ActreError(
                f"{self.out} holds a run with other settings ({'; '.join(changed)}): a run is resumed with the "
                "settings it started with; choose another --out for these"
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the folder. Raises ActreError if another process holds it."""
        if not self._writes:
            yield
            return
        with locked(self.out, "is training in"):
            yield

    def lengths(self) -> tuple[int, int]:
        """Bytes of metrics.jsonl and of entropy.jsonl."""
        return _size(self.metrics_path), _size(self.entropy_path)

    def rewind(self, iteration: int, metrics_bytes: int, entropy_bytes: int) -> None:
        """Remove what was recorded after an iteration, from which the run is resumed.

        Raises ActreError, with nothing changed, if records from before it are missing.
        """
        wanted = ((self.metrics_path, metrics_bytes), (self.entropy_path, entropy_bytes))
        for path, size in wanted:
            if _size(path) < size:
                raise ActreError(
                    f"{path} has {_size(path):,} bytes, and {size:,} after iteration {iteration}: lines are missing, "
                    f"so the run cannot be resumed from there. Restore the file, or start a run with another --out"
                )
        if not self._writes:
            return
        for path, size in wanted:
            if _size(path) > size:
                os.truncate(path, size)
        if self.matches_path.exists():
            drop_torn_line(self.matches_path)
            kept = [line for line in read_jsonl(self.matches_path) if line["iteration"] < iteration]
            write_jsonl(self.matches_path, kept)
        for path in (self.out / "trajectories").glob("train_*.jsonl.gz"):
            if int(path.name[6:].partition(".")[0]) > iteration:
                path.unlink()

    def metrics(self, record: dict[str, Any]) -> None:
        """Append one iteration's line."""
        self._append(self.metrics_path, record)

    def column(self, name: str) -> list[float]:
        """A metric of each iteration that has a line."""
        return [line[name] for line in read_jsonl(self.metrics_path)] if self.metrics_path.exists() else []

    def match(self, record: dict[str, Any]) -> None:
        """Append one match of the sampling temperature; its iteration is the last one finished before."""
        self._append(self.matches_path, record)

    def entropy(self, record: dict[str, Any]) -> None:
        """Append one measurement's line."""
        self._append(self.entropy_path, record)

    def trajectories(self, plan: Plan, played: Sequence[Trajectory], seed: int) -> None:
        """Save an iteration's episodes as trajectories/train_0007.jsonl.gz; `meta` has the iteration, the stage, the
        order the stage runs in and the run's seed.
        """
        if not self._writes:
            return
        place = {"iteration": plan.iteration, "stage": plan.stage, "order": plan.order, "run_seed": seed}
        marked = [replace(one, meta={**one.meta, **place}) for one in played]
        write_trajectories(self.out / "trajectories" / f"train_{plan.iteration:04d}.jsonl.gz", marked)

    def _append(self, path: Path, record: dict[str, Any]) -> None:
        if self._writes:
            with path.open("a", encoding="utf-8") as file:  # closed, and so flushed, line by line
                file.write(json.dumps(record) + "\n")


_STARTED = {"config.json", "config.json.part", "engine"}
"""What a run that ended before its first iteration may have left behind."""


def _may_begin(folder: Path, config: RunConfig) -> bool:
    """Whether a run may start in a folder that is not empty: an earlier attempt finished no iteration, or the untrained
    policy was measured there with the same model, environment, prompt and sampling.
    """
    names = outputs.visible(folder)
    if "config.json" not in names or not outputs.holds_settings(folder):
        return False
    then = load_config(folder / "config.json")
    if {name.partition("-")[0] for name in names} <= _STARTED:  # an engine has a folder a process
        return (folder / LOCK).exists() or then == config
    return names <= MEASURED | _STARTED and not unlike(then, config) and _of_untrained(folder)


def _of_untrained(folder: Path) -> bool:
    """Whether the measurements in a folder are of an untrained policy."""
    played = read_jsonl(folder / "evaluation.jsonl") if (folder / "evaluation.jsonl").exists() else ()
    logs = [next(read_jsonl(path), {}) for path in folder.glob("diagnosis*.jsonl")]
    adapters = [log.get("settings", {}).get("adapter") for log in logs]
    return all(line.get("when") == "before" for line in played) and adapters == [None] * len(adapters)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def rollout_metrics(played: Sequence[Trajectory], config: RunConfig) -> dict[str, float]:
    """Metrics of an iteration's episodes: means per episode (success, return, steps) and shares of steps.

    token_entropy_nats is the mean of -log p over the sampled tokens: an unbiased estimate of the policy's
    mean token entropy at the sampling temperature, for free. It is not the action entropy (see
    actre.entropy). Episodes in which the environment failed count in env_errors only. cut_context and
    cut_prompt: episodes cut for their length, by `Trajectory.cut`.
    """
    failed = sum("env_error" in one.meta for one in played)
    played = [one for one in played if "env_error" not in one.meta]
    steps = [step for one in played for step in one.steps]
    logps = [logp for step in steps for logp in step.reply_logps]
    per_step = 1.0 / max(1, len(steps))
    per_episode = 1.0 / max(1, len(played))
    flags = {f"flag_{flag}": sum(flag in s.flags for s in steps) * per_step for flag in FLAGS}
    return {
        "env_errors": failed,
        "cut_context": sum(one.cut == "context" for one in played),
        "cut_prompt": sum(one.cut == "prompt" for one in played),
        "success": sum(one.won for one in played) * per_episode,
        "return": sum(episode_return(one, config.optim) for one in played) * per_episode,
        "steps": len(steps) * per_episode,
        "token_entropy_nats": -sum(logps) / max(1, len(logps)),
        "parse_rate": sum(FORMAT_FLAGS.isdisjoint(s.flags) for s in steps) * per_step,
        "admissible_rate": sum(s.action is not None and "inadmissible" not in s.flags for s in steps) * per_step,
        **flags,
    }
