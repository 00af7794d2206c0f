"""A `WebshopEnv` whose episodes are selected by the names of a panel's games, as rollouts, evaluation and probes do."""

from typing import Any

import gymnasium

from actre.envs.webshop.env import WebshopEnv
from actre.envs.webshop.goals import goals_of
from actre.envs.webshop.pages import Mode
from actre.envs.webshop.panels import PanelName, find_goal, numbers, parse_panel, shop_catalogue, shop_folder
from actre.types import ActreError


class PanelEnv(gymnasium.Wrapper[str, str, str, str]):
    """A `WebshopEnv` that takes `options={"game": "SHOP/PART#NUMBER"}` as well as `options={"goal": number}`.

    panel: determines the shop, the kind of instructions, and the goals that reset draws from. A game may be of another
    panel of the same shop and kind. Environments of one shop share its catalogue.
    info has two more fields: game (str) and task_type (the product's category).
    """

    def __init__(self, panel: str, max_steps: int = 15, observation_mode: Mode = "text") -> None:
        self._panel = parse_panel(panel)
        catalogue = shop_catalogue(self._panel.shop)
        self._goals = goals_of(catalogue, self._panel.kind)
        super().__init__(
            WebshopEnv(catalogue, max_steps, observation_mode, kind=self._panel.kind, goals=numbers(self._panel))
        )
        self._game = ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode of the named game, or of one drawn from the panel."""
        options = dict(options or {})
        game = options.pop("game", None)
        if game is not None:
            panel, options["goal"] = find_goal(game)
            self._check(panel)
        obs, info = self.env.reset(seed=seed, options=options)
        self._game = str(game) if game is not None else f"{self._panel}#{info['goal']}"
        return obs, self._with_panel(info)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Send an action."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, float(reward), terminated, truncated, self._with_panel(info)

    def _with_panel(self, info: dict[str, Any]) -> dict[str, Any]:
        return {**info, "game": self._game, "task_type": self._goals[info["goal"]].category}

    def _check(self, panel: PanelName) -> None:
        ours = self._panel
        if panel.kind != ours.kind or (panel.shop != ours.shop and shop_folder(panel.shop) != shop_folder(ours.shop)):
            raise ActreError(
                f"a game of {panel} cannot be played in an environment of {ours}: their shops or kinds of "
                "instructions differ; make one with that panel"
            )
