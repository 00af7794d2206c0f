"""Stored training episodes scored anew, without playing: other returns and advantages beside those of training.

RUN/rescored/NAME/ holds iter_0007.jsonl.gz for each stored iteration, one line an episode, in their order:

iteration, stage, order, group, game, won
return, return_then            what the new settings give, and what training maximised
advantages, advantages_then    of each step; null in episodes whose environment failed, and where training stored none

and rescored.json with the settings that changed and each iteration's means. Nothing is ever overwritten. One iteration
is in memory at a time.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import OptimConfig, RunConfig, load_config
from actre.config.overrides import changed, differences
from actre.training.batch import groups_of, step_advantages, with_advantages
from actre.training.returns import episode_return
from actre.training.signal import group_metrics
from actre.types import ActreError, Trajectory, read_trajectories, write_jsonl

FOLDER = "rescored"
SUMMARY = "rescored.json"


def rescore(
    run: Path, settings: Sequence[str], *, name: str | None = None, progress: Callable[[int], None] | None = None
) -> Path:
    """Score the run's stored iterations with other settings of `optim`; returns the folder of the results.

    settings: "optim.outcome=return" and the like. name: of the folder in RUN/rescored (None: the settings themselves).
    progress: called with 1 for each iteration. Raises ActreError for a folder without stored training episodes,
    settings outside `optim` or without any change, and a name that is taken.
    """
    config = load_config(run / "config.json")
    files = stored(run)
    now = _changed(config, settings)
    changes = differences(dataclasses.asdict(config.optim), dataclasses.asdict(now))
    out = run / FOLDER / (name or _name(settings))
    if out.exists():
        raise ActreError(
            f"{out} exists and is not overwritten: choose another --name, or remove it yourself: rm -r {out}"
        )
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)  # left by an interrupted call
    part.mkdir(parents=True)
    means = []
    for file in files:
        lines, mean = rescored(read_trajectories(file), config.optim, now)
        write_jsonl(part / file.name.replace("train_", "iter_"), lines)
        means.append(mean)
        if progress is not None:
            progress(1)
    record = {"run": run.name, "settings": list(settings), "changed": changes, "iterations": means}
    (part / SUMMARY).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(part, out)
    return out


def stored(run: Path) -> list[Path]:
    """The files of a run's training episodes, one an iteration. Raises ActreError if there are none."""
    found = sorted((run / "trajectories").glob("train_*.jsonl.gz"))
    if not found:
        raise ActreError(f"{run} holds no training episodes (trajectories/train_*.jsonl.gz): `actre train` stores them")
    return found


def rescored(
    played: Sequence[Trajectory], then: OptimConfig, now: OptimConfig
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """One iteration's lines, and its means: return, and the share of zero-variance groups, now and then; correlation of
    the steps' advantages with those of training (None where either does not vary).
    """
    whole = [one for one in played if "env_error" not in one.meta]
    groups = groups_of(whole)
    scored = with_advantages(played, step_advantages(whole, groups, now)) if whole else list(played)
    lines = [_line(old, new, then, now) for old, new in zip(played, scored, strict=True)]
    pairs = [
        pair
        for line in lines
        if line["advantages"] is not None and line["advantages_then"] is not None
        for pair in zip(line["advantages"], line["advantages_then"], strict=True)
    ]
    each = 1 / max(1, len(whole))
    return lines, {
        "iteration": played[0].meta.get("iteration") if played else None,
        "episodes": len(whole),
        "return": sum(episode_return(one, now) for one in whole) * each,
        "return_then": sum(episode_return(one, then) for one in whole) * each,
        "zero_variance_groups": group_metrics(whole, now)["zero_variance_groups"],
        "zero_variance_groups_then": group_metrics(whole, then)["zero_variance_groups"],
        "correlation": _correlation(pairs),
    }


def _line(old: Trajectory, new: Trajectory, then: OptimConfig, now: OptimConfig) -> dict[str, Any]:
    failed = "env_error" in old.meta
    return {
        "iteration": old.meta.get("iteration"),
        "stage": old.meta.get("stage"),
        "order": old.order,
        "group": old.group,
        "game": old.game,
        "won": old.won,
        "return": None if failed else episode_return(old, now),
        "return_then": None if failed else episode_return(old, then),
        "advantages": None if failed else [step.advantage for step in new.steps],
        "advantages_then": None if failed else _known([step.advantage for step in old.steps]),
    }


def _known(advantages: list[float | None]) -> list[float | None] | None:
    """None for runs of earlier versions, which stored no advantages."""
    return None if advantages and None in advantages else advantages


def _correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    x = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    if len(x) < 2 or not x.std(axis=0).all():
        return None
    return float(np.asarray(np.corrcoef(x.T))[0, 1])


def _changed(config: RunConfig, settings: Sequence[str]) -> OptimConfig:
    others = [text for text in settings if not text.startswith("optim.")]
    if others:
        raise ActreError(
            f"{others[0]} does not score episodes: returns and advantages depend on settings of optim alone, such as "
            "optim.outcome=return (actre train --help-settings lists them)"
        )
    now = changed(config, settings).optim
    if now == config.optim:
        raise ActreError(
            "these are the settings that the run was trained with, so nothing would change: give others, for example "
            "--outcome return or --set optim.advantage=gigpo"
        )
    return now


def _name(settings: Sequence[str]) -> str:
    """A folder's name from the settings.

    >>> _name(["optim.outcome=return", "optim.format_penalty=0"])
    'outcome-return_format_penalty-0'
    """
    return "_".join(text.removeprefix("optim.").replace("=", "-").replace("/", "-") for text in settings)


def iterations(folder: Path) -> Iterator[dict[str, Any]]:
    """The means of a folder's iterations, from its rescored.json."""
    yield from json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["iterations"]
