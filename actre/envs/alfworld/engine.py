"""The fast engine: compiled games, each shared by every environment that plays it.

machine.py runs the rules of a game and text.py writes its text, both from one translation of the game (translate.py,
cached by cache.py). Episodes, rewards and step limits are in env.py.

The answers equal the stock engine's byte for byte (textworld 1.7.0's PddlEnv under alfworld 0.4.2's
AlfredDemangler(shuffle=False)); tests/parity replays recordings of it.
"""

from collections import OrderedDict
from threading import Lock

from actre.envs.alfworld import cache
from actre.envs.alfworld.games import Game
from actre.envs.alfworld.machine import Machine, Operator, State
from actre.envs.alfworld.text import Writer
from actre.envs.alfworld.translate import FORMAT, Program, not_collecting, translate
from actre.types import ActreError

NOTHING = "Nothing happens."
_KEPT_GAMES = 64
_compiled: "OrderedDict[str, CompiledGame]" = OrderedDict()
_lock = Lock()


class CompiledGame:
    """One game, ready to play. It is stateless: its methods take and return states."""

    def __init__(self, program: Program) -> None:
        self._machine = Machine(program)
        self._writer = Writer(program)
        self._actions = program["actions"]
        # Per action: the arguments its command text depends on; None if the text may also depend on the state.
        self._needs = [self._writer.needs(action) for action in range(len(self._actions))]
        self._texts: dict[tuple[int, ...], str] = {}
        self.initial: State = self._machine.initial
        self.intro: str = self._writer.write([["n", "intro"]], self.initial)

    def commands(self, state: State) -> dict[str, Operator]:
        """The admissible commands of a state and the operator each stands for, sorted by text."""
        found: dict[str, Operator] = {}
        for op in self._machine.applicable(state):
            found.setdefault(self._texts.get(op.key) or self._command(op, state), op)
        return dict(sorted(found.items()))

    def _command(self, op: Operator, state: State) -> str:
        template = self._actions[op.action][2]
        needs = self._needs[op.action]
        if needs is None:
            return self._writer.write(template, state, op.action, op.args)
        # Negative, so that it never equals an operator's key: "go to shelf 1" is the same text from every location.
        key = (-op.action - 1, *[op.args[k] for k in needs])
        text = self._texts.get(key)
        if text is None:
            text = self._texts[key] = self._writer.write(template, state, op.action, op.args)
        self._texts[op.key] = text
        return text

    def apply(self, state: State, op: Operator) -> tuple[State, str]:
        """The next state and its feedback text."""
        after = self._machine.apply(state, op)
        return after, self._writer.write(self._actions[op.action][3], after, op.action, op.args)

    def won(self, state: State) -> bool:
        """Whether the game's goal holds."""
        return self._machine.won(state)


def load(game: Game) -> CompiledGame:
    """A game ready to play: from memory, from the cache on disk, or translated now and then cached.

    The 64 most recently used games stay in memory. Raises ActreError if the engine cannot play the game.
    """
    key = cache.key(str(FORMAT), game.pddl_domain, game.pddl_problem, game.grammar)
    with _lock:
        if key in _compiled:
            _compiled.move_to_end(key)
            return _compiled[key]
    compiled = _from_cache(key)
    if compiled is None:
        try:
            program = translate(game.pddl_domain, game.pddl_problem, game.grammar)
            compiled = CompiledGame(program)
        except ActreError as error:
            raise ActreError(f"{game.path or game.id}: {error}") from error
        cache.write(key, program)
    with _lock:
        _compiled[key] = compiled
        while len(_compiled) > _KEPT_GAMES:
            _compiled.popitem(last=False)
    return compiled


def _from_cache(key: str) -> CompiledGame | None:
    with not_collecting():
        program = cache.read(key, FORMAT)
        try:
            return None if program is None else CompiledGame(program)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ActreError):
            return None  # valid JSON of another form: translate again
