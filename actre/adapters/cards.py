"""The card of a trained adapter: what it was trained on, with which settings, and what came of it, with intervals.

Knows a run folder's records; no model. What was not measured is said to be missing, with the command that measures it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from actre.config import RunConfig, StageConfig
from actre.config.model_names import shown
from actre.rollout.evaluate import When, load_evaluation, summarise
from actre.types import read_jsonl

_LAST = 10
"""Iterations over which training's last figures are averaged."""


def run_card(folder: Path, config: RunConfig) -> str:
    """The text, in Markdown, of the run in `folder`."""
    parts = [_trained(folder, config), _data(config), _results(folder, config), _settings(config)]
    return "\n\n".join(parts)


def _trained(folder: Path, config: RunConfig) -> str:
    lines = list(read_jsonl(folder / "metrics.jsonl")) if (folder / "metrics.jsonl").exists() else []
    stages = "\n".join(_stage(number, stage, lines) for number, stage in enumerate(config.stages))
    said = f"Stages, seed {config.seed}:\n\n{stages}"
    if not lines:
        return said
    last = lines[-_LAST:]
    return (
        f"{said}\n\n{len(lines)} iterations were done, {lines[-1]['env_steps']:,} environment steps. In the last "
        f"{len(last)} of them {_mean(last, 'success'):.1%} of the training episodes were won (sampled at temperature "
        f"{config.sampling.temperature:g}, the games of training, no interval: the policy changed meanwhile), "
        f"{_mean(last, 'parse_rate'):.1%} of the replies were well-formed."
    )


def _stage(number: int, stage: StageConfig, lines: Sequence[dict[str, Any]]) -> str:
    """A stage with the iterations it had: fewer or more than planned where one ended early or the run did."""
    done = sum(line["stage"] == number for line in lines)
    planned = f" ({stage.iterations} were planned)" if lines and done != stage.iterations else ""
    return f"- {stage.order}, {done if lines else stage.iterations} iterations{planned}"


def _mean(lines: Sequence[dict[str, Any]], name: str) -> float:
    return sum(line[name] for line in lines) / len(lines)


def _data(config: RunConfig) -> str:
    env = config.env
    return (
        f"## Data\n\nEnvironment: {env.name}. Trained on the games of {env.train}, at most {env.max_steps} steps an "
        f"episode; {env.seen} and {env.unseen} are for evaluation. Nothing else was trained on."
    )


def _results(folder: Path, config: RunConfig) -> str:
    path = folder / "evaluation.jsonl"
    if not path.exists():
        return (
            "## Results\n\nThis adapter was not evaluated: `actre evaluate --adapter RUN/adapter --out RUN` plays "
            "fixed panels and writes what this card then shows."
        )
    lines = [
        f"## Results\n\nFixed panels, each game once, temperature {config.sampling.eval_temperature:g}; 95 % intervals "
        "(Wilson), one training seed: they say how well these games were played, not how training varies.\n",
        "| panel | order | when | won | success [95 % interval] | mean steps |",
        "|---|---|---|---|---|---|",
    ]
    for when in get_args(When):
        results = load_evaluation(path, when)
        for row in summarise(results) if results else []:
            if row.task_type is None:
                lines.append(
                    f"| {row.panel} | {row.order} | {when} training | {row.won} of {row.games} | {row.success} "
                    f"| {row.steps:.1f} |"
                )
    return "\n".join(lines)


def _settings(config: RunConfig) -> str:
    settings = asdict(config)
    settings["model"]["name"] = shown(config.model.name)
    return f"## Settings\n\n```json\n{json.dumps(settings, indent=1)}\n```"
