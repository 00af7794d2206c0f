"""Reads run folders into plain records. A missing file gives an empty field, not an error.

It loads no torch, so a folder made on a GPU machine can be read anywhere.
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
"""Suffix of an interrupted quickstart run, kept beside its replacement."""
SCORED = "scored.jsonl.gz"
"""The file of scored episodes among a run's trajectories."""
_LOGS = ("metrics.jsonl", "entropy.jsonl", "evaluation.jsonl")


@dataclass(frozen=True)
class EntropyPoint:
    """One measurement on the probe states, in nats; intervals are over games.

    in_training: the training order at that time; env_steps: cumulative environment steps.
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
    """The other quantities, by their names in `actre.entropy.diagnose.Diagnosis.summary`."""
    self_check: tuple[dict[str, Any], ...] = ()
    """`actre.entropy.self_check.Agreement`s as JSON: frequencies sampled and computed; older records have none."""
    retrieval_chance: float | None = None
    """1 / the number of states among which thoughts are traced back; None where they were not."""
    orders: tuple[dict[str, Any], ...] = ()
    """Every order on the fixed panel (`actre.entropy.monitor.order_record`); empty where none was played."""


@dataclass(frozen=True)
class RunRecord:
    """The content of one run folder. `arm` is the folder's name; `metrics` holds the lines of metrics.jsonl."""

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
    """The episodes of the last training iteration; read only without an evaluation after training."""
    adapter_check: dict[str, float] | None = None
    """The result of `adapters.check`, from adapter_check.json."""
    scored: tuple[Trajectory, ...] = field(repr=False, default=())
    """Episodes with the distributions measured by `actre.study.scored`."""
    label: str = ""
    """Its name among the runs of a report; empty if the arm is unique."""

    @property
    def name(self) -> str:
        """The run's display name."""
        return self.label or arm_name(self.arm)

    @property
    def seed(self) -> int | None:
        """The seed of its settings."""
        return None if self.config is None else self.config.seed

    @property
    def all_results(self) -> tuple[EpisodeResult, ...]:
        """All evaluated episodes, before and after training."""
        return tuple(result for results in self.results.values() for result in results)

    def curve(self, name: str) -> list[tuple[float, float]]:
        """(cumulative environment steps, metric) of each iteration in which the metric is finite."""
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
    """Whether a folder has settings and at least one log."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in _LOGS)


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run or contains one."""
    return folder.is_dir() and bool(_run_folders(folder))


def _run_folders(folder: Path) -> list[Path]:
    inside = (f for f in folder.iterdir() if f.is_dir() and not f.name.endswith(_LEFT_OVER))
    return [folder] if is_run(folder) else sorted(f for f in inside if is_run(f))


def read_runs(folder: str | Path) -> list[RunRecord]:
    """The run in a folder, or the runs in its subfolders (a quickstart's arms), "actre" first, then by name.

    Raises ActreError without any run, and for a damaged file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ActreError(f"{folder} is not a folder; `actre quickstart` or `actre train` creates a run folder")
    folders = _run_folders(folder)
    if not folders:
        raise ActreError(
            f"{folder} is not a run folder: neither it nor a subfolder has config.json beside "
            f"{', '.join(_LOGS[:-1])} or {_LOGS[-1]}; `actre quickstart` or `actre train` creates one"
        )
    return sorted((read_run(f) for f in folders), key=lambda run: (run.arm != "actre", run.arm))


def read_all(folders: Sequence[str | Path]) -> list[RunRecord]:
    """The runs of several folders, each read by `read_runs`, with labels where their arms' names repeat.

    A folder given twice, or inside another given one, is read once. Raises ActreError as `read_runs` does.
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
    """The folder's diagnosis.json, or None. Raises ActreError if it is damaged."""
    path = Path(folder) / "diagnosis.json"
    return load_diagnosis(path) if path.is_file() else None


def read_diagnoses(folder: str | Path) -> list[Diagnosis]:
    """The folder's diagnoses, the shared wording first. Raises ActreError if one is damaged."""
    paths = [Path(folder) / f"{name}.json" for name in FILES.values()]
    return [load_diagnosis(path) for path in paths if path.is_file()]


def read_settings(folder: Path) -> tuple[RunConfig | None, dict[str, str]]:
    """The settings and versions in the folder's config.json; (None, {}) without one."""
    path = folder / "config.json"
    return (load_config(path), _versions(path)) if path.is_file() else (None, {})


def read_run(folder: Path) -> RunRecord:
    """One run folder. Raises ActreError if a file in it is damaged."""
    settings = folder / "config.json"
    metrics = tuple(_lines(folder / "metrics.jsonl"))
    try:
        entropy = tuple(entropy_point(row, metrics) for row in _lines(folder / "entropy.jsonl"))
    except (KeyError, TypeError, ValueError) as error:
        raise ActreError(
            f"{folder}: a line of entropy.jsonl has a missing or wrong field ({error}), as if written by another "
            "version of actre or by hand; remove entropy.jsonl to report the run without it"
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
    """Two runs as one, where `then` continued from `first`'s adapter; its iterations, steps and stages come last.

    Evaluations before training are `first`'s, those after it `then`'s, as are folder and settings.
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
    """One line of entropy.jsonl; `metrics` give the environment steps up to its iteration."""
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
        retrieval_chance=row.get("retrieval_chance"),
        orders=tuple(row.get("orders", ())),
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
