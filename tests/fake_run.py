"""Builds run folders of the right layout from seeded random numbers, for tests of what people see. No
policy, no engine.
"""

import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np

from actre.config import RunConfig, StageConfig, save_config
from actre.config.presets import PRESETS
from actre.entropy import entropy, js, marginal_entropy
from actre.entropy.diagnose import Diagnosis, Settings, StateDiagnosis, save_diagnosis, summarised
from actre.types import FLAGS, Observation, Order, Step, Trajectory, write_jsonl, write_trajectories

TASKS = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
PLACES = ("cabinet 1", "countertop 1", "drawer 2", "fridge 1", "shelf 1", "sinkbasin 1", "diningtable 1")
BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see "


def observation(task: str, place: str | None, things: str = "nothing") -> Observation:
    listed = tuple(sorted([f"go to {p}" for p in PLACES] + ["help", "inventory", "look"]))
    if place is None:
        rooms = ", a ".join(PLACES)
        return Observation(f"{BANNER}a {rooms}.\n\nYour task is to: {task}.", task, listed)
    return Observation(f"You arrive at {place}. On the {place}, you see {things}.", task, listed)


def trajectory(game: str, task_type: str, order: Order, won: bool, seed: int, *, hostile: str = "") -> Trajectory:
    """An episode that looks like ALFWorld's; `hostile` is put wherever a model or a game may put text."""
    rng = random.Random(f"{seed}{game}{order}{won}")
    task = f"put a mug in shelf{hostile}"
    seen = observation(task, None)
    steps = []
    count = rng.randint(4, 9) if won else 20
    for index in range(count):
        place = rng.choice(PLACES)
        action = f"go to {place}{hostile}"
        broken = not won and rng.random() < 0.1
        flags = ("inadmissible",) if broken or hostile else ()
        reward = 1.0 if won and index == count - 1 else 0.0
        thought = None if order == "no_think" else f"i need a mug. look at {place}.{hostile}"
        reply = f"{thought}</think><action>{action}</action>"
        steps.append(Step(seen, (1, 2), (3,), (-0.1,), reply, thought, action, flags, reward))
        seen = observation(task + hostile, place, "a mug 1, and a plate 2" + hostile)
    last = steps[-1]
    steps[-1] = last if won else replace(last, action=None, thought=None, flags=("no_action", "truncated"))
    return Trajectory(
        env="alfworld",
        game=game,
        task_type=task_type,
        order=order,
        seed=seed,
        steps=tuple(steps),
        final=seen,
        won=won,
        truncated=not won,
    )


def games(panel: str, n: int) -> list[tuple[str, str]]:
    return [(f"small/{panel}/{TASKS[i % 6]}-{i:03d}", TASKS[i % 6]) for i in range(n)]


def interval(value: float, half: float = 0.15) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": value + half}


def build_run(
    folder: Path,
    arm: str = "actre",
    *,
    seed: int = 0,
    final: float = 0.6,
    start: float = 0.27,
    hostile: str = "",
    panels: tuple[tuple[str, int], ...] = (("seen", 12), ("unseen", 24)),
) -> Path:
    """A whole run folder at folder/arm; success rises from `start` to `final`."""
    rng = random.Random(f"{seed}{arm}")
    out = folder / arm
    (out / "trajectories").mkdir(parents=True)
    stages = (StageConfig("think_first", 30),)
    if arm == "actre":
        stages = (StageConfig("act_first", 10), StageConfig("think_first", 20))
    config = replace(PRESETS["tiny"], seed=seed, stages=stages)
    save_config(config, out / "config.json")
    metrics = _metrics(config, rng, start, final)
    write_jsonl(out / "metrics.jsonl", metrics)
    write_jsonl(out / "entropy.jsonl", _entropy(metrics, rng))
    rows, played = [], {"before": [], "after": []}
    for when, rate in (("before", start), ("after", final)):
        for panel, n in panels:
            for order in ("think_first", "act_first"):
                for game, task_type in games(panel, n):
                    fate = random.Random(f"{seed}{when}{order}{game}{arm if when == 'after' else ''}")
                    won = fate.random() < rate
                    t = trajectory(game, task_type, order, won, seed, hostile=hostile)
                    played[when].append(t)
                    rows.append(
                        {
                            "when": when,
                            "panel": panel,
                            "order": order,
                            "game": game,
                            "task_type": task_type,
                            "won": won,
                            "steps": len(t.steps),
                            "env_return": t.env_return,
                        }
                    )
    write_jsonl(out / "evaluation.jsonl", rows)
    for when, trajectories in played.items():
        write_trajectories(out / "trajectories" / f"eval_{when}.jsonl.gz", trajectories)
    return out


def build_quickstart(folder: Path, *, seed: int = 0, hostile: str = "") -> Path:
    """A quickstart's folder: both arms and the settings beside them."""
    build_run(folder, "actre", seed=seed, final=0.62, hostile=hostile)
    build_run(folder, "think_first", seed=seed, final=0.48, hostile=hostile)
    save_config(replace(PRESETS["tiny"], seed=seed), folder / "config.json")
    save_diagnosis(folder / "diagnosis.json", fake_diagnosis(seed=seed))
    return folder


def fake_diagnosis(states: int = 12, thoughts: int = 8, seed: int = 0) -> Diagnosis:
    """Random distributions, but entropies, brackets, intervals and verdict as they follow from them."""
    settings = Settings(
        "tiny", "made-up", states, thoughts, seed, 1.0, 48, "shared", "growing", 2, False, False, "plugin"
    )
    rng = np.random.default_rng(seed)
    found = []
    for index in range(states):
        game, task_type = games("unseen", states)[index]
        actions = tuple(f"go to {place}" for place in PLACES)
        act = rng.dirichlet(np.full(len(actions) + 1, 0.7))
        after = rng.dirichlet(np.full(len(actions) + 1, 0.3), size=thoughts)
        d = marginal_entropy(after)
        mean = after.mean(axis=0)
        found.append(
            StateDiagnosis(
                index=index,
                game=game,
                task_type=task_type,
                source="expert",
                position="early",
                step=index % 5,
                actions=actions,
                act_first_p=tuple(act),
                think_first_p=tuple(mean),
                act_first=entropy(act),
                lower=d.lower,
                upper=d.upper,
                conditional=d.conditional,
                information=d.information,
                equal_n_act_first=entropy(act),
                equal_n_think_first=entropy(mean),
                unfinished=0,
                js=js(act, mean),
                kl_act_think=None,
                kl_think_act=None,
                token_thought=0.9,
                token_action_act_first=0.4,
                token_action_think_first=0.2,
                thoughts=tuple(f"look at {PLACES[k % len(PLACES)]}." for k in range(thoughts)),
            )
        )
    return summarised(settings, found)


def _metrics(config: RunConfig, rng: random.Random, start: float, final: float) -> list[dict]:
    rows, env_steps, tokens, iteration = [], 0, 0, 0
    for index, stage in enumerate(config.stages):
        for _ in range(stage.iterations):
            iteration += 1
            share = 1 - math.exp(-3 * iteration / config.iterations)
            success = min(max(start + (final - start) * share + rng.gauss(0, 0.06), 0.0), 1.0)
            env_steps += int(48 * (20 - 11 * success))
            tokens += 700
            rows.append(
                {
                    "iteration": iteration,
                    "stage": index,
                    "order": stage.order,
                    "success": success,
                    "return": success - rng.random() * 0.1,
                    "steps": 20 - 11 * success,
                    "token_entropy_nats": 0.6 - 0.3 * share,
                    "parse_rate": 0.97 + 0.02 * share,
                    "admissible_rate": 0.91 + 0.06 * share,
                    "kl_nats": 0.02 * share,
                    "clip_rate": 0.01,
                    "loss": rng.gauss(0, 0.01),
                    "grad_norm": 0.4,
                    "learning_rate": 1e-3,
                    "seconds": 8.0,
                    "rollout_s": 5.0,
                    "update_s": 3.0,
                    "tokens_per_s": 1400.0,
                    "env_steps": env_steps,
                    "generated_tokens": tokens,
                    "groups_without_signal": 0.2,
                    **{f"flag_{name}": 0.01 for name in FLAGS},
                }
            )
    return rows


def _entropy(metrics: list[dict], rng: random.Random) -> list[dict]:
    rows = []
    for iteration in range(0, len(metrics) + 1, 5):
        share = iteration / max(len(metrics), 1)
        act = 1.75 - 0.55 * share + rng.gauss(0, 0.03)
        low, width = act - 0.2 - 0.1 * share, 0.32
        conditional = 0.55 - 0.2 * share
        rows.append(
            {
                "iteration": iteration,
                "stage": 0,
                "order": metrics[max(iteration - 1, 0)]["order"],
                "states": 24,
                "k": 8,
                "act_first": interval(act),
                "think_first_lower": interval(low),
                "think_first_upper": interval(low + width),
                "conditional": interval(conditional),
                "information": interval(low - conditional),
                "verdict": "inconclusive",
            }
        )
    return rows


def damage(path: Path) -> None:
    """Cut a file in the middle of a line."""
    path.write_text(path.read_text()[:-20])
