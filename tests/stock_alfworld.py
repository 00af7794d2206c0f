"""The unmodified stock ALFWorld engine, to compare ours with: textworld's PddlEnv under alfworld's AlfredDemangler."""

import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from actre.envs.alfworld.games import Game


@dataclass(frozen=True)
class Answer:
    """What an engine answers: its text, the admissible commands, and whether the goal holds."""

    text: str
    admissible: list[str]
    won: bool


class StockEngine:
    """One game in the stock engine. There is one engine a process: a game that is entered ends the one before.

    Each PddlEnv would load its own copy of libdownward.so; loading another after one was unloaded crashes.
    """

    _env: Any = None

    def __init__(self, game: Game) -> None:
        if StockEngine._env is None:
            StockEngine._env = self._make()
        # a PDDL translator that is told its arguments in sys.argv
        argv = list(sys.argv)
        self._env.load({"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem})
        sys.argv = argv

    @staticmethod
    def _make() -> Any:
        # `import alfworld` makes the folder $ALFWORLD_DATA; not in anyone's home because of a comparison.
        os.environ.setdefault("ALFWORLD_DATA", os.path.join(tempfile.gettempdir(), "alfworld-data"))
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv

        infos = textworld.EnvInfos(admissible_commands=True, won=True, feedback=True)
        return AlfredDemangler(PddlEnv(infos), shuffle=False)

    def reset(self) -> Answer:
        """Start the game."""
        return self._answer(self._env.reset())

    def step(self, command: str) -> Answer:
        """Send a command."""
        return self._answer(self._env.step(command)[0])

    @staticmethod
    def _answer(state: Any) -> Answer:
        return Answer(state["feedback"], list(state["admissible_commands"]), bool(state["won"]))
