"""An environment from outside the package, by name: outside_world:make, outside_world:Outside/Door-v0."""

from typing import Any

import gymnasium
from fake_env import CorridorEnv


class DoorEnv(CorridorEnv):
    """The corridor with its own list of games."""

    def __init__(self) -> None:
        super().__init__(limit=10**6)

    def games(self, source: str) -> list[str]:
        return {"train": ["1", "2"], "seen": ["2", "3"], "unseen": ["1", "2", "3"]}[source]

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        del info["task_type"]
        return info


def make() -> DoorEnv:
    return DoorEnv()


class Bent(DoorEnv):
    """Breaks the contract on the way: the first step's info lacks `won`."""

    def _info(self) -> dict[str, Any]:
        info = super()._info()
        if self.count:
            del info["won"]
        return info


class Untold(DoorEnv):
    """Breaks the contract at once: lists no actions."""

    def _info(self) -> dict[str, Any]:
        return {"won": False, "task": "walk"}


class Old(DoorEnv):
    """Breaks the contract: four values, as gym had it."""

    def step(self, action: str) -> Any:
        return super().step(action)[:4]


class Mute(DoorEnv):
    """Breaks the contract: an observation that is no text."""

    def reset(self, **arguments: Any) -> Any:
        return None, super().reset(**arguments)[1]


class Numbered(DoorEnv):
    """Breaks the contract: its games are no strings."""

    def games(self, source: str) -> Any:
        return [1, 2]


class Empty(DoorEnv):
    """Has no games."""

    def games(self, source: str) -> list[str]:
        return []


class AnySource(DoorEnv):
    """Has the same games in every source."""

    def games(self, source: str) -> list[str]:
        return super().games("unseen")


class Vague(DoorEnv):
    """Breaks the contract: `won` is no bool."""

    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "won": "not yet"}


class Unseeded(DoorEnv):
    """Breaks the contract: reset takes no options."""

    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class Gameless(CorridorEnv):
    """Breaks the contract: it does not say what its games are."""

    def __init__(self) -> None:
        super().__init__()


WORD = "a word"


def needing(size: int) -> DoorEnv:
    return DoorEnv()


def nothing() -> None:
    return None


if "Outside/Door-v0" not in gymnasium.registry:
    gymnasium.register(id="Outside/Door-v0", entry_point="outside_world:DoorEnv", max_episode_steps=2)
