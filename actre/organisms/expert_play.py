"""The scripted experts play a panel: episodes to train one order on, and states whose expert action is known.

ALFWorld's expert looks first where such things usually are; WebShop's shopper opens the hit that fits best. Both play
as well as they can and are seeded by the game. ALFWorld's writes the kind of thought a model was pretrained on.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from actre.config import EnvConfig, derive_seed
from actre.entropy.expert_scores import ExpertState
from actre.entropy.probes import Probe
from actre.envs.alfworld.expert import Expert, Habits
from actre.envs.demo import Decision
from actre.envs.worlds import make_env
from actre.organisms.warmstart_rows import Demonstrations, ExpertStep
from actre.policies.models import find
from actre.types import ActreError, Observation


class ExpertEpisode(NamedTuple):
    """One episode of an expert."""

    game: str
    task_type: str
    steps: tuple[ExpertStep, ...]
    won: bool


BEST = Habits(search="likely")
"""ALFWorld's expert at its best."""


def play(env: EnvConfig, games: Sequence[str], seed: int, habits: Habits = BEST) -> Iterator[ExpertEpisode]:
    """One episode in each game, at most `env.max_steps` long. A game may occur several times, and is then played anew.

    habits: of ALFWorld's expert; WebShop's shopper has its own. Raises ActreError for an environment without an expert
    that writes thoughts.
    """
    if env.name not in ("alfworld", "webshop"):
        raise ActreError(
            f"the environment {env.name} has no expert that writes thoughts, so transfer by supervised training cannot "
            "be measured: leave it out with --parts contraction start learnability"
        )
    player = make_env(env)
    for n, game in enumerate(games):
        text, info = player.reset(options={"game": game})
        decide = _expert(env, game, text, info, derive_seed(seed, "expert", n), habits)
        steps: list[ExpertStep] = []
        over = False
        while not over and len(steps) < env.max_steps:
            seen = Observation(text, info["task"], tuple(info["admissible_commands"]))
            said = decide(seen)
            steps.append(ExpertStep(seen, said.thought, said.action))
            text, _, terminated, truncated, info = player.step(said.action)
            over = terminated or truncated
        yield ExpertEpisode(game, info.get("task_type", ""), tuple(steps), bool(info["won"]))


def _expert(
    env: EnvConfig, game: str, text: str, info: dict[str, Any], seed: int, habits: Habits
) -> Callable[[Observation], Decision]:
    if env.name == "webshop":
        from actre.envs.webshop.shopper import Habits as Shopping
        from actre.envs.webshop.shopper import Shopper

        shopper = Shopper(Shopping(), seed)
        shopper.reset(info["task"])
        return lambda seen: shopper.act(seen.text, seen.admissible)
    from actre.envs.alfworld.games import read_game

    expert = Expert(habits, seed)
    expert.reset(text, read_game(game).plan())
    return lambda seen: expert.act(seen.text)


def demonstrations(env: EnvConfig, games: Sequence[str], n: int, seed: int, habits: Habits = BEST) -> Demonstrations:
    """n episodes of the expert, in these games in a random order, again and again if there are fewer."""
    drawn: list[str] = []
    rng = random.Random(derive_seed(seed, "games to show"))
    while len(drawn) < n:
        drawn += rng.sample(list(games), min(len(games), n - len(drawn)))
    played = list(play(env, drawn, derive_seed(seed, "shown"), habits))
    return Demonstrations(
        tuple(one.steps for one in played), sum(one.won for one in played), f"{n} episodes in {env.train}"
    )


def expert_for(model: str) -> Habits:
    """The expert at its best, with the kind of thought that the model was taught last; "marked" for one of no record.

    A tiny policy's made.json says it, and a warm start's warmstart.json.
    """
    folder = Path(find(model))
    taught: dict[str, Any] = {}
    if (folder / "made.json").is_file():
        taught = json.loads((folder / "made.json").read_text(encoding="utf-8"))["recipe"]["parts"][-1]["habits"][0]
    elif (folder / "warmstart.json").is_file():
        taught = json.loads((folder / "warmstart.json").read_text(encoding="utf-8"))["about"]["expert"]
    return replace(BEST, **{name: taught[name] for name in ("thoughts", "paraphrase") if name in taught})


def expert_states(env: EnvConfig, games: Sequence[str], each: int, seed: int) -> list[ExpertState]:
    """`each` different states of the expert's episode in every game (all states of a shorter episode).

    Their histories are the expert's own.
    """
    found: list[ExpertState] = []
    rng = random.Random(derive_seed(seed, "states"))
    for one in play(env, games, derive_seed(seed, "states")):
        seen = tuple(step.observation for step in one.steps)
        done = tuple(step.action for step in one.steps)
        for at in sorted(rng.sample(range(len(done)), min(each, len(done)))):
            early = at <= len(done) // 3
            probe = Probe(one.game, one.task_type, seen[: at + 1], done[:at], "expert", "early" if early else "late")
            found.append(ExpertState(probe, done[at]))
    return found
