"""Intervals over games and the verdict on contraction, from values per state and their games. Pure numpy.

States of one game are correlated, so games are resampled, never states or thoughts (resampling thoughts would add the
plug-in's bias a second time). The target is the mean over the population of states from which the set was drawn.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from actre.stats import Interval, bootstrap, finite

Verdict = Literal["narrowed", "widened", "equivalent", "inconclusive", "withheld"]
"""withheld: the measurement failed its self-check (never returned by `contraction_of`)."""

MARGIN_NATS = 0.1
"""Differences within this margin, intervals included, are called equivalent."""

MIN_GAMES = 6
"""With fewer games, one sign in every game occurs by chance in over 5 % of nulls (2 * 0.5**5)."""

CLOSING = 0.8
"""The bracket's width is about proportional to K**-CLOSING (docs/calibration.md)."""

_NORMAL = NormalDist()


class Bracket(NamedTuple):
    """Bounds of a quantity, in nats; lower is -inf if there is no lower bound."""

    lower: float
    upper: float


@dataclass(frozen=True)
class Contraction:
    """Act-first minus think-first H(A|s) over a set of states, in nats; above 0 if thinking first narrows.

    lower, upper: the means at the two ends of think-first's bracket, each with its interval over games; the true
    difference lies between them. equal_n: the difference from equally many sampled actions, None if not measured.
    per_state: the states' brackets. verdict, words: see `contraction_of`. thoughts_needed, games_needed: rough numbers
    that an inconclusive verdict would need; None if more would not help or none are needed.
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
        """The middle of the bracket, with an interval that covers those of both ends."""
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
    """The comparison on plain arrays with one entry per state; `actre.entropy.contraction` is the usual entry point.

    equivalent: the intervals of both ends lie within +-margin. narrowed: the lower end's interval AND the equal-N
    interval lie above 0. widened: the upper end's AND the equal-N interval lie below 0. Otherwise inconclusive, never
    "no difference". Equivalence is tested first: a difference too small to matter is not a finding, even if
    significant. With fewer than MIN_GAMES games the verdict is inconclusive.
    """
    if not len(act_first) == len(think_lower) == len(think_upper) == len(games) or not len(games):
        raise ValueError("act_first, think_first and games must have the same length, at least 1")
    if not margin > 0:
        raise ValueError(f"margin is {margin}: it must be above 0 nats")
    if (finite(act_first, "act_first") < 0).any():
        raise ValueError(f"act_first holds a negative entropy ({act_first.min():g} nats)")
    per_state = tuple(
        Bracket(float(a - u), float(a - low)) for a, low, u in zip(act_first, think_lower, think_upper, strict=True)
    )
    upper = bootstrap(act_first, games, paired_with=think_lower, n=n, seed=seed)
    if np.isposinf(think_upper).any():
        # an action that occurs after a single thought: that state has no upper bound
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
    """Rough K and number of games for a verdict: brackets narrow as K**-CLOSING, intervals as 1/sqrt(games)."""
    if not math.isfinite(lower.value):
        return 2 * k, MIN_GAMES if games < MIN_GAMES else None
    middle = (lower.value + upper.value) / 2
    # distance of the middle from the nearest verdict's boundary: 0, or +-margin
    room = max(abs(middle), margin - abs(middle))
    # the end that varies less; the other end's spread is mostly the bracket's, which more games do not narrow
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
    advice = f" A verdict would need {' and '.join(needs)}." if needs else ""
    return f"Inconclusive: {why}. The difference is {between}{sampled}.{advice}"
