"""Reads what a run folder holds into plain records; a piece that is not there is empty, never an error.

Knows the folder's layout, no chart and no page. Loads no torch, so that a folder made on a GPU machine can
be looked at anywhere.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args

from actre.config import RunConfig, load_config
from actre.entropy.diagnose import FILES, Diagnosis, load_diagnosis
from actre.rollout.evaluate import EpisodeResult, When, load_evaluation
from actre.stats import Interval
from actre.types import ActreError, Trajectory, read_jsonl, read_trajectories
from actre.view.names import arm_name

_LEFT_OVER = ".interrupted"
"""What a quickstart that was stopped keeps beside the run that replaced it."""
SCORED = "scored.jsonl.gz"
"""The file among a run's trajectories that holds the scored ones."""
_LOGS = ("metrics.jsonl", "entropy.jsonl", "evaluation.jsonl")


@dataclass(frozen=True)
class EntropyPoint:
    """One measurement on the probe states, in nats; each band's interval is over games.

    in_training: the order in training then; env_steps: environment steps taken by then (cumulative).
    """

    iteration: int
    env_steps: int
    in_training: str
    states: int
    thoughts: int
    act_first: Interval
    think_first_lower: Interval
    think_first_upper: Interval
    conditional: Interval
    information: Interval
    verdict: str
    words: str
    others: dict[str, Interval]
    """What else was measured, by its name in `actre.entropy.diagnose.Diagnosis.summary`."""
    self_check: tuple[dict[str, Any], ...] = ()
    """`actre.entropy.self_check.Agreement`s as JSON: frequencies sampled and computed; older records have none."""


@dataclass(frozen=True)
class RunRecord:
    """One run folder, read. `arm` is the folder's name; `metrics` holds metrics.jsonl's lines as they are."""

    folder: Path
    arm: str
    config: RunConfig | None
    versions: dict[str, str]
    metrics: tuple[dict[str, Any], ...]
    entropy: tuple[EntropyPoint, ...]
    results: dict[When, tuple[EpisodeResult, ...]]
    before: tuple[Trajectory, ...] = field(repr=False)
    after: tuple[Trajectory, ...] = field(repr=False)
    last: tuple[Trajectory, ...] = field(repr=False, default=())
    """The episodes of the last training iteration; read only where nothing was evaluated after training."""
    adapter_check: dict[str, float] | None = None
    """What `adapters.check` found, as it stands in adapter_check.json."""
    scored: tuple[Trajectory, ...] = field(repr=False, default=())
    """Episodes with the distributions that `actre.study.scored` measured."""
    label: str = ""
    """What tells it from the other runs of a report; empty where the arm does."""

    @property
    def name(self) -> str:
        """What the run is called in front of a reader."""
        return self.label or arm_name(self.arm)

    @property
    def seed(self) -> int | None:
        """The seed of its settings."""
        return None if self.config is None else self.config.seed

    @property
    def all_results(self) -> tuple[EpisodeResult, ...]:
        """Every evaluated episode, before and after training."""
        return tuple(result for results in self.results.values() for result in results)

    def curve(self, name: str) -> list[tuple[float, float]]:
        """(environment steps so far, metric) of each iteration that has the metric as a finite number."""
        points = []
        for row in self.metrics:
            x, y = row.get("env_steps"), row.get(name)
            if _finite(x) and _finite(y):
                points.append((float(x), float(y)))  # type: ignore[arg-type]
        return points

    @property
    def switches(self) -> list[tuple[float, str, str]]:
        """(environment steps, order before, order after) of each stage change."""
        pairs = zip(self.metrics, self.metrics[1:], strict=False)
        return [
            (float(a.get("env_steps", 0)), str(a.get("order")), str(b.get("order")))
            for a, b in pairs
            if a.get("stage") != b.get("stage")
        ]


def is_run(folder: Path) -> bool:
    """Whether a folder is a run: settings and at least one log."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in _LOGS)


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run or has one in it."""
    return folder.is_dir() and bool(_run_folders(folder))


def _run_folders(folder: Path) -> list[Path]:
    inside = (f for f in folder.iterdir() if f.is_dir() and not f.name.endswith(_LEFT_OVER))
    return [folder] if is_run(folder) else sorted(f for f in inside if is_run(f))


def read_runs(folder: str | Path) -> list[RunRecord]:
    """The run in a folder, or the runs in its subfolders (a quickstart's arms), "actre" first, then by name.

    Raises ActreError where there is none, and where a file is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ActreError(f"{folder} is no folder; `actre quickstart` or `actre train` makes a run folder")
    folders = _run_folders(folder)
    if not folders:
        raise ActreError(
            f"{folder} is no run folder: neither it nor a folder in it has config.json beside "
            f"{', '.join(_LOGS[:-1])} or {_LOGS[-1]}; `actre quickstart` or `actre train` makes one"
        )
    return sorted((read_run(f) for f in folders), key=lambda run: (run.arm != "actre", run.arm))


def read_all(folders: Sequence[str | Path]) -> list[RunRecord]:
    """The runs of several folders, each as `read_runs` reads it, one after the other, under names that tell them apart.

    A folder that is named twice, or lies in another one named, is read once. Raises ActreError as `read_runs` does.
    """
    found = {run.folder.resolve(): run for folder in folders for run in read_runs(folder)}
    runs = list(found.values())
    names = {arm_name(run.arm) for run in runs}
    if len(names) == len(runs):
        return runs
    inside = [f"{arm_name(run.arm)}, {run.folder.resolve().parent.name}" for run in runs]
    labels = inside if len(set(inside)) == len(runs) else [str(run.folder) for run in runs]
    return [replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def read_diagnosis(folder: str | Path) -> Diagnosis | None:
    """The folder's diagnosis.json, if there is one. Raises ActreError where it is damaged."""
    path = Path(folder) / "diagnosis.json"
    return load_diagnosis(path) if path.is_file() else None


def read_diagnoses(folder: str | Path) -> list[Diagnosis]:
    """The folder's diagnoses, the shared wording's first. Raises ActreError where one is damaged."""
    paths = [Path(folder) / f"{name}.json" for name in FILES.values()]
    return [load_diagnosis(path) for path in paths if path.is_file()]


def read_settings(folder: Path) -> tuple[RunConfig | None, dict[str, str]]:
    """The settings and versions in the folder's config.json; None and nothing where there is none."""
    path = folder / "config.json"
    return (load_config(path), _versions(path)) if path.is_file() else (None, {})


def read_run(folder: Path) -> RunRecord:
    """One run folder. Raises ActreError where a file in it is damaged."""
    settings = folder / "config.json"
    metrics = tuple(_lines(folder / "metrics.jsonl"))
    try:
        entropy = tuple(entropy_point(row, metrics) for row in _lines(folder / "entropy.jsonl"))
    except (KeyError, TypeError, ValueError) as error:
        raise ActreError(
            f"{folder}: a line of entropy.jsonl lacks a field or has a wrong one ({error}); the file was "
            "written by another version of actre or by hand"
        ) from error
    after = _trajectories(folder / "trajectories" / "eval_after.jsonl.gz")
    trained = sorted((folder / "trajectories").glob("train_*.jsonl.gz"))
    return RunRecord(
        folder=folder,
        arm=folder.resolve().name,
        config=load_config(settings),
        versions=_versions(settings),
        metrics=metrics,
        entropy=entropy,
        results={when: _results(folder / "evaluation.jsonl", when) for when in get_args(When)},
        before=_trajectories(folder / "trajectories" / "eval_before.jsonl.gz"),
        after=after,
        adapter_check=_json(folder / "adapter_check.json"),
        scored=_trajectories(folder / "trajectories" / SCORED),
        last=_trajectories(trained[-1]) if trained and not after else (),
    )


def continued(first: RunRecord, then: RunRecord, arm: str) -> RunRecord:
    """Two runs as one: `then` went on from `first`'s adapter, so its iterations, steps and stages come after `first`'s.

    What was evaluated is `then`'s, before training `first`'s. Folder and settings are `then`'s.
    """
    last = first.metrics[-1] if first.metrics else {}
    moved = ("iteration", "env_steps", "generated_tokens")
    before = {name: last.get(name, 0) for name in moved}
    stages = last.get("stage", -1) + 1
    metrics = tuple(
        {**row, **{name: row.get(name, 0) + before[name] for name in moved}, "stage": row.get("stage", 0) + stages}
        for row in then.metrics
    )
    entropy = tuple(
        replace(p, iteration=p.iteration + before["iteration"], env_steps=p.env_steps + before["env_steps"])
        for p in then.entropy
        if p.iteration > 0
    )
    return replace(
        then,
        arm=arm,
        metrics=first.metrics + metrics,
        entropy=first.entropy + entropy,
        results={"before": first.results["before"], "after": then.results["after"]},
        before=first.before,
    )


def entropy_point(row: dict[str, Any], metrics: tuple[dict[str, Any], ...] = ()) -> EntropyPoint:
    """One line of entropy.jsonl; `metrics` tell how many environment steps its iteration had taken."""
    iteration = int(row.get("iteration", 0))
    taken = [m.get("env_steps", 0) for m in metrics if m.get("iteration", 0) <= iteration]
    known = {f.name for f in fields(EntropyPoint)}
    return EntropyPoint(
        iteration=iteration,
        env_steps=int(taken[-1]) if taken else 0,
        in_training=str(row.get("order", "")),
        states=int(row.get("states", 0)),
        thoughts=int(row.get("k", 0)),
        act_first=_band(row["act_first"]),
        think_first_lower=_band(row["think_first_lower"]),
        think_first_upper=_band(row["think_first_upper"]),
        conditional=_band(row.get("conditional")),
        information=_band(row.get("information")),
        verdict=str(row.get("verdict", "")),
        words=str(row.get("words", "")),
        self_check=tuple(row.get("self_check", ())),
        others={k: _band(v) for k, v in row.items() if k not in known and isinstance(v, dict)},
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(path)) if path.is_file() else []


def _trajectories(path: Path) -> tuple[Trajectory, ...]:
    return tuple(read_trajectories(path)) if path.is_file() else ()


def _results(path: Path, when: When) -> tuple[EpisodeResult, ...]:
    return tuple(load_evaluation(path, when)) if path.is_file() else ()


def _versions(settings: Path) -> dict[str, str]:
    found = (_json(settings) or {}).get("versions", {})
    return {str(key): str(value) for key, value in found.items()}


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError, ValueError) as error:
        raise ActreError(f"{path} is damaged: {error}") from error


def _band(raw: dict[str, Any] | None) -> Interval:
    if raw is None or raw.get("value") is None:
        return Interval(math.nan, math.nan, math.nan)
    return Interval(*(float(raw.get(k)) if raw.get(k) is not None else math.nan for k in Interval._fields))  # type: ignore[arg-type]


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
