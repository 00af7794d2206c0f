"""RAGEN's environment class for each world: `reset(seed, mode)`, `render()`, `step(action)` -> 4 values.

Its EnvStateManager (ragen/llm_agent/es_manager.py, read at RAGEN-AI/RAGEN@5eb79b8) makes one object for each slot,
resets a group with one seed, steps, and renders. Register them: REGISTERED_ENVS["alfworld"] = AlfworldEnv, and the
config classes in REGISTERED_ENV_CONFIGS.

Differs: `render` is the text and the actions that are possible, without RAGEN's advice; a seed chooses a game of the
split by its remainder, so that consecutive seeds never repeat one before all were played; every action is sent to the
world, which answers impossible ones itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium

from actre.config import EnvConfig, EnvName
from actre.envs.worlds import list_games, make_env

Answer = tuple[str, float, bool, dict[str, Any]]


@dataclass
class AlfworldConfig:
    """The panel of each mode ("train", "val", "test"; see actre.envs.alfworld.list_games), and the limit of steps."""

    train: str = "full/train"
    val: str = "full/seen"
    test: str = "full/unseen"
    max_steps: int = 50


@dataclass
class WebshopConfig:
    """The panel of each mode ("train", "val", "test"; see actre.envs.webshop.panels), and the limit of steps."""

    train: str = "shop/train"
    val: str = "shop/seen"
    test: str = "shop/unseen"
    max_steps: int = 15


class _World:
    """One slot of RAGEN's manager."""

    _name: EnvName

    def __init__(self, config: Any) -> None:
        self.config = config
        self._panels = {mode: getattr(config, mode) for mode in ("train", "val", "test")}
        self._games: dict[str, Sequence[str]] = {}
        self._env: gymnasium.Env[str, str] = make_env(
            EnvConfig(name=self._name, train=config.train, max_steps=config.max_steps)
        )
        self._text, self._over = "", True
        self._info: dict[str, Any] = {"admissible_commands": []}

    def reset(self, seed: int | None = None, mode: str = "train", **_: Any) -> str:
        """Start game number `seed` (0 without one), counted round and round in the mode's panel."""
        if mode not in self._games:
            self._games[mode] = list_games(self._name, self._panels[mode])
        games = self._games[mode]
        self._text, self._info = self._env.reset(options={"game": games[(seed or 0) % len(games)]})
        self._over = False
        return self.render()

    def step(self, action: Any) -> Answer:
        """Send an action; after the end nothing happens."""
        action = action if isinstance(action, str) else ""
        allowed = self._info["admissible_commands"]
        valid = action.strip() in allowed or (action.startswith("search[") and "search[<query>]" in allowed)
        before, reward = self._text, 0.0
        if not self._over:
            self._text, given, won, cut, self._info = self._env.step(action)
            reward, self._over = float(given), won or cut
        info = {
            "action_is_effective": self._text != before,
            "action_is_valid": valid,
            "success": bool(self._info.get("won", False)),
        }
        return self.render(), reward, self._over, info

    def render(self, mode: str = "text") -> str:
        """The text, and the actions that are possible."""
        return f"{self._text}\nYou can: {', '.join(self._info['admissible_commands'])}"

    def close(self) -> None:
        """Nothing to end."""


class AlfworldEnv(_World):
    """ALFWorld: a win pays 1."""

    _name: EnvName = "alfworld"

    def __init__(self, config: AlfworldConfig | None = None) -> None:
        super().__init__(config or AlfworldConfig())


class WebshopEnv(_World):
    """WebShop: a purchase pays its reward."""

    _name: EnvName = "webshop"

    def __init__(self, config: WebshopConfig | None = None) -> None:
        super().__init__(config or WebshopConfig())
