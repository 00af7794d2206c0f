"""Compares a study's arms and derives findings by the rules of docs/protocol.md.

The unit is the training seed; two conditions are compared on the seeds that both have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from actre.rollout.evaluate import EpisodeResult, paired_difference
from actre.stats import (
    Interval,
    PairedTest,
    hedges_g,
    holm,
    improvement,
    iqm,
    jackknife_t,
    paired_t,
    stratified_bootstrap,
    wider,
)
from actre.study.plan import PRIMARY, UNTRAINED, Contrast, Part
from actre.study.record import Record, results_of
from actre.types import ActreError

MATTERS = 0.05
"""The smallest difference in success that matters (docs/protocol.md)."""
SIGNIFICANT = 0.05

_RESAMPLES = 2000
"""For the intervals of single arms; contrasts use the defaults of their estimators."""

_SHARE = (0.0, 1.0)
Finding = Literal["support", "harm", "equivalent", "no worthwhile help", "inconclusive", "interim"]
Lines = Mapping[str, Record]
"""Run key -> its record."""


@dataclass(frozen=True)
class Comparison:
    """One contrast on one panel and order: success of `then` minus `first`, paired by seed.

    seeds: those of both; planned: their planned number. both: the interval over seeds and games (for one seed, over
    games alone), never narrower than t's; test: t over seeds alone; p_holm: corrected over the contrasts planned
    together, NaN until this one is complete. g: NaN against the untrained policy, whose seeds differ only in sampling.
    improvement: the probability that a run of `then` scores above one of `first`. tokens: mean generated tokens of then
    and first. score: as `both`, for WebShop's score; else None.
    """

    contrast: Contrast
    panel: str
    order: str
    seeds: tuple[int, ...]
    planned: int
    both: Interval
    test: PairedTest
    p_holm: float
    g: float
    improvement: Interval
    tokens: tuple[float, float]
    score: Interval | None = None

    @property
    def complete(self) -> bool:
        return len(self.seeds) == self.planned

    @property
    def finding(self) -> Finding:
        """The protocol's finding; "interim" until every planned seed is finished."""
        if not self.complete:
            return "interim"
        if self.test.seeds < 2:
            return "inconclusive"  # one seed says nothing about other seeds
        return judged(min(self.both.low, self.test.low), max(self.both.high, self.test.high), self.p_holm)


def judged(low: float, high: float, p_holm: float) -> Finding:
    """The protocol's finding from a complete contrast's interval and corrected p."""
    # rounded, so that a bound on the edge stays there despite float error
    low, high = round(low, 9), round(high, 9)
    if p_holm < SIGNIFICANT and (low > 0 or high < 0):
        return "support" if low > 0 else "harm"
    if low >= -MATTERS and high <= MATTERS:
        return "equivalent"
    return "no worthwhile help" if high < MATTERS else "inconclusive"


class Summary(NamedTuple):
    """One condition on one panel and order, over its seeds. success: interval over seeds and games (for one seed, over
    games alone); middle: the interquartile mean over runs and task types, its interval NaN for one seed. score:
    WebShop's, with an interval as success has; else None.
    """

    condition: str
    panel: str
    order: str
    seeds: tuple[int, ...]
    success: Interval
    middle: Interval
    steps: float
    score: Interval | None
    env_steps: float
    tokens: float


class TypeRates(NamedTuple):
    """Success in one task type, per seed, and its number of games."""

    rates: tuple[float, ...]
    games: int


class Found(NamedTuple):
    """Everything a page shows about a part. places: the panels and orders played, the primary endpoint first;
    summaries: (panel, order) -> condition -> its summary. beside: the confirmatory tests outside the part that Holm's
    correction covers too.
    """

    part: Part
    lines: Lines
    compared: tuple[Comparison, ...]
    places: tuple[tuple[str, str], ...]
    summaries: Mapping[tuple[str, str], Mapping[str, Summary]]
    beside: int = 0


def find(part: Part, lines: Lines, beside: Sequence[float] = ()) -> Found:
    """Compare and summarise the finished runs. beside: p of confirmatory tests outside the part that Holm's correction
    covers too, NaN for one that is not complete. Raises ActreError as `of_condition` does.
    """
    places = tuple(evaluated(part, lines))
    of = {place: {one.condition: one for one in summaries(part, lines, *place)} for place in places}
    return Found(part, lines, tuple(comparisons(part, lines, beside=beside)), places, of, len(beside))


def rates(part: Part, lines: Lines, condition: str, panel: str, order: str) -> dict[int, float]:
    """Seed -> success of a condition's finished runs."""
    played = {seed: results_of(line, panel, order) for seed, line in of_condition(part, lines, condition).items()}
    return {seed: success_of(results) for seed, results in played.items() if results}


def of_condition(part: Part, lines: Lines, condition: str) -> dict[int, Record]:
    """Seed -> record of a condition's finished runs. Raises ActreError if they began from different weights."""
    found = {run.seed: lines[run.key] for run in part.runs if run.condition == condition and run.key in lines}
    models = {line["model"] for run in part.runs if run.key in lines for line in (lines[run.key],)}
    if len(models) > 1:
        raise ActreError(
            f"the runs of {part.name} began from {len(models)} different policies and cannot be compared: move the "
            "results file away and run the study again"
        )
    return dict(sorted(found.items()))


def comparisons(
    part: Part, lines: Lines, panel: str = PRIMARY[0], order: str = PRIMARY[1], *, beside: Sequence[float] = ()
) -> list[Comparison]:
    """The part's contrasts that have a seed. Holm's correction is over all planned confirmatory contrasts (and what is
    `beside` them), and separately over all planned exploratory ones."""
    made = [one for c in part.contrasts if (one := compare(part, lines, c, panel, order)) is not None]
    for confirmatory in (True, False):
        planned = sum(c.confirmatory == confirmatory for c in part.contrasts)
        here = [i for i, one in enumerate(made) if one.contrast.confirmatory == confirmatory]
        # contrasts without runs, or with a p that may still change, count as NaN: findings of complete ones then stay
        ps = [made[i].test.p if made[i].complete else float("nan") for i in here]
        corrected = holm([*ps, *[float("nan")] * (planned - len(ps)), *(beside if confirmatory else ())])
        for i, p in zip(here, corrected, strict=False):
            made[i] = replace(made[i], p_holm=p)
    return made


def compare(part: Part, lines: Lines, contrast: Contrast, panel: str, order: str) -> Comparison | None:
    """One contrast, uncorrected; None if no seed has both conditions."""
    then, first = (of_condition(part, lines, name) for name in contrast[:2])
    planned = {r.seed for r in part.runs if r.condition == contrast.then}
    planned &= {r.seed for r in part.runs if r.condition == contrast.first}
    seeds = tuple(
        seed for seed in then if seed in first and all(results_of(side[seed], panel, order) for side in (then, first))
    )
    if not seeds:
        return None
    after = [results_of(then[seed], panel, order) for seed in seeds]
    before = [results_of(first[seed], panel, order) for seed in seeds]
    tasks = _common_tasks([*after, *before])
    x, y = (_by_task(side, tasks) for side in (after, before))
    rates = [np.array([success_of(one) for one in side]) for side in (after, before)]
    return Comparison(
        contrast,
        panel,
        order,
        seeds,
        len(planned),
        paired_difference(before, after),
        paired_t(rates[0] - rates[1]),
        float("nan"),
        float("nan") if UNTRAINED in contrast[:2] else hedges_g(*rates),
        _improvement(x, y),
        (
            float(np.mean([then[seed]["generated_tokens"] for seed in seeds])),
            float(np.mean([first[seed]["generated_tokens"] for seed in seeds])),
        ),
        paired_difference(before, after, value="env_return") if part.shop else None,
    )


def summaries(part: Part, lines: Lines, panel: str, order: str) -> list[Summary]:
    """Every condition with a finished run, in the file's order."""
    rows = []
    for condition in part.conditions:
        records = of_condition(part, lines, condition)
        played = {seed: results_of(line, panel, order) for seed, line in records.items()}
        played = {seed: results for seed, results in played.items() if results}
        if played:
            rows.append(_summary(part, condition, panel, order, [records[s] for s in played], list(played.values())))
    return rows


def _summary(
    part: Part, condition: str, panel: str, order: str, records: list[Record], played: list[list[EpisodeResult]]
) -> Summary:
    never = [[replace(r, won=False, env_return=0.0) for r in played[0]]]
    middle = _middle(_by_task(played, _common_tasks(played)))
    return Summary(
        condition,
        panel,
        order,
        tuple(line["seed"] for line in records),
        # success is the difference to winning nothing; this gives its interval over seeds and games
        wider(paired_difference(never, played, n=_RESAMPLES), within=_SHARE),
        middle,
        float(np.mean([r.steps for one in played for r in one])),
        paired_difference(never, played, value="env_return", n=_RESAMPLES) if part.shop else None,
        float(np.mean([line["env_steps"] for line in records])),
        float(np.mean([line["generated_tokens"] for line in records])),
    )


def _middle(tasks: np.ndarray) -> Interval:
    """The interquartile mean over (R, T) runs and task types, with the wider of the jackknife's t over seeds and the
    bootstrap's interval; NaN for one seed.
    """
    by_t = jackknife_t(lambda kept: float(iqm(tasks[kept][None])[0]), len(tasks))
    return by_t if len(tasks) < 2 else wider(stratified_bootstrap(tasks, iqm, n=_RESAMPLES), by_t, within=_SHARE)


def _improvement(then: np.ndarray, first: np.ndarray) -> Interval:
    """The probability of improvement, paired by seed, with such an interval."""
    by_t = jackknife_t(lambda kept: improvement(then[kept], first[kept], n=1).value, len(then))
    return wider(improvement(then, first), by_t, within=_SHARE)


def by_task_type(part: Part, lines: Lines, panel: str, order: str) -> dict[str, dict[str, TypeRates]]:
    """Condition -> task type -> each seed's success, and the type's number of games."""
    found: dict[str, dict[str, TypeRates]] = {}
    for condition in part.conditions:
        played = [results_of(line, panel, order) for line in of_condition(part, lines, condition).values()]
        for task in sorted({r.task_type for one in played for r in one}):
            here = [[r for r in one if r.task_type == task] for one in played]
            rates = tuple(success_of(one) for one in here if one)
            found.setdefault(condition, {})[task] = TypeRates(rates, len({r.game for one in here for r in one}))
    return found


def evaluated(part: Part, lines: Lines) -> list[tuple[str, str]]:
    """The panels and orders played, the primary endpoint first."""
    there = [lines[run.key] for run in part.runs if run.key in lines]
    places = dict.fromkeys((one["panel"], one["order"]) for line in there for one in line["evaluation"])
    orders, panels = ("think_first", "act_first", "no_think"), ["unseen", "seen"]
    panels += [panel for panel, _ in places if panel not in panels]
    return sorted(places, key=lambda place: (panels.index(place[0]), orders.index(place[1])))


def _common_tasks(played: Sequence[Sequence[EpisodeResult]]) -> list[str]:
    """The task types if every run has the same, else none."""
    kinds = {tuple(sorted({r.task_type for r in one})) for one in played}
    return list(kinds.pop()) if len(kinds) == 1 else []


def _by_task(played: Sequence[Sequence[EpisodeResult]], tasks: Sequence[str]) -> np.ndarray:
    """(R, T) success of each run in each task type; without tasks (R, 1), success in all games."""
    rows = [[success_of([r for r in one if r.task_type == task]) for task in tasks] for one in played]
    return np.array(rows if tasks else [[success_of(one)] for one in played])


def success_of(results: Sequence[EpisodeResult]) -> float:
    """The share of games won; NaN for none."""
    return sum(r.won for r in results) / len(results) if results else float("nan")
