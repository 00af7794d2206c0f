"""The two looks that find contraction where there is none, set beside the fair one.

Knows diagnoses and scripted states; no plot. First look: think-first's entropy *after the sampled thought* against
act-first's. It leaves out what the thought decides, I(A;T|s), so it finds that much contraction in every policy.
Second look: the plug-in of few thoughts against act-first's exact value; it finds its own bias. See docs/entropy.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from actre.config import derive_seed
from actre.entropy.calibration import count_entropies, draw
from actre.entropy.estimators import Contraction, Decomposition, contraction
from actre.entropy.known_truth import Kind, Population, Scenario
from actre.entropy.records import Diagnosis
from actre.stats import Interval, bootstrap


class Looks(NamedTuple):
    """Act-first minus think-first by three looks at the same states, in nats; above 0 looks like contraction.

    conditional: H act-first minus E[H(A|s,T)]. plugin: minus the plug-in of K thoughts. fair: the bracket, and the
    verdict. truth: the mean difference over the population, where it is known. k: thoughts a state.
    """

    conditional: Interval
    plugin: Interval
    fair: Contraction
    truth: float | None
    k: int


def looks(
    act_first: ArrayLike,
    think_first: Sequence[Decomposition],
    games: Sequence[str],
    *,
    equal_n: tuple[ArrayLike, ArrayLike] | None = None,
    truth: float | None = None,
    seed: int = 0,
) -> Looks:
    """The three looks at S states: arguments and errors as `entropy.contraction`, `truth` in nats.

    >>> thoughts = Decomposition(lower=1.2, upper=1.5, conditional=0.4, information=0.8, k=8)
    >>> found = looks([1.4] * 6, [thoughts] * 6, [f"game {i}" for i in range(6)])
    >>> print(found.conditional, found.plugin, found.fair.verdict)
    1.00 [1.00, 1.00] 0.20 [0.20, 0.20] inconclusive
    """
    fair = contraction(act_first, think_first, games, equal_n=equal_n, seed=seed)
    conditional = bootstrap(act_first, games, paired_with=[d.conditional for d in think_first], seed=seed)
    return Looks(conditional, fair.upper, fair, truth, min(d.k for d in think_first))


def looks_at(diagnosis: Diagnosis) -> Looks:
    """The three looks at a diagnosis's states; its fair one is the diagnosis's own."""
    states = diagnosis.states
    return looks(
        [s.act_first for s in states],
        [s.decomposition for s in states],
        [s.game for s in states],
        equal_n=([s.equal_n_act_first for s in states], [s.equal_n_think_first for s in states]),
        seed=diagnosis.settings.seed,
    )


def scripted_looks(kind: Kind = "decisive", k: int = 8, actions: int = 30, games: int = 24, seed: int = 0) -> Looks:
    """The three looks at a scripted policy that chooses exactly alike in both orders: truth is 0.

    kind: how much its thoughts decide (`_known_truth.KINDS`); k: thoughts a state, at least 2; one state a game.
    """
    population = Population(actions, kind)
    rng = np.random.default_rng(derive_seed(seed, "naive", kind, k, actions, games))
    which = rng.integers(len(population.tables), size=(1, games))
    found = draw(population.tables, which, k, rng)
    b = found.brackets
    think = [
        Decomposition(b.lower[0, i], b.upper[0, i], b.conditional[0, i], b.information[0, i], k) for i in range(games)
    ]
    act_p = population.act_first(Scenario("the same"))[which[0]]
    sampled = (rng.multinomial(k, act_p), found.counts[0])
    return looks(
        [population.tables[i].entropy for i in which[0]],
        think,
        [f"game {i}" for i in range(games)],
        equal_n=(count_entropies(sampled[0], "miller_madow"), count_entropies(sampled[1], "miller_madow")),
        truth=0.0,
        seed=seed,
    )
