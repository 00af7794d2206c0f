"""A diagnosis by parts: means and differences by task type, position and source of the states.

There are no verdicts: parts are small, and among several one shows something by chance, so they are exploratory.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from actre.entropy.states import StateDiagnosis
from actre.stats import Interval, bootstrap

By = Literal["task_type", "position", "source"]
PARTS: tuple[By, ...] = ("position", "source", "task_type")


class Part(NamedTuple):
    """The states of one kind; means in nats with intervals over games (NaN ends for a single game).

    difference_lower, difference_upper: act-first minus the upper and the lower end of think-first's bracket; above 0 if
    thinking first narrows. no_think: None if not measured.
    """

    name: str
    states: int
    games: int
    act_first: Interval
    think_first_lower: Interval
    think_first_upper: Interval
    no_think: Interval | None
    difference_lower: Interval
    difference_upper: Interval


def parts(states: Sequence[StateDiagnosis], by: By, seed: int = 0) -> list[Part]:
    """A Part for each task type, position or source among the states, sorted by name."""
    return [
        _part(name, [s for s in states if getattr(s, by) == name], seed)
        for name in sorted({getattr(s, by) for s in states})
    ]


def _part(name: str, states: Sequence[StateDiagnosis], seed: int) -> Part:
    games = [s.game for s in states]
    act, low, high = ([getattr(s, end) for s in states] for end in ("act_first", "lower", "upper"))
    none = [s.no_think for s in states if s.no_think is not None]
    return Part(
        name=name,
        states=len(states),
        games=len(set(games)),
        act_first=_mean(act, games, seed),
        think_first_lower=_mean(low, games, seed),
        think_first_upper=_mean(high, games, seed),
        no_think=_mean(none, games, seed) if len(none) == len(states) else None,
        difference_lower=_mean([a - h for a, h in zip(act, high, strict=True)], games, seed),
        difference_upper=_mean([a - b for a, b in zip(act, low, strict=True)], games, seed),
    )


def _mean(values: Sequence[float], games: Sequence[str], seed: int) -> Interval:
    if len(set(games)) > 1:
        return bootstrap(values, games, seed=seed)
    return Interval(sum(values) / len(values), math.nan, math.nan)
