"""How much a measurement of preconditions trains and measures, and the jobs that this makes."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from actre.config import RunConfig
from actre.config.checks import Count, Ranged, Rate, Several
from actre.config.tiny_names import is_tiny
from actre.entropy.preconditions import TRAINED, Way
from actre.types import ActreError, Order

Part = Literal["contraction", "start", "learnability", "transfer"]
PARTS: tuple[Part, ...] = get_args(Part)
CONTRACTION, START = "contraction", "start"
BUDGET = "budget.json"
Result = dict[str, Any]
"""What a job leaves."""


@dataclass(frozen=True)
class Budget(Ranged):
    """The training and the measurements. Raises ActreError for a number out of range."""

    seeds: Count = 3
    """Trainings by reinforcement in each order."""
    iterations: Count = 15
    """Iterations of each."""
    sft_seeds: Count = 1
    """Supervised trainings on each order's rows."""
    episodes: Count = 480
    """Episodes of the expert that supervised training shows."""
    steps: Count = 160
    """Its optimizer steps."""
    batch: Count = 12
    """Its rows per step; a row is an episode with a growing history, else a step."""
    micro_batch: Count = 6
    """Its rows per forward and backward pass."""
    per_episode: Count = 1
    """States drawn from each episode, with a windowed history."""
    learning_rate: Rate = 2e-3
    """Its peak learning rate."""
    longest: Count = 1024
    """Its longest row, in tokens."""
    states: Count = 2
    """States of each evaluation game at which the expert's action is scored."""
    thoughts: Several = 16
    """Thoughts sampled in each of these states (K)."""


def budget_for(config: RunConfig) -> Budget:
    """The default budget: that of the tiny policies, or a reduced one for larger models."""
    if is_tiny(config.model.name) or config.preset == "tiny":
        return Budget()
    return Budget(
        iterations=5,
        episodes=60,
        steps=40,
        batch=8,
        micro_batch=2,
        per_episode=3,
        learning_rate=5e-4,
        longest=2048 if config.prompt.history == "growing" else 1024,
        states=1,
        thoughts=8,
    )


class Training(NamedTuple):
    """One training of one order alone."""

    way: Way
    order: Order
    seed: int

    @property
    def job(self) -> str:
        return f"{self.way}-{self.order}-{self.seed}"


def trainings(budget: Budget, parts: Collection[Part]) -> list[Training]:
    """The trainings that these parts need; the k-th of each order before the next ones."""
    sft = [Training("sft", order, k) for k in range(budget.sft_seeds) for order in TRAINED]
    rl = [Training("rl", order, k) for k in range(budget.seeds) for order in TRAINED]
    return [*(sft if "transfer" in parts else ()), *(rl if "learnability" in parts else ())]


def jobs(budget: Budget, parts: Collection[Part]) -> list[str]:
    """The jobs' names, in order. What is trained is compared with the start, which is therefore measured too.

    >>> jobs(Budget(seeds=1), ["contraction", "learnability"])
    ['contraction', 'start', 'rl-act_first-0', 'rl-think_first-0']
    """
    made = trainings(budget, parts)
    first = [CONTRACTION] if "contraction" in parts else []
    return [*first, *([START] if "start" in parts or made else []), *(one.job for one in made)]


def training(job: str, budget: Budget) -> Training:
    """The training of that name. Raises ActreError for another job."""
    found = {one.job: one for one in trainings(budget, PARTS)}
    if job not in found:
        raise ActreError(f"unknown job {job!r}; there are: {', '.join(jobs(budget, PARTS))}")
    return found[job]


def load_budget(out: Path) -> Budget:
    """The budget of a measurement's folder."""
    return Budget(**json.loads((out / BUDGET).read_text(encoding="utf-8")))


def result_file(out: Path, job: str) -> Path:
    """Where a job's result is."""
    return out / f"{job}.json"
