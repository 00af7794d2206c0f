"""Intervals over games and the verdict on contraction: the statistics behind `actre.entropy`.

Pure numpy; knows no policy and no distribution, only values per state and which game each state came from.
States of one game are correlated, so games are resampled, never states or thoughts (resampling thoughts adds
the plug-in's bias once more). The target is the mean over the population of states from which the set was
drawn.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Verdict = Literal["narrowed", "widened", "equivalent", "inconclusive", "withheld"]
"""withheld: the measurement failed its own check, so that nothing is said (never given by `contraction_of`)."""

MARGIN_NATS = 0.1
"""Differences within this, interval included, are called equivalent."""

MIN_GAMES = 6
"""With fewer, even a difference of one sign in every game comes up by chance in over 5 % of nulls (2 *
0.5**5).
"""

CLOSING = 0.8
"""The bracket's width falls about as K to the power of minus this (docs/calibration.md)."""

_NORMAL = NormalDist()


class Interval(NamedTuple):
    """An estimate and its 95 % interval, in the unit of what was estimated."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


class Bracket(NamedTuple):
    """The two ends between which a quantity lies, in nats; lower is -inf where nothing bounds it from below."""

    lower: float
    upper: float


def bootstrap(
    values: ArrayLike,
    groups: Sequence[Hashable],
    statistic: Callable[[np.ndarray], float] | None = None,
    paired_with: ArrayLike | None = None,
    n: int = 2000,
    seed: int = 0,
) -> Interval:
    """Bootstrap over groups (games): the statistic of all values, and its 95 % interval.

    values: (S,); groups: (S,) labels; statistic: (S,) -> float, the mean if None; paired_with: (S,) values of
    the same states under another condition: the statistic's difference, values minus paired_with, both
    resampled together. Each of the n resamples draws as many groups as there are, with replacement, and pools
    their values (Efron & Tibshirani 1993, chapter 13; groups as in Field & Welsh 2007).
    Raises ValueError for no values, unequal lengths, values that are not finite, fewer than 2 groups, n < 1, and a
    statistic that is not finite on some resample.
    How often the intervals hold the truth: docs/calibration.md.

    >>> bootstrap([1.0, 2.0, 3.0, 4.0], ["a", "a", "b", "b"])
    Interval(value=2.5, low=1.5, high=3.5)
    """
    given = _finite(values, "values")
    other = None if paired_with is None else _finite(paired_with, "paired_with")
    if len(groups) != given.size or (other is not None and other.size != given.size):
        raise ValueError("values, groups and paired_with must have one entry a state")
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(groups):
        members.setdefault(label, []).append(index)
    if len(members) < 2:
        raise ValueError(f"{len(members)} game: an interval over games needs at least 2")
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
        raise ValueError("the statistic is NaN or infinite on some resamples: it has no interval")
    return percentiles(of(np.arange(given.size)), resampled, len(rows))


@dataclass(frozen=True)
class Contraction:
    """Act-first minus think-first H(A|s) over a set of states, in nats; above 0 where thinking first narrows.

    lower, upper: the means at the two ends of think-first's bracket, each with its interval over games: the
    true difference lies between them. equal_n: the same difference from equally many sampled actions, None if
    not measured. per_state: the S states' brackets. verdict and words: see `contraction_of`. thoughts_needed,
    games_needed: rough counts that would settle an inconclusive one, None where more would not help or none
    are needed.
    """

    lower: Interval
    upper: Interval
    equal_n: Interval | None
    per_state: tuple[Bracket, ...]
    verdict: Verdict
    words: str
    thoughts_needed: int | None = None
    games_needed: int | None = None

    @property
    def difference(self) -> Bracket:
        """The two mean ends, without sampling error."""
        return Bracket(self.lower.value, self.upper.value)

    @property
    def interval(self) -> Interval:
        """The middle of the bracket, with the interval that covers both ends' intervals."""
        return Interval((self.lower.value + self.upper.value) / 2, self.lower.low, self.upper.high)


def contraction_of(
    act_first: np.ndarray,
    think_lower: np.ndarray,
    think_upper: np.ndarray,
    games: Sequence[Hashable],
    *,
    k: int,
    equal_n: tuple[ArrayLike, ArrayLike] | None,
    margin: float,
    n: int,
    seed: int,
) -> Contraction:
    """The comparison on plain arrays of one entry a state; `actre.entropy.contraction` is the usual way in.

    equivalent: both ends with their intervals lie within +-margin. narrowed: the lower end's interval AND the
    equal-N interval lie above 0. widened: the upper end's AND the equal-N interval lie below 0. Else
    inconclusive, never "no difference". Equivalence is asked first: a difference too small to matter is not a
    finding, however certain. Fewer than MIN_GAMES games are inconclusive.
    """
    if not len(act_first) == len(think_lower) == len(think_upper) == len(games) or not len(games):
        raise ValueError("act_first, think_first and games must have one entry a state, and at least one")
    if not margin > 0:
        raise ValueError(f"margin is {margin}: it must be above 0 nats")
    if (_finite(act_first, "act_first") < 0).any():
        raise ValueError(f"act_first holds a negative entropy ({act_first.min():g} nats)")
    per_state = tuple(
        Bracket(float(a - u), float(a - low)) for a, low, u in zip(act_first, think_lower, think_upper, strict=True)
    )
    upper = bootstrap(act_first, games, paired_with=think_lower, n=n, seed=seed)
    if np.isposinf(think_upper).any():
        # an action seen after one thought alone: nothing bounds that state from above
        lower = Interval(-math.inf, -math.inf, -math.inf)
    else:
        lower = bootstrap(act_first, games, paired_with=think_upper, n=n, seed=seed)
    equal = None if equal_n is None else bootstrap(equal_n[0], games, paired_with=equal_n[1], n=n, seed=seed)
    verdict = _verdict(lower, upper, equal, len(set(games)), margin)
    thoughts, more_games = None, None
    if verdict == "inconclusive":
        thoughts, more_games = _what_would_settle(lower, upper, k, len(set(games)), margin)
    words = _words(verdict, lower, upper, equal, len(set(games)), margin, thoughts, more_games)
    return Contraction(lower, upper, equal, per_state, verdict, words, thoughts, more_games)


def _verdict(lower: Interval, upper: Interval, equal: Interval | None, games: int, margin: float) -> Verdict:
    if games < MIN_GAMES:
        return "inconclusive"
    if lower.low >= -margin and upper.high <= margin:
        return "equivalent"
    if equal is not None and lower.low > 0 and equal.low > 0:
        return "narrowed"
    if equal is not None and upper.high < 0 and equal.high < 0:
        return "widened"
    return "inconclusive"


def _what_would_settle(
    lower: Interval, upper: Interval, k: int, games: int, margin: float
) -> tuple[int | None, int | None]:
    """Rough K and number of games for a verdict: the bracket closes as K to the power -CLOSING, intervals as
    1/sqrt(games).
    """
    if not math.isfinite(lower.value):
        return 2 * k, MIN_GAMES if games < MIN_GAMES else None
    middle = (lower.value + upper.value) / 2
    # what separates the middle from the nearest verdict: being clear of 0, or clear of +-margin
    room = max(abs(middle), margin - abs(middle))
    # the end that varies less: the other one's spread is mostly the bracket's, which thoughts narrow and
    # games do not
    noise = min(lower.high - lower.low, upper.high - upper.low) / 2
    more_games = math.ceil(games * (noise / (room / 2)) ** 2) if noise > room / 2 else None
    half_width = (upper.value - lower.value) / 2
    left = room - min(noise, room / 2)
    thoughts = math.ceil(k * (half_width / left) ** (1 / CLOSING)) if half_width > left else None
    if games < MIN_GAMES:
        more_games = max(more_games or 0, MIN_GAMES)
    return thoughts, more_games


def _words(
    verdict: Verdict,
    lower: Interval,
    upper: Interval,
    equal: Interval | None,
    games: int,
    margin: float,
    thoughts: int | None,
    more_games: int | None,
) -> str:
    between = f"between {lower} and {upper} nats"
    sampled = "" if equal is None else f"; equal numbers of sampled actions differ by {equal} nats"
    if verdict == "narrowed":
        return f"Thinking first narrows the choice: act-first's entropy minus its own is {between}{sampled}."
    if verdict == "widened":
        return f"Thinking first widens the choice: act-first's entropy minus its own is {between}{sampled}."
    if verdict == "equivalent":
        return f"The orders' entropies are equal within {margin:g} nats: the difference is {between}."
    if games < MIN_GAMES:
        why = f"{games} games are too few for any verdict"
    elif equal is None:
        why = "without the equal-N comparison no direction is called"
    else:
        why = "the bracket and its intervals, or the equal-N comparison, leave the direction open"
    needs = [f"about {thoughts} thoughts a state"] if thoughts else []
    needs += [f"about {more_games} games"] if more_games else []
    settle = f" What would settle it: {' and '.join(needs)}." if needs else ""
    return f"Inconclusive: {why}. The difference is {between}{sampled}.{settle}"


def _bootstrap_mean(values: np.ndarray, members: list[list[int]], n: int, seed: int) -> Interval:
    """The pooled mean's bootstrap by group sums: the same resamples as the general loop, without the loop."""
    sums = np.array([values[rows].sum() for rows in members])
    sizes = np.array([len(rows) for rows in members], dtype=float)
    times = _times_drawn(len(members), n, seed)
    return percentiles(float(values.mean()), (times @ sums) / (times @ sizes), len(members))


def _draws(groups: int, n: int, seed: int) -> np.ndarray:
    """(n, groups) which groups each resample draws."""
    return np.random.default_rng(seed).integers(groups, size=(n, groups))


@lru_cache(maxsize=2)
def _times_drawn(groups: int, n: int, seed: int) -> np.ndarray:
    """(n, groups) how often each resample draws each group. Kept: a comparison bootstraps several means alike."""
    flat = _draws(groups, n, seed) + groups * np.arange(n)[:, None]
    times = np.bincount(flat.ravel(), minlength=n * groups).reshape(n, groups).astype(np.float64)
    times.setflags(write=False)
    return times


def percentiles(value: float, resampled: ArrayLike, groups: int) -> Interval:
    """The 95 % expanded percentile interval of resampled values, from `groups` resampled units, in their unit.

    The plain percentile interval is too short by sqrt((G-1)/G) and uses normal for t quantiles; the
    percentiles are moved outwards to mend both (Hesterberg 2015, The American Statistician 69(4)).
    Differs: no bootstrap-t, which corrects for skewness too, but is of infinite length where few games differ and the
    rest are equal (Owen 2025, arXiv 2508.10083), as states without a choice are.
    Raises ValueError for fewer than 2 groups, no resampled values, and NaN among them.

    >>> percentiles(0.5, [0.0, 0.25, 0.5, 0.75, 1.0], groups=2)
    Interval(value=0.5, low=0.0, high=1.0)
    """
    given = _finite(resampled, "resampled")
    if groups < 2:
        raise ValueError(f"{groups} group: an interval over groups needs at least 2")
    tail = 100 * _NORMAL.cdf(-math.sqrt(groups / (groups - 1)) * _t_quantile(groups - 1))
    low, high = np.percentile(given, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))


def _t_quantile(df: int) -> float:
    """Student's t at 97.5 %: the Cornish-Fisher expansion (Abramowitz & Stegun 26.7.5), within 0.2 % from df
    = 5.
    """
    z = _NORMAL.inv_cdf(0.975)
    return (
        z
        + (z**3 + z) / (4 * df)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
    )


def _finite(values: ArrayLike, name: str) -> np.ndarray:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"{name} has shape {given.shape}: expected a flat, non-empty list")
    if not np.isfinite(given).all():
        raise ValueError(f"{name} holds NaN or an infinite value")
    return given
