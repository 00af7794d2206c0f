"""The jobs' results as `Preconditions`: which differences are taken, and over what."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from actre.config import RunConfig
from actre.config.model_names import shown
from actre.entropy.preconditions import TRAINED, Learned, Measure, Narrowing, Preconditions, Start, Transfer, Way
from actre.entropy.transfer import Gains, gains, union
from actre.stats import Interval, bootstrap
from actre.study.preconditions.budget import CONTRACTION, PARTS, START, Budget, Result, jobs, result_file, trainings
from actre.types import Order

_SCORES: dict[Measure, dict[Order, tuple[str, ...]]] = {
    "logp": {"act_first": ("act_logp",), "think_first": ("think_lower", "think_upper")},
    "p": {"act_first": ("act_p",), "think_first": ("think_p",)},
}
"""The scores of each order: one, or both ends of the bracket."""


def collect(config: RunConfig, budget: Budget, out: Path) -> Preconditions:
    """What the finished jobs in `out` measured; the rest is None or missing."""
    there = {job: path for job in jobs(budget, PARTS) if (path := result_file(out, job)).exists()}
    return summarise(config, budget, {job: json.loads(path.read_text()) for job, path in there.items()})


def summarise(config: RunConfig, budget: Budget, found: Mapping[str, Result]) -> Preconditions:
    """The same from results by job."""
    spent = sum(result.get("cpu_s", 0.0) for result in found.values())
    made = Preconditions(
        shown(config.model.name),
        found.get(START, {}).get("fingerprint", ""),
        config.env.name,
        budget={
            **asdict(budget),
            "preset": config.preset,
            "reinforcement": {name: getattr(config.optim, name) for name in ("learning_rate", "groups", "group_size")},
            "cpu_minutes": round(spent / 60, 1),
        },
    )
    if CONTRACTION in found:
        one = found[CONTRACTION]
        narrowing = Narrowing(one["verdict"], Interval(*one["lower"]), Interval(*one["upper"]))
        diagnosis = {name: one[name] for name in ("states", "thoughts")}
        made = replace(made, contraction=narrowing, budget={**made.budget, "diagnosis": diagnosis})
    return _against_start(made, budget, found) if START in found else made


def _against_start(made: Preconditions, budget: Budget, found: Mapping[str, Result]) -> Preconditions:
    """With everything that is compared with the untrained policy."""
    start = found[START]
    games = start["games"]
    won = {order: _mean(start["won"][order]) for order in TRAINED}
    admissible = {order: _mean(start["admissible"][order]) for order in TRAINED}
    starts = {order: Start(bootstrap(won[order], games), bootstrap(admissible[order], games)) for order in TRAINED}
    transfers = tuple(_transfers(budget, found, won))
    learned: dict[Order, Learned] = {
        one.trained: _learned(one.gains.trained, _of(budget, found, "rl", one.trained))
        for one in transfers
        if (one.way, one.measure) == ("rl", "success")
    }
    apart = bootstrap(won["act_first"], games, paired_with=won["think_first"])
    return replace(made, start=starts, apart=apart, learned=learned, transfers=transfers)


def _learned(gain: Interval, after: Sequence[Result]) -> Learned:
    return Learned(gain, len(after), sum(one.get("trouble") is not None for one in after))


def _transfers(budget: Budget, found: Mapping[str, Result], won: Mapping[Order, np.ndarray]) -> Iterator[Transfer]:
    ways: tuple[Way, ...] = ("sft", "rl")
    for way in ways:
        for trained in TRAINED:
            after = _of(budget, found, way, trained)
            if after:
                for measure in _SCORES:
                    yield Transfer(trained, way, measure, of_scores(measure, trained, found[START], after))
                yield Transfer(trained, way, "success", _of_success(trained, won, after))


def _of(budget: Budget, found: Mapping[str, Result], way: Way, order: Order) -> list[Result]:
    """The finished trainings of this way and order."""
    wanted = [one.job for one in trainings(budget, PARTS) if (one.way, one.order) == (way, order)]
    return [found[job] for job in wanted if job in found]


def _other(order: Order) -> Order:
    return "think_first" if order == "act_first" else "act_first"


def _of_success(trained: Order, won: Mapping[Order, np.ndarray], after: Sequence[Result]) -> Gains:
    """Success after each training minus the untrained policy's mean, game by game."""
    both = ([np.array(one["won"][order]) - won[order] for one in after] for order in (trained, _other(trained)))
    return gains(*both)


def of_scores(measure: Measure, trained: Order, before: Result, after: Sequence[Result]) -> Gains:
    """Gains in a score, mean over each game's states; of log-probabilities at both ends of think-first's bracket.

    before: the start's result, after: those of the trainings; both with `state_games` and `scores`.
    """

    def gain(name: str) -> list[np.ndarray]:
        return [
            _by_game(before["state_games"], np.subtract(one["scores"][name], before["scores"][name])) for one in after
        ]

    pairs = [(a, b) for a in _SCORES[measure][trained] for b in _SCORES[measure][_other(trained)]]
    return union(*(gains(gain(a), gain(b)) for a, b in pairs))


def _by_game(games: Sequence[str], values: np.ndarray) -> np.ndarray:
    """(G,) the mean of each game's values, games in their first order."""
    at: dict[str, list[int]] = {}
    for i, game in enumerate(games):
        at.setdefault(game, []).append(i)
    return np.array([values[rows].mean() for rows in at.values()])


def _mean(repeated: Any) -> np.ndarray:
    """(G,) the mean over the repetitions (R, G)."""
    return np.asarray(np.array(repeated, dtype=np.float64).mean(axis=0))
