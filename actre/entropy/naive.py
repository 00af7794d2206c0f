"""Two naive comparisons that find contraction where there is none, next to the fair one.

First: think-first's entropy *after the sampled thought* against act-first's. It omits I(A;T|s), what the thought
decides, and so finds that much contraction in every policy. Second: the plug-in estimate from few thoughts against
act-first's exact value, which finds its own bias. See docs/entropy.md.
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


class Comparisons(NamedTuple):
    """Act-first minus think-first by three comparisons at the same states, in nats; above 0 suggests contraction.

    conditional: act-first's H minus E[H(A|s,T)]. plugin: minus the plug-in of K thoughts. fair: the bracket with its
    verdict. truth: the population's mean difference, if known. k: thoughts per state.
    """

    conditional: Interval
    plugin: Interval
    fair: Contraction
    truth: float | None
    k: int


def comparisons(
    act_first: ArrayLike,
    think_first: Sequence[Decomposition],
    games: Sequence[str],
    *,
    equal_n: tuple[ArrayLike, ArrayLike] | None = None,
    truth: float | None = None,
    seed: int = 0,
) -> Comparisons:
    """The three comparisons at S states. Arguments and errors as for `entropy.contraction`; truth in nats.

    >>> thoughts = Decomposition(lower=1.2, upper=1.5, conditional=0.4, information=0.8, k=8)
    >>> found = comparisons([1.4] * 6, [thoughts] * 6, [f"game {i}" for i in range(6)])
    >>> print(found.conditional, found.plugin, found.fair.verdict)
    1.00 [1.00, 1.00] 0.20 [0.20, 0.20] inconclusive
    """
    fair = contraction(act_first, think_first, games, equal_n=equal_n, seed=seed)
    conditional = bootstrap(act_first, games, paired_with=[d.conditional for d in think_first], seed=seed)
    return Comparisons(conditional, fair.upper, fair, truth, min(d.k for d in think_first))


def diagnosis_comparisons(diagnosis: Diagnosis) -> Comparisons:
    """The three comparisons at a diagnosis's states; the fair one is the diagnosis's own."""
    states = diagnosis.states
    return comparisons(
        [s.act_first for s in states],
        [s.decomposition for s in states],
        [s.game for s in states],
        equal_n=([s.equal_n_act_first for s in states], [s.equal_n_think_first for s in states]),
        seed=diagnosis.settings.seed,
    )


def scripted_comparisons(
    kind: Kind = "decisive", k: int = 8, actions: int = 30, games: int = 24, seed: int = 0
) -> Comparisons:
    """The three comparisons for a scripted policy that acts identically in both orders, so that truth is 0.

    kind: how much its thoughts decide (`known_truth.KINDS`). k: thoughts per state, at least 2. One state per game.
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
    return comparisons(
        [population.tables[i].entropy for i in which[0]],
        think,
        [f"game {i}" for i in range(games)],
        equal_n=(count_entropies(sampled[0], "miller_madow"), count_entropies(sampled[1], "miller_madow")),
        truth=0.0,
        seed=seed,
    )
