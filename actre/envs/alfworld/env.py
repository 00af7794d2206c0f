"""ALFWorld as a gymnasium environment: episodes, rewards and the step limit. Observations are the engine's own text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium

from actre.envs.alfworld.engine import NOTHING, CompiledGame, load
from actre.envs.alfworld.games import Game, read_game
from actre.envs.alfworld.machine import Operator, State
from actre.envs.spaces import LongText
from actre.types import ActreError

_TASK_MARK = "Your task is to: "
# Printable Latin text and the line feed: human-written tasks use more characters than the shipped grammar.
_CHARSET = frozenset(chr(c) for c in (*range(32, 127), *range(160, 592), *range(0x2010, 0x2027))) | {"\n"}
_TEXT = LongText(max_length=65_536, min_length=0, charset=_CHARSET)
_COMMAND = LongText(max_length=512, min_length=0, charset=_CHARSET)


@dataclass(frozen=True)
class Snapshot:
    """A state of an episode, for `AlfworldEnv.restore`; can be pickled and restored in another environment."""

    game: str
    state: State
    text: str
    steps: int
    over: bool


class AlfworldEnv(gymnasium.Env[str, str]):
    """An ALFWorld text game.

    games: what `read_game` takes: game.tw-pddl files, folders holding one, "panel.jsonl.gz#id". reset draws one of
    them, or starts `options={"game": path}`, which need not be among them.
    max_steps: the episode is truncated after this many steps, including those that have no effect.

    reward: 1.0 on the step that wins, else 0.0. info: admissible_commands (sorted list of str), won (bool), task (the
    sentence after "Your task is to: "), game (the path given), task_type. An action that equals no admissible
    command, apart from surrounding blanks, is answered with "Nothing happens." and leaves the state unchanged.

    Raises ActreError if there is no game to draw, for a missing, damaged or unsupported game, for a step before reset
    or after the end, and for an action that is not a str. An unfinished episode then continues.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"]}  # noqa: RUF012 (gymnasium's own name and form)

    def __init__(self, games: Sequence[str | Path] = (), max_steps: int = 50, render_mode: str | None = None) -> None:
        if isinstance(games, str | Path):
            raise ActreError(f"games is one path ({games}): give a list, such as list_games({str(games)!r})")
        if max_steps < 1:
            raise ActreError(f"max_steps is {max_steps}: an episode needs at least one step")
        self.games = [str(game) for game in games]
        self.max_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = _TEXT.another()
        self.action_space = _COMMAND.another()
        self._game: Game | None = None
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Start an episode. The same seed on the same list of games draws the same game."""
        super().reset(seed=seed)
        options = options or {}
        if unknown := set(options) - {"game"}:
            raise ActreError(f"reset has no option {sorted(unknown)}: it takes {{'game': path}}")
        if "game" not in options and not self.games:
            raise ActreError("there is no game to play: give AlfworldEnv a list of games, or options={'game': path}")
        path = options["game"] if "game" in options else self.games[self.np_random.integers(len(self.games))]
        game = read_game(path)
        compiled = load(game)  # may fail, so it comes before any change to the last episode
        self._enter(game, compiled, compiled.initial, compiled.intro, 0, over=False)
        return self._text, self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Send a command."""
        if self._game is None:
            raise ActreError("the environment has not been reset: call reset() before step()")
        if self._over:
            raise ActreError("the episode is over: call reset() before the next step()")
        if not isinstance(action, str):
            raise ActreError(f"an action is a string such as 'look', not {type(action).__name__} ({action!r})")
        operator = self._commands.get(action.strip())
        if operator is None:
            self._text = NOTHING
        else:
            state, self._text = self._compiled.apply(self._state, operator)
            self._move(state)
        self._steps += 1
        truncated = not self._won and self._steps >= self.max_steps
        self._over = self._won or truncated
        return self._text, float(self._won), self._won, truncated, self._info()

    def snapshot(self) -> Snapshot:
        """The current state of the episode; cheap."""
        if self._game is None:
            raise ActreError("the environment has not been reset: there is nothing to take a snapshot of")
        return Snapshot(self._game.path, self._state, self._text, self._steps, self._over)

    def restore(self, snapshot: Snapshot) -> tuple[str, dict[str, Any]]:
        """Return to a state of this or another environment's episode; returns its observation and info.

        The random generator that draws games is not restored.
        """
        if self._game is None or self._game.path != snapshot.game:
            game = read_game(snapshot.game)
            compiled = load(game)
        else:
            game, compiled = self._game, self._compiled
        self._enter(game, compiled, snapshot.state, snapshot.text, snapshot.steps, snapshot.over)
        return self._text, self._info()

    def render(self) -> str | None:  # type: ignore[override]
        """The last observation in render mode "ansi", else None."""
        return self._text if self.render_mode == "ansi" and self._game is not None else None

    def _enter(self, game: Game, compiled: CompiledGame, state: State, text: str, steps: int, over: bool) -> None:
        self._game, self._compiled, self._text, self._steps, self._over = game, compiled, text, steps, over
        self._task = compiled.intro.rpartition(_TASK_MARK)[2].strip()
        self._move(state)

    def _move(self, state: State) -> None:
        self._state = state
        self._commands: dict[str, Operator] = self._compiled.commands(state)
        self._won = self._compiled.won(state)

    def _info(self) -> dict[str, Any]:
        assert self._game is not None
        return {
            "admissible_commands": list(self._commands),
            "won": self._won,
            "task": self._task,
            "game": self._game.path,
            "task_type": self._game.task_type,
        }
