"""What reaches the untrained order: the gain there over the gain in the trained one, with its interval. Pure numpy.

A ratio of two gains is meaningless if nothing was learned, so it has no value unless the trained order's gain lies
above 0 with its whole interval. The interval is Fieller's (1954, J. R. Stat. Soc. B 16), finite in just that case.
Games are the units, and with several trainings the trainings too: the interval is then the union of the one from both
(the pigeonhole bootstrap, Owen 2007) and of the one over the trainings alone.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from actre.stats import Interval

HIGH, LOW = 0.5, 0.2
"""Transfer is called high from HIGH on and low up to LOW."""
Level = Literal["high", "some", "low", "undetermined"]
_RESAMPLES = 4000


class Gains(NamedTuple):
    """The mean gains in both orders, and untrained / trained: None if undetermined."""

    trained: Interval
    untrained: Interval
    ratio: Interval | None

    @property
    def level(self) -> Level:
        """high: from HIGH on, and the interval excludes LOW; low: up to LOW, and it excludes HIGH; else some.

        >>> one = Interval(1.0, 0.8, 1.2)
        >>> [Gains(one, one, ratio).level for ratio in (None, one, Interval(0.1, -0.1, 0.3), Interval(0.1, -0.5, 0.7))]
        ['undetermined', 'high', 'low', 'some']
        """
        if self.ratio is None:
            return "undetermined"
        if self.ratio.value >= HIGH and self.ratio.low > LOW:
            return "high"
        return "low" if self.ratio.value <= LOW and self.ratio.high < HIGH else "some"


def gains(trained: ArrayLike, untrained: ArrayLike, *, seed: int = 0) -> Gains:
    """The gains (after minus before) of one kind of training. trained, untrained: (S, G), S trainings on G games.

    Raises ValueError for other shapes, fewer than 2 games, and values that are not finite.

    >>> [round(x, 3) for x in gains([[0.2, 0.4, 0.3, 0.3]], [[0.1, 0.2, 0.15, 0.15]]).ratio]
    [0.5, 0.5, 0.5]
    >>> gains([[0.5, -0.5, 0.1]], [[0.1, 0.1, 0.1]]).ratio is None
    True
    """
    both = np.stack([np.asarray(side, dtype=np.float64) for side in (trained, untrained)], axis=-1)  # (S, G, 2)
    if both.ndim != 3 or both.shape[0] < 1 or both.shape[1] < 2:
        raise ValueError(f"gains have shape {both.shape[:-1]}: expected (trainings, games), at least 2 games")
    if not np.isfinite(both).all():
        raise ValueError("gains hold NaN or an infinite value")
    runs, games = both.shape[:2]
    if runs == 1:
        parts = [_of(both, np.cov(both[0].T) / games, games - 1)]
    else:
        rng = np.random.default_rng(seed)
        of_runs = rng.multinomial(runs, np.full(runs, 1 / runs), size=_RESAMPLES) / runs
        of_games = rng.multinomial(games, np.full(games, 1 / games), size=_RESAMPLES) / games
        means = np.einsum("ns,sgk,ng->nk", of_runs, both, of_games, optimize=True)
        parts = [_of(both, np.cov(means.T), games - 1), _of(both, np.cov(both.mean(axis=1).T) / runs, runs - 1)]
    return union(*parts)


def union(*parts: Gains) -> Gains:
    """One for several estimates of the same gains: the mean values, the widest intervals; undetermined if one is.

    >>> a, b = Interval(1.0, 0.5, 1.5), Interval(2.0, 1.0, 3.0)
    >>> union(Gains(a, a, a), Gains(a, b, b))[1:]
    (Interval(value=1.5, low=0.5, high=3.0), Interval(value=1.5, low=0.5, high=3.0))
    """
    ratios = [part.ratio for part in parts if part.ratio is not None]
    ratio = _hull(ratios) if len(ratios) == len(parts) else None
    return Gains(_hull([p.trained for p in parts]), _hull([p.untrained for p in parts]), ratio)


def _hull(bands: list[Interval]) -> Interval:
    value = sum(band.value for band in bands) / len(bands)
    return Interval(value, min(band.low for band in bands), max(band.high for band in bands))


def _of(both: np.ndarray, covariance: np.ndarray, df: int) -> Gains:
    """From the means' covariance (2, 2), with t quantiles of `df` degrees of freedom."""
    mean = both.mean(axis=(0, 1))
    t = float(special.stdtrit(df, 0.975))
    half = t * np.sqrt(np.diag(covariance))
    trained, untrained = (Interval(float(m), float(m - h), float(m + h)) for m, h in zip(mean, half, strict=True))
    return Gains(trained, untrained, _fieller(trained, untrained, t * t * covariance) if trained.low > 0 else None)


def _fieller(trained: Interval, untrained: Interval, spread: np.ndarray) -> Interval:
    """The ratios r for which untrained - r * trained is within its spread of 0; trained must exclude 0."""
    a = trained.value**2 - spread[0, 0]
    b = trained.value * untrained.value - spread[0, 1]
    c = untrained.value**2 - spread[1, 1]
    root = math.sqrt(max(0.0, b * b - a * c))
    return Interval(untrained.value / trained.value, float((b - root) / a), float((b + root) / a))
