"""A corridor in text, as a gymnasium.Env: the smallest world that keeps the environments' contract."""

from typing import Any

import gymnasium

from actre.types import ActreError

ACTIONS = ["go left", "go right", "look"]


class CorridorEnv(gymnasium.Env):
    """Walk right `int(game)` times. Game "broken" fails at the reset; the action "fail" fails a step."""

    observation_space = gymnasium.spaces.Text(200)
    action_space = gymnasium.spaces.Text(200)

    def __init__(self, limit: int = 50, extra_actions: tuple[str, ...] = ()) -> None:
        self.limit = limit
        self.actions = sorted([*ACTIONS, *extra_actions])
        self.at = self.goal = self.count = 0
        self.sent: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        game = (options or {}).get("game", "2")
        if game == "broken":
            raise ActreError("this game is damaged")
        self.at, self.goal, self.count, self.sent = 0, int(game), 0, []
        return f"You are in a corridor. Your task is to: {self._task()}", self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if action == "fail":
            raise ActreError("the corridor fell in")
        if action == "bug":
            raise ZeroDivisionError("a programming error")
        self.sent.append(action)
        self.count += 1
        known = action in self.actions
        self.at += {"go right": 1, "go left": -1}.get(action, 0)
        won = self.at >= self.goal
        text = f"You are at door {self.at}." if known else "Nothing happens."
        return text, float(won), won, self.count >= self.limit and not won, self._info()

    def snapshot(self) -> tuple[int, int, int]:
        return self.at, self.goal, self.count

    def restore(self, snapshot: tuple[int, int, int]) -> None:
        self.at, self.goal, self.count = snapshot

    def _task(self) -> str:
        return f"reach door {self.goal}"

    def _info(self) -> dict[str, Any]:
        won = self.at >= self.goal
        return {
            "admissible_commands": list(self.actions),
            "won": won,
            "task": self._task(),
            "task_type": "walk",
        }
