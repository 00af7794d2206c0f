"""Intervals and tests: bootstrap over games, Wilson, t over seeds, interquartile means. Numbers in, numbers out.

States of one game are correlated, so games are resampled, never states or thoughts (resampling thoughts adds the
plug-in's bias once more). Interquartile mean, stratified bootstrap and probability of improvement follow Agarwal et al.
2021 (arXiv 2108.13264). Differs: their library rliable is not used, because it needs arch < 8, which cannot be imported
with the tested pandas 3, and because it has neither pairs nor games; tests compare with its recorded estimates. Scores
are (R, T): R runs (seeds) in T tasks.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_NORMAL = NormalDist()
_Z = 1.959963984540054
_ALPHA = 0.05
Estimator = Callable[[np.ndarray], np.ndarray]
"""(N, R, T) scores -> (N,) values, one per resample."""


class Interval(NamedTuple):
    """An estimate and its 95 % interval, in the estimate's unit."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def bootstrap(
    values: ArrayLike,
    groups: Sequence[Hashable],
    statistic: Callable[[np.ndarray], float] | None = None,
    paired_with: ArrayLike | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over groups (games): the statistic of all values, and its 95 % interval.

    values: (S,); groups: (S,) labels; statistic: (S,) -> float, None for the mean; paired_with: (S,) values of the same
    states under another condition: then the statistic's difference, values minus paired_with, both resampled together.
    Each of the n resamples draws as many groups as there are, with replacement, and pools their values (Efron &
    Tibshirani 1993, chapter 13; groups as in Field & Welsh 2007). docs/calibration.md gives the intervals' coverage.
    Raises ValueError for no values, unequal lengths, values that are not finite, fewer than 2 groups, n < 1, and a
    statistic that is not finite on some resample.

    >>> bootstrap([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"])
    Interval(value=2.5, low=1.5, high=3.5)
    """
    given = finite(values, "values")
    other = None if paired_with is None else finite(paired_with, "paired_with")
    if len(groups) != given.size or (other is not None and other.size != given.size):
        raise ValueError("values, groups and paired_with must have the same length")
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(groups):
        members.setdefault(label, []).append(index)
    if len(members) < 2:
        raise ValueError(f"{len(members)} game: an interval over games needs at least 2 games")
    if n < 1:
        raise ValueError(f"n is {n}: at least one resample is needed")
    if statistic is None:
        return _bootstrap_mean(given if other is None else given - other, list(members.values()), n, seed)
    rows = [np.array(indices) for indices in members.values()]

    def of(index: np.ndarray) -> float:
        value = statistic(given[index])
        return float(value if other is None else value - statistic(other[index]))

    resampled = np.array([of(np.concatenate([rows[g] for g in draw])) for draw in _draws(len(rows), n, seed)])
    if not np.isfinite(resampled).all():
        raise ValueError("the statistic is NaN or infinite on some resamples, so it has no interval")
    return percentiles(of(np.arange(given.size)), resampled, len(rows))


def wilson(won: int, games: int) -> Interval:
    """A proportion with its 95 % score interval (Wilson 1927; Agresti & Coull 1998 on why not Wald's).

    Raises ValueError for no games, or won outside [0, games].

    >>> [round(x, 3) for x in wilson(9, 10)]
    [0.9, 0.596, 0.982]
    """
    if games < 1 or not 0 <= won <= games:
        raise ValueError(f"{won} of {games} games won: games must be at least 1, and won between 0 and games")
    p, z2 = won / games, _Z**2
    middle = (p + z2 / (2 * games)) / (1 + z2 / games)
    half = _Z * math.sqrt(p * (1 - p) / games + z2 / (4 * games**2)) / (1 + z2 / games)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


def pigeonhole(values: ArrayLike, *, n: int = 10_000, seed: int = 0) -> Interval:
    """The mean of (seeds, games) values, and its interval with both resampled, the same games for all seeds.

    Source: the pigeonhole bootstrap (Owen 2007). Too narrow for few seeds (docs/calibration.md): show `over_seeds`.
    """
    table = _matrix(values)
    seeds, games = table.shape
    rng = np.random.default_rng(seed)
    seed_shares = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=n) / seeds
    game_shares = rng.multinomial(games, np.full(games, 1 / games), size=n) / games
    resampled = np.einsum("ns,sg,ng->n", seed_shares, table, game_shares, optimize=True)
    return percentiles(float(table.mean()), resampled, games)


def over_seeds(values: ArrayLike, *, n: int = 10_000, seed: int = 0) -> Interval:
    """The mean of (seeds, games) values, at least 2 of each; the wider of t's interval over seeds and `pigeonhole`'s.

    >>> str(over_seeds([[1.0, 1.0], [0.0, 0.0]], n=10))
    '0.50 [-5.85, 6.85]'
    """
    table = _matrix(values)
    return wider(pigeonhole(table, n=n, seed=seed), Interval(*paired_t(table.mean(axis=1))[:3]))


def jackknife_t(value_of: Callable[[np.ndarray], float], seeds: int) -> Interval:
    """A statistic over seeds with t's 95 % interval from its jackknife; of a mean, Student's t itself.

    value_of: indices (S,) of seeds -> the statistic of these. Source: Tukey 1958; Efron & Tibshirani 1993, chapter 11.
    Differs: centred on the statistic, not on the mean of the pseudo-values. Ends are NaN for one seed.

    >>> jackknife_t(lambda kept: float(np.array([1.0, 2.0, 3.0])[kept].mean()), 3) == paired_t([1.0, 2.0, 3.0])[:3]
    True
    """
    whole, every = value_of(np.arange(seeds)), np.arange(seeds)
    if seeds < 2:
        return Interval(whole, float("nan"), float("nan"))
    left = np.array([value_of(every[every != left_out]) for left_out in range(seeds)])
    band = paired_t((seeds * whole - (seeds - 1) * left).round(12))  # equal values stay equal
    return Interval(whole, whole - (band.mean - band.low), whole + (band.high - band.mean))


def wider(first: Interval, *others: Interval, within: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The first interval, extended to the others' lowest and highest end that is not NaN, and cut to possible values.

    >>> wider(Interval(0.9, 0.8, 1.0), Interval(0.9, 0.7, 1.1), within=(0.0, 1.0))
    Interval(value=0.9, low=0.7, high=1.0)
    """
    ends = [(one.low, one.high) for one in (first, *others) if one.low == one.low]
    low, high = min((low for low, _ in ends), default=first.low), max((high for _, high in ends), default=first.high)
    return Interval(first.value, max(low, within[0]), min(high, within[1])) if ends else first


class PairedTest(NamedTuple):
    """Paired differences of seeds: mean, t's 95 % interval, two-sided p. Interval and p are NaN for one seed."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int


def iqm(scores: np.ndarray) -> np.ndarray:
    """The interquartile mean over the last two axes: the mean of the middle half of all runs and tasks.

    Whole values are cut, floor(n / 4) at either end, as scipy's trim_mean and rliable do.

    >>> float(iqm(np.array([[0.0, 1.0], [2.0, 9.0]])))
    1.5
    """
    # sorted, unlike in scipy's trim_mean: the last digit does not depend on the order of the runs
    flat = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(axis=-1))


def stratified_bootstrap(scores: ArrayLike, estimator: Estimator = iqm, *, n: int = 5000, seed: int = 0) -> Interval:
    """An estimate over runs and tasks with its 95 % percentile interval, runs resampled within each task.

    scores: (R, T). Source: arXiv 2108.13264, section 4.1. Tasks are not resampled: the interval is about these tasks.
    """
    values = _matrix(scores)
    resampled = _resampled(values, np.random.default_rng(seed), n)
    low, high = np.percentile(estimator(resampled), [100 * _ALPHA / 2, 100 * (1 - _ALPHA / 2)])
    return Interval(float(estimator(values[None])[0]), float(low), float(high))


def improvement(then: ArrayLike, first: ArrayLike, *, n: int = 5000, seed: int = 0) -> Interval:
    """The probability that a run of `then` scores above one of `first`, mean over tasks, with its bootstrap interval.

    then: (R, T), first: (S, T); ties count half (Mann & Whitney). Source: arXiv 2108.13264, section 4.3.

    >>> improvement([[2.0], [3.0]], [[1.0], [2.0]]).value
    0.875
    """
    x, y = _matrix(then), _matrix(first)
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} tasks against {y.shape[1]}: both sides need the same tasks")
    rng = np.random.default_rng(seed)
    resampled = _above(_resampled(x, rng, n), _resampled(y, rng, n))
    low, high = np.percentile(resampled, [100 * _ALPHA / 2, 100 * (1 - _ALPHA / 2)])
    return Interval(float(_above(x[None], y[None])[0]), float(low), float(high))


def paired_t(differences: ArrayLike) -> PairedTest:
    """The two-sided paired t test over seeds, with t's 95 % interval of the mean. differences: (S,).

    Without spread between the differences there is no test: p is then 1 if they are all 0, else NaN.

    >>> test = paired_t([1.0, 2.0, 3.0])
    >>> round(test.mean, 3), round(test.low, 3), round(test.high, 3), round(test.p, 4)
    (2.0, -0.484, 4.484, 0.0742)
    """
    d = np.asarray(differences, dtype=float)
    if d.size == 0:
        raise ValueError("no differences: both conditions need a seed in common")
    mean, nan = float(d.mean()), float("nan")
    if d.size == 1:
        return PairedTest(mean, nan, nan, nan, 1)
    if np.ptp(d) == 0:
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else nan, d.size)
    from scipy import stats  # here, because it takes seconds to import, which most users of this module never need

    test = stats.ttest_1samp(d, 0.0)
    band = test.confidence_interval(1 - _ALPHA)
    return PairedTest(mean, float(band.low), float(band.high), float(test.pvalue), d.size)


def combined_means(groups: Sequence[ArrayLike], weights: Sequence[float]) -> PairedTest:
    """The weighted sum of independent groups' means, with Welch's t interval and two-sided p.

    groups: (S_i,) values, at least 2 each, not all alike. Source: Welch 1947; degrees of freedom by Satterthwaite 1946.

    >>> test = combined_means([[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]], [1, -1])
    >>> round(test.mean, 3), round(test.low, 3), round(test.high, 3), round(test.p, 4)
    (1.0, -1.267, 3.267, 0.2879)
    """
    given = [finite(group, "a group") for group in groups]
    if any(group.size < 2 for group in given):
        raise ValueError("each group needs at least 2 values")
    mean = math.fsum(w * float(group.mean()) for w, group in zip(weights, given, strict=True))
    parts = [w * w * float(group.var(ddof=1)) / group.size for w, group in zip(weights, given, strict=True)]
    error, seeds = math.sqrt(math.fsum(parts)), sum(group.size for group in given)
    if error == 0:
        return PairedTest(mean, mean, mean, 1.0 if mean == 0 else float("nan"), seeds)
    df = error**4 / math.fsum(v * v / (group.size - 1) for v, group in zip(parts, given, strict=True))
    from scipy import special

    half = error * float(special.stdtrit(df, 1 - _ALPHA / 2))
    return PairedTest(mean, mean - half, mean + half, 2 * float(special.stdtr(df, -abs(mean) / error)), seeds)


def hedges_g(then: ArrayLike, first: ArrayLike) -> float:
    """The difference of two conditions' means in pooled standard deviations over seeds, corrected for few seeds.

    NaN if a side has one seed or neither varies. Source: Hedges 1981, with the correction 1 - 3 / (4 df - 1).

    >>> round(hedges_g([3.0, 5.0], [1.0, 3.0]), 4)
    0.8081
    """
    x, y = np.asarray(then, dtype=float), np.asarray(first, dtype=float)
    df = x.size + y.size - 2
    if min(x.size, y.size) < 2:
        return float("nan")
    pooled = (((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / df) ** 0.5
    return float("nan") if pooled == 0 else float((x.mean() - y.mean()) / pooled * (1 - 3 / (4 * df - 1)))


def holm(ps: Sequence[float]) -> list[float]:
    """Holm-corrected p values (Holm 1979); a NaN counts as a test and stays NaN.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = sorted((i for i, p in enumerate(ps) if p == p), key=lambda i: ps[i])
    corrected, worst = [float("nan")] * len(ps), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = worst
    return corrected


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation; NaN for fewer than 3 pairs or if a side does not vary."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if a.size < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy import stats

    return float(stats.spearmanr(a, b).statistic)


def curve(points: Sequence[Sequence[tuple[float, float]]], grid: Sequence[float], *, window: float) -> np.ndarray:
    """(R, G) each run's mean value within `window` before each grid point: a run's (x, y) points, x ascending.

    NaN if a run has no point there: no value is carried past a run's end.

    >>> curve([[(1.0, 0.0), (2.0, 1.0), (3.0, 0.5)]], [2.0, 3.0, 9.0], window=2.0)
    array([[0.5 , 0.75,  nan]])
    """
    out = np.full((len(points), len(grid)), np.nan)
    for r, run in enumerate(points):
        for g, x in enumerate(grid):
            inside = [y for at, y in run if x - window < at <= x]
            if inside:
                out[r, g] = math.fsum(inside) / len(inside)  # sum() of floats differs by Python version
    return out


def _matrix(scores: ArrayLike) -> np.ndarray:
    values = np.asarray(scores, dtype=float)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"scores have shape {values.shape}: expected runs x tasks, at least one of each")
    return values


def _resampled(scores: np.ndarray, rng: np.random.Generator, n: int) -> np.ndarray:
    """(N, R, T): R runs drawn with replacement, separately in each task."""
    runs, tasks = scores.shape
    drawn = rng.integers(runs, size=(n, runs, tasks))
    return np.asarray(scores[drawn, np.arange(tasks)])


def _above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, R, T), (N, S, T) -> (N,)."""
    gap = x[:, :, None, :] - y[:, None, :, :]
    return np.asarray(((gap > 0) + 0.5 * (gap == 0)).mean(axis=(1, 2, 3)))


def _bootstrap_mean(values: np.ndarray, members: list[list[int]], n: int, seed: int) -> Interval:
    """The pooled mean's bootstrap by group sums: the same resamples as the general loop."""
    sums = np.array([values[rows].sum() for rows in members])
    sizes = np.array([len(rows) for rows in members], dtype=float)
    times = _times_drawn(len(members), n, seed)
    return percentiles(float(values.mean()), (times @ sums) / (times @ sizes), len(members))


def _draws(groups: int, n: int, seed: int) -> np.ndarray:
    """(n, groups): the groups that each resample draws."""
    return np.random.default_rng(seed).integers(groups, size=(n, groups))


@lru_cache(maxsize=2)
def _times_drawn(groups: int, n: int, seed: int) -> np.ndarray:
    """(n, groups): how often each resample draws each group. Cached: one comparison bootstraps several means."""
    flat = _draws(groups, n, seed) + groups * np.arange(n)[:, None]
    times = np.bincount(flat.ravel(), minlength=n * groups).reshape(n, groups).astype(np.float64)
    times.setflags(write=False)
    return times


def percentiles(value: float, resampled: ArrayLike, groups: int) -> Interval:
    """The 95 % expanded percentile interval of resampled values, from `groups` resampled units, in the values' unit.

    The plain percentile interval is too short by math.sqrt((G-1)/G) and uses normal quantiles instead of t quantiles;
    moving the percentiles outwards corrects both (Hesterberg 2015, The American Statistician 69(4)).
    Differs: no bootstrap-t. It also corrects for skewness, but is infinitely long if only few games differ (Owen 2025,
    arXiv 2508.10083), which happens with states that leave no choice.
    Raises ValueError for fewer than 2 groups, no resampled values, and NaN among them.

    >>> percentiles(0.5, [0.0, 0.25, 0.5, 0.75, 1.0], groups=2)
    Interval(value=0.5, low=0.0, high=1.0)
    """
    given = finite(resampled, "resampled")
    if groups < 2:
        raise ValueError(f"{groups} group: an interval over groups needs at least 2 groups")
    from scipy import special

    tail = 100 * _NORMAL.cdf(-math.sqrt(groups / (groups - 1)) * float(special.stdtrit(groups - 1, 0.975)))
    low, high = np.percentile(given, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))


def finite(values: ArrayLike, name: str) -> np.ndarray:
    """The values as (S,) float64. Raises ValueError for another shape, no values, and values that are not finite."""
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"{name} has shape {given.shape}: expected a flat, non-empty list")
    if not np.isfinite(given).all():
        raise ValueError(f"{name} holds NaN or an infinite value")
    return given
