"""How far the entropy estimators and their verdicts can be trusted, measured on scripted states of known entropy.

The states are those of known_truth.py. Estimators are vectorised over repetitions (`brackets`, `count_entropies`; a
test compares them with those of `actre.entropy`). Intervals and verdicts come from `actre.entropy.verdict`, one call
per repetition. So the calibration covers what `actre diagnose` reports, including its 0.1 pseudo-thoughts.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from actre.config import derive_seed
from actre.entropy.estimators import CountMethod
from actre.entropy.known_truth import (
    GAMES,
    KINDS,
    SCENARIOS,
    Kind,
    Population,
    Scenario,
    ThoughtTable,
    shaped,
    table_of,
)
from actre.entropy.verdict import MARGIN_NATS, Contraction, contraction_of
from actre.stats import bootstrap

PSEUDO_THOUGHTS = 0.1
"""As in `actre diagnose` (a test compares them)."""
ACTIONS = (5, 30, 100)
THOUGHTS = (2, 4, 8, 16, 32, 64)
OPENNESS = (0.4, 0.8)
"""H(A|s) / log(A+1) of the single states on which the estimators are measured."""
RESAMPLES = 2000
"""Bootstrap resamples, as in `actre diagnose`."""
DESIGNS = ((24, 1), (6, 1), (12, 1), (48, 1), (12, 2))
"""(games, states per game). The first, a diagnosis's default, at every A and K; the others at A = 30, K = 16."""

_COUNTS: tuple[CountMethod, ...] = ("plugin", "miller_madow", "chao_shen")
_BLOCK = 2_000_000
"""Probabilities in memory at once."""


class Brackets(NamedTuple):
    """`entropy.Decomposition`s of many sets of thoughts, in nats: arrays of one shape."""

    lower: np.ndarray
    upper: np.ndarray
    conditional: np.ndarray

    @property
    def information(self) -> np.ndarray:
        return self.lower - self.conditional


class Drawn(NamedTuple):
    """Results of K thoughts per state: the brackets, and the counts (..., A+1) of sampled outcomes."""

    brackets: Brackets
    counts: np.ndarray


def brackets(per_thought: np.ndarray, pseudo_thoughts: float = PSEUDO_THOUGHTS) -> Brackets:
    """`entropy.marginal_entropy` along the first axes of (..., K, A+1), unchecked; with K = 1 upper is infinite."""
    k, outcomes = per_thought.shape[-2:]
    total = per_thought.sum(axis=-2)
    lower = -_p_log_p(total / k).sum(axis=-1)
    conditional = -_p_log_p(per_thought).sum(axis=(-2, -1)) / k
    if k == 1:
        return Brackets(lower, np.full(lower.shape, np.inf), conditional)
    others = (total[..., None, :] - per_thought + pseudo_thoughts / outcomes) / (k - 1 + pseudo_thoughts)
    upper = -np.einsum("...ka,...ka->...", per_thought, np.log(others, out=others)) / k
    return Brackets(lower, upper, conditional)


def count_entropies(counts: np.ndarray, method: CountMethod) -> np.ndarray:
    """`entropy.entropy_from_counts` along the last axis of (..., A+1) counts, each with at least one sample."""
    total = counts.sum(axis=-1, keepdims=True)
    plugin = -_p_log_p(counts / total).sum(axis=-1)
    if method == "plugin":
        return np.asarray(plugin)
    if method == "miller_madow":
        return np.asarray(plugin + ((counts > 0).sum(axis=-1) - 1) / (2 * total[..., 0]))
    singletons = (counts == 1).sum(axis=-1, keepdims=True)
    p = (1 - np.where(total > 1, np.minimum(singletons, total - 1), 0) / total) * counts / total
    with np.errstate(divide="ignore"):
        weight = -np.expm1(total * np.log1p(-p))
    return -(_p_log_p(p) / np.where(p > 0, weight, 1.0)).sum(axis=-1) + 0.0


def draw(tables: Sequence[ThoughtTable], which: np.ndarray, k: int, rng: np.random.Generator) -> Drawn:
    """Draw K thoughts, and an action after each, in states of the given tables.

    tables: all with the same numbers of thoughts and outcomes. which: (R, ...) indices into them. Returns arrays (R,
    ...).
    """
    rows = np.stack([table.rows for table in tables])
    weights = np.stack([table.weights for table in tables])
    size = max(1, _BLOCK // (which[:1].size * k * rows.shape[-1]))
    blocks = [_draw(rows, weights, which[i : i + size], k, rng) for i in range(0, len(which), size)]
    parts = [np.concatenate(part) for part in zip(*blocks, strict=True)]
    return Drawn(Brackets(parts[0], parts[1], parts[2]), parts[3])


def _draw(
    rows: np.ndarray, weights: np.ndarray, which: np.ndarray, k: int, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    outcomes = rows.shape[-1]
    thoughts = np.empty((*which.shape, k), dtype=int)
    for table in np.unique(which):
        here = which == table
        thoughts[here] = _inverse(weights[table], rng.random((int(here.sum()), k)))
    seen = rows[which[..., None], thoughts]
    chosen = (np.cumsum(seen, axis=-1) < rng.random((*thoughts.shape, 1))).sum(axis=-1).clip(max=outcomes - 1)
    states = np.arange(which.size).reshape(*which.shape, 1)
    counts = np.bincount((states * outcomes + chosen).ravel(), minlength=which.size * outcomes)
    return (*brackets(seen), counts.reshape(*which.shape, outcomes))


def estimators(kind: Kind, openness: float, actions: int, k: int, repetitions: int, seed: int) -> dict[str, Any]:
    """One row of the estimators' table: a single state, with `repetitions` draws of K thoughts and K actions.

    Returns the truth, each estimator's bias and root mean square error (rmse) in nats, the bracket's mean width, how
    often it contains the truth, and whether it does so in expectation (within two standard errors of the mean).
    """
    table = table_of(shaped(actions + 1, openness * np.log(actions + 1), "geometric"), kind)
    rng = np.random.default_rng(derive_seed(seed, "estimators", kind, openness, actions, k))
    drawn = draw([table], np.zeros(repetitions, dtype=int), k, rng)
    found = drawn.brackets
    measured: dict[str, tuple[np.ndarray, float]] = {
        "lower": (found.lower, table.entropy),
        "conditional": (found.conditional, table.conditional),
        "information": (found.information, table.information),
        **{method: (count_entropies(drawn.counts, method), table.entropy) for method in _COUNTS},
    }
    row: dict[str, Any] = {"kind": kind, "openness": openness, "actions": actions, "k": k, "repetitions": repetitions}
    row["truth"] = {name: round(getattr(table, name), 4) for name in ("entropy", "conditional", "information")}
    if k > 1:
        measured["upper"] = (found.upper, table.entropy)
        holds = (found.lower <= table.entropy) & (table.entropy <= found.upper)
        row |= {"width": _round((found.upper - found.lower).mean()), "holds": _round(holds.mean())}
        row["holds_in_expectation"] = bool(
            found.lower.mean() - 2 * _error(found.lower) <= table.entropy
            and found.upper.mean() + 2 * _error(found.upper) >= table.entropy
        )
    row["estimators"] = {
        name: {"bias": _round((x - true).mean()), "rmse": _round(np.sqrt(((x - true) ** 2).mean()))}
        for name, (x, true) in measured.items()
    }
    return row


def sets(
    kind: Kind,
    actions: int,
    k: int,
    games: int,
    each: int,
    repetitions: int,
    seed: int,
    scenarios: Sequence[Scenario] | None = None,
) -> Iterator[dict[str, Any]]:
    """Rows of the verdicts' table, one per scenario: `repetitions` sets of `games` games, compared as in a diagnosis.

    scenarios: None for all that fit the number of actions. A repetition's thoughts are the same in every scenario;
    act-first's distributions and samples differ.
    """
    scenarios = [s for s in SCENARIOS if actions >= s.least_actions] if scenarios is None else scenarios
    population = Population(actions, kind, each)
    rng = np.random.default_rng(derive_seed(seed, "sets", kind, actions, k, games, each))
    chosen = rng.integers(len(population.entropies), size=(repetitions, games))
    which = (chosen[..., None] * each + np.arange(each)).reshape(repetitions, games * each)
    drawn = draw(population.tables, which, k, rng)
    think = count_entropies(drawn.counts, "miller_madow")
    of_game = [state // each for state in range(games * each)]
    act_p = [population.act_first(scenario) for scenario in scenarios]
    act = [(-_p_log_p(p).sum(axis=-1))[which] for p in act_p]
    sampled = [count_entropies(rng.multinomial(k, p[which]), "miller_madow") for p in act_p]

    def compared(r: int, s: int) -> Contraction:
        return contraction_of(
            act[s][r],
            drawn.brackets.lower[r],
            drawn.brackets.upper[r],
            of_game,
            k=k,
            equal_n=(sampled[s][r], think[r]),
            margin=MARGIN_NATS,
            n=RESAMPLES,
            seed=r,
        )

    # compare a repetition's scenarios in turn, because they share resamples
    found = [[compared(r, s) for s in range(len(scenarios))] for r in range(repetitions)]
    place: dict[str, Any] = {
        "kind": kind,
        "actions": actions,
        "k": k,
        "games": games,
        "each": each,
        "repetitions": repetitions,
    }
    place |= _means_hold(drawn.brackets, of_game, population)
    for s, scenario in enumerate(scenarios):
        yield {**place, **_tallied([row[s] for row in found], scenario)}


def right(verdict: str, difference: float, margin: float = MARGIN_NATS) -> bool | None:
    """Whether a verdict is true of a difference in nats; None for inconclusive, which makes no claim.

    >>> right("narrowed", 0.05), right("equivalent", 0.05), right("equivalent", 0.12), right("widened", 0.0)
    (True, True, False, False)
    """
    if verdict == "inconclusive":
        return None
    return {"narrowed": difference > 0, "widened": difference < 0, "equivalent": abs(difference) <= margin}[verdict]


def _tallied(compared: Sequence[Contraction], scenario: Scenario) -> dict[str, Any]:
    true, n = scenario.difference, len(compared)
    verdicts: Counter[str] = Counter(one.verdict for one in compared)
    judged = [right(one.verdict, true) for one in compared]
    return {
        "scenario": scenario.name,
        "null": scenario.name.startswith("null"),
        "difference": true,
        "verdicts": {name: _round(verdicts[name] / n) for name in _VERDICTS},
        "right": _round(judged.count(True) / n),
        "wrong": _round(judged.count(False) / n),
        "bracket_holds": _round(np.mean([one.lower.value <= true <= one.upper.value for one in compared])),
        "interval_holds": _round(np.mean([one.lower.low <= true <= one.upper.high for one in compared])),
        "width": _round(np.mean([one.upper.value - one.lower.value for one in compared])),
        "interval_width": _round(np.mean([one.upper.high - one.lower.low for one in compared])),
        "difference_upper": _round(np.mean([one.upper.value for one in compared])),
        "difference_lower": _round(np.mean([one.lower.value for one in compared])),
    }


_VERDICTS = ("narrowed", "widened", "equivalent", "inconclusive")


def _means_hold(found: Brackets, of_game: Sequence[int], population: Population) -> dict[str, float]:
    """How often the bracket of H(A|s) with its intervals, and the interval of E[H(A|s,T)], contain the population's
    values."""
    entropy = float(population.entropies.mean())
    conditional = float(np.mean([table.conditional for table in population.tables]))
    held = np.zeros((len(found.lower), 2), dtype=bool)
    for r in range(len(held)):
        lower, upper, after = (bootstrap(column[r], of_game, n=RESAMPLES, seed=r) for column in found)
        held[r] = lower.low <= entropy <= upper.high, after.low <= conditional <= after.high
    return {"entropy_holds": _round(held[:, 0].mean()), "conditional_holds": _round(held[:, 1].mean())}


def cells() -> list[dict[str, Any]]:
    """The whole calibration as jobs: keyword arguments of `estimators` or `sets`, which "part" names."""
    states = [
        {"part": "estimators", "kind": kind, "openness": openness, "actions": a, "k": k}
        for kind in KINDS
        for openness in OPENNESS
        for a in ACTIONS
        for k in (1, *THOUGHTS)
    ]
    many = [(kind, a, k, *DESIGNS[0]) for kind in KINDS for a in ACTIONS for k in THOUGHTS]
    many += [(kind, 30, 16, *design) for kind in KINDS for design in DESIGNS[1:]]
    names = ("kind", "actions", "k", "games", "each")
    return states + [{"part": "sets", **dict(zip(names, values, strict=True))} for values in many]


def settings() -> dict[str, Any]:
    """The calibration's settings, for its record."""
    return {
        "pseudo_thoughts": PSEUDO_THOUGHTS,
        "margin": MARGIN_NATS,
        "resamples": RESAMPLES,
        "equal_n_method": "miller_madow",
        "games_in_population": GAMES,
        "confidence": 0.95,
    }


def measure(cell: dict[str, Any], repetitions: int, seed: int) -> list[dict[str, Any]]:
    """The rows of one of `cells()`."""
    arguments = {name: value for name, value in cell.items() if name != "part"}
    if cell["part"] == "estimators":
        return [estimators(**arguments, repetitions=repetitions, seed=seed)]
    return list(sets(**arguments, repetitions=repetitions, seed=seed))


def _inverse(weights: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.cumsum(weights), u, side="right").clip(max=len(weights) - 1)


def _p_log_p(p: np.ndarray) -> np.ndarray:
    return np.asarray(p * np.log(np.where(p > 0, p, 1.0)))


def _error(x: np.ndarray) -> float:
    return float(x.std() / np.sqrt(len(x)))


def _round(x: Any) -> float:
    return round(float(x), 4)
