"""The state machine of one game: which actions apply in a state, what each does, whether the goal holds.

It runs the ground operators, axioms and goal that Fast Downward's translator produces (translate.py).

Differs: the stock engine runs the translated task in a copy of libdownward.so, this one in Python on sets of true
facts. States are values here, so snapshots are free, environments share no C state, and nothing has to be unloaded. The
answers are the same (tests/parity). Operators are in the translator's order; this would show only if two operators with
the same command text had different effects.
"""

import json
from typing import Any, NamedTuple

from actre.envs.alfworld.translate import Program


class State(NamedTuple):
    """One state, as sets of fact numbers (`Program["variables"]`).

    true: the facts that hold, derived facts included; operators and the goal use these.
    asserted: the facts that the text generator takes to hold; denied: those it takes to have ended.
    They differ from `true`: the stock engine reports every effect of an action to its text generator, in order, even if
    the effect's condition (of switching on a lamp, say) did not hold, and reports that a fact does not hold only when
    an action ends it.
    """

    true: frozenset[int]
    asserted: frozenset[int]
    denied: frozenset[int]


class Operator:
    """One ground action. It applies if all `positive` facts hold and no `negative` one does."""

    __slots__ = ("action", "args", "effects", "key", "negative", "positive")

    def __init__(self, action: int, args: list[int], positive: list[int], negative: list[int], effects: list[Any]):
        self.action = action
        self.args = args
        self.key = (action, *args)
        self.positive = positive
        self.negative = negative
        self.effects = effects


def _last(literals: list[int]) -> tuple[frozenset[int], frozenset[int]]:
    """The facts that a sequence of literals makes true and false; the last literal of each fact counts."""
    final = {abs(x) - 1: x > 0 for x in literals}
    return frozenset(v for v, on in final.items() if on), frozenset(v for v, on in final.items() if not on)


class Machine:
    """The transition system of one game; stateless except that operators are parsed on first use."""

    def __init__(self, program: Program) -> None:
        self._packed = {int(key): packed for key, packed in program["operators"].items() if key}
        self._pivots = frozenset(self._packed)
        self._anywhere = _unpack(program["operators"].get("", "[]"))
        self._groups: dict[int, list[Operator]] = {}
        layers: dict[int, list[tuple[int, list[int], list[int]]]] = {}
        for layer, head, body in program["rules"]:
            rule = (head, [x - 1 for x in body if x > 0], [-x - 1 for x in body if x < 0])
            layers.setdefault(layer, []).append(rule)
        self._layers = [layers[layer] for layer in sorted(layers)]
        self._derived = frozenset(head for _, head, _ in program["rules"])
        self._goal = _last(program["goal"])
        asserted = frozenset(program["initial"])
        self.initial = State(self._derive(asserted), asserted, frozenset())

    def applicable(self, state: State) -> list[Operator]:
        """The operators that apply, one per action and arguments."""
        true = state.true
        found = {op.key: op for op in self._anywhere if true.issuperset(op.positive) and true.isdisjoint(op.negative)}
        for pivot in sorted(true & self._pivots):
            for op in self._groups.get(pivot) or self._group(pivot):
                if true.issuperset(op.positive) and true.isdisjoint(op.negative):
                    found.setdefault(op.key, op)
        return list(found.values())

    def apply(self, state: State, op: Operator) -> State:
        """The state after an operator that applies."""
        true = state.true
        fired, announced = [], []
        for effect in op.effects:
            literal, conditions = (effect, ()) if isinstance(effect, int) else effect
            announced.append(literal)
            if all((abs(c) - 1 in true) is (c > 0) for c in conditions):
                fired.append(literal)
        on, off = _last(fired)
        asserts, denies = _last(announced)
        return State(
            self._derive((true - off) | on), (state.asserted - denies) | asserts, (state.denied - asserts) | denies
        )

    def won(self, state: State) -> bool:
        """Whether the goal holds."""
        on, off = self._goal
        return on <= state.true and off.isdisjoint(state.true)

    def _derive(self, true: frozenset[int]) -> frozenset[int]:
        if not self._layers:
            return true
        facts = set(true - self._derived)
        for layer in self._layers:
            grew = True
            while grew:
                grew = False
                for head, on, off in layer:
                    if head not in facts and facts.issuperset(on) and facts.isdisjoint(off):
                        facts.add(head)
                        grew = True
        return frozenset(facts)

    def _group(self, pivot: int) -> list[Operator]:
        # Threads may share a game, so the parsed operators are stored before their text is dropped.
        packed = self._packed.get(pivot)
        if packed is not None:
            self._groups[pivot] = _unpack(packed)
            self._packed.pop(pivot, None)
        return self._groups[pivot]


def _unpack(packed: str) -> list[Operator]:
    return [Operator(*row) for row in json.loads(packed)]
