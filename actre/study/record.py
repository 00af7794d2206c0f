"""The record of a finished run: one line of JSON, enough for every table and figure of the study. Its fields:

study, part, arm, estimator, variant, seed, key             which run it is (see plan.Run)
command, versions, model, machine, threads                  how it was made; model is the untrained weights' digest
config                                                      the full settings
iterations, env_steps, generated_tokens, seconds            the cost of training; 0 for the untrained arm
trouble                                                     why training ended early, else null
panels       {panel: {games, task_types}}
evaluation   [{panel, order, won: "0110...", steps, returns}], games in the panel's order; returns for WebShop only
entropy      [{iteration, env_steps, order, k, quantities in nats with intervals, verdict}]
matched      [[iteration, temperature, target, reached]], the last two in nats; only if a temperature is matched
curve        [[iteration, env_steps, generated_tokens, order, success, token_entropy_nats], ...]
signs        signs of a collapse (docs/training.md), not in records of before 2026-11-30:
             groups: [[zero_variance_groups, distinct_trajectories], ...], a pair an iteration, as in curve;
             measured: [{iteration, env_steps, other_*, thought_state_information, orders}], a line a measurement;
             orders: {order: [success, pass@largest k, admissible]}, of `probe.panel_games` unseen games
"""

import fcntl
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actre.config import config_from_dict, versions
from actre.rollout.evaluate import EpisodeResult, load_evaluation
from actre.runtime.limits import processor
from actre.study.plan import UNTRAINED, Run, Study, digest_of
from actre.types import ActreError, read_jsonl, write_jsonl

SCHEMA = 1
CURVE = ("iteration", "env_steps", "generated_tokens", "order", "success", "token_entropy_nats")
MATCHED = ("iteration", "temperature", "target_nats", "reached_nats")
QUANTITIES = ("act_first", "think_first_lower", "think_first_upper", "conditional", "information")
GROUPS = ("zero_variance_groups", "distinct_trajectories")
SIGNS = ("other_act_first", "other_think_first", "other_no_think", "thought_state_information")
QUERIES = ("query_act_first", "query_think_first")
"""Sampled entropies of the search query; WebShop only."""
Record = dict[str, Any]


def record(run: Run, study: str, folder: Path, *, command: str, model: str, trouble: str | None = None) -> Record:
    """The record of the run in `folder`. model: the untrained weights' digest; trouble: why training ended early."""
    metrics = list(read_jsonl(folder / "metrics.jsonl")) if run.trained else []
    last = metrics[-1] if metrics else {}
    results = load_evaluation(folder / "evaluation.jsonl", "after")
    matched = [[_short(line[name]) for name in MATCHED] for line in _lines(folder / "temperature.jsonl")]
    return {
        "schema": SCHEMA,
        "study": study,
        **{name: getattr(run, name) for name in ("part", "arm", "estimator", "variant", "seed", "key")},
        "command": command,
        "versions": versions(),
        "model": model,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()},
        "threads": int(os.environ.get("OMP_NUM_THREADS", "0")) or None,
        "config": asdict(run.config),
        "iterations": last.get("iteration", 0),
        **{name: last.get(name, 0) for name in ("env_steps", "generated_tokens")},
        "trouble": trouble,
        "seconds": round(sum(line["seconds"] for line in metrics), 1),
        "panels": _panels(results),
        "evaluation": _evaluation(results, shop=run.config.env.name == "webshop"),
        "entropy": [_entropy(line, metrics) for line in _lines(folder / "entropy.jsonl")],
        "curve": [[_short(line[name]) for name in CURVE] for line in metrics],
        "signs": {
            "groups": [[_short(line.get(name)) for name in GROUPS] for line in metrics],
            "measured": [_signs(line, metrics) for line in _lines(folder / "entropy.jsonl")],
        },
        **({"matched": matched} if matched else {}),
    }


def results_of(line: Record, panel: str, order: str) -> list[EpisodeResult]:
    """The episodes of one evaluation of a record; empty if it was not played."""
    for one in line["evaluation"]:
        if (one["panel"], one["order"]) == (panel, order):
            games, types = line["panels"][panel]["games"], line["panels"][panel]["task_types"]
            won = [letter == "1" for letter in one["won"]]
            returns = one.get("returns") or [float(w) for w in won]
            rows = zip(games, types, won, one["steps"], returns, strict=True)
            return [EpisodeResult(panel, order, g, t, w, s, r) for g, t, w, s, r in rows]  # type: ignore[arg-type]
    return []


def numbers(line: Record) -> Record:
    """What must be the same when the run is repeated: everything but time, machine, command and names.

    Signs of a collapse are left out too, because older records have none. A setting added after the record was written
    has its default, which is what the run did; an estimator that was renamed since has today's name.
    """
    left_out = ("command", "versions", "machine", "seconds", "study", "key", "part", "variant", "signs")
    config = config_from_dict(line["config"])
    whole = {**line, "estimator": config.optim.advantage, "config": asdict(config)}
    return {name: value for name, value in json.loads(json.dumps(whole)).items() if name not in left_out}


# --- files ---


def results_file(folder: Path, study: str) -> Path:
    """The file of a study's records in a folder of results."""
    return folder / f"{study}.jsonl"


def load_records(path: Path) -> list[Record]:
    """The records of a file; none if there is no file. Raises ActreError for another schema."""
    lines = [dict(line) for line in _lines(path)]
    for line in lines:
        if line.get("schema") != SCHEMA:
            raise ActreError(f"{path}: a record has schema {line.get('schema')!r}, and this version reads {SCHEMA}")
    return lines


def save_record(path: Path, line: Record) -> None:
    """Add a record to a file, sorted by key, in place of the same run's record. The write is atomic, and the folder
    is locked against other processes. A record with other settings or weights stays, even under the same key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        kept = [other for other in load_records(path) if _same_run(other) != _same_run(line)]
        write_jsonl(path, sorted([*kept, line], key=lambda one: str(one["key"])))
    finally:
        os.close(folder)  # releases the lock


def finished(study: Study, folder: Path) -> dict[str, Record]:
    """Run key -> its record, for the finished runs: records of the study and of the studies it shares with.

    A record counts if arm and settings are the same (`Run.digest`), and the untrained weights if the file fixes them.
    """
    lines = [line for name in (*study.shares, study.name) for line in load_records(results_file(folder, name))]
    found: dict[str, Record] = {}
    for part in study.parts:
        # of several records of a run, the study's own and the last one win
        known = {_digest(line): line for line in lines if part.fingerprint in (None, line["model"])}
        found |= {run.key: known[run.digest] for run in part.runs if run.digest in known}
    return found


def _same_run(line: Record) -> tuple[str, str | None, str | None]:
    return line["key"], _digest(line) if "config" in line else None, line.get("model")


def _digest(line: Record) -> str:
    return digest_of(line["arm"] != UNTRAINED, config_from_dict(line["config"]))


def _lines(path: Path) -> list[Record]:
    return list(read_jsonl(path)) if path.is_file() else []


def _panels(results: Sequence[EpisodeResult]) -> dict[str, Any]:
    panels: dict[str, Any] = {}
    for panel, order in dict.fromkeys((r.panel, r.order) for r in results):
        here = [r for r in results if (r.panel, r.order) == (panel, order)]
        games = {"games": [r.game for r in here], "task_types": [r.task_type for r in here]}
        if panels.setdefault(panel, games) != games:
            raise ActreError(f"{panel} was not the same games in every order: evaluate the run again")
    return panels


def _evaluation(results: Sequence[EpisodeResult], *, shop: bool) -> list[Record]:
    lines = []
    for panel, order in dict.fromkeys((r.panel, r.order) for r in results):
        here = [r for r in results if (r.panel, r.order) == (panel, order)]
        line: Record = {"panel": panel, "order": order, "won": "".join("01"[r.won] for r in here)}
        line["steps"] = [r.steps for r in here]
        if shop:
            line["returns"] = [round(r.env_return, 4) for r in here]
        lines.append(line)
    return lines


def _signs(line: Record, metrics: Sequence[Record]) -> Record:
    orders = {
        one["order"]: [
            _short(value)
            for value in (one["success"]["value"], list(one["pass_at"].values())[-1]["value"], one["admissible"])
        ]
        for one in line.get("orders", ())
    }
    means = {name: _short(line[name]["value"]) for name in SIGNS if name in line}
    return {"iteration": line["iteration"], "env_steps": _steps_at(line, metrics), **means, "orders": orders}


def _steps_at(line: Record, metrics: Sequence[Record]) -> int:
    """The environment steps taken before a measurement."""
    return max((m["env_steps"] for m in metrics if m["iteration"] <= line["iteration"]), default=0)


def _entropy(line: Record, metrics: Sequence[Record]) -> Record:
    kept: Record = {
        name: line[name] for name in ("iteration", "stage", "order", "k", "states", "verdict") if name in line
    }
    bands = {name: {k: _short(v) for k, v in line[name].items()} for name in (*QUANTITIES, *QUERIES) if line.get(name)}
    return {**kept, "env_steps": _steps_at(line, metrics), **bands}


def _short(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
