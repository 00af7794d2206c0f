"""A game played by hand: the state, the moves so far, and the episode they make.

A person's actions are recorded like a policy's: an episode of the order "no_think", without token ids, whose `meta`
names the player. A step is taken back by replaying the earlier ones.
"""

from collections.abc import Sequence
from typing import Any

from actre.orders import ACTION, END_ACTION, admits
from actre.types import ActreError, Flag, Observation, Step, Trajectory


class Game:
    """One environment, one game at a time. `trajectory` is the current episode; `finished` holds the ended ones."""

    def __init__(self, env: Any, games: Sequence[str]) -> None:
        if not games:
            raise ActreError(
                "no game to play: pass names of games, for example a panel's from actre.envs.worlds.list_games"
            )
        self.env = env
        self.games = tuple(games)
        self.finished: list[Trajectory] = []
        self.start(self.games[0])

    def start(self, game: str) -> None:
        """Begin a game. Raises ActreError if it is not one of `games` or cannot be started."""
        if game not in self.games:
            raise ActreError(f"no game {game!r} among the {len(self.games)} games of this widget: choose one of them")
        text, info = self.env.reset(seed=0, options={"game": game})
        self.game, self.task_type = game, str(info.get("task_type", ""))
        self.steps: list[Step] = []
        self.won = self.over = self.cut = False
        self.seen = _observation(text, info)

    def act(self, action: str) -> None:
        """Send an action; an inadmissible one is flagged. Raises ActreError if the game is over."""
        if self.over:
            raise ActreError("this game is over: start another one, or take the last step back")
        self._send(action)
        if self.over:
            self.finished.append(self.trajectory)

    def back(self) -> None:
        """Take the last step back: restart the game and replay the steps before it."""
        actions = [str(step.action) for step in self.steps[:-1]]
        if self.over and self.finished:
            self.finished.pop()
        self.start(self.game)
        for action in actions:
            self._send(action)

    @property
    def trajectory(self) -> Trajectory:
        """The current episode."""
        spec = self.env.spec
        return Trajectory(
            env=spec.id if spec is not None else type(self.env.unwrapped).__name__,
            game=self.game,
            task_type=self.task_type,
            order="no_think",
            seed=0,
            steps=tuple(self.steps),
            final=self.seen,
            won=self.won,
            truncated=self.cut,
            meta={"player": "by hand"},
        )

    def _send(self, action: str) -> None:
        flags: tuple[Flag, ...] = () if admits(self.seen.admissible, action) else ("inadmissible",)
        text, reward, terminated, truncated, info = self.env.step(action)
        reply = ACTION + action + END_ACTION
        self.steps.append(Step(self.seen, (), (), (), reply, None, action, flags, float(reward)))
        self.seen = _observation(text, info)
        self.won, self.over = bool(info["won"]), bool(terminated or truncated)
        self.cut = bool(truncated and not terminated)


def _observation(text: str, info: dict[str, Any]) -> Observation:
    return Observation(text, info["task"], tuple(info["admissible_commands"]))
