"""The environments by their names in the settings: the games of a panel, an environment to play them, scripted players.

Knows which room each environment lives in and loads only the one that is asked for; knows no policy.
"""

import random
from collections.abc import Callable
from typing import Any, Literal

import gymnasium
import numpy as np

from actre.config import EnvConfig, EnvName, derive_seed
from actre.envs import not_played as notplayed
from actre.types import ActreError, Observation

Scripted = Callable[[Observation], str]
"""What is seen -> what is done. One is made for each episode."""


def list_games(name: EnvName, source: str) -> list[str]:
    """The games of a panel, as the environment's `reset(options={"game": ...})` takes them.

    source: for alfworld see `actre.envs.alfworld.list_games`, for webshop `actre.envs.webshop.panels`. Raises
    ActreError where there is no such panel.
    """
    if name == "webshop":
        from actre.envs.webshop.panels import list_goals

        return list_goals(source)
    from actre.envs.alfworld.games import list_games

    return list_games(source)


def make_env(env: EnvConfig) -> gymnasium.Env[str, str]:
    """An environment of this kind. All of one shop share its catalogue."""
    if env.name == "webshop":
        from actre.envs.webshop.panel_env import PanelEnv

        return PanelEnv(env.train, env.max_steps)
    from actre.envs.alfworld import AlfworldEnv

    return AlfworldEnv(max_steps=env.max_steps)


def readable(name: EnvName, source: str) -> list[str]:
    """The games of a panel without those whose file cannot be read; a warning names these, each with the reason.

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
    """What is left out of a panel's games and why, as "12 games, 3 left out: ..."; "" where nothing is."""
    if name != "alfworld":
        return ""
    from actre.envs.alfworld.games import listing

    found = listing(source)
    return str(found) if found.left_out else ""


def scripted(
    name: EnvName, source: Literal["expert", "random"], first: Observation, seed: int, game: str | None = None
) -> Scripted:
    """A player without a model, for one episode that begins with `first`.

    game: what was reset to; ALFWorld's expert then goes by what the game's own data ask for, else by the sentence.
    Raises ActreError for a game that the expert has no plan for.

    expert: ALFWorld's searching expert with its default habits; in a shop the rule (baselines.py). random: any
    admissible action but help; in a shop any click, and the instruction where only a search is possible.
    """
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
            raise ActreError("a state without admissible actions: nothing can be tried in it")
        return actions[rng.integers(len(actions))]

    return act
