"""Demonstrations in ALFWorld: episodes of the scripted expert, from which policies are pretrained."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from actre.envs.alfworld.expert import Expert, Habits
from actre.envs.alfworld.games import read_game
from actre.envs.alfworld.generate import Size, Split
from actre.envs.alfworld.panels import generate, write_panel
from actre.envs.alfworld.rooms import Room
from actre.envs.demo import Demo, DemoStep

if TYPE_CHECKING:
    from actre.envs.alfworld.env import AlfworldEnv


def play(env: "AlfworldEnv", expert: Expert, game: str, max_steps: int = 50) -> Demo:
    """One episode of `expert` in one game, at most `max_steps` long. Raises NoPlanError if the expert has no plan."""
    obs, info = env.reset(options={"game": game})
    first, task, task_type = obs, info["task"], info["task_type"]
    name = game.partition("#")[2] or game
    expert.reset(obs, read_game(game).plan())
    steps: list[DemoStep] = []
    listed: list[bool] = []
    over = False
    while not over and len(steps) < max_steps:
        decision = expert.act(obs)
        listed.append(decision.action in info["admissible_commands"])
        obs, _, terminated, truncated, info = env.step(decision.action)
        steps.append(DemoStep(decision.thought, decision.action, obs))
        over = terminated or truncated
    return Demo(name, task, task_type, first, tuple(steps), bool(info["won"]), tuple(listed))


def demonstrations(
    n_games: int,
    habits: Habits,
    seed: int,
    max_steps: int = 50,
    *,
    size: Size = "small",
    split: Split = "train",
    episodes: int = 1,
    panel: str | Path | None = None,
) -> Iterator[Demo]:
    """Episodes on `n_games` fresh games that are in no shipped panel, `episodes` of each, game after game.

    The games depend only on size, split and seed, so calls with different `habits` play the same games.
    panel: where to write the games as a panel file (default: a temporary file).
    """
    from actre.envs.alfworld.env import AlfworldEnv  # the engine is heavy, and importing the types here must stay cheap

    with tempfile.TemporaryDirectory() as folder:
        path = Path(panel) if panel else Path(folder) / "fresh.jsonl.gz"
        games = write_panel(path, generate(size, split, n_games, seed))
        env = AlfworldEnv(games, max_steps=max_steps)
        for game in games:
            for k in range(episodes):
                # each episode has its own seed, so that fewer games or episodes leave the others unchanged
                name = game.rpartition("#")[2]
                yield play(env, Expert(habits, seed=f"{seed} {name} {k}"), game, max_steps)


def attempts(game: str | Room, tries: int = 3, max_steps: int | None = None) -> Iterator[Demo]:
    """The full-skill expert's attempts at one game with seeds 0, 1, ...; they end with the first win.

    max_steps: by default 50, or 100 in a room of more than 12 receptacles.
    """
    from actre.envs.alfworld.env import AlfworldEnv

    with tempfile.TemporaryDirectory() as folder:
        path = game if isinstance(game, str) else write_panel(Path(folder) / "one.jsonl.gz", [game])[0]
        limit = max_steps or (50 if read_game(path).pddl_problem.count("(receptacleType ") <= 12 else 100)
        env = AlfworldEnv([path], max_steps=limit)
        for seed in range(tries):
            demo = play(env, Expert(Habits(search="likely"), seed), path, limit)
            yield demo
            if demo.won:
                return
