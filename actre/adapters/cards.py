"""Text of a trained adapter's model card: training, data, results with intervals, and settings, from a run folder.

For missing results the card names the command that measures them.
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
"""Iterations over which the last training metrics are averaged."""


def run_card(folder: Path, config: RunConfig) -> str:
    """The Markdown text for the run in `folder`."""
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
        f"{said}\n\n{len(lines)} iterations were run, {lines[-1]['env_steps']:,} environment steps. In the last "
        f"{len(last)} of them {_mean(last, 'success'):.1%} of the training episodes were won (sampled at temperature "
        f"{config.sampling.temperature:g} on training games; without an interval, because the policy kept changing), "
        f"{_mean(last, 'parse_rate'):.1%} of the replies were well-formed."
    )


def _stage(number: int, stage: StageConfig, lines: Sequence[dict[str, Any]]) -> str:
    """A stage with the iterations it had, and those planned if they differ."""
    done = sum(line["stage"] == number for line in lines)
    planned = f" ({stage.iterations} were planned)" if lines and done != stage.iterations else ""
    return f"- {stage.order}, {done if lines else stage.iterations} iterations{planned}"


def _mean(lines: Sequence[dict[str, Any]], name: str) -> float:
    return sum(line[name] for line in lines) / len(lines)


def _data(config: RunConfig) -> str:
    env = config.env
    return (
        f"## Data\n\nEnvironment: {env.name}. Trained on the games of {env.train}, at most {env.max_steps} steps an "
        f"episode; {env.seen} and {env.unseen} are for evaluation. No other data were used for training."
    )


def _results(folder: Path, config: RunConfig) -> str:
    path = folder / "evaluation.jsonl"
    if not path.exists():
        return (
            "## Results\n\nThis adapter was not evaluated: `actre evaluate --adapter RUN` plays "
            "fixed panels and writes the results for this card."
        )
    lines = [
        f"## Results\n\nFixed panels, each game once, temperature {config.sampling.eval_temperature:g}; 95 % intervals "
        "(Wilson), one training seed: the intervals cover the choice of games, not the variation between trainings.\n",
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
