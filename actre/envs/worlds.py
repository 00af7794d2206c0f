"""The environments by their names in the settings: the games of a panel, an environment to play them, scripted players.

Only the environment asked for is imported. `actre.envs.outside` looks up every name but "alfworld" and "webshop".
"""

import random
from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np

from actre.config import ENV_NAMES, EnvConfig, EnvName, derive_seed
from actre.envs import not_played as notplayed
from actre.envs import outside
from actre.types import ActreError, Observation

Scripted = Callable[[Observation], str]
"""Chooses an action for an observation. Each episode has its own."""
Player = Literal["expert", "random"]


def list_games(name: EnvName, source: str) -> list[str]:
    """The games of a panel, as the environment's `reset(options={"game": ...})` takes them.

    source: for alfworld see `actre.envs.alfworld.list_games`, for webshop `actre.envs.webshop.panels`; for another
    environment whatever its `games` takes. Raises ActreError if there is no such panel.
    """
    if name == "webshop":
        from actre.envs.webshop.panels import list_goals

        return list_goals(source)
    if name != "alfworld":
        return outside.list_games(name, source)
    from actre.envs.alfworld.games import list_games

    return list_games(source)


def make_env(env: EnvConfig) -> gymnasium.Env[str, str]:
    """An environment of this kind. Shops of the same catalogue share it.

    Raises ActreError where the package or the data it needs are missing, or where `env.name` leads to none.
    """
    if env.name == "webshop":
        from actre.envs.webshop.panel_env import PanelEnv

        return PanelEnv(env.train, env.max_steps)
    if env.name != "alfworld":
        return outside.make(env.name)
    from actre.envs.alfworld import AlfworldEnv

    return AlfworldEnv(max_steps=env.max_steps)


def readable(name: EnvName, source: str) -> list[str]:
    """The games of a panel except those whose file cannot be read; a warning lists these with the reasons.

    Raises ActreError as `list_games`, and where no game can be read.
    """
    games = list_games(name, source)
    if name != "alfworld":
        return games
    from actre.envs.alfworld.games import unreadable

    failed = unreadable(games)
    notplayed.tell(failed, len(games), source)
    return [game for game in games if game not in failed]


def left_out(name: EnvName, source: str) -> str:
    """Which of a panel's games are left out and why, as "12 games, 3 left out: ..."; "" if none is."""
    if name != "alfworld":
        return ""
    from actre.envs.alfworld.games import listing

    found = listing(source)
    return str(found) if found.left_out else ""


def players(name: EnvName) -> tuple[Player, ...]:
    """The scripted players an environment has; one from outside has no expert."""
    return ("expert", "random") if name in ENV_NAMES else ("random",)


def scripted(name: EnvName, source: Player, first: Observation, seed: int, game: str | None = None) -> Scripted:
    """A player without a model, for one episode that begins with `first`.

    expert: ALFWorld's searching expert with its default behaviour; in a shop the rule (baselines.py). random: any
    admissible action except help; in a shop any click, or the instruction where only a search is possible.
    game: the name that was reset to. With it ALFWorld's expert plans from the game's own data, without it from the task
    sentence.

    Raises ActreError for a game that the expert has no plan for, and where the environment has no expert.
    """
    if source not in players(name):
        raise ActreError(f"the environment {name} has no scripted expert: random actions or a policy can play it")
    if name == "webshop":
        from actre.envs.webshop.baselines import random_clicks, rule

        shopper = rule() if source == "expert" else random_clicks(random.Random(derive_seed(seed, "actions")))
        return lambda seen: shopper(seen.text, {"admissible_commands": list(seen.admissible), "task": seen.task})
    if source == "expert":
        from actre.envs.alfworld.expert import Expert, Habits
        from actre.envs.alfworld.games import read_game

        expert: Any = Expert(Habits(), seed)
        expert.reset(first.text, first.task if game is None else read_game(game).plan())
        return lambda seen: str(expert.act(seen.text).action)
    return _any_action(seed)


def _any_action(seed: int) -> Scripted:
    rng = np.random.default_rng(derive_seed(seed, "actions"))

    def act(seen: Observation) -> str:
        actions = [action for action in seen.admissible if action != "help"]
        if not actions:
            raise ActreError("the environment lists no admissible action in this state, so no action can be drawn")
        return actions[rng.integers(len(actions))]

    return act
