"""How often the intervals over seeds hold the truth, on simulated studies whose truth is known.

A study here is (seeds, games) of won and lost games in two arms, paired by seed and game. On the logit scale a game's
difficulty, a seed's effect on an arm and the arms' difference in a game are normal; each play is a coin toss. nested:
each seed plays games of its own; shared: all play the same ones, as on a fixed panel. The truth is the mean over all
seeds and games, so that a method has to cover both.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from actre.config import derive_seed, versions
from actre.stats import Interval, improvement, iqm, jackknife_t, paired_t, pigeonhole, stratified_bootstrap, wider

SEEDS = (3, 5, 10)
GAMES = 60
TASKS = 6
SPREADS = (0.0, 0.25, 0.5, 1.0)
"""Standard deviations, in logits, of a seed's effect on an arm: about 0, 4, 8 and 15 points of success."""
RESAMPLES = 500
_DIFFICULTY, _BY_GAME, _EFFECT = 1.0, 0.5, 0.3
_PERCENTILES = (2.5, 97.5)
_LARGE = 2_000_000
Games = Literal["nested", "shared"]


class Study(NamedTuple):
    """Won games of both arms, 0 or 1: (seeds, games) each."""

    then: np.ndarray
    first: np.ndarray


def simulated(rng: np.random.Generator, seeds: int, games: Games, spread: float, n_games: int = GAMES) -> Study:
    """One simulated study."""
    rows = seeds if games == "nested" else 1
    difficulty = rng.normal(0.0, _DIFFICULTY, (rows, n_games))
    effect = rng.normal(_EFFECT, _BY_GAME, (rows, n_games))
    of_seed = rng.normal(0.0, spread, (2, seeds, 1))
    chances = (difficulty + effect + of_seed[0], difficulty + of_seed[1])
    then, first = ((rng.random((seeds, n_games)) < _logistic(x)).astype(float) for x in chances)
    return Study(then, first)


def difference(spread: float) -> float:
    """The true difference in success between the arms, over all seeds and games."""
    rng = np.random.default_rng(derive_seed(0, "coverage", "truth", spread))
    difficulty, of_seed = rng.normal(0.0, _DIFFICULTY, _LARGE), rng.normal(0.0, spread, (2, _LARGE))
    effect = rng.normal(_EFFECT, _BY_GAME, _LARGE)
    gains = _logistic(difficulty + effect + of_seed[0]) - _logistic(difficulty + of_seed[1])
    return float(gains.mean())


def percentile_bootstrap(values: np.ndarray, seed: int) -> Interval:
    """The plain percentile bootstrap of seeds' values (S,): what is often shown."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), _PERCENTILES)
    return Interval(float(values.mean()), float(low), float(high))


def coverage(seeds: int, games: Games, spread: float, repetitions: int, seed: int) -> dict[str, Any]:
    """One row: how often each interval of the arms' difference holds the truth, and how wide it is, in points."""
    rng = np.random.default_rng(derive_seed(seed, "coverage", seeds, games, spread))
    truth = difference(spread)
    found: dict[str, list[Interval]] = {"bootstrap": [], "pigeonhole": [], "t": [], "wider": []}
    spreads = []
    for repetition in range(repetitions):
        then, first = simulated(rng, seeds, games, spread)
        each = (then - first).mean(axis=1)
        spreads.append(each.std(ddof=1))
        found["bootstrap"].append(percentile_bootstrap(each, repetition))
        found["t"].append(Interval(*paired_t(each)[:3]))
        found["pigeonhole"].append(pigeonhole(then - first, n=RESAMPLES, seed=repetition))
        found["wider"].append(wider(found["pigeonhole"][-1], found["t"][-1]))  # as `stats.over_seeds` does
    row = {"seeds": seeds, "games": games, "spread": spread, "repetitions": repetitions, "truth": round(truth, 4)}
    return {**row, "deviation": round(float(np.mean(spreads)), 4), **_held(found, truth)}


def by_task(seeds: int, spread: float, repetitions: int, seed: int) -> dict[str, Any]:
    """The same for an arm's interquartile mean over runs and task types, and for the probability of improvement.

    The games are fixed: these intervals are over seeds alone. Truth: the statistic over as many runs as there are
    repetitions times seeds.
    """
    rng = np.random.default_rng(derive_seed(seed, "coverage", "tasks", seeds, spread))
    difficulty = rng.normal(0.0, _DIFFICULTY, GAMES)
    effect = rng.normal(_EFFECT, _BY_GAME, GAMES)
    of_seed = rng.normal(0.0, spread, (2, repetitions, seeds, 1))
    chances = _logistic(difficulty + effect + of_seed[0]), _logistic(difficulty + of_seed[1])
    won = [rng.random(one.shape) < one for one in chances]
    then, first = (one.reshape(repetitions, seeds, TASKS, -1).mean(axis=-1) for one in won)
    every = [one.reshape(-1, TASKS) for one in (then, first)]
    # a study of few runs cuts other values than one of many: the truth is what such studies have on average
    truths = float(np.mean([iqm(one[None]) for one in then])), float(np.mean(_chance(*every)))
    middle: dict[str, list[Interval]] = {"bootstrap": [], "wider": []}
    better: dict[str, list[Interval]] = {"bootstrap": [], "wider": []}
    for r in range(repetitions):
        x, y = then[r], first[r]
        plain = stratified_bootstrap(x, iqm, n=RESAMPLES, seed=r), improvement(x, y, n=RESAMPLES, seed=r)
        by_t = (
            jackknife_t(partial(_middle_of, x), seeds),
            jackknife_t(partial(_better_of, x, y), seeds),
        )
        for into, old, new in zip((middle, better), plain, by_t, strict=True):
            into["bootstrap"].append(old)
            into["wider"].append(wider(old, new, within=(0.0, 1.0)))
    row = {"seeds": seeds, "spread": spread, "repetitions": repetitions}
    return {**row, "middle": _held(middle, truths[0]), "improvement": _held(better, truths[1])}


def rows(repetitions: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row, with the name of its table."""
    designs: tuple[Games, ...] = ("nested", "shared")
    for games in designs:
        for seeds in SEEDS:
            for spread in SPREADS:
                yield "differences", coverage(seeds, games, spread, repetitions, seed)
    for seeds in SEEDS:
        yield "tasks", by_task(seeds, SPREADS[2], repetitions, seed)


def _middle_of(tasks: np.ndarray, kept: np.ndarray) -> float:
    return float(iqm(tasks[kept][None])[0])


def _better_of(then: np.ndarray, first: np.ndarray, kept: np.ndarray) -> float:
    return improvement(then[kept], first[kept], n=1).value


def _chance(then: np.ndarray, first: np.ndarray) -> list[float]:
    """(T,) the probability that a run of `then` is above one of `first` in a task; ties count half."""
    found = []
    for x, y in zip(then.T, np.sort(first, axis=0).T, strict=True):
        below, upto = np.searchsorted(y, x, side="left"), np.searchsorted(y, x, side="right")
        found.append(float((below + upto).mean() / 2 / len(y)))
    return found


def _held(found: dict[str, list[Interval]], truth: float) -> dict[str, Any]:
    held = {name: float(np.mean([one.low <= truth <= one.high for one in bands])) for name, bands in found.items()}
    width = {name: float(np.mean([one.high - one.low for one in bands])) for name, bands in found.items()}
    return {"held": {k: round(v, 4) for k, v in held.items()}, "width": {k: round(v, 4) for k, v in width.items()}}


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def measured(repetitions: int, seed: int) -> dict[str, Any]:
    """The whole record, for data/results/calibration_seeds.json."""
    began = time.process_time()
    tables: dict[str, list[dict[str, Any]]] = {"differences": [], "tasks": []}
    for name, row in rows(repetitions, seed):
        tables[name].append(row)
    settings = {"games": GAMES, "tasks": TASKS, "resamples": RESAMPLES, "spreads": SPREADS, "seed": seed}
    cpu_s = round(time.process_time() - began)
    return {"repetitions": repetitions, "settings": settings, "cpu_s": cpu_s, "versions": versions(), **tables}


def as_cells(record: dict[str, Any]) -> tuple[list[list[str]], list[list[str]]]:
    """The record's two tables as text: of differences by games, seeds and spread; of statistics by task type."""
    differences = [
        [
            row["games"],
            str(row["seeds"]),
            f"{100 * row['deviation']:.1f}",
            *(_percent(row["held"][name]) for name in ("bootstrap", "pigeonhole", "t", "wider")),
            *(f"{100 * row['width'][name]:.0f}" for name in ("bootstrap", "t", "wider")),
        ]
        for row in record["differences"]
    ]
    tasks = [
        [str(row["seeds"]), words, *(_percent(row[name]["held"][way]) for way in ("bootstrap", "wider"))]
        for row in record["tasks"]
        for name, words in (("middle", "interquartile mean"), ("improvement", "probability of improvement"))
    ]
    return differences, tasks


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
