"""Scripted states whose action entropies are known exactly: tables of thoughts, and populations of games. Pure numpy.

A `ThoughtTable` holds the probabilities of M thoughts and of the actions after each, so H(A|s), H(A|s,T) and I(A;T|s)
are finite sums. A `Population` is a fixed list of games from which sets of states are drawn; the true mean of every
quantity over it is known. Everything is in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

Kind = Literal["diffuse", "decisive", "rare"]
KINDS: tuple[Kind, ...] = ("diffuse", "decisive", "rare")
"""diffuse: a thought moves 0.3 of the probability to one action. decisive: 0.9. rare: one common thought leaves the
likeliest outcomes open (those that make up 0.9), and every other outcome has a rare thought that nearly decides for it
and is often missing among K thoughts."""
_SETTLED = {"diffuse": 0.3, "decisive": 0.9, "rare": 0.9}

Shape = Literal["geometric", "favourite"]


@dataclass(frozen=True)
class ThoughtTable:
    """p(thought) (M,) and p(action | thought) (M, A+1), "other" the last outcome.

    >>> table = ThoughtTable(np.array([0.5, 0.5]), np.array([[1.0, 0.0], [0.5, 0.5]]))
    >>> [round(x, 4) for x in (table.entropy, table.conditional, table.information)]
    [0.5623, 0.3466, 0.2158]
    """

    weights: np.ndarray
    rows: np.ndarray

    @property
    def marginal(self) -> np.ndarray:
        """p(action) (A+1,), marginalised over thoughts."""
        return self.weights @ self.rows

    @property
    def entropy(self) -> float:
        """H(A|s)."""
        return float(_entropy_of(self.marginal))

    @property
    def conditional(self) -> float:
        """E_T[H(A|s,T)]."""
        return float(self.weights @ _entropy_of(self.rows))

    @property
    def information(self) -> float:
        """I(A;T|s)."""
        return self.entropy - self.conditional


@lru_cache(maxsize=4096)
def shaped(outcomes: int, entropy: float, shape: Shape) -> np.ndarray:
    """A read-only distribution (outcomes,) of exactly that entropy in nats, the likeliest outcome first.

    geometric: probabilities fall by a constant factor. favourite: one outcome is likelier, the others are equal. Raises
    ValueError for an entropy outside (0, log outcomes).

    >>> shaped(4, 1.0, "geometric").round(3).tolist()
    [0.615, 0.246, 0.099, 0.039]
    >>> shaped(4, 1.0, "favourite").round(3).tolist()
    [0.668, 0.111, 0.111, 0.111]
    """
    if not 0 < entropy < np.log(outcomes):
        raise ValueError(f"{entropy:g} nats over {outcomes} outcomes: it must lie between 0 and {np.log(outcomes):.4g}")
    of: Callable[[float], np.ndarray]
    if shape == "geometric":
        of, even, certain = lambda steep: _softmax(-steep * np.arange(outcomes)), 0.0, 50.0
    else:
        of, even, certain = lambda lead: _softmax(lead * (np.arange(outcomes) == 0)), 0.0, 60.0
    for _ in range(70):  # bisection to full precision: entropy falls from `even` to `certain`
        middle = (even + certain) / 2
        even, certain = (middle, certain) if _entropy_of(of(middle)) > entropy else (even, middle)
    found = of(even)
    found.setflags(write=False)  # it is cached and shared
    return found


def table_of(marginal: np.ndarray, kind: Kind) -> ThoughtTable:
    """Thoughts of that kind whose actions, marginalised over thoughts, are distributed exactly as `marginal`.

    A thought leaves 1 - c of the probability distributed as `marginal` and moves c to its target. Targets are
    distributed as `marginal` too, so the marginal does not depend on c; only H(A|s,T) does.
    """
    settled = _SETTLED[kind]
    if kind == "rare":
        order = np.argsort(-marginal, kind="stable")
        usual = np.zeros(len(marginal), dtype=bool)
        usual[order[: 1 + np.searchsorted(np.cumsum(marginal[order]), 0.9)]] = True
        about = np.vstack([np.where(usual, marginal, 0.0) / marginal[usual].sum(), np.eye(len(marginal))])
        weights = np.append(marginal[usual].sum(), np.where(usual, 0.0, marginal))
    else:
        about, weights = np.eye(len(marginal)), marginal
    return ThoughtTable(weights, (1 - settled) * marginal + settled * about)


@dataclass(frozen=True)
class Scenario:
    """How act-first differs from think-first, game by game, which a verdict should detect.

    difference: the population mean of act-first's H(A|s) minus think-first's. spread: added in turn, game by game; sums
    to 0. shape: act-first's; think-first's is always geometric. least_actions: the smallest A at which log(A+1) leaves
    enough room.
    """

    name: str
    difference: float = 0.0
    spread: tuple[float, ...] = (0.0,)
    shape: Shape = "geometric"
    least_actions: int = 1


_VARIED = (0.15, -0.15)
SCENARIOS = (
    Scenario("null: the same distribution"),
    Scenario("null: equal entropy, another shape", shape="favourite"),
    Scenario("null: equal on average, games differ", spread=_VARIED),
    Scenario("null: equal on average, one game in eight far off", spread=(0.42, *(-0.06,) * 7)),
    Scenario("null: equal on average, one game in eight very far off", spread=(0.84, *(-0.12,) * 7), least_actions=30),
    *(Scenario(f"difference {d:+.2f}", d, _VARIED) for d in (-0.4, -0.2, -0.12, -0.05, 0.05, 0.12, 0.2, 0.4)),
)
"""Exact nulls, then true differences below and above the margin of 0.1 nats."""

GAMES = 16
"""Games in a population; sets are drawn with replacement."""


@dataclass(frozen=True)
class Population:
    """Games with one kind of thought and `each` states, whose think-first H(A|s) ranges from 0.4 to 0.65 log(A+1).

    A game's next state has 0.9 times the entropy of the one before, so that states of a game are similar.
    """

    actions: int
    kind: Kind
    each: int = 1

    @cached_property
    def entropies(self) -> np.ndarray:
        """(GAMES, each) true H(A|s), think-first."""
        shares = np.linspace(0.4, 0.65, GAMES)
        # shuffled once, so that a scenario's spread is unrelated to the entropies
        shares = shares[np.random.default_rng(0).permutation(GAMES)]
        return shares[:, None] * np.log(self.actions + 1) * 0.9 ** np.arange(self.each)

    @cached_property
    def tables(self) -> list[ThoughtTable]:
        """GAMES * each tables, ordered by game."""
        marginals = [shaped(self.actions + 1, h, "geometric") for h in self.entropies.ravel()]
        return [table_of(marginal, self.kind) for marginal in marginals]

    def act_first(self, scenario: Scenario) -> np.ndarray:
        """(GAMES * each, A+1) act-first's distributions under a scenario."""
        added = scenario.difference + np.resize(np.array(scenario.spread), GAMES)
        wanted = self.entropies + added[:, None]
        return np.stack([shaped(self.actions + 1, h, scenario.shape) for h in wanted.ravel()])


def _softmax(scores: np.ndarray) -> np.ndarray:
    p = np.exp(scores - scores.max())
    return np.asarray(p / p.sum())


def _entropy_of(p: np.ndarray) -> np.ndarray:
    """Entropies along the last axis."""
    return -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=-1)
