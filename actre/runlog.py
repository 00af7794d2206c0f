"""A training run's folder while it grows: config.json, metrics.jsonl, entropy.jsonl, trajectories/.

Knows the names of the metrics and how they follow from trajectories; not how a policy is trained.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actre.config import RunConfig, save_config
from actre.rows import FORMAT_FLAGS, episode_return
from actre.stages import Plan
from actre.types import FLAGS, ActreError, Trajectory, write_trajectories


class RunLog:
    """Writes a run's records; a line that was written stays, whatever happens afterwards.

    Raises ActreError where the folder already holds a training run: nothing saved is overwritten.
    """

    def __init__(self, out: Path, config: RunConfig) -> None:
        self.out = out
        self.metrics_path = out / "metrics.jsonl"
        self.adapter = out / "adapter"
        for found in (self.metrics_path, out / "entropy.jsonl", self.adapter):
            if found.exists():
                raise ActreError(
                    f"{out} already holds a training run ({found.name} is there) and nothing is overwritten: "
                    f"choose another --out, or remove it yourself: rm -r {out}"
                )
        out.mkdir(parents=True, exist_ok=True)
        save_config(config, out / "config.json")

    def metrics(self, record: dict[str, Any]) -> None:
        """Append one iteration's line."""
        _append(self.metrics_path, record)

    def entropy(self, record: dict[str, Any]) -> None:
        """Append one measurement's line."""
        _append(self.out / "entropy.jsonl", record)

    def trajectories(self, plan: Plan, played: Sequence[Trajectory], seed: int) -> None:
        """Save an iteration's episodes as trajectories/train_0007.jsonl.gz, stage, order and
        iteration in `meta`.
        """
        place = {"iteration": plan.iteration, "stage": plan.stage, "run_seed": seed}
        marked = [replace(one, meta={**one.meta, **place}) for one in played]
        write_trajectories(self.out / "trajectories" / f"train_{plan.iteration:04d}.jsonl.gz", marked)


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:  # closed, and so flushed, line by line
        file.write(json.dumps(record) + "\n")


def rollout_metrics(played: Sequence[Trajectory], config: RunConfig) -> dict[str, float]:
    """What an iteration's episodes say: means an episode (success, return, steps) and shares of steps.

    token_entropy_nats is the mean of -log p over the sampled tokens: an unbiased estimate of the policy's
    mean token entropy at the sampling temperature, for free. It is not the action entropy (see
    actre.entropy).
    """
    steps = [step for one in played for step in one.steps]
    logps = [logp for step in steps for logp in step.reply_logps]
    per_step = 1.0 / max(1, len(steps))
    per_episode = 1.0 / max(1, len(played))
    flags = {f"flag_{flag}": sum(flag in s.flags for s in steps) * per_step for flag in FLAGS}
    return {
        "success": sum(one.won for one in played) * per_episode,
        "return": sum(episode_return(one, config.optim) for one in played) * per_episode,
        "steps": len(steps) * per_episode,
        "token_entropy_nats": -sum(logps) / max(1, len(logps)),
        "parse_rate": sum(FORMAT_FLAGS.isdisjoint(s.flags) for s in steps) * per_step,
        "admissible_rate": sum(s.action is not None and "inadmissible" not in s.flags for s in steps) * per_step,
        **flags,
    }
