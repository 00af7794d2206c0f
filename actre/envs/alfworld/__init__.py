"""ALFWorld: games, a fast engine that gives the stock engine's answers, and a scripted expert.

`AlfworldEnv`, `Snapshot`, `Game`, `read_game` and `list_games` are imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actre.envs.alfworld.env import AlfworldEnv, Snapshot
    from actre.envs.alfworld.games import Game, list_games, read_game

__all__ = ["AlfworldEnv", "Game", "Snapshot", "list_games", "read_game"]


def __getattr__(name: str) -> Any:
    if name in ("AlfworldEnv", "Snapshot"):
        from actre.envs.alfworld import env

        return getattr(env, name)
    if name in __all__:
        from actre.envs.alfworld import games

        return getattr(games, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
