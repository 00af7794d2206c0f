"""Records of runs that never were, for tests: a study file's runs with the success wanted."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from actre.study.plan import Run
from actre.study.record import SCHEMA
from actre.types import ORDERS

GAMES = 40


def fake_record(run: Run, success: float, *, model: str = "m") -> dict[str, Any]:
    """A line as `record` writes it. The first games are the won ones, so that pairs agree as far as they can."""
    won = round(success * GAMES)
    types = [f"type-{i % 4}" for i in range(GAMES)]
    panels = {p: {"games": [f"{p}-{i}" for i in range(GAMES)], "task_types": types} for p in ("seen", "unseen")}
    letters = "1" * won + "0" * (GAMES - won)
    band = {"value": 1.0, "low": 0.9, "high": 1.1}
    entropy = {name: band for name in ("act_first", "think_first_lower", "think_first_upper")}
    return {
        "schema": SCHEMA,
        "study": "s",
        **{name: getattr(run, name) for name in ("part", "arm", "estimator", "variant", "seed", "key")},
        "command": "actre study s.toml",
        "versions": {"commit": "0" * 40},
        "model": model,
        "config": asdict(run.config),
        "iterations": 2 * run.trained,
        "env_steps": 200 * run.trained,
        "generated_tokens": 1000 * run.trained,
        "seconds": 1.0,
        "panels": panels,
        "evaluation": [
            {"panel": p, "order": o, "won": letters, "steps": [9] * GAMES} for p in ("unseen", "seen") for o in ORDERS
        ],
        "entropy": [{"iteration": i, "env_steps": 100 * i, "order": "act_first", **entropy} for i in (0, 1, 2)]
        if run.trained
        else [],
        "curve": [[i, 100 * i, 500 * i, "act_first", success, 0.1] for i in (1, 2)] if run.trained else [],
        "signs": {
            "groups": [[0.5, 6.0] for _ in (1, 2)] if run.trained else [],
            "measured": [{"iteration": i, "env_steps": 100 * i, "orders": {}} for i in (0, 1, 2)]
            if run.trained
            else [],
        },
    }


def fake_records(runs: tuple[Run, ...], success: Callable[[Run], float]) -> dict[str, dict[str, Any]]:
    return {run.key: fake_record(run, success(run)) for run in runs}
