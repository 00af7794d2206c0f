"""The play widget: play a game by clicking actions, and see what a policy would do in each order.

A finished episode is a `Trajectory`, as a policy's is.
"""

from collections.abc import Sequence
from typing import Any

import traitlets

from actre.config import RunConfig
from actre.config.presets import preset
from actre.entropy.episode_states import State
from actre.envs.worlds import list_games
from actre.orders import listed, open_verb
from actre.types import ActreError, Trajectory
from actre.view.html import visible
from actre.view.inspector import data
from actre.view.inspector.assets import parts
from actre.view.inspector.game import Game
from actre.view.inspector.live import Live, Policies, named
from actre.view.inspector.static import transcript
from actre.view.inspector.widget import AnsweringWidget

_MOST_GAMES = 200


class Play(AnsweringWidget):
    """Play games in a notebook; the last expression of a cell displays it.

    games: names from `list_games`; None takes the settings' unseen panel; the first 200 are offered. policy: scored on
    request; {name: policy} are checkpoints in order. config: the settings (None: the tiny preset's). env: the
    environment to play in (None: the settings'). thoughts: K, drawn for each think-first distribution.
    `trajectories` are the finished episodes, `trajectory` is the current one. Raises ActreError if there is no game.
    """

    _esm = parts(("core.js", "panels.js", "play.js"))
    _css = parts(("core.css", "play.css"))
    _about = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        games: Sequence[str] | None = None,
        policy: Policies = None,
        *,
        config: RunConfig | None = None,
        env: Any = None,
        thoughts: int = 8,
        seed: int = 0,
    ) -> None:
        config = config or preset("tiny")
        names = list_games(config.env.name, config.env.unseen) if games is None else list(games)
        policies = named(policy)
        self._live = Live([], policies, config, env=env, thoughts=thoughts, seed=seed)
        self._game = Game(self._live.env(), names[:_MOST_GAMES])
        super().__init__(
            _about={"games": [visible(name) for name in self._game.games], "checkpoints": list(policies)},
        )

    @property
    def trajectory(self) -> Trajectory:
        """The current episode, or the last one played."""
        return self._game.trajectory

    @property
    def trajectories(self) -> list[Trajectory]:
        """The finished episodes."""
        return list(self._game.finished)

    def static(self) -> str:
        """The current episode as HTML that needs no widget."""
        return transcript(data.episode(0, data.Entry("played by hand", self.trajectory)), unfolded=True)

    def _answer_to(self, request: dict[str, Any]) -> Any:
        kind = request.get("kind")
        if kind == "start":
            number = request.get("game")
            if not isinstance(number, int) or not 0 <= number < len(self._game.games):
                raise ActreError(f"there is no game {number!r}")
            self._game.start(self._game.games[number])
        elif kind == "act":
            # A late click was meant for an earlier state: it is ignored.
            if request.get("step") == len(self._game.steps):
                self._game.act(str(request.get("action", "")).strip())
        elif kind == "back":
            self._game.back()
        elif kind == "scores":
            return self._scores(request)
        elif kind != "state":
            raise ActreError(f"unknown kind of request {kind!r}")
        return self._state()

    def _state(self) -> dict[str, Any]:
        game = self._game
        actions = listed(game.seen.admissible)
        return {
            "episode": data.episode(0, data.Entry("", game.trajectory)),
            "game": game.games.index(game.game),
            "seen": visible(game.seen.text),
            "admissible": [visible(action) for action in actions],
            "open": [open_verb(action) for action in actions],
            "over": game.over,
            "won": game.won,
            "finished": len(game.finished),
        }

    def _scores(self, request: dict[str, Any]) -> dict[str, Any]:
        state = State(tuple(self._game.steps), self._game.seen, "no_think")
        return data.clean(self._live.asker(request.get("checkpoint")).score([state])[0])

    def __repr__(self) -> str:
        return f"Play of {len(self._game.games)} games"
