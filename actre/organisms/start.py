"""Measures a new tiny policy in each order on new games, before any reinforcement learning.

Tiny policies are selected by this measurement alone.
"""

import json
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import RunConfig, derive_seed
from actre.entropy.preconditions import ADMISSIBLE_AT_LEAST, SPREAD_AT_MOST, SUCCESS_BETWEEN
from actre.policies import Policy
from actre.rollout import make_envs, must_be_whole, rollout
from actre.types import ORDERS, ActreError, Order, Trajectory

FRESH_GROUP = 4
"""Episodes per game. Groups limit the number of games to compile, and show how often outcomes are mixed."""


@dataclass(frozen=True)
class Start:
    """The measurement in one order at one temperature. Shares are in [0, 1]; errors are standard errors over games.

    admissible: share of steps with a listed action. mixed_groups: share of games won in some but not all episodes, from
    which a group-relative advantage can learn.
    """

    order: Order
    temperature: float
    games: int
    episodes: int
    steps: int
    admissible: float
    admissible_error: float
    success: float
    success_error: float
    mixed_groups: float
    mean_steps: float
    score: float | None = None
    """Mean return on WebShop, where a purchase is worth between 0 and 1."""


def measure(policy: Policy, games: list[str], order: Order, temperature: float, config: RunConfig, seed: int) -> Start:
    """Play each game `FRESH_GROUP` times and summarise."""
    envs = make_envs(config.env, min(64, len(games) * FRESH_GROUP))
    played = rollout(
        policy,
        envs,
        games,
        renderer=policy.renderer(config.prompt, order),
        sampling=config.sampling,
        temperature=temperature,
        max_steps=config.env.max_steps,
        seed=derive_seed(seed, "start", order, temperature),
        group_size=FRESH_GROUP,
    )
    return summarise(played, order, temperature, scored=config.optim.outcome == "return")


def summarise(played: list[Trajectory], order: Order, temperature: float, *, scored: bool = False) -> Start:
    """The measurement from episodes. scored: include the mean return.

    Raises ActreError for no episodes, and if the environment failed in one.
    """
    if not played:
        raise ActreError("no episodes to summarise")
    must_be_whole(played)
    groups: dict[int, list[Trajectory]] = {}
    for trajectory in played:
        groups.setdefault(trajectory.group or 0, []).append(trajectory)
    success = [float(np.mean([t.won for t in group])) for group in groups.values()]
    flags = [[_admissible(step.flags) for t in group for step in t.steps] for group in groups.values()]
    share = [sum(group) / max(1, len(group)) for group in flags]
    steps = sum(len(group) for group in flags)
    return Start(
        order=order,
        temperature=temperature,
        games=len(groups),
        episodes=len(played),
        steps=steps,
        admissible=round(sum(map(sum, flags)) / max(1, steps), 4),
        admissible_error=_error(share),
        success=round(float(np.mean(success)), 4),
        success_error=_error(success),
        mixed_groups=round(float(np.mean([0 < s < 1 for s in success])), 4),
        mean_steps=round(steps / len(played), 2),
        score=round(float(np.mean([t.env_return for t in played])), 4) if scored else None,
    )


def _admissible(flags: tuple[str, ...]) -> bool:
    return "inadmissible" not in flags and "no_action" not in flags


def _error(values: list[float]) -> float:
    return round(float(np.std(values, ddof=1)) / sqrt(len(values)), 4) if len(values) > 1 else 0.0


def missed(starts: list[Start], *, alike: bool = True) -> list[str]:
    """The conditions that a policy misses at temperature 1, in words; empty if it meets all.

    alike: whether the orders must win equally often, as for a neutral policy.
    """
    found: list[str] = []
    for start in starts:
        if start.admissible < ADMISSIBLE_AT_LEAST:
            found.append(f"{start.order}: {start.admissible:.1%} of the actions admissible, below 90 %")
        if not SUCCESS_BETWEEN[0] <= start.success <= SUCCESS_BETWEEN[1]:
            found.append(f"{start.order}: success {start.success:.1%}, not within 15-40 %")
    rates = [start.success for start in starts]
    # shares have four digits; rounding keeps 0.33 - 0.25 from failing by its last bit
    if alike and round(max(rates) - min(rates), 6) > SPREAD_AT_MOST:
        found.append(f"success differs by {max(rates) - min(rates):.1%} between orders, more than 8 points")
    return found


def check(
    folder: str | Path, games: list[str], config: RunConfig, *, seed: int = 0, alike: bool = True
) -> dict[str, Any]:
    """Measure the policy in `folder` in each order at temperatures 1.0 and 0.4. Returns the record for start.json."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from actre.policies.hf import HFPolicy

    if not (Path(folder) / "config.json").exists():
        raise ActreError(f"{folder} holds no policy: make one with `actre pretrain-tiny --out {folder}`")
    # the games' own shop; ALFWorld's environments accept any game
    config = replace(config, env=replace(config.env, train=games[0].rpartition("#")[0]))
    policy = HFPolicy(AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))
    starts: dict[float, list[Start]] = {}
    for temperature in (config.sampling.temperature, config.sampling.eval_temperature):
        starts[temperature] = [measure(policy, games, order, temperature, config, seed) for order in ORDERS]
        policy.reset()
    return {
        "seed": seed,
        "starts": [
            {k: v for k, v in asdict(start).items() if v is not None} for both in starts.values() for start in both
        ],
        "missed": missed(starts[config.sampling.temperature], alike=alike),
    }


def table(record: dict[str, Any]) -> str:
    """The measurement as a Markdown table for the card."""
    scored = any("score" in s for s in record["starts"])
    head = "| order | temperature | games | episodes | admissible actions | success | groups of mixed outcome | steps |"
    lines = [head + " mean score |" * scored, "|---" * (8 + scored) + "|"]
    for s in record["starts"]:
        score = f" {s['score']:.2f} |" if scored else ""
        lines.append(
            f"| {s['order']} | {s['temperature']} | {s['games']} | {s['episodes']} "
            f"| {s['admissible']:.1%} ± {s['admissible_error']:.1%} | {s['success']:.1%} ± {s['success_error']:.1%} "
            f"| {s['mixed_groups']:.0%} | {s['mean_steps']} |{score}"
        )
    return "\n".join(lines)


def write_record(folder: str | Path, record: dict[str, Any]) -> None:
    """Write start.json into the policy's folder."""
    (Path(folder) / "start.json").write_text(json.dumps(record, indent=1) + "\n")
