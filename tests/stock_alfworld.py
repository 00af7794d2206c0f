"""The unmodified stock ALFWorld engine, to compare ours with: textworld's PddlEnv under alfworld's AlfredDemangler."""

import os
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
    """One game in the stock engine. `close` unloads its copy of libdownward.so."""

    def __init__(self, game: Game) -> None:
        # `import alfworld` makes the folder $ALFWORLD_DATA; not in anyone's home because of a comparison.
        os.environ.setdefault("ALFWORLD_DATA", os.path.join(tempfile.gettempdir(), "alfworld-data"))
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from textworld.envs.pddl import PddlEnv

        infos = textworld.EnvInfos(admissible_commands=True, won=True, feedback=True)
        self._pddl = PddlEnv(infos)
        self._env: Any = AlfredDemangler(self._pddl, shuffle=False)
        self._env.load({"pddl_domain": game.pddl_domain, "grammar": game.grammar, "pddl_problem": game.pddl_problem})

    def reset(self) -> Answer:
        """Start the game."""
        return self._answer(self._env.reset())

    def step(self, command: str) -> Answer:
        """Send a command."""
        return self._answer(self._env.step(command)[0])

    def close(self) -> None:
        """Free the C library."""
        import fast_downward

        fast_downward.close_lib(self._pddl.downward_lib)

    @staticmethod
    def _answer(state: Any) -> Answer:
        return Answer(state["feedback"], list(state["admissible_commands"]), bool(state["won"]))
