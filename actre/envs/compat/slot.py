"""One game of a batch of ALFWorld games, with the expert's plan where it is asked for."""

import contextlib
from typing import Any

from actre.envs.alfworld import AlfworldEnv, read_game
from actre.envs.alfworld.expert import Expert, Habits
from actre.envs.alfworld.tasks import NoPlanError


class Slot:
    """One game of a batch.

    text, score, done: the last answer; a finished game keeps it. info: what the batch tells of this game.
    """

    def __init__(self, max_steps: int, expert: bool) -> None:
        self._env = AlfworldEnv(max_steps=max_steps)
        self._expert = Expert(Habits(search="likely"), 0) if expert else None

    def reset(self, game: str) -> str:
        """Start a game; returns its first text."""
        self.text, info = self._env.reset(options={"game": game})
        self.score, self.done, self._planned = 0.0, False, False
        if self._expert is not None:
            with contextlib.suppress(NoPlanError):
                self._expert.reset(self.text, read_game(game).plan())
                self._planned = True
        self._tell(info)
        return self.text

    def step(self, command: Any) -> None:
        """Send a command; nothing happens once the game is finished."""
        if self.done:
            return
        command = command if isinstance(command, str) else ""
        self.text, self.score, won, cut, info = self._env.step(command)
        self.done = won or cut
        if self._expert is not None:
            self._expert.took(command.strip())
        self._tell(info)

    def _tell(self, info: dict[str, Any]) -> None:
        self.info = {name: info[name] for name in ("won", "admissible_commands")} | {"extra.gamefile": info["game"]}
        if self._expert is not None:
            plan = self._expert.act(self.text).action if self._planned and not self.done else "look"
            self.info["extra.expert_plan"] = [plan if plan in info["admissible_commands"] else "look"]
