"""Action entropy in nats, exact or bracketed. Pure numpy.

The outcomes in a state are its A admissible actions plus "other" (everything else a policy may write): A+1 in all, so
that nothing is renormalised away. For a thought T and an action A in a state s

    H(A|s) = E_T[H(A|s,T)] + I(A;T|s)

(Cover & Thomas, Elements of Information Theory, 2.4). Act-first, H(A|s) is computed exactly. Think-first, it is the
entropy of a mixture over thoughts of which only K are known; a `Decomposition` brackets it. Comparing act-first's
H(A|s) with think-first's first term alone shows "contraction" by construction; see docs/entropy.md. Intervals and
verdicts over many states are in verdict.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from actre.entropy.verdict import (
    MARGIN_NATS,
    Contraction,
    contraction_of,
)

SUM_TOLERANCE = 1e-6
"""Largest deviation of a distribution's sum from 1 that counts as rounding."""

CountMethod = Literal["plugin", "miller_madow", "chao_shen"]


def with_other(logps: ArrayLike, *, tolerance: float = 1e-3) -> np.ndarray:
    """Log-probabilities (A+1,) of A admissible actions and, last, of everything else.

    logps: (A,) nats, each the log-probability of a whole action, closing tag included. If the probabilities sum to more
    than 1 by at most `tolerance` (scores are float32 or less), they are scaled to 1 and "other" is impossible. Raises
    ValueError for no actions, NaN, a log-probability above 0, or a larger excess, which means that the texts are not
    exclusive (one listed twice, one without its closing tag) or were scored at different temperatures.

    >>> np.exp(with_other(np.log([0.5, 0.25]))).round(6).tolist()
    [0.5, 0.25, 0.25]
    """
    given = np.asarray(logps, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"log-probabilities of shape {given.shape}: expected (A,) with at least one action")
    if np.isnan(given).any():
        raise ValueError("a log-probability is NaN: the policy's scores are broken in this state")
    if given.max() > tolerance:
        raise ValueError(f"a log-probability is {given.max():.6g}, above 0")
    total = float(np.exp(given).sum())
    if total > 1 + tolerance:
        raise ValueError(
            f"the actions' probabilities sum to {total:.6g}, above 1 by more than rounding: an action is "
            "listed twice, lacks its closing tag, or was scored at another temperature"
        )
    if total >= 1:
        return np.append(given - np.log(total), -np.inf)
    return np.append(given, np.log1p(-total))


def all_other(actions: int) -> np.ndarray:
    """Probabilities (A+1,) of a reply that cannot contain an action, as after a thought that never closes.

    Raises ValueError for fewer than 1 action.

    >>> all_other(2).tolist()
    [0.0, 0.0, 1.0]
    """
    if actions < 1:
        raise ValueError(f"{actions} actions: a state has at least one admissible action")
    return np.append(np.zeros(actions), 1.0)


def entropy(p: ArrayLike) -> float:
    """Shannon entropy in nats of a distribution p (A+1,), in [0, log(A+1)] (Shannon 1948; 0 log 0 = 0).

    A sum within 1e-6 of 1 is taken as rounding and scaled to 1.
    Raises ValueError if p is empty, not flat, holds NaN or negative values, or does not sum to 1.

    >>> round(entropy([0.5, 0.25, 0.25]), 4)
    1.0397
    """
    return _entropy(_distribution(p))


def effective_actions(p: ArrayLike) -> float:
    """exp(H), the number of equally likely actions with p's entropy, in [1, A+1].

    The Hill number of order 1 (Hill 1973), also called perplexity. Raises as `entropy` does.

    >>> round(effective_actions([0.25] * 4), 4)
    4.0
    """
    return float(np.exp(entropy(p)))


def normalised(p: ArrayLike) -> float:
    """H / log(A+1), in [0, 1] (evenness, Pielou 1966); 0 for a single outcome.

    "other" counts as an outcome, so only lists of equal length are comparable. Raises as `entropy` does.

    >>> normalised([0.5, 0.5, 0.0, 0.0])
    0.5
    """
    given = _distribution(p)
    return _entropy(given) / float(np.log(given.size)) if given.size > 1 else 0.0


def kl(p: ArrayLike, q: ArrayLike) -> float:
    """Kullback-Leibler divergence KL(p || q) in nats, 0 or more (Kullback & Leibler 1951).

    Infinite where q is 0 and p is not. Raises ValueError for different lengths, and as `entropy` does.

    >>> round(kl([0.5, 0.5], [0.25, 0.75]), 4)
    0.1438
    """
    first, second = _pair(p, q)
    seen = first > 0
    with np.errstate(divide="ignore"):
        value = np.sum(first[seen] * (np.log(first[seen]) - np.log(second[seen])))
    return max(float(value), 0.0)


def js(p: ArrayLike, q: ArrayLike) -> float:
    """Jensen-Shannon divergence in nats, in [0, log 2] (Lin 1991). Raises as `kl` does.

    >>> round(js([1, 0], [0, 1]), 4)
    0.6931
    """
    first, second = _pair(p, q)
    value = _entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2
    return min(max(value, 0.0), float(np.log(2)))


@dataclass(frozen=True)
class Decomposition:
    """A bracket of one state's H(A|s) from K thoughts, in nats.

    lower: the entropy of the mean of the K distributions (plug-in), in [0, log(A+1)]; biased low.
    upper: the leave-one-out cross-entropy; at least H(A|s) in expectation and never below lower. It may exceed
    log(A+1), and in a single sample lie below H(A|s).
    conditional: the mean entropy after a thought, E_T[H(A|s,T)]; NOT comparable with an act-first entropy.
    information: lower - conditional, the plug-in I(A;T|s). So lower = conditional + information.
    """

    lower: float
    upper: float
    conditional: float
    information: float
    k: int

    @property
    def width(self) -> float:
        """upper - lower, which shrinks with more thoughts."""
        return self.upper - self.lower


def marginal_entropy(per_thought: ArrayLike, *, pseudo_thoughts: float = 0.0) -> Decomposition:
    """Bracket think-first's H(A|s) in nats from the exact distributions after K thoughts.

    per_thought: (K, A+1), the action distribution after each of K >= 2 independently sampled thoughts.

        lower = H(mean_k p_k)        upper = -mean_k sum_a p_k(a) log mean_{j != k} p_j(a)

    lower is biased low by concavity (Jensen). upper is biased high by Gibbs' inequality: the other thoughts' mean is
    independent of p_k, so its expected cross-entropy is at least that of the true marginal with itself. It is infinite
    if an action occurs after a single thought. `pseudo_thoughts` = m > 0 adds m uniform distributions to the others'
    mean, which keeps the independence, and so the bound, and makes it finite (larger than with m = 0 by at most
    log(1 + m / (K-1)) nats).
    Source: with I = H - E[H(A|s,T)], lower is the InfoNCE and upper the leave-one-out bound on mutual information
    with a known conditional (Poole et al. 2019, arXiv 1905.06922), here with an exact sum over actions. The size of the
    biases for many K and A is in docs/calibration.md.
    Raises ValueError for K < 2 (also an empty list), negative or infinite m, NaN, negative or unnormalised rows.

    >>> d = marginal_entropy([[0.8, 0.2], [0.4, 0.6]])
    >>> [round(x, 4) for x in (d.lower, d.upper, d.conditional, d.information)]
    [0.673, 0.9451, 0.5867, 0.0863]
    """
    rows = np.asarray(per_thought, dtype=np.float64)
    if rows.ndim != 2 and rows.size:
        raise ValueError(f"shape {rows.shape}: expected (K, A+1), one row per thought")
    if len(rows) < 2:
        raise ValueError(
            f"{len(rows)} thought(s): a bracket needs at least 2; entropy(p) of the mean is the plug-in alone"
        )
    if not 0 <= pseudo_thoughts < np.inf:
        raise ValueError(f"pseudo_thoughts is {pseudo_thoughts}; it must be 0 or more, and finite")
    rows = np.stack([_distribution(row, f"thought {k}") for k, row in enumerate(rows)])
    k, outcomes = rows.shape
    # a product with 0 and 1 instead of subtracting one row from the sum, which would leave rounding errors for a true 0
    others = ((1 - np.eye(k)) @ rows + pseudo_thoughts / outcomes) / (k - 1 + pseudo_thoughts)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = np.where(rows > 0, rows * np.log(others), 0.0)
    lower = _entropy(rows.mean(axis=0))
    conditional = min(float(np.mean([_entropy(row) for row in rows])), lower)
    upper = float(-crossed.sum(axis=1).mean())
    return Decomposition(lower, upper, conditional, lower - conditional, k)


def entropy_from_counts(counts: ArrayLike, method: CountMethod = "miller_madow") -> float:
    """Entropy in nats from the counts of sampled outcomes (unseen outcomes may be left out or 0).

    plugin: of the frequencies; at most log N for N samples, biased low. miller_madow: plus (m-1)/(2N) for m observed
    outcomes (Miller 1955). chao_shen: coverage-adjusted Horvitz-Thompson (Chao & Shen 2003; if every sample is a
    singleton the coverage is taken as 1/N, as is usual, since it would be 0). The two corrected ones may exceed
    log(A+1). Raises ValueError for no samples, negative or fractional counts, NaN, or an unknown method.

    >>> [round(entropy_from_counts([2, 1, 1], m), 4) for m in ("plugin", "miller_madow", "chao_shen")]
    [1.0397, 1.2897, 1.7632]
    """
    given = np.asarray(counts, dtype=np.float64)
    if given.ndim != 1 or np.isnan(given).any() or (given < 0).any() or (given != np.floor(given)).any():
        raise ValueError("counts must be a flat list of whole numbers, 0 or more")
    total = given.sum()
    if not 0 < total < np.inf:
        raise ValueError(f"{total:g} samples: entropy needs at least one, and a finite number")
    seen = given[given > 0]
    if method == "plugin":
        return _entropy(seen / total)
    if method == "miller_madow":
        return _entropy(seen / total) + (seen.size - 1) / (2 * float(total))
    if method == "chao_shen":
        singletons = float((seen == 1).sum())
        coverage = 1 - (min(singletons, total - 1) if total > 1 else 0) / total
        p = coverage * seen / total
        # log1p/expm1: 1 - (1-p)^N without cancellation; p = 1 gives 1
        with np.errstate(divide="ignore"):
            weight = -np.expm1(total * np.log1p(-p))
        return float(np.sum(-p * np.log(p) / weight)) + 0.0
    raise ValueError(f"unknown method {method!r}: use plugin, miller_madow or chao_shen")


def contraction(
    act_first: ArrayLike,
    think_first: Sequence[Decomposition],
    games: Sequence[str],
    *,
    equal_n: tuple[ArrayLike, ArrayLike] | None = None,
    margin: float = MARGIN_NATS,
    n: int = 2000,
    seed: int = 0,
) -> Contraction:
    """Does thinking first narrow the choice of action, over a set of states?

    act_first: (S,) exact H(A|s) in nats. think_first: S brackets at the same states, prompt and temperature. games: the
    states' games, over which intervals are taken. equal_n: both orders' (S,) entropies from equally many sampled
    actions by the same count estimator, act-first's first. Differences are act-first minus think-first, above 0 if
    thinking narrows. Without equal_n the verdict is never narrowed or widened. The rule is in
    `actre.entropy.verdict.contraction_of`. Raises ValueError for unequal lengths, no states, one game, and NaN.

    >>> d = marginal_entropy([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1], [0.8, 0.2]])
    >>> games = [f"game {i}" for i in range(8)]
    >>> c = contraction([0.69] * 8, [d] * 8, games, equal_n=([0.6] * 8, [0.3] * 8))
    >>> c.verdict, round(c.lower.value, 3), round(c.upper.value, 3)
    ('narrowed', 0.26, 0.267)
    """
    k = min((d.k for d in think_first), default=0)
    return contraction_of(
        np.asarray(act_first, dtype=np.float64),
        np.array([d.lower for d in think_first]),
        np.array([d.upper for d in think_first]),
        list(games),
        k=k,
        equal_n=equal_n,
        margin=margin,
        n=n,
        seed=seed,
    )


def _entropy(p: np.ndarray) -> float:
    seen = p[p > 0]
    value = -float(np.sum(seen * np.log(seen)))
    return min(max(value, 0.0), float(np.log(p.size)))


def _distribution(p: ArrayLike, name: str = "the distribution") -> np.ndarray:
    """p as float64, scaled to sum to 1. Raises ValueError for anything but a distribution."""
    given = np.asarray(p, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"{name} has shape {given.shape}: expected a flat, non-empty list of probabilities")
    if np.isnan(given).any():
        raise ValueError(f"{name} holds NaN")
    if (given < 0).any():
        raise ValueError(f"{name} holds a negative probability ({given.min():g})")
    total = float(given.sum())
    if not abs(total - 1) <= SUM_TOLERANCE:
        raise ValueError(f"{name} sums to {total:.9g}, not 1; add the outcome 'other' (see with_other)")
    return given / total


def _pair(p: ArrayLike, q: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = _distribution(p, "p"), _distribution(q, "q")
    if first.size != second.size:
        raise ValueError(f"p has {first.size} outcomes and q {second.size}: they must have the same")
    return first, second
