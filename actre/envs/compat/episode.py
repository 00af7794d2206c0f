"""One episode as a conversation: text in, text out with the actions that are possible, and a reward at the end.

What trainers of multi-turn conversations need of a world. An action after the end, or of another type, changes nothing.
"""

import re
from typing import Any

import gymnasium

from actre.config import EnvConfig, EnvName
from actre.envs.worlds import list_games, make_env

PANELS: dict[EnvName, str] = {"alfworld": "full/train", "webshop": "shop/train"}
STEPS: dict[EnvName, int] = {"alfworld": 50, "webshop": 15}
SYSTEM = "You play a text game. Answer each message with one of the actions in it, written as <action>...</action>."
OVER = "The episode is over."
_ACTION = re.compile(r"<action>(.*?)</action>", re.DOTALL)


def action_in(reply: str) -> str:
    """The action of a reply: between the last tags, else the whole reply.

    >>> action_in("<think>a lamp</think> <action> use desklamp 1 </action>"), action_in(" look ")
    ('use desklamp 1', 'look')
    """
    found = _ACTION.findall(reply)
    return (found[-1] if found else reply).strip()


class Episode:
    """Plays games of one panel, one after the other.

    won, reward (the sum of what was paid), steps and over are those of the game in play.
    """

    def __init__(self, world: EnvName, panel: str | None = None, max_steps: int | None = None) -> None:
        self.world, self.panel = world, panel or PANELS[world]
        self.games = list_games(world, self.panel)
        config = EnvConfig(name=world, train=self.panel, max_steps=max_steps or STEPS[world])
        self._env: gymnasium.Env[str, str] = make_env(config)
        self._next = 0
        self.over, self.won, self.reward, self.steps = True, False, 0.0, 0

    def start(self, game: str | int | None = None) -> str:
        """The first message of a game: its name, its place in the panel, or None for the next of the panel."""
        if game is None:
            game, self._next = self._next, self._next + 1
        self.game = self.games[game % len(self.games)] if isinstance(game, int) else game
        text, info = self._env.reset(options={"game": self.game})
        self.over, self.won, self.reward, self.steps = False, False, 0.0, 0
        return self._shown(text, info)

    def act(self, action: Any) -> str:
        """The answer to an action."""
        if self.over:
            return OVER
        text, paid, won, cut, info = self._env.step(action if isinstance(action, str) else "")
        self.reward, self.steps = self.reward + float(paid), self.steps + 1
        self.won, self.over = bool(info["won"]), won or cut
        return f"{text}\n{OVER}" if self.over else self._shown(text, info)

    def _shown(self, text: str, info: dict[str, Any]) -> str:
        self.admissible = [action for action in info["admissible_commands"] if action != "help"]
        return f"{text}\nActions: {', '.join(self.admissible)}"
