"""The worlds as an OpenEnv server (openenv 0.10): one WebSocket session plays one world.

    uvicorn actre.envs.compat.openenv:app               # ACTRE_WORLD=webshop, ACTRE_PANEL=shop/unseen: another panel

A client resets with {"game": name} or {"seed": number} (its place in the panel; neither: the next one) and steps with
{"command": text}. An observation has text, admissible, won and game; reward is what the step paid.
"""

import os
from typing import Any

from actre.envs.compat.episode import PANELS, Episode
from actre.types import ActreError

try:
    from openenv.core.env_server import Action, Environment, Observation, State, create_fastapi_app
except ModuleNotFoundError as error:
    raise ActreError(f"{error.name} is not installed: pip install openenv") from error


class Command(Action):
    """One action of a player."""

    command: str


class Answer(Observation):
    """The world's answer: the text with the actions that are possible, and these alone as a list."""

    text: str
    admissible: list[str]
    won: bool
    game: str


class World(Environment[Command, Answer, State]):
    """One player's world."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, world: str = "alfworld", panel: str | None = None, max_steps: int | None = None) -> None:
        super().__init__()
        self._episode = Episode(world, panel, max_steps)
        self._state = State()

    def reset(self, seed: int | None = None, episode_id: str | None = None, **given: Any) -> Answer:
        """Start a game: the one named, the panel's number `seed`, or the next."""
        text = self._episode.start(given.get("game", seed))
        self._state = State(episode_id=episode_id, step_count=0, game=self._episode.game)
        return self._answer(text, None)

    def step(self, action: Command, timeout_s: float | None = None, **_: Any) -> Answer:
        """Send a command."""
        before = self._episode.reward
        text = self._episode.act(action.command)
        self._state.step_count = self._episode.steps
        return self._answer(text, self._episode.reward - before)

    @property
    def state(self) -> State:
        """The episode's id, its steps so far, and its game."""
        return self._state

    def _answer(self, text: str, reward: float | None) -> Answer:
        play = self._episode
        shown = {"text": text, "admissible": play.admissible, "won": play.won, "game": play.game}
        return Answer(done=play.over, reward=reward, **shown)


def make_app(world: str = "alfworld", panel: str | None = None, sessions: int = 256) -> Any:
    """The server's FastAPI application; each of its sessions has a world of its own."""
    return create_fastapi_app(lambda: World(world, panel), Command, Answer, max_concurrent_envs=sessions)


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    world = os.environ.get("ACTRE_WORLD", "alfworld")
    return make_app(world, os.environ.get("ACTRE_PANEL", PANELS.get(world)))
