"""The worlds as tools: classes for `environment_factory` of TRL's GRPOTrainer (1.14.2), and its rows.

    GRPOTrainer(..., environment_factory=AlfworldTools, train_dataset=Dataset.from_list(tool_rows("alfworld")))

TRL makes one object for each rollout, calls `reset` with the row, appends what it returns to the prompt, offers the
public methods as tools, and asks `get_reward` at the end. Other panels: a subclass that sets `panel` and `max_steps`.

Imports no TRL. The model's chat template has to support tools, as TRL demands.
"""

from typing import Any

from actre.config import EnvName
from actre.envs.compat.episode import PANELS, Episode
from actre.envs.worlds import list_games


def tool_rows(world: EnvName, panel: str | None = None) -> list[dict[str, Any]]:
    """One row for each game of a panel. A group of rollouts shares a row, and so a game."""
    asked = [{"role": "user", "content": "Do the task with the tools.\n\n"}]
    return [{"prompt": asked, "game": game} for game in list_games(world, panel or PANELS[world])]


class _Tools:
    world: EnvName
    panel: str | None = None
    max_steps: int | None = None

    def __init__(self) -> None:
        self._episode = Episode(self.world, self.panel, self.max_steps)

    def reset(self, game: str | None = None, **row: Any) -> str:
        """Start the row's game; returns its first text."""
        return self._episode.start(game)

    def get_reward(self) -> float:
        """What the episode has paid: 1 for a win in ALFWorld, the purchase's reward in a shop."""
        return self._episode.reward


class AlfworldTools(_Tools):
    """A household."""

    world = "alfworld"

    def act(self, action: str) -> str:
        """
        Do one action in the household.

        Args:
            action: One of the listed actions, such as "go to shelf 1".

        Returns:
            What happens, and the actions that are possible next.
        """
        return self._episode.act(action)


class WebshopTools(_Tools):
    """A shop."""

    world = "webshop"

    def search(self, query: str) -> str:
        """
        Search the shop.

        Args:
            query: The words to search for.

        Returns:
            The page of results.
        """
        return self._episode.act(f"search[{query}]")

    def click(self, text: str) -> str:
        """
        Click a button, product or option of the page.

        Args:
            text: The text to click, such as "buy now".

        Returns:
            The page that follows.
        """
        return self._episode.act(f"click[{text}]")
